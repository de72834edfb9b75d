//! One token a character, and one more that both starts and ends a text.

use super::{counted, field, TokenizerError};
use std::collections::{HashMap, HashSet};

/// A character tokenizer. Tokens count the characters; the last token is BOS and end.
#[derive(Clone, Debug, PartialEq)]
pub struct Chars {
    symbols: Vec<char>,
    /// What each token writes: its character, or a line's end for the last.
    pieces: Vec<Vec<u8>>,
    tokens: HashMap<char, u32>,
}

impl Chars {
    /// A tokenizer for `symbols`, which must differ from one another.
    pub fn new(symbols: Vec<char>) -> Self {
        let piece = |c: &char| c.to_string().into_bytes();
        let pieces = symbols.iter().map(piece).chain([b"\n".to_vec()]).collect();
        let tokens = symbols.iter().copied().zip(0..).collect();
        Self {
            symbols,
            pieces,
            tokens,
        }
    }

    /// The characters, in order of their tokens.
    pub fn symbols(&self) -> &[char] {
        &self.symbols
    }

    /// Number of symbols: the characters and BOS.
    pub fn vocab(&self) -> usize {
        self.pieces.len()
    }

    /// The token that starts and ends a text.
    pub fn bos(&self) -> u32 {
        self.symbols.len() as u32
    }

    /// See [`Tokenizer::encode`](super::Tokenizer::encode).
    pub fn encode(&self, text: &[u8], bos: bool) -> Result<Vec<u32>, TokenizerError> {
        let unknown = |at, character| TokenizerError::UnknownCharacter {
            character,
            at,
            known: format!("{:?}", String::from_iter(&self.symbols)),
        };
        let token = |(at, c)| self.tokens.get(&c).copied().ok_or_else(|| unknown(at, c));
        let start = bos.then(|| Ok(self.bos()));
        start
            .into_iter()
            .chain(super::check_utf8(text)?.char_indices().map(token))
            .collect()
    }

    /// The bytes that `token` writes; BOS ends the line.
    pub fn decode(&self, token: u32) -> Option<&[u8]> {
        self.pieces.get(token as usize).map(Vec::as_slice)
    }

    /// The count of bytes as a little-endian u32, then the characters as UTF-8.
    pub fn to_bytes(&self) -> Vec<u8> {
        let text = String::from_iter(&self.symbols);
        [&(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
    }

    /// Reads what [`Chars::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TokenizerError> {
        let (rest, text) = field(bytes, || "characters".into(), counted)?;
        if !rest.is_empty() {
            return Err(TokenizerError::TrailingBytes(rest.len()));
        }
        let symbols: Vec<char> = super::check_utf8(text)?.chars().collect();
        let mut seen = HashSet::new();
        if let Some(twice) = symbols.iter().find(|&c| !seen.insert(c)) {
            return Err(TokenizerError::Field {
                field: "characters".into(),
                found: format!("{twice:?} twice"),
                expected: "different from one another",
            });
        }
        Ok(Self::new(symbols))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::Tokenizer;

    fn letters() -> Chars {
        Chars::new(('a'..='z').collect())
    }

    #[test]
    fn letters_and_the_end() {
        let chars = letters();
        assert_eq!(chars.encode(b"emma", true), Ok(vec![26, 4, 12, 12, 0]));
        assert_eq!(chars.encode(b"", true), Ok(vec![26]));
        assert_eq!(chars.encode(b"", false), Ok(vec![]));
        assert_eq!(chars.decode(25), Some(&b"z"[..]));
        assert_eq!(chars.decode(26), Some(&b"\n"[..]));
        assert_eq!(chars.decode(27), None);
    }

    #[test]
    fn unknown_characters_are_named() {
        let error = letters()
            .encode("zoé".as_bytes(), true)
            .unwrap_err()
            .to_string();
        let known = "abcdefghijklmnopqrstuvwxyz";
        assert_eq!(
            error,
            format!("the model has no symbol for 'é' (at byte 2); it knows {known:?}")
        );
        assert_eq!(
            letters().encode(b"a\xff", true),
            Err(TokenizerError::NotUtf8(1))
        );
    }

    #[test]
    fn stored_and_read_back() {
        let tokenizer = Tokenizer::Chars(Chars::new(vec!['ä', '😀', 'x']));
        assert_eq!(Tokenizer::from_bytes(&tokenizer.to_bytes()), Ok(tokenizer));
        let twice = Chars::new(vec!['a', 'b', 'a']).to_bytes();
        let error = Chars::from_bytes(&twice).unwrap_err().to_string();
        assert_eq!(
            error,
            "the tokenizer's characters is 'a' twice, but must be different from one another"
        );
    }
}
