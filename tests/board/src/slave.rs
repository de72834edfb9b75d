//! The link's other end in Rust, in front of an interpreted core: for tests in which the wires do
//! not matter, thousands of times as fast as the verilated one.

use annulus_contract::link::{
    decode_payload, encode_answer, Header, Op, Status, Wire, HEADER_BYTES,
};
use annulus_contract::regs::{self, status};
use annulus_model::interpret::Interpreter;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::Arc;

/// An interpreted core behind an SPI slave.
pub struct Slave {
    /// The core.
    pub core: Interpreter,
    sequence: u8,
    /// What the last read gave.
    read: u32,
    /// Tokens that pass during a frame; 0 for a core that hangs.
    pub speed: Arc<AtomicUsize>,
    /// Unless it is 0: nothing is written that says what the core computes, and no tokens but the first
    /// so many. An interpreted core is not made for an image of noise.
    pub fence: Arc<AtomicU32>,
}

impl Slave {
    /// A core just switched on.
    pub fn new(core: Interpreter) -> Self {
        Slave {
            core,
            sequence: 0x77,
            read: 0,
            speed: Arc::new(AtomicUsize::new(1)),
            fence: Arc::default(),
        }
    }

    fn answer(&mut self, frame: &mut [u8]) -> Option<()> {
        let header = Header::decode(frame.first_chunk::<HEADER_BYTES>()?).ok()?;
        let request = header.request_bytes();
        let flags = self.core.read(regs::STATUS) as u8 & 9;
        let fence = self.fence.load(Ordering::Relaxed);
        let mut words = vec![0; header.count.into()];
        match header.op {
            Op::MemoryRead => {
                self.core.write(regs::MEM_ADDRESS, header.argument);
                for word in &mut words {
                    *word = self.core.read(regs::MEM_DATA);
                }
            }
            Op::MemoryWrite => {
                decode_payload(frame.get(HEADER_BYTES..request)?, &mut words).ok()?;
                self.core.write(regs::MEM_ADDRESS, header.argument);
                for word in words.drain(..).filter(|_| fence == 0) {
                    self.core.write(regs::MEM_DATA, word);
                }
            }
            Op::Read | Op::Write => {
                let fresh = header.sequence != self.sequence;
                self.sequence = header.sequence;
                if header.op == Op::Read {
                    if fresh {
                        self.read = self.core.read(header.register);
                        // One that hangs is never done.
                        let hangs = self.speed.load(Ordering::Relaxed) == 0;
                        if hangs && header.register == regs::STATUS {
                            self.read |= status::BUSY;
                        }
                    }
                    words = vec![self.read];
                } else if fresh && passes(fence, header.register, header.argument) {
                    self.core.write(header.register, header.argument);
                }
            }
        }
        let status = Status {
            sequence: self.sequence,
            flags,
        };
        let answer = frame.get_mut(request..request + header.answer_bytes())?;
        encode_answer(status, &words, answer);
        Some(())
    }
}

/// Whether a register may be written behind a fence.
fn passes(fence: u32, register: u8, value: u32) -> bool {
    match register {
        _ if fence == 0 => true,
        regs::TOKEN_IN | regs::RESTART => value & 0xffff < fence,
        regs::CONTROL..=regs::SAMPLES => true,
        _ => false,
    }
}

impl Wire for Slave {
    type Error = Infallible;

    fn exchange(&mut self, frame: &mut [u8]) -> Result<(), Infallible> {
        if self.answer(frame).is_none() {
            frame.fill(0);
        }
        for _ in 0..self.speed.load(Ordering::Relaxed) {
            self.core.advance();
        }
        Ok(())
    }
}
