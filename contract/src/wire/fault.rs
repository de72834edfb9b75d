//! What can be wrong on a board, as codes on the wire and sentences for people.

use super::Object;
use crate::error;
use core::fmt::{Display, Formatter, Result};
use serde::{Deserialize, Serialize};

/// Why a board does not do what it was asked for. Firmware sends the code; a host
/// displays the sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// Another program has begun a session since.
    Session,
    /// Nobody has said hello since the board started.
    NoSession,
    /// The board speaks another version of the protocol.
    Version,
    /// A request that makes no sense: too long, too many, or nothing.
    Request,
    /// A run, a prompt or a self-test is under way.
    Busy,
    /// No upload has been begun.
    NoUpload,
    /// Not all bytes of an upload are there.
    Incomplete,
    /// The upload's bytes do not have the CRC that it began with.
    Checksum,
    /// The board has no place to store this.
    NoStorage(Object),
    /// The board's flash does not keep what is written to it.
    Storage,
    /// What the board's flash holds has changed since it was stored, or does not belong to the
    /// rest of it.
    Damaged(Object),
    /// The FPGA has not been configured.
    NotConfigured,
    /// The FPGA refused the bitstream: CDONE stayed low.
    Configuration,
    /// The board cannot configure its FPGA.
    NoConfiguration,
    /// No core answers on the link.
    NoCore,
    /// Something else answers: this is its identity.
    Stranger(u32),
    /// The port to the core failed.
    Port,
    /// No image has been loaded.
    NotLoaded,
    /// The upload is not an image of this version.
    Image,
    /// The image does not fit the core.
    DoesNotFit {
        /// What is short.
        what: Short,
        /// How much the image needs.
        needs: u32,
        /// How much the core has.
        has: u32,
    },
    /// A token that the model does not have.
    Token(u16),
    /// There is no run of this name: the board was reset, or another run has begun.
    NoRun,
    /// The core reported an error ([`crate::error`]).
    Core(u32),
    /// The core has taken too long.
    Stuck,
    /// The self-test chose another token.
    SelfTestToken {
        /// Which.
        index: u16,
        /// What it must be.
        expected: u16,
        /// What it was.
        found: u16,
    },
    /// The self-test's tokens are right and its logits are not.
    SelfTestLogits {
        /// The hash that they must have.
        expected: u32,
        /// The one that they had.
        found: u32,
    },
}

/// What a core may have too little of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Short {
    /// Rows of the array; they must be equal.
    Rows,
    /// Words of the wide memory.
    Memory,
    /// Entries of the row scales.
    Scales,
    /// Steps.
    Steps,
    /// Elements of the residual.
    Residual,
    /// Elements of the hidden vector.
    Hidden,
    /// Head size.
    Head,
    /// Symbols.
    Vocab,
}

impl Display for Short {
    fn fmt(&self, f: &mut Formatter) -> Result {
        f.write_str(match self {
            Short::Rows => "rows of multipliers, exactly",
            Short::Memory => "words of the wide memory",
            Short::Scales => "entries of row scales",
            Short::Steps => "steps",
            Short::Residual => "elements of the residual",
            Short::Hidden => "elements of the hidden vector",
            Short::Head => "elements a head",
            Short::Vocab => "symbols",
        })
    }
}

impl Display for Object {
    fn fmt(&self, f: &mut Formatter) -> Result {
        f.write_str(match self {
            Object::Bitstream => "bitstream",
            Object::Image => "image",
            Object::Script => "script",
        })
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut Formatter) -> Result {
        let sentence = match *self {
            Fault::Session => "another program has taken over the board: end it, then start again",
            Fault::NoSession => "the board was reset: start again",
            Fault::Version => {
                "the board's firmware speaks another version of the protocol: flash the firmware that belongs to this program (`annulus flash`)"
            }
            Fault::Request => "the board does not understand the request",
            Fault::Busy => "the board is busy with a run: stop it first",
            Fault::NoUpload => "no upload has been begun: begin again",
            Fault::Incomplete => "the upload is not complete: begin again, it goes on where it stopped",
            Fault::Checksum => "the upload arrived with a wrong checksum: send it again",
            Fault::NoStorage(object) => {
                return write!(f, "the board has no room in flash for this {object}: load it without storing it")
            }
            Fault::Damaged(object) => {
                return write!(f, "the {object} in the board's flash is damaged, or not for what else is there: store it again (`annulus flash --store`)")
            }
            Fault::Storage => "the board's flash does not keep what is written: it may be worn out",
            Fault::NotConfigured => {
                "the board's FPGA is not configured: give it a bitstream (`annulus flash --bitstream FILE`)"
            }
            Fault::Configuration => {
                "the FPGA refused the bitstream (CDONE stayed low): it is damaged or made for another part"
            }
            Fault::NoConfiguration => {
                "the board's firmware cannot configure its FPGA: use the board's own programmer"
            }
            Fault::NoCore => {
                "no core answers inside the FPGA: is the bitstream one of Annulus, and for this board?"
            }
            Fault::Stranger(id) => {
                return write!(
                    f,
                    "what answers inside the FPGA is not a core of this version (its identity is {id:08x}): load the bitstream that belongs to this program"
                )
            }
            Fault::Port => "the board's port to the FPGA failed: reset the board",
            Fault::NotLoaded => "no image has been loaded into the core",
            Fault::Image => "the upload is not an image of this version: make it again with `annulus quantize`",
            Fault::DoesNotFit { what, needs, has } => {
                return write!(
                    f,
                    "the image needs {needs} {what}, and the board's core has {has}: take another model, a smaller window or another board"
                )
            }
            Fault::Token(token) => {
                return write!(f, "token {token} is not in the model's vocabulary")
            }
            Fault::NoRun => {
                "the run is gone: the board was reset, or something else was started on it; start again"
            }
            Fault::Core(bits) => {
                f.write_str("the core reports: ")?;
                let mut known = error::MEANINGS.iter().filter(|(bit, _)| bits & bit != 0);
                let Some((_, first)) = known.next() else {
                    return write!(f, "an unknown error ({bits:#x})");
                };
                f.write_str(first)?;
                return known.try_for_each(|(_, sentence)| write!(f, "; {sentence}"));
            }
            Fault::Stuck => "the core does not go on: reset the board",
            Fault::SelfTestToken {
                index,
                expected,
                found,
            } => {
                return write!(
                    f,
                    "the self-test failed: token {index} is {found}, but must be {expected}; load bitstream and image again"
                )
            }
            Fault::SelfTestLogits { expected, found } => {
                return write!(
                    f,
                    "the self-test failed: the logits' hash is {found:08x}, but must be {expected:08x}; load bitstream and image again"
                )
            }
        };
        f.write_str(sentence)
    }
}

impl core::error::Error for Fault {}
