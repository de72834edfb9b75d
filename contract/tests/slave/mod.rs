//! The other end of the link.

use annulus_contract::link::{
    decode_payload, encode_answer, Header, Op, Status, Wire, HEADER_BYTES,
};
use annulus_contract::regs;
use std::convert::Infallible;

/// A slave in Rust with the registers as plain memory, the `STEPS` behind `MEM_DATA`, and a
/// register that counts what is written to it. It hears, or is heard, as `loses` says.
pub struct Slave<F> {
    /// All of them.
    pub registers: [u32; 256],
    /// What lies behind `MEM_DATA`.
    pub memory: Vec<u32>,
    status: Status,
    q: u32,
    /// Of a frame: whether the request is lost, whether the answer is.
    loses: F,
}

/// Counts what is written to it.
pub const COUNTER: u8 = regs::TOKEN_IN;

impl<F: FnMut() -> (bool, bool)> Slave<F> {
    /// Nothing but zeros in it.
    pub fn new(sequence: u8, loses: F) -> Self {
        let mut registers = [0; 256];
        registers[regs::SHAPE as usize] = 8;
        Slave {
            registers,
            memory: vec![0; 999],
            status: Status { sequence, flags: 0 },
            q: 0,
            loses,
        }
    }

    /// Executes the frame and answers in it, if it is a good one. Returns whether it is.
    pub fn answer(&mut self, frame: &mut [u8]) -> bool {
        let Some(Ok(header)) = frame.first_chunk().map(Header::decode) else {
            return false;
        };
        let (request, count) = (header.request_bytes(), header.count as usize);
        let first = ((header.argument & 0xf_ffff) * 8 + (header.argument >> 20 & 7)) as usize;
        let mut words = vec![];
        match header.op {
            Op::MemoryRead => words.extend_from_slice(&self.memory[first..first + count]),
            Op::MemoryWrite => {
                let place = &mut self.memory[first..first + count];
                if decode_payload(&frame[HEADER_BYTES..request], place).is_err() {
                    return false;
                }
            }
            Op::Read | Op::Write => {
                let register = &mut self.registers[header.register as usize];
                let again = header.sequence == self.status.sequence;
                self.status.sequence = header.sequence;
                match (header.op, again) {
                    (Op::Read, false) => self.q = *register,
                    (Op::Write, false) if header.register == COUNTER => *register += 1,
                    (Op::Write, false) => *register = header.argument,
                    _ => {}
                }
                words.extend((header.op == Op::Read).then_some(self.q));
            }
        }
        let answer = header.answer_bytes();
        encode_answer(self.status, &words, &mut frame[request..request + answer]);
        true
    }
}

impl<F: FnMut() -> (bool, bool)> Wire for Slave<F> {
    type Error = Infallible;

    fn exchange(&mut self, frame: &mut [u8]) -> Result<(), Infallible> {
        let (request, answer) = (self.loses)();
        if !request {
            self.answer(frame);
        }
        if request || answer {
            frame.fill(0);
        }
        Ok(())
    }
}
