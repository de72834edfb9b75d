//! Byte pairs with scores and byte fallback, as llama2.c reads and applies them.
//!
//! The file (`tokenizer.bin`): the longest token's length, then for each token a
//! float32 score, a length and its bytes, all little-endian. Tokens 3 to 258 stand
//! for raw bytes and are spelled `<0x00>` to `<0xFF>`; a vocabulary too small for
//! them spells what its tokens spell, and nothing else.

use super::{counted, field, TokenizerError};
use nom::number::complete::{le_f32, le_u32};
use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};

/// Token of the byte 0; the other bytes follow. Before it stand three controls: unknown, BOS, end.
const FIRST_BYTE: u32 = 3;
/// Merges at or below this score are never made.
const LOWEST_SCORE: f32 = -1e10;
/// A character that is spelled in more bytes than UTF-8 has is cut here.
const LONGEST_CHARACTER: usize = 4;

/// A byte-pair tokenizer.
#[derive(Clone, Debug, PartialEq)]
pub struct Bpe {
    /// As the file spells them; merging works on these.
    spellings: Vec<Vec<u8>>,
    scores: Vec<f32>,
    /// What each token writes: its spelling, or the byte it stands for.
    pieces: Vec<Vec<u8>>,
    /// The lowest token of each spelling.
    tokens: HashMap<Vec<u8>, u32>,
}

impl Bpe {
    /// The token that starts a text, and that llama2.c's models write at its end.
    pub const BOS: u32 = 1;

    /// Reads a whole `tokenizer.bin`; it has as many tokens as it has.
    pub fn from_bytes(file: &[u8]) -> Result<Self, TokenizerError> {
        let (mut rest, longest) = field(file, || "max_token_length".into(), le_u32)?;
        let (mut spellings, mut scores) = (Vec::new(), Vec::new());
        while !rest.is_empty() {
            let token = spellings.len();
            let (after, (score, spelling)) =
                field(rest, || format!("token {token}"), (le_f32, counted))?;
            if !score.is_finite() {
                return Err(TokenizerError::Field {
                    field: format!("score of token {token}"),
                    found: score.to_string(),
                    expected: "a finite number",
                });
            }
            if spelling.len() as u64 > u64::from(longest) {
                return Err(TokenizerError::Field {
                    field: format!("length of token {token}"),
                    found: spelling.len().to_string(),
                    expected: "at most max_token_length",
                });
            }
            spellings.push(spelling.to_vec());
            scores.push(score);
            rest = after;
        }
        if spellings.len() < FIRST_BYTE as usize {
            return Err(TokenizerError::Field {
                field: "number of tokens".into(),
                found: spellings.len().to_string(),
                expected: "at least 3 (unknown, BOS and end)",
            });
        }
        let pieces = spellings
            .iter()
            .map(|s| byte_of(s).map_or_else(|| s.clone(), |b| vec![b]))
            .collect();
        let mut tokens = HashMap::new();
        for (spelling, token) in spellings.iter().zip(0..) {
            tokens.entry(spelling.clone()).or_insert(token);
        }
        Ok(Self {
            spellings,
            scores,
            pieces,
            tokens,
        })
    }

    /// The file that [`Bpe::from_bytes`] reads.
    pub fn to_bytes(&self) -> Vec<u8> {
        let longest = self.spellings.iter().map(Vec::len).max().unwrap_or(0);
        let mut file = (longest as u32).to_le_bytes().to_vec();
        for (spelling, score) in self.spellings.iter().zip(&self.scores) {
            file.extend(score.to_le_bytes());
            file.extend((spelling.len() as u32).to_le_bytes());
            file.extend(spelling);
        }
        file
    }

    /// Number of symbols.
    pub fn vocab(&self) -> usize {
        self.spellings.len()
    }

    /// See [`Tokenizer::encode`](super::Tokenizer::encode).
    pub fn encode(&self, text: &[u8], bos: bool) -> Result<Vec<u32>, TokenizerError> {
        let mut tokens = Vec::from_iter(bos.then_some(Self::BOS));
        if !text.is_empty() {
            // A text is taken to follow a space, so that its first word is spelled like any other.
            // Where no token spells a space, no word was trained to have one.
            self.push_character(b" ", &mut tokens);
        }
        let mut rest = text;
        while !rest.is_empty() {
            let continues = rest[1..]
                .iter()
                .take(LONGEST_CHARACTER - 1)
                .take_while(|&&b| b & 0xc0 == 0x80);
            let (character, after) = rest.split_at(1 + continues.count());
            if !self.push_character(character, &mut tokens) {
                return Err(self.unknown(character, text.len() - rest.len()));
            }
            rest = after;
        }
        Ok(self.merge(&tokens))
    }

    /// The bytes that `token` writes after `previous`: the first word of a text loses
    /// the space that [`Bpe::encode`] put before it.
    pub fn decode(&self, previous: Option<u32>, token: u32) -> Option<&[u8]> {
        let piece = self.pieces.get(token as usize)?;
        let is_byte = byte_of(&self.spellings[token as usize]).is_some();
        match piece.strip_prefix(b" ") {
            Some(word) if previous == Some(Self::BOS) && !is_byte => Some(word),
            _ => Some(piece),
        }
    }

    /// Whether the vocabulary can spell the character: by a token of its own, or by those of its bytes.
    fn push_character(&self, character: &[u8], tokens: &mut Vec<u32>) -> bool {
        if let Some(&token) = self.tokens.get(character) {
            tokens.push(token);
        } else if self.vocab() >= FIRST_BYTE as usize + 256 {
            tokens.extend(character.iter().map(|&b| FIRST_BYTE + u32::from(b)));
        } else {
            return false;
        }
        true
    }

    fn unknown(&self, character: &[u8], at: usize) -> TokenizerError {
        let text = String::from_utf8_lossy(character);
        let known = self.pieces[FIRST_BYTE as usize..].iter();
        let known: Vec<_> = known.map(|p| String::from_utf8_lossy(p)).collect();
        TokenizerError::UnknownCharacter {
            character: text.chars().next().unwrap_or(char::REPLACEMENT_CHARACTER),
            at,
            known: known.join(", "),
        }
    }

    /// Merges neighbors while any pair spells a token: the best score first, the
    /// leftmost of equals. A heap of candidates over a linked list, so that a long
    /// text costs n log n and not n squared; a candidate whose neighbors have
    /// changed since is stale and dropped.
    fn merge(&self, tokens: &[u32]) -> Vec<u32> {
        let end = tokens.len();
        let mut cells: Vec<Cell> = tokens
            .iter()
            .enumerate()
            .map(|(i, &token)| Cell {
                token: Some(token),
                left: i.wrapping_sub(1),
                right: i + 1,
            })
            .collect();
        let mut heap = BinaryHeap::new();
        let mut spelling = Vec::new();
        let mut propose = |heap: &mut BinaryHeap<Candidate>, cells: &[Cell], at: usize| {
            let right = cells[at].right;
            let (Some(a), Some(b)) = (cells[at].token, cells.get(right).and_then(|c| c.token))
            else {
                return;
            };
            spelling.clear();
            spelling.extend_from_slice(&self.spellings[a as usize]);
            spelling.extend_from_slice(&self.spellings[b as usize]);
            if let Some(&merged) = self.tokens.get(&spelling) {
                // Adding 0 makes -0 equal to it, as comparing them would.
                let score = self.scores[merged as usize] + 0.0;
                if score > LOWEST_SCORE {
                    heap.push(Candidate {
                        score,
                        at,
                        pair: (a, b),
                        merged,
                    });
                }
            }
        };
        for at in 0..end {
            propose(&mut heap, &cells, at);
        }
        while let Some(Candidate {
            at,
            pair: (a, b),
            merged,
            ..
        }) = heap.pop()
        {
            let right = cells[at].right;
            if cells[at].token != Some(a) || cells.get(right).and_then(|c| c.token) != Some(b) {
                continue;
            }
            let next = cells[right].right;
            cells[right].token = None;
            cells[at].token = Some(merged);
            cells[at].right = next;
            if let Some(next) = cells.get_mut(next) {
                next.left = at;
            }
            propose(&mut heap, &cells, at);
            let left = cells[at].left;
            if left < end {
                propose(&mut heap, &cells, left);
            }
        }
        cells.iter().filter_map(|c| c.token).collect()
    }
}

/// A token of a text that is being merged; `None` once its left neighbor has taken it in.
struct Cell {
    token: Option<u32>,
    left: usize,
    right: usize,
}

/// Two neighbors that together spell a token, and where the left one is.
struct Candidate {
    score: f32,
    at: usize,
    pair: (u32, u32),
    merged: u32,
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score
            .total_cmp(&other.score)
            .then(other.at.cmp(&self.at))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Candidate {}

/// The byte that a spelling such as `<0x0A>` stands for.
fn byte_of(spelling: &[u8]) -> Option<u8> {
    let digits = spelling.strip_prefix(b"<0x")?.strip_suffix(b">")?;
    if digits.len() != 2 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    std::str::from_utf8(digits)
        .ok()
        .and_then(|d| u8::from_str_radix(d, 16).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three controls, the bytes, and then `words` with their scores.
    fn tokenizer(words: &[(&str, f32)]) -> Bpe {
        let controls = ["<unk>", "\n<s>\n", "\n</s>\n"].map(String::from);
        let bytes = (0..=255).map(|b: u8| format!("<0x{b:02X}>"));
        let plain = controls.into_iter().chain(bytes).map(|s| (s, 0.0));
        let all: Vec<(String, f32)> = plain
            .chain(words.iter().map(|(w, s)| (w.to_string(), *s)))
            .collect();
        let mut file = 16u32.to_le_bytes().to_vec();
        for (word, score) in &all {
            file.extend(score.to_le_bytes());
            file.extend((word.len() as u32).to_le_bytes());
            file.extend(word.as_bytes());
        }
        Bpe::from_bytes(&file).unwrap()
    }

    /// llama2.c's own loop: scan all pairs, merge the best, start over.
    fn merge_slowly(bpe: &Bpe, mut tokens: Vec<u32>) -> Vec<u32> {
        loop {
            let mut best: Option<(f32, usize, u32)> = None;
            for i in 0..tokens.len().saturating_sub(1) {
                let pair = [
                    &bpe.spellings[tokens[i] as usize][..],
                    &bpe.spellings[tokens[i + 1] as usize],
                ]
                .concat();
                if let Some(&id) = bpe.tokens.get(&pair) {
                    let score = bpe.scores[id as usize];
                    if score > best.map_or(-1e10, |b| b.0) {
                        best = Some((score, i, id));
                    }
                }
            }
            let Some((_, i, id)) = best else {
                return tokens;
            };
            tokens[i] = id;
            tokens.remove(i + 1);
        }
    }

    #[test]
    fn best_score_first_then_leftmost() {
        // 259 ' ', 260 'a', 261 'b', 262 'ab', 263 'ba', 264 ' a', 265 'aa'
        let bpe = tokenizer(&[
            (" ", 0.0),
            ("a", 0.0),
            ("b", 0.0),
            ("ab", -1.0),
            ("ba", -2.0),
            (" a", -3.0),
            ("aa", -1.0),
        ]);
        assert_eq!(
            bpe.encode(b"aba", true).unwrap(),
            [1, 259, 262, 260],
            "ab outranks ba and the space"
        );
        assert_eq!(bpe.encode(b"ba", true).unwrap(), [1, 259, 263]);
        assert_eq!(bpe.encode(b"a", true).unwrap(), [1, 264]);
        assert_eq!(
            bpe.encode(b"aaab", true).unwrap(),
            [1, 259, 265, 262],
            "the leftmost of equal scores"
        );
        assert_eq!(bpe.encode(b"", true).unwrap(), [1]);
        assert_eq!(bpe.encode(b"", false).unwrap(), Vec::<u32>::new());
        assert_eq!(bpe.encode(b"b", false).unwrap(), [259, 261]);
    }

    #[test]
    fn bytes_stand_in_for_unknown_characters() {
        let bpe = tokenizer(&[(" ", 0.0), ("é", 0.0)]);
        assert_eq!(bpe.encode("é".as_bytes(), false).unwrap(), [259, 260]);
        assert_eq!(
            bpe.encode("ü".as_bytes(), false).unwrap(),
            [259, 3 + 0xc3, 3 + 0xbc]
        );
        assert_eq!(bpe.encode(b"\n", false).unwrap(), [259, 3 + 10]);
        // Stray continuation bytes, and a run of more than a character's worth.
        assert_eq!(bpe.encode(b"\x80", false).unwrap(), [259, 3 + 0x80]);
        let run = [0xf0, 0x80, 0x81, 0x82, 0x83, 0x84];
        assert_eq!(
            bpe.encode(&run, false).unwrap(),
            [259]
                .into_iter()
                .chain(run.map(|b| 3 + u32::from(b)))
                .collect::<Vec<_>>()
        );
        // No space in the vocabulary: the one put before the text is a byte too.
        assert_eq!(
            tokenizer(&[("a", 0.0)]).encode(b"a", false).unwrap(),
            [3 + 32, 259]
        );
    }

    #[test]
    fn decoding_drops_the_space_after_bos_only() {
        let bpe = tokenizer(&[(" a", 0.0), (" ", 0.0)]);
        assert_eq!(bpe.decode(Some(1), 259), Some(&b"a"[..]));
        assert_eq!(bpe.decode(Some(259), 259), Some(&b" a"[..]));
        assert_eq!(bpe.decode(None, 259), Some(&b" a"[..]));
        assert_eq!(bpe.decode(Some(1), 260), Some(&b""[..]));
        assert_eq!(
            bpe.decode(Some(1), 3 + 32),
            Some(&b" "[..]),
            "a raw byte stays"
        );
        assert_eq!(bpe.decode(Some(1), 3 + 0xff), Some(&[0xff][..]));
        assert_eq!(bpe.decode(Some(1), 261), None);
    }

    #[test]
    fn faults_name_their_token() {
        let file = tokenizer(&[("ab", 0.5)]).to_bytes();
        assert_eq!(Bpe::from_bytes(&file).unwrap().to_bytes(), file);
        let text = |bytes: &[u8]| Bpe::from_bytes(bytes).unwrap_err().to_string();
        assert_eq!(
            text(&file[..file.len() - 1]),
            "the tokenizer is truncated inside token 259"
        );
        assert_eq!(
            text(&file[..2]),
            "the tokenizer is truncated inside max_token_length"
        );
        let mut nan = file.clone();
        let score = file.len() - 10;
        nan[score..score + 4].copy_from_slice(&f32::NAN.to_le_bytes());
        assert_eq!(
            text(&nan),
            "the tokenizer's score of token 259 is NaN, but must be a finite number"
        );
        let mut long = file.clone();
        long[0] = 4;
        assert_eq!(
            text(&long),
            "the tokenizer's length of token 0 is 5, but must be at most max_token_length"
        );
        assert!(text(&file[..4]).starts_with("the tokenizer's number of tokens is 0"));
    }

    #[test]
    fn a_small_vocabulary_has_no_bytes_to_fall_back_on() {
        let mut file = 8u32.to_le_bytes().to_vec();
        for word in ["<unk>", "<s>", "</s>", "a", "b", "ab"] {
            file.extend(0f32.to_le_bytes());
            file.extend((word.len() as u32).to_le_bytes());
            file.extend(word.as_bytes());
        }
        let bpe = Bpe::from_bytes(&file).unwrap();
        assert_eq!(bpe.encode(b"aba", true), Ok(vec![1, 5, 3]));
        let error = bpe.encode("aé".as_bytes(), true).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the model has no symbol for 'é' (at byte 1); it knows a, b, ab"
        );
    }

    proptest::proptest! {
        #[test]
        fn the_heap_merges_as_the_plain_loop_does(text in "[ab é]{0,40}", scores in proptest::collection::vec(-3i8..3, 9)) {
            let words = ["a", "b", " ", "ab", "ba", "aa", "aba", "abab", " a"];
            let scored: Vec<_> = words.iter().copied().zip(scores.iter().map(|&s| f32::from(s))).collect();
            let bpe = tokenizer(&scored);
            let mut tokens = Vec::new();
            for c in format!(" {text}").chars() {
                bpe.push_character(c.to_string().as_bytes(), &mut tokens);
            }
            proptest::prop_assert_eq!(bpe.merge(&tokens), merge_slowly(&bpe, tokens));
        }
    }
}
