//! From text to tokens and back.

mod bpe;
mod chars;
mod hub;

pub use bpe::Bpe;
pub use chars::Chars;
pub use hub::Hub;

use nom::bytes::complete::take;
use nom::number::complete::{le_u32, u8};
use nom::{IResult, Parser};
use thiserror::Error;

/// What a tokenizer refuses.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TokenizerError {
    /// The file ends too early.
    #[error("the tokenizer is truncated inside {0}")]
    Truncated(String),
    /// Bytes follow where the tokenizer should end.
    #[error("{0} bytes follow the end of the tokenizer")]
    TrailingBytes(usize),
    /// Not a `tokenizer.json`, or a text that it cannot encode, in the words of its library.
    #[error("not a tokenizer.json: {0}")]
    Hub(String),
    /// Nothing says which token starts a text.
    #[error("config.json names no bos_token_id, so that no stream could start")]
    NoBos,
    /// A field that holds what it must not.
    #[error("the tokenizer's {field} is {found}, but must be {expected}")]
    Field {
        /// Name of the field.
        field: String,
        /// What it holds.
        found: String,
        /// What it must hold.
        expected: &'static str,
    },
    /// A tokenizer made for another model.
    #[error("wrong tokenizer: it has {found} symbols, but the model has {expected}")]
    WrongVocabulary {
        /// Symbols of the tokenizer.
        found: usize,
        /// Symbols of the model.
        expected: usize,
    },
    /// A byte that is not UTF-8 where a user's text should be.
    #[error("the text is not UTF-8 at byte {0}")]
    NotUtf8(usize),
    /// A character that the model has no symbol for.
    #[error("the model has no symbol for {character:?} (at byte {at}); it knows {known}")]
    UnknownCharacter {
        /// The character.
        character: char,
        /// Its offset in the text, in bytes.
        at: usize,
        /// All characters that the model knows.
        known: String,
    },
    /// A token outside the vocabulary.
    #[error("token {token} is outside the vocabulary of {vocab}")]
    UnknownToken {
        /// The token.
        token: u32,
        /// Symbols that there are.
        vocab: usize,
    },
}

/// A model's tokenizer.
#[derive(Clone, Debug, PartialEq)]
pub enum Tokenizer {
    /// Byte pairs with scores and byte fallback, as llama2.c has them.
    Bpe(Bpe),
    /// One token a character, as microGPT has them.
    Chars(Chars),
    /// The model hub's `tokenizer.json`.
    Hub(Box<Hub>),
}

/// First byte of a stored tokenizer, by kind.
const BPE_KIND: u8 = 0;
const CHARS_KIND: u8 = 1;
const HUB_KIND: u8 = 2;

impl Tokenizer {
    /// Number of symbols.
    pub fn vocab(&self) -> usize {
        match self {
            Tokenizer::Bpe(bpe) => bpe.vocab(),
            Tokenizer::Chars(chars) => chars.vocab(),
            Tokenizer::Hub(hub) => hub.vocab(),
        }
    }

    /// The token that starts a stream.
    pub fn bos(&self) -> u32 {
        match self {
            Tokenizer::Bpe(_) => Bpe::BOS,
            Tokenizer::Chars(chars) => chars.bos(),
            Tokenizer::Hub(hub) => hub.bos(),
        }
    }

    /// The token after which nothing follows, where there is one: llama2.c's models
    /// write BOS at the end of a text.
    pub fn stop(&self) -> Option<u32> {
        match self {
            Tokenizer::Bpe(_) => Some(Bpe::BOS),
            Tokenizer::Chars(_) => None,
            Tokenizer::Hub(hub) => hub.eos(),
        }
    }

    /// The token after which a stream begins anew at position 0, where there is
    /// one: microGPT writes name after name.
    pub fn restart(&self) -> Option<u32> {
        match self {
            Tokenizer::Bpe(_) | Tokenizer::Hub(_) => None,
            Tokenizer::Chars(chars) => chars.end(),
        }
    }

    /// Refuses a tokenizer that was made for a vocabulary of another size.
    pub fn check_vocab(&self, expected: usize) -> Result<(), TokenizerError> {
        match self.vocab() {
            found if found == expected => Ok(()),
            found => Err(TokenizerError::WrongVocabulary { found, expected }),
        }
    }

    /// The tokens of `text`, after a BOS where `bos` says so. An empty text with BOS
    /// is BOS alone. Byte pairs take any bytes where the vocabulary has tokens for bytes;
    /// else, and as characters, they must be known.
    pub fn encode(&self, text: &[u8], bos: bool) -> Result<Vec<u32>, TokenizerError> {
        match self {
            Tokenizer::Bpe(bpe) => bpe.encode(text, bos),
            Tokenizer::Chars(chars) => chars.encode(text, bos),
            Tokenizer::Hub(hub) => hub.encode(text, bos),
        }
    }

    /// The bytes that `token` writes after `previous` (`None` at the start of a
    /// stream). A character may be spread over several tokens.
    pub fn decode(&self, previous: Option<u32>, token: u32) -> Result<&[u8], TokenizerError> {
        let piece = match self {
            Tokenizer::Bpe(bpe) => bpe.decode(previous, token),
            Tokenizer::Chars(chars) => chars.decode(token),
            Tokenizer::Hub(hub) => hub.decode(previous, token),
        };
        piece.ok_or(TokenizerError::UnknownToken {
            token,
            vocab: self.vocab(),
        })
    }

    /// A stable binary form: one byte for the kind, then what that kind stores.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Tokenizer::Bpe(bpe) => [vec![BPE_KIND], bpe.to_bytes()].concat(),
            Tokenizer::Chars(chars) => [vec![CHARS_KIND], chars.to_bytes()].concat(),
            Tokenizer::Hub(hub) => [vec![HUB_KIND], hub.to_bytes()].concat(),
        }
    }

    /// Reads what [`Tokenizer::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TokenizerError> {
        let (rest, kind) = field(bytes, || "kind".into(), u8)?;
        match kind {
            BPE_KIND => Bpe::from_bytes(rest).map(Tokenizer::Bpe),
            CHARS_KIND => Chars::from_bytes(rest).map(Tokenizer::Chars),
            HUB_KIND => Hub::from_bytes(rest).map(|hub| Tokenizer::Hub(Box::new(hub))),
            _ => Err(TokenizerError::Field {
                field: "kind".into(),
                found: kind.to_string(),
                expected: "0 (byte pairs), 1 (characters) or 2 (tokenizer.json)",
            }),
        }
    }
}

/// The text that `bytes` hold, or where they stop being UTF-8: for prompts, which
/// are refused before they are encoded.
pub fn check_utf8(bytes: &[u8]) -> Result<&str, TokenizerError> {
    std::str::from_utf8(bytes).map_err(|e| TokenizerError::NotUtf8(e.valid_up_to()))
}

/// Runs a parser that fails only where bytes are missing, and names what they were for.
fn field<'a, T>(
    bytes: &'a [u8],
    name: impl Fn() -> String,
    mut parser: impl Parser<&'a [u8], Output = T, Error = nom::error::Error<&'a [u8]>>,
) -> Result<(&'a [u8], T), TokenizerError> {
    parser
        .parse(bytes)
        .map_err(|_| TokenizerError::Truncated(name()))
}

/// A little-endian length and as many bytes.
fn counted(bytes: &[u8]) -> IResult<&[u8], &[u8]> {
    let (rest, len) = le_u32(bytes)?;
    take(len)(rest)
}
