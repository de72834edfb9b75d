//! Tokens into text as they come: what is not a whole character yet is held back.

use annulus_model::tokenizer::{Tokenizer, TokenizerError};

/// Text of a stream of tokens.
pub struct TextStream<'a> {
    tokenizer: &'a Tokenizer,
    previous: Option<u32>,
    /// The beginning of a character whose other bytes are still to come.
    pending: Vec<u8>,
}

impl<'a> TextStream<'a> {
    /// At the start of a stream.
    pub fn new(tokenizer: &'a Tokenizer) -> Self {
        TextStream {
            tokenizer,
            previous: None,
            pending: Vec::new(),
        }
    }

    /// A token is already there, such as the one that starts a stream, and is not
    /// written.
    pub fn skip(&mut self, token: u32) {
        self.previous = Some(token);
    }

    /// What can be written once `token` is there. Bytes that never become a
    /// character are written as U+FFFD.
    ///
    /// # Errors
    /// If there is no such token.
    pub fn push(&mut self, token: u32) -> Result<String, TokenizerError> {
        let piece = self.tokenizer.decode(self.previous, token)?;
        self.previous = Some(token);
        self.pending.extend(piece);
        let keep = incomplete(&self.pending);
        let whole = self.pending.len() - keep;
        let text = String::from_utf8_lossy(&self.pending[..whole]).into_owned();
        self.pending.drain(..whole);
        Ok(text)
    }

    /// What is left at the end.
    pub fn finish(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.pending)).into_owned()
    }
}

/// Bytes at the end that may still become a character.
fn incomplete(bytes: &[u8]) -> usize {
    match bytes.utf8_chunks().last() {
        // A valid beginning of a character is at most three bytes of an invalid chunk.
        Some(last) if is_prefix(last.invalid()) => last.invalid().len(),
        _ => 0,
    }
}

/// Whether `bytes` are the beginning of some character, and not a whole one.
fn is_prefix(bytes: &[u8]) -> bool {
    let error = std::str::from_utf8(bytes).err();
    error.is_some_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use annulus_model::tokenizer::{Bpe, Chars};

    /// Symbols of a byte fallback tokenizer: three special ones, then every byte.
    fn bytes_only() -> Tokenizer {
        let mut file = 6u32.to_le_bytes().to_vec();
        let specials = ["<unk>", "\n<s>\n", "\n</s>\n"].map(String::from);
        for spelling in specials
            .into_iter()
            .chain((0..=255).map(|b| format!("<0x{b:02X}>")))
        {
            file.extend(0f32.to_le_bytes());
            file.extend((spelling.len() as u32).to_le_bytes());
            file.extend(spelling.as_bytes());
        }
        Tokenizer::Bpe(Bpe::from_bytes(&file).unwrap())
    }

    fn pieces(bytes: &[u8]) -> (Vec<String>, String) {
        let tokenizer = bytes_only();
        let mut stream = TextStream::new(&tokenizer);
        let pieces = bytes
            .iter()
            .map(|&b| stream.push(u32::from(b) + 3).unwrap());
        (pieces.collect(), stream.finish())
    }

    #[test]
    fn characters_come_whole() {
        let (got, rest) = pieces("aé漢🦀".as_bytes());
        assert_eq!(got, ["a", "", "é", "", "", "漢", "", "", "", "🦀"]);
        assert_eq!(rest, "");
    }

    #[test]
    fn what_never_becomes_a_character_is_replaced() {
        // A lone continuation, then a lead byte that a letter interrupts.
        let (got, rest) = pieces(b"\x80\xe6a\xf0\x9f");
        assert_eq!(got, ["\u{fffd}", "", "\u{fffd}a", "", ""]);
        assert_eq!(rest, "\u{fffd}");
    }

    #[test]
    fn letters_and_ends() {
        let tokenizer = Tokenizer::Chars(Chars::new(('a'..='z').collect()));
        let mut stream = TextStream::new(&tokenizer);
        stream.skip(26);
        let text: String = [0, 1, 26]
            .iter()
            .map(|&t| stream.push(t).unwrap())
            .collect();
        assert_eq!(text, "ab\n");
        assert!(stream.push(27).is_err());
    }
}
