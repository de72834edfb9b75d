//! One token a character.

use super::{counted, field, TokenizerError};
use nom::number::complete::le_u32;
use std::collections::{HashMap, HashSet};

/// A character tokenizer. Tokens count the characters.
#[derive(Clone, Debug, PartialEq)]
pub struct Chars {
    symbols: Vec<char>,
    start: Start,
    /// What each token writes: its character, or a line's end for a token of its own.
    pieces: Vec<Vec<u8>>,
    tokens: HashMap<char, u32>,
}

/// What a text starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// One more token, which also ends it: names, one a line.
    Own,
    /// One of the characters, of a text that goes on for ever.
    Symbol(u32),
}

impl Chars {
    /// A tokenizer for `symbols`, which must differ from one another, and one more
    /// token that both starts and ends a text.
    pub fn new(symbols: Vec<char>) -> Self {
        Self::with_start(symbols, Start::Own)
    }

    /// A tokenizer for `symbols` whose texts start with `first`, one of them, and do not end.
    pub fn endless(symbols: Vec<char>, first: char) -> Result<Self, TokenizerError> {
        let mut seen = HashSet::new();
        if let Some(twice) = symbols.iter().find(|&c| !seen.insert(c)) {
            return Err(twice_error(*twice));
        }
        let token = symbols.iter().position(|&c| c == first);
        let token = token.ok_or_else(|| TokenizerError::Field {
            field: "first character".into(),
            found: format!("{first:?}"),
            expected: "one of its characters",
        })?;
        Ok(Self::with_start(symbols, Start::Symbol(token as u32)))
    }

    fn with_start(symbols: Vec<char>, start: Start) -> Self {
        let own = (start == Start::Own).then(|| b"\n".to_vec());
        let piece = |c: &char| c.to_string().into_bytes();
        let pieces = symbols.iter().map(piece).chain(own).collect();
        let tokens = symbols.iter().copied().zip(0..).collect();
        Self {
            symbols,
            start,
            pieces,
            tokens,
        }
    }

    /// The characters, in order of their tokens.
    pub fn symbols(&self) -> &[char] {
        &self.symbols
    }

    /// Number of symbols.
    pub fn vocab(&self) -> usize {
        self.pieces.len()
    }

    /// The token that starts a text.
    pub fn bos(&self) -> u32 {
        match self.start {
            Start::Own => self.symbols.len() as u32,
            Start::Symbol(token) => token,
        }
    }

    /// The token that ends a text, if texts end.
    pub fn end(&self) -> Option<u32> {
        (self.start == Start::Own).then(|| self.bos())
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

    /// The bytes that `token` writes; a token that ends texts ends a line.
    pub fn decode(&self, token: u32) -> Option<&[u8]> {
        self.pieces.get(token as usize).map(Vec::as_slice)
    }

    /// The count of bytes as a little-endian u32, the characters as UTF-8, and the
    /// token of the character that starts texts, if one does.
    pub fn to_bytes(&self) -> Vec<u8> {
        let text = String::from_iter(&self.symbols);
        let count = (text.len() as u32).to_le_bytes();
        let mut bytes = [&count, text.as_bytes()].concat();
        if let Start::Symbol(token) = self.start {
            bytes.extend(token.to_le_bytes());
        }
        bytes
    }

    /// Reads what [`Chars::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TokenizerError> {
        let (rest, text) = field(bytes, || "characters".into(), counted)?;
        let symbols: Vec<char> = super::check_utf8(text)?.chars().collect();
        let mut seen = HashSet::new();
        if let Some(twice) = symbols.iter().find(|&c| !seen.insert(c)) {
            return Err(twice_error(*twice));
        }
        if rest.is_empty() {
            return Ok(Self::new(symbols));
        }
        let (rest, token) = field(rest, || "first character".into(), le_u32)?;
        match symbols.get(token as usize) {
            _ if !rest.is_empty() => Err(TokenizerError::TrailingBytes(rest.len())),
            Some(_) => Ok(Self::with_start(symbols, Start::Symbol(token))),
            None => Err(TokenizerError::Field {
                field: "first character".into(),
                found: format!("token {token}"),
                expected: "one of its characters",
            }),
        }
    }
}

fn twice_error(twice: char) -> TokenizerError {
    TokenizerError::Field {
        field: "characters".into(),
        found: format!("{twice:?} twice"),
        expected: "different from one another",
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
    #[test]
    fn texts_that_start_with_a_character_do_not_end() {
        let chars = Chars::endless(vec!['\n', 'a', 'b'], '\n').unwrap();
        assert_eq!((chars.vocab(), chars.bos(), chars.end()), (3, 0, None));
        assert_eq!(chars.encode(b"ab", true), Ok(vec![0, 1, 2]));
        let tokenizer = Tokenizer::Chars(chars);
        assert_eq!(tokenizer.restart(), None);
        let mut stored = tokenizer.to_bytes();
        assert_eq!(Tokenizer::from_bytes(&stored), Ok(tokenizer));
        let at = stored.len() - 4;
        stored[at] = 3;
        assert_eq!(
            Tokenizer::from_bytes(&stored).unwrap_err().to_string(),
            "the tokenizer's first character is token 3, but must be one of its characters"
        );
        assert!(Chars::endless(vec!['a', 'b'], 'c').is_err());
        assert!(Chars::endless(vec!['a', 'a'], 'a').is_err());
    }
}
