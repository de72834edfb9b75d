//! The master's side: accesses in, frames out, repeated until they are answered.

use super::{
    advance, decode_answer, encode_payload, Header, Status, ANSWER_BYTES, HEADER_BYTES,
    PAYLOAD_BYTES,
};
use crate::regs::{self, region};

/// Words of the longest memory frame that [`Master`] sends.
pub const MAX_BURST: usize = 64;
/// Times that a frame is sent before the link is given up.
pub const ATTEMPTS: u32 = 32;

const MAX_FRAME: usize = HEADER_BYTES + 4 * MAX_BURST + PAYLOAD_BYTES + ANSWER_BYTES;

/// What moves the bits: an SPI port with its chip select.
pub trait Wire {
    /// Why it cannot.
    type Error;

    /// One transaction: chip select low, the bytes out while those that come in take
    /// their places, chip select high.
    ///
    /// # Errors
    /// If the port fails. A damaged frame is no error of the wire's.
    fn exchange(&mut self, frame: &mut [u8]) -> Result<(), Self::Error>;
}

/// Why an access failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkError<E> {
    /// The port failed. Whether the access was done is unknown.
    Wire(E),
    /// A frame was sent [`ATTEMPTS`] times and never answered. Whether it was executed
    /// is unknown; a block may be written in part.
    NoAnswer,
}

impl<E: core::fmt::Display> core::fmt::Display for LinkError<E> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            LinkError::Wire(error) => error.fmt(f),
            LinkError::NoAnswer => f.write_str(
                "the core does not answer: is the FPGA configured and its clock running?",
            ),
        }
    }
}

impl<E: core::fmt::Debug + core::fmt::Display> core::error::Error for LinkError<E> {}

/// A core's registers through a wire.
///
/// Accesses to [`regs::MEM_DATA`] become memory frames; on a bad line the master halves
/// their length until they pass.
#[derive(Debug)]
pub struct Master<W> {
    wire: W,
    /// Of the last register access.
    sequence: u8,
    /// Where [`regs::MEM_DATA`] is, as [`regs::MEM_ADDRESS`] reads.
    address: u32,
    rows: u32,
    burst: usize,
    repeated: u64,
    frame: [u8; MAX_FRAME],
}

impl<W: Wire> Master<W> {
    /// A master that has not met its core: [`Master::greet`] it first.
    pub const fn idle(wire: W) -> Self {
        Master {
            wire,
            sequence: 0,
            address: 0,
            rows: 0,
            burst: MAX_BURST,
            repeated: 0,
            frame: [0; MAX_FRAME],
        }
    }

    /// A master that has greeted its core.
    ///
    /// # Errors
    /// If nobody answers.
    pub fn new(wire: W) -> Result<Self, LinkError<W::Error>> {
        let mut master = Self::idle(wire);
        master.greet()?;
        Ok(master)
    }

    /// Greets the core: learns its sequence number and how its memories are laid out.
    ///
    /// # Errors
    /// If nobody answers.
    pub fn greet(&mut self) -> Result<(), LinkError<W::Error>> {
        self.sequence = self.until_answered(&Header::probe(), &mut [])?.sequence;
        self.rows = self.read(regs::SHAPE)? & 0xff;
        Ok(())
    }

    /// Reads a register.
    ///
    /// # Errors
    /// If the link fails.
    pub fn read(&mut self, register: u8) -> Result<u32, LinkError<W::Error>> {
        let mut word = [0];
        self.read_block(register, &mut word)?;
        Ok(word[0])
    }

    /// Writes a register.
    ///
    /// # Errors
    /// If the link fails.
    pub fn write(&mut self, register: u8, value: u32) -> Result<(), LinkError<W::Error>> {
        self.write_block(register, &[value])
    }

    /// Reads one register again and again, as for the memories.
    ///
    /// # Errors
    /// If the link fails.
    pub fn read_block(
        &mut self,
        register: u8,
        words: &mut [u32],
    ) -> Result<(), LinkError<W::Error>> {
        if register != regs::MEM_DATA {
            return words.iter_mut().try_for_each(|word| {
                let header = Header::read(register, self.next_sequence());
                self.until_answered(&header, core::slice::from_mut(word))
                    .map(drop)
            });
        }
        self.in_bursts(words.len(), |master, from, count| {
            let header = Header::memory_read(master.address, count as u8);
            master.attempt(&header, &[], &mut words[from..from + count])
        })
    }

    /// Writes one register again and again, as for the memories.
    ///
    /// # Errors
    /// If the link fails.
    pub fn write_block(&mut self, register: u8, words: &[u32]) -> Result<(), LinkError<W::Error>> {
        if register != regs::MEM_DATA {
            return words.iter().try_for_each(|&value| {
                let header = Header::write(register, value, self.next_sequence());
                self.until_answered(&header, &mut [])?;
                if register == regs::MEM_ADDRESS {
                    self.address = value;
                }
                Ok(())
            });
        }
        self.in_bursts(words.len(), |master, from, count| {
            let header = Header::memory_write(master.address, count as u8);
            let written = master.attempt(&header, &words[from..from + count], &mut [])?;
            match written {
                // What its CRC may miss: see the module's docs.
                Some(_) if count == 1 => master.holds(words[from]),
                written => Ok(written),
            }
        })
    }

    /// Frames that had to be sent again so far.
    pub fn repeated(&self) -> u64 {
        self.repeated
    }

    /// What moves the bits.
    pub fn wire_mut(&mut self) -> &mut W {
        &mut self.wire
    }

    fn next_sequence(&mut self) -> u8 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    /// Sends a frame without a payload until it is answered.
    fn until_answered(
        &mut self,
        header: &Header,
        answer: &mut [u32],
    ) -> Result<Status, LinkError<W::Error>> {
        for _ in 0..ATTEMPTS {
            if let Some(status) = self.attempt(header, &[], answer)? {
                return Ok(status);
            }
        }
        Err(LinkError::NoAnswer)
    }

    /// Moves `words` words in frames that `attempt` sends: it is told the first word and the count.
    fn in_bursts(
        &mut self,
        words: usize,
        mut attempt: impl FnMut(&mut Self, usize, usize) -> Result<Option<Status>, LinkError<W::Error>>,
    ) -> Result<(), LinkError<W::Error>> {
        let (mut done, mut failures) = (0, 0);
        while done < words {
            // Two words and their CRC would pass for a header: see the module's docs.
            let count = match self.burst.min(words - done) {
                2 => 1,
                count => count,
            };
            if attempt(self, done, count)?.is_some() {
                done += count;
                failures = 0;
                self.address = advance(self.address, count as u32, self.rows);
                self.burst = (2 * self.burst).min(MAX_BURST);
            } else {
                failures += 1;
                if failures == ATTEMPTS {
                    return Err(LinkError::NoAnswer);
                }
                self.burst = (self.burst / 2).max(1);
            }
        }
        Ok(())
    }

    /// Reads the word at the address; `None` if it is another.
    fn holds(&mut self, word: u32) -> Result<Option<Status>, LinkError<W::Error>> {
        let mut found = [0];
        let header = Header::memory_read(self.address, 1);
        let status = self.until_answered(&header, &mut found)?;
        let differs = (found[0] ^ word) & region::kept(self.address >> 28);
        Ok(Some(status).filter(|_| differs == 0))
    }

    /// Sends a frame once; `None` without a good answer.
    fn attempt(
        &mut self,
        header: &Header,
        payload: &[u32],
        answer: &mut [u32],
    ) -> Result<Option<Status>, LinkError<W::Error>> {
        let request = header.request_bytes();
        let frame = &mut self.frame[..request + header.answer_bytes()];
        frame.fill(0);
        frame[..HEADER_BYTES].copy_from_slice(&header.encode());
        if request > HEADER_BYTES {
            encode_payload(payload, &mut frame[HEADER_BYTES..request]);
        }
        self.wire.exchange(frame).map_err(LinkError::Wire)?;
        let status = decode_answer(&frame[request..], answer).ok();
        self.repeated += u64::from(status.is_none());
        Ok(status)
    }
}
