//! The serial link to a core's registers: what goes over the wires, and why a
//! damaged, lost or repeated frame costs time and nothing else.
//!
//! # Wires
//!
//! What is said here is for SPI; [`uart`] carries the same frames over two wires.
//!
//! SPI mode 0, most significant bit first, words as four bytes, most significant
//! first. Chip select low frames one transaction. The slave samples the wires with
//! the FPGA's clock:
//!
//! - SCK at most a quarter of that clock; each level of SCK at least one and a half of
//!   its periods; MISO moves two to three periods after the *rising* edge of SCK, so the
//!   master has the rest of the period until the next rising edge;
//! - two periods from chip select low to the first rising edge of SCK, and from the
//!   last falling edge to chip select high; three between frames;
//! - MISO is driven low while nothing is answered. It never floats.
//!
//! # Frames
//!
//! A frame is a request and its answer, both of 32-bit words. While the one is sent,
//! the other line carries zeros, which nobody reads. Every part ends with its [`crc`].
//!
//! | frame | request | answer |
//! | --- | --- | --- |
//! | [`Op::Read`] | header | status, the register, CRC |
//! | [`Op::Write`] | header | status, CRC |
//! | [`Op::MemoryRead`] | header | status, `count` words, CRC |
//! | [`Op::MemoryWrite`] | header, `count` words, CRC | status, CRC |
//!
//! The [`Header`] is three words: operation, sequence number, register and count, a
//! byte each; the argument; the CRC of both. The argument is the value to write, or
//! the place in the memories ([`crate::regs::mem_address`]). The [`Status`] is one
//! word; a register is read while it is on its way, so that no frame waits.
//!
//! # Why nothing is lost, doubled or forged
//!
//! A slave that finds a wrong CRC, an unknown operation or the end of the frame too
//! early says nothing more until chip select rises, and MISO stays low. So a good
//! answer is the acknowledgement, and there is one rule for everything else: **without
//! a good answer, send the same frame again.** What a repeated frame does:
//!
//! - *Registers.* Nothing is executed before the header's CRC is checked. The slave
//!   keeps the sequence number of the last register frame that it executed; a frame
//!   with that number is answered as before and not executed again: a write has been
//!   done, a read finds its word still in the bus' output. So a token is queued once,
//!   and taken once, however often its frame or its answer is lost. The master gives
//!   each new register access a number other than the last (one more, modulo 256), and
//!   sends nothing else before it is answered.
//! - *Memories.* Words are written as they come, before their CRC has been seen, but
//!   only to the `count` places from the argument on, which a checked header named: a
//!   repeated frame writes the same places again. Reading them takes nothing away.
//!   These frames carry no number and are always executed.
//!
//! A master that starts does not know the number that the slave has: it reads no words
//! ([`Header::probe`]) and finds it in the status.
//!
//! Three more things to exclude:
//!
//! - *An answer that nobody gave.* The CRC of zeros is not zero, and the status begins with
//!   [`MARKER`], because 64 ones would pass as a word and its CRC.
//! - *A request that nobody made.* Where noise ends a frame before its payload and begins
//!   another, the payload would be read as a header, and one of two words, with its CRC, is as
//!   long as a header with its CRC. So the master never writes two words in a frame.
//! - *A slip.* This CRC begins with ones and ends inverted. In a payload of one word these two
//!   meet, so that the word and its CRC, moved by a bit or a byte between ones, may pass as
//!   another word and its CRC. So the master reads such a word back.

mod master;
pub mod uart;

pub use master::{LinkError, Master, Wire, ATTEMPTS, MAX_BURST};

use crate::crc::Crc32;
use crate::regs::region;

/// What a frame asks for: the first byte on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Op {
    /// Reads a register once.
    Read = OPS,
    /// Writes a register once.
    Write = OPS | OP_WRITE,
    /// Reads consecutive words of the memories.
    MemoryRead = OPS | OP_MEMORY,
    /// Writes consecutive words of the memories.
    MemoryWrite = OPS | OP_MEMORY | OP_WRITE,
}

/// What all operations have in common; other bytes are refused.
pub const OPS: u8 = 0xa0;
/// The bit of an operation that writes.
pub const OP_WRITE: u8 = 1;
/// The bit of an operation on memories.
pub const OP_MEMORY: u8 = 2;

impl Op {
    const ALL: [Op; 4] = [Op::Read, Op::Write, Op::MemoryRead, Op::MemoryWrite];
}

/// First byte of every answer. Its first bit is what an idle MISO shows.
pub const MARKER: u8 = 0x5a;

/// Bytes of a header, with its CRC.
pub const HEADER_BYTES: usize = 12;
/// Bytes of an answer around its words: status and CRC.
pub const ANSWER_BYTES: usize = 8;
/// Bytes of a payload around its words: the CRC.
pub const PAYLOAD_BYTES: usize = 4;

/// Why a received part of a frame is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// It has another number of bytes.
    Length,
    /// It was damaged on its way, or nobody sent it.
    Crc,
    /// A sound header asks for something unknown.
    Operation,
    /// A sound answer does not begin with [`MARKER`].
    Marker,
}

impl core::fmt::Display for FrameError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            FrameError::Length => "a frame has the wrong length",
            FrameError::Crc => "a frame's checksum is wrong",
            FrameError::Operation => "a frame asks for an unknown operation",
            FrameError::Marker => "an answer does not begin as answers do",
        })
    }
}

impl core::error::Error for FrameError {}

/// Checksum of a part of a frame: CRC-32 with the bits in the order of the wire
/// (polynomial 0x04c11db7, from all ones, inverted; known as CRC-32/BZIP2), sent as a word.
///
/// ```
/// assert_eq!(annulus_contract::link::crc(b"123456789"), 0xfc891918);
/// ```
pub fn crc(bytes: &[u8]) -> u32 {
    let mut crc = Crc32::new();
    for byte in bytes {
        crc.update(&[byte.reverse_bits()]);
    }
    crc.value().reverse_bits()
}

/// Ends a part of a frame, of which all but the last four bytes stand, with its CRC.
fn seal(part: &mut [u8]) {
    if let Some((body, end)) = part.split_last_chunk_mut::<4>() {
        *end = crc(body).to_be_bytes();
    }
}

/// The bytes of a part before its CRC.
fn open(part: &[u8]) -> Result<&[u8], FrameError> {
    let (body, end) = part.split_last_chunk::<4>().ok_or(FrameError::Length)?;
    if crc(body) == u32::from_be_bytes(*end) {
        Ok(body)
    } else {
        Err(FrameError::Crc)
    }
}

/// The beginning of every frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What to do.
    pub op: Op,
    /// Differs from the last register access; means nothing to memories.
    pub sequence: u8,
    /// The register ([`crate::regs`]); means nothing to memories.
    pub register: u8,
    /// Words from or to the memories; 1 where a register is read, 0 where it is written.
    pub count: u8,
    /// The value to write, or where in the memories the words begin.
    pub argument: u32,
}

impl Header {
    /// Reads a register.
    pub const fn read(register: u8, sequence: u8) -> Self {
        Header {
            op: Op::Read,
            sequence,
            register,
            count: 1,
            argument: 0,
        }
    }

    /// Writes a register.
    pub const fn write(register: u8, value: u32, sequence: u8) -> Self {
        Header {
            op: Op::Write,
            sequence,
            register,
            count: 0,
            argument: value,
        }
    }

    /// Reads `count` words of the memories from `address` on.
    pub const fn memory_read(address: u32, count: u8) -> Self {
        Header {
            op: Op::MemoryRead,
            sequence: 0,
            register: 0,
            count,
            argument: address,
        }
    }

    /// Writes `count` words of the memories from `address` on.
    pub const fn memory_write(address: u32, count: u8) -> Self {
        Header {
            op: Op::MemoryWrite,
            ..Self::memory_read(address, count)
        }
    }

    /// Changes nothing but [`crate::regs::MEM_ADDRESS`], which becomes 0; the status
    /// tells the slave's sequence number.
    pub const fn probe() -> Self {
        Self::memory_read(0, 0)
    }

    /// Bytes of the whole request: the header, and a payload with its CRC.
    pub const fn request_bytes(&self) -> usize {
        HEADER_BYTES
            + match self.op {
                Op::MemoryWrite => 4 * self.count as usize + PAYLOAD_BYTES,
                _ => 0,
            }
    }

    /// Bytes of the answer.
    pub const fn answer_bytes(&self) -> usize {
        ANSWER_BYTES
            + match self.op {
                Op::MemoryWrite => 0,
                _ => 4 * self.count as usize,
            }
    }

    /// As it is sent.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&[self.op as u8, self.sequence, self.register, self.count]);
        bytes[4..8].copy_from_slice(&self.argument.to_be_bytes());
        seal(&mut bytes);
        bytes
    }

    /// As a slave understands it.
    ///
    /// # Errors
    /// If it is not a sound header.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, FrameError> {
        open(bytes)?;
        let [op, sequence, register, count, a, b, c, d, ..] = *bytes;
        let op = Op::ALL.into_iter().find(|&known| known as u8 == op);
        Ok(Header {
            op: op.ok_or(FrameError::Operation)?,
            sequence,
            register,
            count,
            argument: u32::from_be_bytes([a, b, c, d]),
        })
    }
}

/// Words as bytes in the order of the wire, and the CRC behind them, which `part` has room for.
fn encode(words: impl Iterator<Item = u32>, part: &mut [u8]) {
    for (bytes, word) in part.chunks_exact_mut(4).zip(words) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    seal(part);
}

/// The words of a sound part of a frame.
fn decode(part: &[u8]) -> Result<impl Iterator<Item = u32> + '_, FrameError> {
    let word = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0, |word, &byte| word << 8 | u32::from(byte))
    };
    Ok(open(part)?.chunks_exact(4).map(word))
}

/// Writes a payload and its CRC into `part`, of [`PAYLOAD_BYTES`] and four for each word.
pub fn encode_payload(words: &[u32], part: &mut [u8]) {
    encode(words.iter().copied(), part);
}

/// Reads the words of a payload.
///
/// # Errors
/// If its length is not that of `words` or it was damaged.
pub fn decode_payload(part: &[u8], words: &mut [u32]) -> Result<(), FrameError> {
    if part.len() != 4 * words.len() + PAYLOAD_BYTES {
        return Err(FrameError::Length);
    }
    words
        .iter_mut()
        .zip(decode(part)?)
        .for_each(|(word, value)| *word = value);
    Ok(())
}

/// The first word of an answer: [`MARKER`], a zero, and these two bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Of the last register frame that was executed; of this one, if it is one.
    pub sequence: u8,
    /// [`crate::regs::status::BUSY`] and [`crate::regs::status::OUTPUT`] as the answer began.
    pub flags: u8,
}

impl Status {
    /// As a word.
    pub const fn word(self) -> u32 {
        (MARKER as u32) << 24 | (self.sequence as u32) << 8 | self.flags as u32
    }
}

/// Writes an answer with its CRC into `part`, of [`ANSWER_BYTES`] and four for each word.
pub fn encode_answer(status: Status, words: &[u32], part: &mut [u8]) {
    encode(
        [status.word()].into_iter().chain(words.iter().copied()),
        part,
    );
}

/// Reads an answer and its words.
///
/// # Errors
/// If its length is not that of `words`, it was damaged, or it is no answer.
pub fn decode_answer(part: &[u8], words: &mut [u32]) -> Result<Status, FrameError> {
    if part.len() != 4 * words.len() + ANSWER_BYTES {
        return Err(FrameError::Length);
    }
    let mut received = decode(part)?;
    let first = received.next().ok_or(FrameError::Length)?;
    let status = Status {
        sequence: (first >> 8) as u8,
        flags: first as u8,
    };
    if status.word() != first {
        return Err(FrameError::Marker);
    }
    words
        .iter_mut()
        .zip(received)
        .for_each(|(word, value)| *word = value);
    Ok(status)
}

/// The place in the memories that lies `words` words after `address`, on a core of `rows` rows.
///
/// ```
/// use annulus_contract::link::advance;
/// use annulus_contract::regs::{mem_address, region::STEPS};
/// let at = advance(mem_address(STEPS, 5, 6), 11, 8);
/// assert_eq!(at, mem_address(STEPS, 7, 1));
/// ```
pub const fn advance(address: u32, words: u32, rows: u32) -> u32 {
    let lanes = match region::lanes(address >> 28, rows) {
        0 => 1,
        lanes => lanes,
    };
    let lane = (address >> 20 & 0xff) + words;
    let index = (address & 0xf_ffff) + lane / lanes;
    crate::regs::mem_address(address >> 28, index & 0xf_ffff, lane % lanes)
}
