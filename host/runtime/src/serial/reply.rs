//! A board's answers, kept.

use annulus_contract::shape::CoreShape;
use annulus_contract::wire::{self, Answer, Digest, End, Fault, Hello, Meters, CORE_REGISTERS};

/// What a board is, and what it holds: its [`Hello`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// Name of the board.
    pub board: String,
    /// The FPGA on it.
    pub part: String,
    /// Version of its firmware.
    pub firmware: String,
    /// The bitstream that it has configured the FPGA with.
    pub bitstream: Option<Digest>,
    /// [`CORE_REGISTERS`] of its core, or why none answers.
    pub core: Result<[u32; CORE_REGISTERS.len()], Fault>,
    /// The image that the core runs.
    pub image: Option<Digest>,
    /// The bitstream in its flash.
    pub stored_bitstream: Option<Digest>,
    /// The image in its flash.
    pub stored_image: Option<Digest>,
    /// The script in its flash.
    pub stored_script: Option<Digest>,
    /// Why it has not begun to write without a host.
    pub stayed: Option<Fault>,
    /// What its firmware died of before it started this time.
    pub died: Option<String>,
}

impl Greeting {
    /// The shape of its core.
    ///
    /// # Errors
    /// Why no core answers.
    pub fn shape(&self) -> Result<CoreShape, Fault> {
        let registers = self.core?;
        let value = |register| {
            let mut known = CORE_REGISTERS.into_iter().zip(registers);
            let found = known.find(|(name, _)| *name == register);
            found.map_or(0, |(_, value)| value)
        };
        CoreShape::read(|register| Ok(value(register)))
    }
}

impl From<Hello<'_>> for Greeting {
    fn from(hello: Hello) -> Self {
        Greeting {
            board: hello.board.into(),
            part: hello.part.into(),
            firmware: hello.firmware.into(),
            bitstream: hello.bitstream,
            core: hello.core,
            image: hello.image,
            stored_bitstream: hello.stored_bitstream,
            stored_image: hello.stored_image,
            stored_script: hello.stored_script,
            stayed: hello.stayed,
            died: hello.died.map(Into::into),
        }
    }
}

/// An [`Answer`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The work is under way.
    Working,
    /// It is done.
    Done,
    /// It cannot be done.
    Fault(Fault),
    /// Who answers.
    Hello(Greeting),
    /// Bytes of the upload that are there.
    Have(u32),
    /// Words.
    Words(Vec<u32>),
    /// Chosen tokens.
    Tokens {
        /// Of which run.
        run: u32,
        /// Index of the first.
        first: u32,
        /// The tokens.
        tokens: Vec<u16>,
        /// Why there are no more after these.
        end: Option<End>,
    },
    /// What the board has counted.
    Meters(Meters),
}

impl From<Answer<'_>> for Reply {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Working => Reply::Working,
            Answer::Done => Reply::Done,
            Answer::Fault(fault) => Reply::Fault(fault),
            Answer::Hello(hello) => Reply::Hello(hello.into()),
            Answer::Have(bytes) => Reply::Have(bytes),
            Answer::Words(bytes) => Reply::Words(wire::words(bytes).collect()),
            Answer::Tokens {
                run,
                first,
                tokens,
                end,
            } => Reply::Tokens {
                run,
                first,
                tokens: wire::tokens(tokens).collect(),
                end,
            },
            Answer::Meters(meters) => Reply::Meters(meters),
        }
    }
}
