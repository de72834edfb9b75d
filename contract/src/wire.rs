//! The wire protocol between a host and a board, over any stream of bytes: USB serial,
//! a UART, a pseudo-terminal.
//!
//! # Frames
//!
//! A frame is a [`Head`], a message and a CRC-32, with its zeros stuffed away (COBS),
//! between two zero bytes:
//!
//! ```text
//! 00 | COBS( marker, version, session (4), sequence (2), message (0..), CRC-32 (4) ) | 00
//! ```
//!
//! Numbers are little-endian; the CRC ([`crate::crc`]) is of everything before it. Two zeros in
//! a row are no frame, and the zero in front ends whatever noise came before, so a frame is
//! lost only by damage of its own. Messages are [`postcard`]'s encoding of [`Request`]
//! (host to board) and [`Answer`] (board to host). The marker tells the two directions
//! apart, so that a port that echoes is not taken for a board.
//!
//! # Why nothing is lost, doubled or forged
//!
//! The board speaks when it is asked, but for tokens. There is one rule for the host:
//! **without an answer of the same session and sequence number, send the same frame
//! again.** And three for the board:
//!
//! - It executes a request once: a request with the number of the last one is answered as
//!   before ([`Answer::Working`] while the work is under way; the answer itself comes when
//!   it is done, asked for or not).
//! - A [`Request::Hello`] begins a session and ends every other one. Requests of another
//!   session get [`Fault::Session`] and do nothing: of two programs at one board the later
//!   one has it, and the other is told. A board that was reset says [`Fault::NoSession`].
//! - Tokens carry their index. The board keeps those that the host has not acknowledged;
//!   [`Request::Credit`] acknowledges all before `from`, asks for what follows again, and
//!   allows as many as `until`. A host that hears nothing for a while, or finds a gap,
//!   sends its credit again. Without credit the board takes no tokens from the core, and the
//!   core waits: nothing is ever dropped.
//!
//! Uploads are asked for by length and CRC and go on where they were left, whoever
//! left them there.
//!
//! # Versions
//!
//! Every frame carries [`VERSION`]. Head, CRC and stuffing are the same in all versions, so both
//! sides can tell the other's; messages are read only where the versions are equal.

mod fault;
mod frame;
mod message;

pub use fault::{Fault, Short};
pub use frame::{
    decode, encode, FrameError, Head, Receiver, Side, HEAD_BYTES, MAX_BODY, MAX_FRAME,
};
pub use message::{
    tokens, words, Answer, Digest, End, Hello, Meters, Object, Place, Reboot, Request,
    CORE_REGISTERS, GOLDEN_TOKENS, MAX_CHUNK, MAX_TOKENS, MAX_WORDS,
};

/// Version of the messages.
pub const VERSION: u8 = 2;

/// Who a board is on the USB.
pub mod usb {
    /// Vendor: pid.codes, which lends numbers to open hardware.
    pub const VENDOR: u16 = 0x1209;
    /// Product: pid.codes' number for tests. It is shared, so it says little without [`NAME`].
    pub const PRODUCT: u16 = 0x0001;
    /// What the product string of every board begins with; the board's name follows.
    pub const NAME: &str = "Annulus ";
}
