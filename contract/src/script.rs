//! What a board writes when no host is there: how it begins, how it chooses, and how its tokens
//! are spelled, so that the board needs no tokenizer.
//!
//! Stored as [`postcard`] encodes [`Script`], in which the image that it belongs to is named.

use crate::sample::Key;
use crate::wire::Digest;
use serde::{Deserialize, Serialize};

/// Tokens of the longest prompt.
pub const MAX_PROMPT: usize = crate::wire::MAX_TOKENS;
/// Bytes of the longest spelling of a token.
pub const MAX_SPELLING: usize = 64;

/// What a board writes without a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Script<'a> {
    /// The image that it is for.
    pub image: Digest,
    /// Inverse temperature as the core takes it (`IT`); 0 is greedy.
    pub it: u16,
    /// The sampler's key of the first text; it counts up with each one that follows.
    pub key: u64,
    /// The token that ends a text. The board begins the next one.
    pub stop: Option<u16>,
    /// The token after which the core itself begins anew at position 0.
    pub restart: Option<u16>,
    /// After this token a spelling's leading space is not written.
    pub bare_after: Option<u16>,
    /// Tokens that each text begins with, 16 bits each, little-endian: at least one, at most
    /// [`MAX_PROMPT`]. The first is not written.
    pub prompt: &'a [u8],
    /// For each token a byte that counts those of its spelling, and the spelling.
    pub spellings: &'a [u8],
}

impl<'a> Script<'a> {
    /// Reads a script; `None` if these bytes are none of this version.
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        let script: Self = postcard::from_bytes(bytes).ok()?;
        let prompt = script.prompt.len();
        (prompt > 0 && prompt & 1 == 0 && prompt <= 2 * MAX_PROMPT).then_some(script)
    }

    /// The sampler's key for the text of this number.
    pub fn key(&self, text: u32) -> Key {
        Key::from(self.key.wrapping_add(text.into()))
    }

    /// What `token` writes after `previous`.
    pub fn spelling(&self, previous: u16, token: u16) -> &'a [u8] {
        let mut rest = self.spellings;
        for _ in 0..token {
            let length = rest.first().map_or(0, |&length| usize::from(length));
            rest = rest.get(1 + length..).unwrap_or_default();
        }
        let spelling = match rest {
            [length, rest @ ..] => rest.get(..usize::from(*length)).unwrap_or_default(),
            [] => &[],
        };
        match spelling {
            [b' ', bare @ ..] if self.bare_after == Some(previous) => bare,
            whole => whole,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_spelled() {
        let script = Script {
            image: Digest::of(b"image"),
            it: 0,
            key: u64::MAX,
            stop: None,
            restart: Some(2),
            bare_after: Some(2),
            prompt: &[2, 0],
            spellings: b"\x01a\x03 be\x00\x02cd",
        };
        let mut bytes = [0; 100];
        let bytes = postcard::to_slice(&script, &mut bytes).unwrap();
        let script = Script::decode(bytes).unwrap();
        let spelled = |previous, token| script.spelling(previous, token);
        assert_eq!(spelled(0, 0), b"a");
        assert_eq!(spelled(0, 1), b" be");
        assert_eq!(spelled(2, 1), b"be");
        assert_eq!(spelled(0, 2), b"");
        assert_eq!(spelled(0, 3), b"cd");
        assert_eq!(spelled(0, 4), b"");
        assert_eq!(spelled(0, 999), b"");
        assert_eq!(script.key(3), Key::from(2));
        assert_eq!(Script::decode(&bytes[..bytes.len() - 1]), None);
        let mut long = [0; 400];
        let prompt = &[0; 2 * MAX_PROMPT + 2];
        let script = Script { prompt, ..script };
        let long = postcard::to_slice(&script, &mut long).unwrap();
        assert_eq!(Script::decode(long), None);
    }
}
