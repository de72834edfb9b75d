//! The link over a UART: two wires where SPI has four.
//!
//! # Bytes
//!
//! [`BAUD`], eight bits, no parity, one stop bit, least significant bit first. Within a frame
//! the slave answers each byte with the one that MISO would have shown meanwhile, so frames
//! are exchanged byte for byte as over SPI, and [`Uart`] is a [`Wire`] like any other.
//!
//! # Framing
//!
//! In place of a chip select, as HDLC does on such lines (RFC 1662):
//!
//! | from | bytes |
//! | --- | --- |
//! | host | [`FLAG`], number, bytes of the frame ..., [`FLAG`] |
//! | slave | [`FLAG`], number, answers ..., [`FLAG`] |
//!
//! - A flag ends a frame and begins another, always: whatever was lost, doubled or made up
//!   before, after a flag both ends are in step. It is answered by a flag.
//! - The first byte of a frame is its number, which the slave sends back and does not
//!   exchange. Each frame has another number than the last, so an answer that comes
//!   late is not taken for that of a frame sent since.
//! - Where a byte would be taken for [`FLAG`] or [`ESCAPE`], an [`ESCAPE`] stands before it,
//!   and the byte with the bit [`TOGGLE`] flipped.
//! - The host sends every zero so, too. Zeros are what it sends while it is answered, and an
//!   answer may need two bytes; all else is answered by one. So the slave never has
//!   more to send than it receives.
//! - Bytes after [`FLAG`] with a wrong stop bit are left out.
//!
//! # Credit
//!
//! At most [`CREDIT`] bytes of a frame are under way without an answer: with escapes no more
//! than fit into the 512 bytes that the FT231X of a ULX3S buffers, should the host be slow.

use super::Wire;

/// Bits a second, start and stop bits included.
pub const BAUD: u32 = 3_000_000;
/// The slowest clock, in hertz, with which a slave tells such bits apart.
pub const LEAST_CLOCK: u32 = 8 * BAUD;

/// Begins and ends a frame.
pub const FLAG: u8 = 0x7e;
/// Says that the next byte is not what it looks like.
pub const ESCAPE: u8 = 0x7d;
/// What is flipped in a byte behind [`ESCAPE`].
pub const TOGGLE: u8 = 0x20;

/// Bytes of a frame that may be under way without an answer.
pub const CREDIT: usize = 240;

/// A byte of a frame as the slave sends it.
///
/// ```
/// use annulus_contract::link::uart::encode;
/// assert!(encode(0x7e).eq([0x7d, 0x5e]));
/// assert!(encode(0).eq([0]));
/// ```
pub fn encode(byte: u8) -> impl Iterator<Item = u8> {
    escape_if(matches!(byte, FLAG | ESCAPE), byte)
}

/// A byte of a frame as the host sends it: a zero escaped too, for the sake of the answer.
///
/// ```
/// use annulus_contract::link::uart::encode_from_host;
/// assert!(encode_from_host(0).eq([0x7d, 0x20]));
/// assert!(encode_from_host(0x12).eq([0x12]));
/// ```
pub fn encode_from_host(byte: u8) -> impl Iterator<Item = u8> {
    escape_if(matches!(byte, FLAG | ESCAPE | 0), byte)
}

fn escape_if(special: bool, byte: u8) -> impl Iterator<Item = u8> {
    let (escape, byte) = if special {
        (Some(ESCAPE), byte ^ TOGGLE)
    } else {
        (None, byte)
    };
    escape.into_iter().chain([byte])
}

/// What stands on a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Symbol {
    /// The end of a frame and the beginning of another.
    Flag,
    /// A byte of a frame.
    Byte(u8),
}

/// Undoes [`encode`] and [`encode_from_host`], byte by byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decoder {
    escaped: bool,
}

impl Decoder {
    /// What this byte, after those before, stands for; `None` where the next will tell.
    pub fn push(&mut self, byte: u8) -> Option<Symbol> {
        let escaped = core::mem::replace(&mut self.escaped, byte == ESCAPE);
        match byte {
            FLAG => Some(Symbol::Flag),
            ESCAPE => None,
            _ if escaped => Some(Symbol::Byte(byte ^ TOGGLE)),
            _ => Some(Symbol::Byte(byte)),
        }
    }
}

/// A line to a slave: a serial port at [`BAUD`].
pub trait Stream {
    /// Why it fails.
    type Error;

    /// Sends all of these bytes.
    ///
    /// # Errors
    /// If the port fails.
    fn send(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;

    /// Waits until bytes come, and takes as many as there are and have room. After as much
    /// time without one as the line and its drivers may take for an answer, returns 0.
    ///
    /// # Errors
    /// If the port fails.
    fn receive(&mut self, bytes: &mut [u8]) -> Result<usize, Self::Error>;
}

/// Frames over a byte stream. A frame that is not answered in full comes back as zeros.
#[derive(Debug)]
pub struct Uart<S> {
    stream: S,
    /// Of the last frame.
    number: u8,
}

/// Where the host is in what the slave sends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In what is no answer to the frame that was sent.
    Outside,
    /// Behind a flag: the number comes.
    Begun,
    /// Among the answers.
    Answers,
}

impl<S: Stream> Uart<S> {
    /// Frames over this line.
    pub const fn new(stream: S) -> Self {
        Uart { stream, number: 0 }
    }

    /// The line.
    pub fn stream_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Sends a frame of at least a byte; the answers take its place. Returns whether there was
    /// one to each byte.
    fn converse(&mut self, frame: &mut [u8]) -> Result<bool, S::Error> {
        let mut line = Line::default();
        line.put(FLAG);
        line.put_byte(self.number);
        let mut decoder = Decoder::default();
        let mut place = Place::Outside;
        let (mut sent, mut answered) = (0, 0);
        loop {
            let allowed = frame.len().min(answered + CREDIT);
            // Not byte by byte: on USB each piece costs a packet.
            if sent < allowed && (allowed == frame.len() || 2 * (allowed - sent) >= CREDIT) {
                frame[sent..allowed]
                    .iter()
                    .for_each(|&byte| line.put_byte(byte));
                sent = allowed;
                if sent == frame.len() {
                    line.put(FLAG);
                }
                self.stream.send(line.take())?;
            }
            let mut received = [0; CREDIT];
            let count = self.stream.receive(&mut received)?;
            if count == 0 {
                return Ok(false);
            }
            for symbol in received[..count].iter().filter_map(|&b| decoder.push(b)) {
                place = match (symbol, place) {
                    (Symbol::Flag, Place::Answers) => return Ok(false),
                    (Symbol::Flag, _) => Place::Begun,
                    (Symbol::Byte(byte), Place::Begun) if byte == self.number => Place::Answers,
                    (Symbol::Byte(byte), Place::Answers) => {
                        // More answers than bytes: the line has made some up.
                        if answered == sent {
                            return Ok(false);
                        }
                        frame[answered] = byte;
                        answered += 1;
                        if answered == frame.len() {
                            return Ok(true);
                        }
                        place
                    }
                    (Symbol::Byte(_), _) => Place::Outside,
                };
            }
        }
    }
}

impl<S: Stream> Wire for Uart<S> {
    type Error = S::Error;

    fn exchange(&mut self, frame: &mut [u8]) -> Result<(), S::Error> {
        self.number = self.number.wrapping_add(1);
        if !frame.is_empty() && !self.converse(frame)? {
            frame.fill(0);
        }
        Ok(())
    }
}

/// Bytes that go over the line in one piece.
struct Line {
    bytes: [u8; Line::ROOM],
    length: usize,
}

impl Line {
    /// Two flags, a number, and as many bytes as there is credit for.
    const ROOM: usize = 2 + 2 * (1 + CREDIT);

    fn put(&mut self, byte: u8) {
        self.bytes[self.length] = byte;
        self.length += 1;
    }

    fn put_byte(&mut self, byte: u8) {
        encode_from_host(byte).for_each(|byte| self.put(byte));
    }

    fn take(&mut self) -> &[u8] {
        &self.bytes[..core::mem::take(&mut self.length)]
    }
}

impl Default for Line {
    fn default() -> Self {
        Line {
            bytes: [0; Line::ROOM],
            length: 0,
        }
    }
}
