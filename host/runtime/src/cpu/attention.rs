//! Attention over the ring (`docs/arithmetic.md` section 7).
//!
//! Lanes are slots while scores are made: a block of sixteen slots is scored at
//! once. Values are stored so that one dot takes eight slots into eight
//! elements.

use annulus_contract::exp2::SCORE_BITS;
use annulus_contract::stage::mix_scale;
use annulus_contract::tables::EXP2;

use super::heads::{Heads, Query};
use super::simd::{Lanes, Row, Word, LANES};

/// Upper limit of a score in a valid slot: no limit.
pub const VALID: i32 = i16::MAX as i32;
/// Upper limit of a score in a masked slot: so far below all others that its
/// probability is 0.
pub const MASKED: i32 = -(1 << 20);

/// Values of one dot: eight slots by eight elements.
const OCTET: usize = 8;

/// Shape of the rings of all layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingShape {
    /// Slots.
    pub window: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Query heads.
    pub heads: usize,
    /// Elements a head.
    pub head_size: usize,
}

impl RingShape {
    /// Blocks of sixteen slots.
    pub fn blocks(&self) -> usize {
        self.window.div_ceil(LANES)
    }

    fn key_words(&self) -> usize {
        self.head_size.div_ceil(4)
    }

    fn value_words(&self) -> usize {
        self.head_size.div_ceil(OCTET)
    }
}

/// One layer's keys and values.
#[derive(Clone)]
pub struct Ring {
    shape: RingShape,
    /// Mantissas, 128 too large: by KV head, by block, by word of four elements.
    keys: Vec<Word>,
    /// Multiplier of each key, 5 to 8: by KV head, by block.
    mu: Vec<[u8; LANES]>,
    /// Exponent of each key.
    exponent: Vec<[u8; LANES]>,
    /// By KV head, by eight elements, by eight slots.
    values: Vec<Word>,
}

/// Where a block's scores must not count.
#[derive(Clone, Copy)]
pub struct Limits<'a> {
    /// For the query of the token's own position, one row a block in use.
    pub near: &'a [Row],
    /// For the query that reads the sinks: a row a block that holds one, none
    /// before the ring wraps.
    pub sinks: &'a [Row],
}

/// The encoded queries of a token.
#[derive(Clone, Copy)]
pub struct Queries<'a> {
    /// At the token's own position.
    pub near: &'a Heads,
    /// At the window's last position, for the sinks.
    pub sinks: &'a Heads,
}

/// Room for one head's scores and probabilities.
#[derive(Clone)]
pub struct Scores {
    scores: Vec<Row>,
    /// Two runs of eight slots a block.
    p: Vec<[u8; LANES]>,
}

impl Scores {
    /// For rings of this shape.
    pub fn new(shape: RingShape) -> Self {
        Scores {
            scores: vec![Row::default(); shape.blocks()],
            p: vec![[0; LANES]; shape.blocks()],
        }
    }
}

impl Ring {
    /// Empty.
    pub fn new(shape: RingShape) -> Self {
        let blocks = shape.kv_heads * shape.blocks();
        let octets = 2 * blocks;
        Ring {
            shape,
            keys: vec![Word([128; 4 * LANES]); blocks * shape.key_words()],
            mu: vec![[8; LANES]; blocks],
            exponent: vec![[0; LANES]; blocks],
            values: vec![Word([0; 4 * LANES]); octets * shape.value_words()],
        }
    }

    /// Store a token's keys (the heads after the queries) and values (int8 in
    /// units of 2^8, by KV head, by element) in a slot.
    #[inline(always)]
    pub fn write(&mut self, slot: usize, heads: &Heads, values: &[Row]) {
        let shape = self.shape;
        let (block, lane) = (slot / LANES, slot % LANES);
        let octet = slot / OCTET;
        for kv_head in 0..shape.kv_heads {
            let key = heads.query(shape.heads + kv_head);
            let at = kv_head * shape.blocks() + block;
            self.mu[at][lane] = key.mu as u8;
            self.exponent[at][lane] = key.exponent as u8;
            let words = &mut self.keys[at * shape.key_words()..][..shape.key_words()];
            for (word, m) in words.iter_mut().zip(key.words) {
                let m = m.to_le_bytes().map(|m| m ^ 128);
                word.0[4 * lane..][..4].copy_from_slice(&m);
            }
            let octets = 2 * shape.blocks();
            for c in 0..shape.head_size {
                let at = (kv_head * shape.value_words() + c / OCTET) * octets + octet;
                let byte = 8 * (c % OCTET) + slot % OCTET;
                let value = kv_head * shape.head_size + c;
                self.values[at].0[byte] = values[value / LANES].0[value % LANES] as u8;
            }
        }
    }

    /// Attention of all heads: `out` gets int16 with FV fraction bits. A score
    /// is shifted by `score_shift` less the exponents of query and key.
    #[inline(always)]
    pub fn attend<L: Lanes>(
        &self,
        queries: Queries<'_>,
        limits: Limits<'_>,
        score_shift: i32,
        scores: &mut Scores,
        out: &mut [Row],
    ) {
        let shape = self.shape;
        let group = shape.heads / shape.kv_heads;
        let in_use = limits.near.len();
        for head in 0..shape.heads {
            let kv_head = head / group;
            let near = queries.near.query(head);
            let row = &mut scores.scores[..in_use];
            let mut max = self.score::<L, false>(kv_head, &near, score_shift, limits.near, row);
            if !limits.sinks.is_empty() {
                let sink = queries.sinks.query(head);
                let row = &mut row[..limits.sinks.len()];
                let sinks = self.score::<L, true>(kv_head, &sink, score_shift, limits.sinks, row);
                max = max.max(sinks);
            }
            let p = &mut scores.p[..in_use];
            let sum = probabilities::<L>(&scores.scores[..in_use], max.largest(), p);
            self.mix::<L>(kv_head, p, sum, head * shape.head_size, out);
        }
    }

    /// Scores of one head in all blocks that have limits; `MERGE` keeps what
    /// is there where it is larger. Returns their lane-wise maximum.
    #[inline(always)]
    fn score<L: Lanes, const MERGE: bool>(
        &self,
        kv_head: usize,
        query: &Query,
        score_shift: i32,
        limits: &[Row],
        out: &mut [Row],
    ) -> L {
        let shape = self.shape;
        let first = kv_head * shape.blocks();
        let keys = &self.keys[first * shape.key_words()..];
        let scales = self.mu[first..].iter().zip(&self.exponent[first..]);
        let query_mu = L::splat(query.mu);
        let base = L::splat(score_shift - query.exponent);
        let lowest = L::splat(i16::MIN.into());
        let mut max = L::splat(MASKED);
        for ((words, (mu, exponent)), (limit, out)) in keys
            .chunks_exact(shape.key_words())
            .zip(scales)
            .zip(limits.iter().zip(out))
        {
            let mut d = L::splat(query.bias);
            for (word, &x) in words.iter().zip(&query.words) {
                d = d.dot(word, x);
            }
            let mu = query_mu.mul(L::load_u8(mu));
            let shift = base.sub(L::load_u8(exponent));
            // The limit of a valid slot is the upper end of int16.
            let mut score = d.mul(mu).rshr(shift).max(lowest).min(L::load(limit));
            if MERGE {
                score = score.max(L::load(out));
            }
            score.store(out);
            max = max.max(score);
        }
        max
    }

    /// A head's output: the mean of the values under the probabilities `p`,
    /// whose sum is `sum`; its elements go to `out` from `start` on.
    #[inline(always)]
    fn mix<L: Lanes>(
        &self,
        kv_head: usize,
        p: &[[u8; LANES]],
        sum: u32,
        start: usize,
        out: &mut [Row],
    ) {
        let shape = self.shape;
        let octets = 2 * shape.blocks();
        let (multiplier, shift) = mix_scale(sum);
        let multiplier = L::splat(multiplier.into());
        let values = &self.values[kv_head * shape.value_words() * octets..];
        for (word, values) in (0..shape.value_words()).zip(values.chunks_exact(octets)) {
            let (mut even, mut odd) = (L::splat(0), L::splat(0));
            for (p, values) in p.iter().zip(values.as_chunks::<2>().0) {
                let (p, _) = p.as_chunks::<OCTET>();
                even = even.dot_pairs(&p[0], &values[0]);
                odd = odd.dot_pairs(&p[1], &values[1]);
            }
            let mut elements = [0; OCTET];
            even.add(odd)
                .add_pairs()
                .requantize(multiplier, L::splat(shift), 16)
                .store_even(&mut elements);
            let c = word * OCTET;
            let used = OCTET.min(shape.head_size - c);
            for (i, &x) in elements[..used].iter().enumerate() {
                let at = start + c + i;
                out[at / LANES].0[at % LANES] = x;
            }
        }
    }
}

/// `exp2p(max - score)` of every slot, and their sum.
#[inline(always)]
fn probabilities<L: Lanes>(scores: &[Row], max: i32, p: &mut [[u8; LANES]]) -> u32 {
    let mut sum = L::splat(0);
    let max = L::splat(max);
    for (score, p) in scores.iter().zip(p) {
        let d = max.sub(L::load(score));
        let n = d.shr(L::splat(SCORE_BITS as i32));
        // rshr(T[f], n + 9), the last step apart: shifts of 32 and more give 0.
        let t = d.lookup(&EXP2_ROWS).shr(n.add(L::splat(8)));
        let probability = t.add(L::splat(1)).shr(L::splat(1));
        probability.store_u8(p);
        sum = sum.add(probability);
    }
    sum.sum() as u32
}

/// [`EXP2`] as a table for lookups.
static EXP2_ROWS: [Row; 2] = {
    let mut table = [Row([0; LANES]); 2];
    let mut i = 0;
    while i < EXP2.len() {
        table[i / LANES].0[i % LANES] = EXP2[i] as i32;
        i += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::simd::{InstructionSet, Kernel};
    use annulus_contract::exp2::exp2p;

    struct Probabilities<'a>(&'a [Row], i32, &'a mut [[u8; LANES]]);

    impl Kernel for Probabilities<'_> {
        type Output = u32;

        #[inline(always)]
        fn run<L: Lanes>(self) -> u32 {
            probabilities::<L>(self.0, self.1, self.2)
        }
    }

    /// Every distance that int16 scores can have, and masked slots.
    #[test]
    fn probabilities_are_the_contracts() {
        let max = i32::from(i16::MAX);
        let scores: Vec<i32> = (0..65536).map(|d| max - d).chain([MASKED; LANES]).collect();
        let rows: Vec<Row> = scores.as_chunks().0.iter().copied().map(Row).collect();
        for set in InstructionSet::available() {
            let mut p = vec![[0; LANES]; rows.len()];
            let sum = set.run(Probabilities(&rows, max, &mut p));
            let p = p.as_flattened();
            for (d, &p) in p[..65536].iter().enumerate() {
                assert_eq!(u32::from(p), exp2p(d as u32), "{} {d}", set.name());
            }
            assert_eq!(p[65536..], [0; LANES]);
            assert_eq!(sum, p.iter().map(|&p| u32::from(p)).sum::<u32>());
        }
    }
}
