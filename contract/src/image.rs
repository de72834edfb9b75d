//! The image file as everybody reads it: what tells it, and its sections in their order.
//!
//! Everything is little-endian. [`MAGIC`], [`VERSION`], the length of the file, then
//! [`SECTIONS`], each a tag, a length and its contents; at the end the CRC-32 of all that comes
//! before. A reader without an allocator takes the bytes as they come and copies each
//! section to the memory it is for.
//!
//! | tag | contents |
//! | --- | --- |
//! | `CONF` | sizes, formats and flags, 32 bits each ([`conf`]), then 8 bytes a layer |
//! | `REGS` | registers: number and value, 32 bits each |
//! | `STEP` | steps, 8 words each |
//! | `SCAL` | row scales, 16 bits an entry |
//! | `GAIN` | embedding gains, 16 bits each |
//! | `INCR` | phase increments |
//! | `FARR` | sines and cosines for the sinks |
//! | `WIDE` | words of the wide memory |
//! | `GOLD` | self-test: CRC, number of prompt tokens, of chosen tokens, then both |
//! | `NAME` | UTF-8 |
//! | `TEXT` | the tokenizer; empty for none |

/// The first bytes of every image.
pub const MAGIC: [u8; 8] = *b"ANNULUS\x1a";
/// Version of the format.
pub const VERSION: u32 = 1;
/// Bytes before the first section: magic, version, length.
pub const HEADER_BYTES: usize = 16;
/// A special token that there is not.
pub const NO_TOKEN: u32 = u32::MAX;

/// A section's tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// Sizes, formats and flags.
    Conf,
    /// Registers.
    Regs,
    /// Steps.
    Step,
    /// Row scales.
    Scal,
    /// Embedding gains.
    Gain,
    /// Phase increments.
    Incr,
    /// Sines and cosines for the sinks.
    Farr,
    /// Words of the wide memory.
    Wide,
    /// The self-test.
    Gold,
    /// The model's name.
    Name,
    /// The tokenizer.
    Text,
}

/// The sections in their order.
pub const SECTIONS: [Section; 11] = [
    Section::Conf,
    Section::Regs,
    Section::Step,
    Section::Scal,
    Section::Gain,
    Section::Incr,
    Section::Farr,
    Section::Wide,
    Section::Gold,
    Section::Name,
    Section::Text,
];

impl Section {
    /// The four letters in the file.
    pub const fn tag(self) -> &'static str {
        match self {
            Section::Conf => "CONF",
            Section::Regs => "REGS",
            Section::Step => "STEP",
            Section::Scal => "SCAL",
            Section::Gain => "GAIN",
            Section::Incr => "INCR",
            Section::Farr => "FARR",
            Section::Wide => "WIDE",
            Section::Gold => "GOLD",
            Section::Name => "NAME",
            Section::Text => "TEXT",
        }
    }
}

/// Which 32-bit number of [`Section::Conf`] is what.
pub mod conf {
    /// Rows of the array that the image is for.
    pub const ROWS: usize = 0;
    /// Slots of each ring.
    pub const WINDOW: usize = 1;
    /// Slots that keep a stream's first tokens.
    pub const SINKS: usize = 2;
    /// Score buffers.
    pub const SCORE_BUFFERS: usize = 3;
    /// The longest context that the model was trained for.
    pub const TRAINED_WINDOW: usize = 4;
    /// Token that starts a stream.
    pub const BOS: usize = 5;
    /// Token that ends a text, or [`super::NO_TOKEN`].
    pub const STOP: usize = 6;
    /// Token that starts a stream anew, or [`super::NO_TOKEN`].
    pub const RESTART: usize = 7;
    /// Width of the residual.
    pub const DIM: usize = 8;
    /// Width of the hidden vector.
    pub const HIDDEN: usize = 9;
    /// Query heads.
    pub const HEADS: usize = 10;
    /// Key and value heads.
    pub const KV_HEADS: usize = 11;
    /// Elements a head.
    pub const HEAD_SIZE: usize = 12;
    /// Symbols.
    pub const VOCAB: usize = 13;
    /// How many are of use to a reader that only copies; more follow.
    pub const NUMBERS: usize = 14;
}
