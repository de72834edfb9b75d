//! Frames: messages as bytes between zeros.

use super::VERSION;
use crate::crc::crc32;
use serde::{Deserialize, Serialize};

/// Bytes of a [`Head`].
pub const HEAD_BYTES: usize = 8;
/// Bytes of the longest message.
pub const MAX_BODY: usize = 560;
const CRC_BYTES: usize = 4;
const MAX_PLAIN: usize = HEAD_BYTES + MAX_BODY + CRC_BYTES;
/// Bytes of the longest frame: stuffing adds one byte, and one more each 254; a zero at both ends.
pub const MAX_FRAME: usize = MAX_PLAIN + 1 + MAX_PLAIN / 254 + 2;

/// Who sent a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Side {
    /// The host: a request.
    Host = 0xa5,
    /// The board: an answer.
    Board = 0x5b,
}

/// The beginning of every frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Version of the message that follows.
    pub version: u8,
    /// Chosen by the host when it says hello.
    pub session: u32,
    /// Of the request; of the request that is answered. Tokens that nobody asked for again
    /// carry that of the last credit.
    pub sequence: u16,
}

impl Head {
    /// Of a message of this version.
    pub const fn new(session: u32, sequence: u16) -> Self {
        Head {
            version: VERSION,
            session,
            sequence,
        }
    }
}

/// Why bytes between zeros are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// They are too few, or stuffed wrongly.
    Form,
    /// The CRC is wrong.
    Crc,
    /// A sound frame from one's own side: an echo.
    Echo,
    /// The head is sound and its message cannot be read: another version's.
    Message(Head),
    /// The message does not fit [`MAX_BODY`].
    TooLong,
}

/// Writes a frame and returns its length.
///
/// # Errors
/// [`FrameError::TooLong`].
pub fn encode(
    side: Side,
    head: Head,
    message: &impl Serialize,
    frame: &mut [u8; MAX_FRAME],
) -> Result<usize, FrameError> {
    let mut plain = [0; MAX_PLAIN];
    plain[0] = side as u8;
    plain[1] = head.version;
    plain[2..6].copy_from_slice(&head.session.to_le_bytes());
    plain[6..8].copy_from_slice(&head.sequence.to_le_bytes());
    let room = &mut plain[HEAD_BYTES..HEAD_BYTES + MAX_BODY];
    let body = postcard::to_slice(message, room).map_err(|_| FrameError::TooLong)?;
    let end = HEAD_BYTES + body.len();
    let crc = crc32(&plain[..end]).to_le_bytes();
    plain[end..end + CRC_BYTES].copy_from_slice(&crc);
    let stuffed = cobs::try_encode(&plain[..end + CRC_BYTES], &mut frame[1..MAX_FRAME - 1])
        .map_err(|_| FrameError::TooLong)?;
    frame[0] = 0;
    frame[stuffed + 1] = 0;
    Ok(stuffed + 2)
}

/// Reads the bytes between two zeros, which are changed.
///
/// # Errors
/// If they are not a sound frame from `side`, with a message of this version.
pub fn decode<'a, M: Deserialize<'a>>(
    side: Side,
    bytes: &'a mut [u8],
) -> Result<(Head, M), FrameError> {
    let length = cobs::decode_in_place(bytes).map_err(|_| FrameError::Form)?;
    let bytes: &'a [u8] = bytes.get(..length).ok_or(FrameError::Form)?;
    let (plain, crc) = bytes
        .split_last_chunk::<CRC_BYTES>()
        .ok_or(FrameError::Form)?;
    let (head, body) = plain
        .split_first_chunk::<HEAD_BYTES>()
        .ok_or(FrameError::Form)?;
    if crc32(plain) != u32::from_le_bytes(*crc) {
        return Err(FrameError::Crc);
    }
    let [marker, version, a, b, c, d, low, high] = *head;
    if marker != side as u8 {
        return Err(FrameError::Echo);
    }
    let head = Head {
        version,
        session: u32::from_le_bytes([a, b, c, d]),
        sequence: u16::from_le_bytes([low, high]),
    };
    if version != VERSION {
        return Err(FrameError::Message(head));
    }
    let message = postcard::from_bytes(body).map_err(|_| FrameError::Message(head))?;
    Ok((head, message))
}

/// Finds frames in a stream of bytes: collects what stands between zeros.
#[derive(Debug)]
pub struct Receiver {
    bytes: [u8; MAX_FRAME],
    length: usize,
    /// More came than a frame can have: noise until the next zero.
    overrun: bool,
    /// The bytes have been handed out.
    taken: bool,
}

impl Receiver {
    /// With nothing in it.
    pub const fn new() -> Self {
        Receiver {
            bytes: [0; MAX_FRAME],
            length: 0,
            overrun: false,
            taken: false,
        }
    }

    /// Takes a byte. At the end of what may be a frame, gives what stands before it, for [`decode`].
    pub fn push(&mut self, byte: u8) -> Option<&mut [u8]> {
        if self.taken {
            self.clear();
        }
        if byte == 0 {
            let whole = self.length > 0 && !self.overrun;
            self.taken = true;
            return if whole {
                self.bytes.get_mut(..self.length)
            } else {
                None
            };
        }
        match self.bytes.get_mut(self.length) {
            Some(place) => {
                *place = byte;
                self.length += 1;
            }
            None => self.overrun = true,
        }
        None
    }

    /// Forgets what has come so far.
    pub fn clear(&mut self) {
        self.length = 0;
        self.overrun = false;
        self.taken = false;
    }
}

impl Default for Receiver {
    fn default() -> Self {
        Self::new()
    }
}
