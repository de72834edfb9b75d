//! What host and board say to each other.

use super::Fault;
use crate::regs;
use serde::{Deserialize, Serialize};

/// Bytes of an upload in one frame.
pub const MAX_CHUNK: usize = 512;
/// Words of the core's memories in one frame.
pub const MAX_WORDS: usize = 128;
/// Tokens in one frame.
pub const MAX_TOKENS: usize = 128;
/// Tokens of a self-test's prompt, or of its answer, that a board can hold.
pub const GOLDEN_TOKENS: usize = 32;

/// The registers that say what a core is, as [`Hello`] tells them.
pub const CORE_REGISTERS: [u8; 9] = [
    regs::ID,
    regs::SHAPE,
    regs::CAP_MEMORY,
    regs::CAP_SCALES,
    regs::CAP_STEPS,
    regs::CAP_KEY_SCALES,
    regs::CAP_SCORES,
    regs::CAP_VECTOR,
    regs::CAP_VOCAB,
];

/// From the host to the board.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request<'a> {
    /// Begins a session. Answered by [`Answer::Hello`]; ends a run. [`Answer::Working`] from a board
    /// that is configuring its FPGA from flash: no session has begun, ask again.
    Hello,
    /// Begins an upload, or goes on with one of the same object, place and digest. Answered by
    /// [`Answer::Have`]; all of it, if the board holds this very object already.
    Begin {
        /// What comes.
        object: Object,
        /// Where it goes.
        place: Place,
        /// Its length and checksum.
        digest: Digest,
    },
    /// A part of the upload, at most [`MAX_CHUNK`] bytes. Answered by [`Answer::Have`]; a part
    /// that is not the next one changes nothing.
    Chunk {
        /// Where in the object it begins.
        offset: u32,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// Ends the upload: its CRC is checked and it is put to use. Answered by [`Answer::Done`].
    Finish,
    /// Reads registers, at most [`MAX_WORDS`]. Answered by [`Answer::Words`].
    ReadRegisters {
        /// The first ([`crate::regs`]).
        first: u8,
        /// How many.
        count: u8,
    },
    /// Writes a register. Answered by [`Answer::Done`].
    WriteRegister {
        /// Which.
        register: u8,
        /// What.
        value: u32,
    },
    /// Reads memories of the idle core, at most [`MAX_WORDS`]: logits, the stream that is to be
    /// saved. Answered by [`Answer::Words`].
    ReadMemory {
        /// Where ([`crate::regs::mem_address`]).
        address: u32,
        /// How many words.
        count: u8,
    },
    /// Writes memories of the idle core: the stream that is restored. Answered by [`Answer::Done`].
    WriteMemory {
        /// Where.
        address: u32,
        /// Words, little-endian; at most [`MAX_WORDS`].
        words: &'a [u8],
    },
    /// Makes the board's flash forget an object. Answered by [`Answer::Done`].
    Erase(Object),
    /// Processes tokens whose logits nobody wants. Answered by [`Answer::Done`] when the core has.
    Prompt {
        /// Tokens of 16 bits, little-endian; at most [`MAX_TOKENS`].
        tokens: &'a [u8],
    },
    /// Processes a token, then the core's own choices: `count` choices in all, fewer where the
    /// stop token is chosen. Answered by [`Answer::Done`] when it has begun; tokens flow as far as
    /// credit goes.
    Run {
        /// The run's name, chosen by the host at random.
        run: u32,
        /// The token to begin with.
        token: u16,
        /// How many choices; at least one.
        count: u32,
    },
    /// Acknowledges and allows tokens; may be sent at any time, any number of times. Answered by
    /// [`Answer::Tokens`], with no tokens where there are none.
    Credit {
        /// Of which run.
        run: u32,
        /// The host has all tokens before this one.
        from: u32,
        /// It has room for those before this one.
        until: u32,
    },
    /// Ends a run or a prompt: lets the core finish its token and drops what was chosen. Answered
    /// by [`Answer::Done`] when the core is idle.
    Stop,
    /// Runs the image's self-test and leaves an empty stream. Answered by [`Answer::Done`] or
    /// [`Fault::SelfTestToken`], [`Fault::SelfTestLogits`].
    SelfTest,
    /// Ends a run and empties the stream. Answered by [`Answer::Done`].
    Reset,
    /// What the board has counted. Answered by [`Answer::Meters`].
    Meters,
    /// Starts the microcontroller anew; answered by [`Answer::Done`] before it does.
    Reboot(Reboot),
}

/// From the board to the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer<'a> {
    /// The work is under way; ask again.
    Working,
    /// It is done.
    Done,
    /// It cannot be done.
    Fault(Fault),
    /// Who answers.
    #[serde(borrow)]
    Hello(Hello<'a>),
    /// So many bytes of the upload are there.
    Have(u32),
    /// Words of 32 bits, little-endian.
    Words(&'a [u8]),
    /// Chosen tokens.
    Tokens {
        /// Of which run.
        run: u32,
        /// Index of the first of them in the run.
        first: u32,
        /// Tokens of 16 bits, little-endian.
        tokens: &'a [u8],
        /// Why there are no more after these.
        end: Option<End>,
    },
    /// What the board has counted.
    Meters(Meters),
}

/// What can be uploaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Object {
    /// The FPGA's configuration.
    Bitstream,
    /// A model's image.
    Image,
    /// What the board writes without a host ([`crate::script`]); only ever stored.
    Script,
}

/// Where an upload goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// Into the FPGA or the core, now.
    Live,
    /// Into the board's flash, for when it starts without a host.
    Stored,
}

/// What tells one object from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// Bytes.
    pub length: u32,
    /// CRC-32 of all of them.
    pub crc: u32,
}

impl Digest {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Digest {
            length: bytes.len() as u32,
            crc: crate::crc::crc32(bytes),
        }
    }
}

/// How the microcontroller is to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reboot {
    /// With its firmware.
    Firmware,
    /// As a drive that takes a new one.
    BootLoader,
}

/// What a board is, and what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello<'a> {
    /// Name of the board, such as `pico-ice`.
    pub board: &'a str,
    /// The FPGA on it, such as `iCE40UP5K`.
    pub part: &'a str,
    /// Version of the firmware.
    pub firmware: &'a str,
    /// The bitstream that this firmware has configured the FPGA with.
    pub bitstream: Option<Digest>,
    /// [`CORE_REGISTERS`] of the core that answers, or why none does.
    pub core: Result<[u32; CORE_REGISTERS.len()], Fault>,
    /// The image that the core runs.
    pub image: Option<Digest>,
    /// The bitstream in flash.
    pub stored_bitstream: Option<Digest>,
    /// The image in flash.
    pub stored_image: Option<Digest>,
    /// The script in flash.
    pub stored_script: Option<Digest>,
    /// Why the board has not begun to write without a host, though its flash holds something.
    pub stayed: Option<Fault>,
    /// What the firmware died of before it started this time.
    pub died: Option<&'a str>,
}

/// Why a run has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// All tokens that were asked for are there.
    Count,
    /// The stop token was chosen.
    Stop,
    /// The host ended it.
    Stopped,
    /// Something went wrong; the tokens before are good.
    Fault(Fault),
}

/// What a board has counted since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meters {
    /// Microseconds since then.
    pub micros: u64,
    /// Microseconds in which the firmware spoke with the core.
    pub link_micros: u64,
    /// Microseconds in which the firmware worked, those of the link included.
    pub busy_micros: u64,
    /// Microseconds of runs in which the core had to wait for the host's credit.
    pub held_micros: u64,
    /// Tokens taken from the core.
    pub tokens: u64,
    /// Sound frames from the host.
    pub frames: u32,
    /// Frames from the host that were damaged.
    pub damaged: u32,
    /// Requests that came again.
    pub repeated: u32,
    /// Frames to the core that had to be sent again.
    pub link_repeated: u32,
}

/// The words of [`Answer::Words`] or [`Request::WriteMemory`].
pub fn words(bytes: &[u8]) -> impl ExactSizeIterator<Item = u32> + '_ {
    bytes
        .chunks_exact(4)
        .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

/// The tokens of [`Answer::Tokens`] or [`Request::Prompt`].
pub fn tokens(bytes: &[u8]) -> impl ExactSizeIterator<Item = u16> + '_ {
    bytes
        .chunks_exact(2)
        .map(|b| u16::from_le_bytes([b[0], b[1]]))
}
