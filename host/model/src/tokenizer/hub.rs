//! The model hub's `tokenizer.json`, applied by the `tokenizers` crate.
//!
//! Tokens are written one at a time as they come, so each must have bytes of its
//! own: that is so for byte-level byte pairs (GPT-2) and for SentencePiece's
//! spelling with `▁` and byte fallback (Llama). A file that decodes otherwise is refused.

use super::{field, TokenizerError};
use nom::number::complete::le_u32;
use serde_json::Value;
use std::fmt;

/// Stored in place of a token that there is not.
const NONE: u32 = u32::MAX;

/// A tokenizer of the model hub.
#[derive(Clone)]
pub struct Hub {
    /// The file, which is also how it is stored.
    json: Vec<u8>,
    inner: tokenizers::Tokenizer,
    spelling: Spelling,
    /// What each token writes; nothing for control tokens and tokens that have no spelling.
    pieces: Vec<Vec<u8>>,
    bos: u32,
    eos: Option<u32>,
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("vocab", &self.pieces.len())
            .field("bos", &self.bos)
            .field("eos", &self.eos)
            .finish_non_exhaustive()
    }
}

impl PartialEq for Hub {
    fn eq(&self, other: &Self) -> bool {
        (&self.json, self.pieces.len(), self.bos, self.eos)
            == (&other.json, other.pieces.len(), other.bos, other.eos)
    }
}

/// How tokens are spelled.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spelling {
    /// Every byte is a printable character.
    ByteLevel,
    /// `▁` is a space, `<0x0A>` a byte, and a text's first space is not its own.
    SentencePiece,
}

impl Hub {
    /// Reads `tokenizer.json` for a model of `vocab` symbols, whose configuration
    /// names the tokens that start and end a text.
    pub fn new(
        json: &[u8],
        vocab: usize,
        bos: u32,
        eos: Option<u32>,
    ) -> Result<Self, TokenizerError> {
        let fault = |error: String| TokenizerError::Hub(error);
        let inner = tokenizers::Tokenizer::from_bytes(json).map_err(|e| fault(e.to_string()))?;
        let fields: Value = serde_json::from_slice(json).map_err(|e| fault(e.to_string()))?;
        let spelling = Spelling::of(&fields["decoder"])?;
        let found = inner.get_vocab_size(true);
        if found > vocab {
            return Err(TokenizerError::WrongVocabulary {
                found,
                expected: vocab,
            });
        }
        if let Some(token) = [Some(bos), eos]
            .into_iter()
            .flatten()
            .find(|&t| t as usize >= vocab)
        {
            return Err(TokenizerError::UnknownToken { token, vocab });
        }
        let added = inner.get_added_tokens_decoder();
        let piece = |token: u32| match inner.id_to_token(token) {
            Some(_) if added.get(&token).is_some_and(|added| added.special) => Vec::new(),
            Some(text) => spelling.bytes(&text),
            None => Vec::new(),
        };
        Ok(Self {
            json: json.to_vec(),
            spelling,
            pieces: (0..vocab as u32).map(piece).collect(),
            inner,
            bos,
            eos,
        })
    }

    /// Number of symbols.
    pub fn vocab(&self) -> usize {
        self.pieces.len()
    }

    /// The token that starts a text.
    pub fn bos(&self) -> u32 {
        self.bos
    }

    /// The token that ends one.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// See [`Tokenizer::encode`](super::Tokenizer::encode).
    pub fn encode(&self, text: &[u8], bos: bool) -> Result<Vec<u32>, TokenizerError> {
        let text = super::check_utf8(text)?;
        let mut tokens = Vec::from_iter(bos.then_some(self.bos));
        if !text.is_empty() {
            let encoding = self.inner.encode(text, false);
            let encoding = encoding.map_err(|e| TokenizerError::Hub(e.to_string()))?;
            tokens.extend(encoding.get_ids());
        }
        match tokens.iter().find(|&&t| t as usize >= self.vocab()) {
            Some(&token) => Err(TokenizerError::UnknownToken {
                token,
                vocab: self.vocab(),
            }),
            None => Ok(tokens),
        }
    }

    /// The bytes that `token` writes after `previous`.
    pub fn decode(&self, previous: Option<u32>, token: u32) -> Option<&[u8]> {
        let piece = self.pieces.get(token as usize)?.as_slice();
        let first = self.spelling == Spelling::SentencePiece && previous == Some(self.bos);
        match piece.strip_prefix(b" ") {
            Some(word) if first => Some(word),
            _ => Some(piece),
        }
    }

    /// The vocabulary, the two tokens, and the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let numbers = [self.vocab() as u32, self.bos, self.eos.unwrap_or(NONE)];
        let mut bytes = numbers.map(u32::to_le_bytes).concat();
        bytes.extend(&self.json);
        bytes
    }

    /// Reads what [`Hub::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TokenizerError> {
        let (json, (vocab, bos, eos)) =
            field(bytes, || "special tokens".into(), (le_u32, le_u32, le_u32))?;
        let most = *crate::config::VOCAB.end();
        if u64::from(vocab) > most {
            return Err(TokenizerError::Field {
                field: "vocabulary".into(),
                found: vocab.to_string(),
                expected: "one that a core holds",
            });
        }
        Self::new(json, vocab as usize, bos, (eos != NONE).then_some(eos))
    }
}

impl Spelling {
    /// How a file's decoder reads tokens.
    fn of(decoder: &Value) -> Result<Self, TokenizerError> {
        let one = [decoder.clone()];
        let steps = decoder["decoders"]
            .as_array()
            .map_or(&one[..], Vec::as_slice);
        let kinds: Vec<&str> = steps
            .iter()
            .filter_map(|step| step["type"].as_str())
            .collect();
        if kinds == ["ByteLevel"] {
            return Ok(Self::ByteLevel);
        }
        let known = ["Replace", "ByteFallback", "Fuse", "Strip", "Metaspace"];
        let spaces = steps.iter().any(|step| {
            step["type"] == "Metaspace"
                || step["type"] == "Replace"
                    && step["pattern"]["String"] == "▁"
                    && step["content"] == " "
        });
        if spaces && kinds.iter().all(|kind| known.contains(kind)) {
            return Ok(Self::SentencePiece);
        }
        Err(TokenizerError::Field {
            field: "decoder".into(),
            found: if kinds.is_empty() {
                "missing".into()
            } else {
                kinds.join(", ")
            },
            expected: "ByteLevel, or SentencePiece's (Metaspace, or Replace and ByteFallback)",
        })
    }

    /// What a token of this text writes.
    fn bytes(self, text: &str) -> Vec<u8> {
        match self {
            Self::ByteLevel => {
                let bytes: Option<Vec<u8>> = text.chars().map(byte_level).collect();
                // A text with other characters was added as it is.
                bytes.unwrap_or_else(|| text.into())
            }
            Self::SentencePiece => byte_fallback(text)
                .map_or_else(|| text.replace('▁', " ").into_bytes(), |byte| vec![byte]),
        }
    }
}

/// The byte that GPT-2's printable character stands for: printable Latin-1 for itself,
/// and the others, in order, from U+0100 on.
fn byte_level(c: char) -> Option<u8> {
    let own = |b: u8| matches!(b, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    match u32::from(c) {
        code @ 0..=0xff => Some(code as u8).filter(|&b| own(b)),
        code => (0..=255u8).filter(|&b| !own(b)).nth(code as usize - 0x100),
    }
}

/// The byte of a token such as `<0x0A>`.
fn byte_fallback(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    (digits.len() == 2).then(|| u8::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::Tokenizer;

    /// Byte pairs of a few letters in each of the two spellings.
    fn file(decoder: &str, space: char, normalizer: &str, pre: &str) -> String {
        let vocab = ["<unk>", "<s>", "</s>", "<0x0A>", "a", "b", "ab"]
            .iter()
            .map(|t| (*t).to_owned())
            .chain([space.to_string(), format!("{space}ab"), format!("{space}a")])
            .enumerate()
            .map(|(i, t)| format!("{}: {i}", Value::from(t)))
            .collect::<Vec<_>>()
            .join(", ");
        format!(
            r#"{{"version": "1.0", "truncation": null, "padding": null,
            "added_tokens": [{{"id": 1, "content": "<s>", "single_word": false, "lstrip": false,
              "rstrip": false, "normalized": false, "special": true}}],
            "normalizer": {normalizer}, "pre_tokenizer": {pre}, "post_processor": null,
            "decoder": {decoder},
            "model": {{"type": "BPE", "dropout": null, "unk_token": "<unk>",
              "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": true,
              "byte_fallback": true, "vocab": {{{vocab}}},
              "merges": ["a b", "{space} ab", "{space} a"]}}}}"#
        )
    }

    fn sentence_piece() -> String {
        let decoder = r#"{"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}"#;
        let normalizer = r#"{"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}"#;
        file(decoder, '▁', normalizer, "null")
    }

    fn byte_level_file() -> String {
        let byte_level = r#"{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}"#;
        file(byte_level, 'Ġ', "null", byte_level)
    }

    fn written(tokenizer: &Tokenizer, tokens: &[u32]) -> String {
        let pairs = tokens.windows(2);
        let bytes = pairs.flat_map(|p| tokenizer.decode(Some(p[0]), p[1]).unwrap().to_vec());
        String::from_utf8(bytes.collect()).unwrap()
    }

    #[test]
    fn text_comes_back_in_both_spellings() {
        for (json, text) in [
            (sentence_piece(), "ab a\nab"),
            (byte_level_file(), "ab ab a"),
        ] {
            let hub = Hub::new(json.as_bytes(), 16, 1, Some(2)).unwrap();
            let tokenizer = Tokenizer::Hub(Box::new(hub));
            let tokens = tokenizer.encode(text.as_bytes(), true).unwrap();
            assert!(tokens.len() < text.len(), "{tokens:?}");
            assert_eq!((tokens[0], written(&tokenizer, &tokens)), (1, text.into()));
            assert_eq!((tokenizer.stop(), tokenizer.vocab()), (Some(2), 16));
            assert_eq!(Tokenizer::from_bytes(&tokenizer.to_bytes()), Ok(tokenizer));
        }
    }

    #[test]
    fn faults_are_named() {
        let fault = |json: &str, vocab| {
            Hub::new(json.as_bytes(), vocab, 1, None)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            fault(&sentence_piece(), 8),
            "wrong tokenizer: it has 10 symbols, but the model has 8"
        );
        assert!(fault("{", 16).starts_with("not a tokenizer.json: "));
        let decoder = r###"{"type": "WordPiece", "prefix": "##", "cleanup": true}"###;
        assert_eq!(
            fault(&file(decoder, '▁', "null", "null"), 16),
            "the tokenizer's decoder is WordPiece, but must be ByteLevel, or SentencePiece's \
             (Metaspace, or Replace and ByteFallback)"
        );
    }

    #[test]
    fn every_byte_has_its_character() {
        let mut bytes: Vec<u8> = (0..0x200)
            .filter_map(char::from_u32)
            .filter_map(byte_level)
            .collect();
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=255).collect::<Vec<u8>>());
        assert_eq!(
            (byte_level('Ġ'), byte_level('Ċ')),
            (Some(b' '), Some(b'\n'))
        );
    }
}
