//! Query and key heads between their matrix and attention: rotation by
//! position, Hadamard rotation, encoding (`docs/arithmetic.md` section 6).
//!
//! Lanes are heads: queries first, then keys. So every head size is as good as
//! any other, and what is chosen for each head is chosen for sixteen at once.

use annulus_contract::block::MANTISSA_BITS;
use annulus_contract::rope::Rotation;
use annulus_contract::tables::RC;

use super::simd::{Lanes, Row, LANES};

/// Largest head, in words of four elements.
const MAX_WORDS: usize = 16;

/// A query head, ready for its dot products with keys.
pub struct Query {
    /// Mantissas, four a word.
    pub words: [i32; MAX_WORDS],
    /// What takes off that keys are stored 128 too large.
    pub bias: i32,
    /// Multiplier, 5 to 8.
    pub mu: i32,
    /// Exponent.
    pub exponent: i32,
}

/// All heads of a token, encoded.
#[derive(Clone)]
pub struct Heads {
    /// Heads over sixteen, rounded up.
    rows: usize,
    /// A row of heads before its encoding, one element of each after the other.
    work: Vec<Row>,
    /// Mantissas, four a word: by word, then by head.
    words: Vec<Row>,
    bias: Vec<Row>,
    mu: Vec<Row>,
    exponent: Vec<Row>,
}

impl Heads {
    /// Room for `rows` times sixteen heads.
    pub fn new(head_size: usize, rows: usize) -> Self {
        let zeros = |n| vec![Row::default(); n];
        Heads {
            rows,
            work: zeros(head_size),
            words: zeros(head_size.div_ceil(4) * rows),
            bias: zeros(rows),
            mu: zeros(rows),
            exponent: zeros(rows),
        }
    }

    /// Encode heads (int16, by element, then by head) rotated by `rotations`,
    /// one a pair of elements, none without RoPE.
    #[inline(always)]
    pub fn encode<L: Lanes>(&mut self, heads: &[Row], rotations: &[Rotation], hadamard: bool) {
        for row in 0..self.rows {
            for (work, x) in self
                .work
                .iter_mut()
                .zip(heads[row..].iter().step_by(self.rows))
            {
                *work = *x;
            }
            rotate::<L>(&mut self.work, rotations);
            if hadamard {
                butterflies::<L>(&mut self.work);
            }
            self.encode_row::<L>(row);
        }
    }

    #[inline(always)]
    fn encode_row<L: Lanes>(&mut self, row: usize) {
        let mut max = L::splat(0);
        for x in &self.work {
            let x = L::load(x);
            max = max.max(x.xor(x.sar(L::splat(31))));
        }
        let (exponent, mu) = scale(max);
        exponent.store(&mut self.exponent[row]);
        mu.store(&mut self.mu[row]);

        let rc = mu.sub(L::splat(5)).lookup(&RECIPROCALS);
        let shift = exponent.add(L::splat(7));
        let mut sum = L::splat(0);
        for (w, elements) in self.work.chunks(4).enumerate() {
            let mut word = L::splat(0);
            for (i, x) in elements.iter().enumerate() {
                let m = L::load(x).mul(rc).rshr(shift).sat(MANTISSA_BITS);
                sum = sum.add(m);
                word = word.or(m.and(L::splat(255)).shl(L::splat(8 * i as i32)));
            }
            word.store(&mut self.words[w * self.rows + row]);
        }
        L::splat(0)
            .sub(sum.shl(L::splat(7)))
            .store(&mut self.bias[row]);
    }

    /// A head as a query.
    #[inline(always)]
    pub fn query(&self, head: usize) -> Query {
        let (row, lane) = (head / LANES, head % LANES);
        let mut words = [0; MAX_WORDS];
        for (word, heads) in words
            .iter_mut()
            .zip(self.words[row..].iter().step_by(self.rows))
        {
            *word = heads.0[lane];
        }
        Query {
            words,
            bias: self.bias[row].0[lane],
            mu: self.mu[row].0[lane],
            exponent: self.exponent[row].0[lane],
        }
    }
}

/// [`RC`] as a table for lookups.
static RECIPROCALS: [Row; 2] = {
    let mut table = [Row([0; LANES]); 2];
    let mut i = 0;
    while i < RC.len() {
        table[0].0[i] = RC[i] as i32;
        i += 1;
    }
    table
};

/// `bfp`'s exponent and multiplier from the largest magnitudes: the contract's
/// `bfp_scale`, branch-free.
#[inline(always)]
fn scale<L: Lanes>(max: L) -> (L, L) {
    let exponent = L::splat(32 - (MANTISSA_BITS as i32 - 1))
        .sub(max.leading_zeros())
        .max(L::splat(0));
    let top = L::splat(127).shl(exponent);
    let max8 = max.shl(L::splat(3));
    // Each multiplier below 8 that holds the largest takes one off; a mask is -1.
    let mut fits = L::splat(0);
    for c in 5..8 {
        let mask = max8.sub(top.mul(L::splat(c))).sub(L::splat(1));
        fits = fits.add(mask.sar(L::splat(31)));
    }
    let scaled = L::splat(0).sub(exponent).sar(L::splat(31));
    (exponent, L::splat(8).add(fits.and(scaled)))
}

/// RoPE of sixteen heads.
#[inline(always)]
fn rotate<L: Lanes>(x: &mut [Row], rotations: &[Rotation]) {
    for (pair, rotation) in x.as_chunks_mut::<2>().0.iter_mut().zip(rotations) {
        let (a, b) = (L::load(&pair[0]), L::load(&pair[1]));
        let (sin, cos) = (L::splat(rotation.sin), L::splat(rotation.cos));
        rotated(a.mul(cos).sub(b.mul(sin))).store(&mut pair[0]);
        rotated(a.mul(sin).add(b.mul(cos))).store(&mut pair[1]);
    }
}

/// RoPE's rounding. Sums are up to 2^30, too large for [`Lanes::rshr`], which
/// doubles them.
#[inline(always)]
fn rotated<L: Lanes>(sum: L) -> L {
    sum.add(L::splat(1 << 13)).sar(L::splat(14)).sat(16)
}

/// The Hadamard rotation of sixteen heads.
#[inline(always)]
fn butterflies<L: Lanes>(x: &mut [Row]) {
    let mut stride = 1;
    while stride < x.len() {
        for group in x.chunks_exact_mut(2 * stride) {
            let (low, high) = group.split_at_mut(stride);
            for (low, high) in low.iter_mut().zip(high) {
                let (a, b) = (L::load(low), L::load(high));
                a.add(b).store(low);
                a.sub(b).store(high);
            }
        }
        stride *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::simd::{InstructionSet, Kernel};
    use annulus_contract::block::{bfp_scale, mantissa};

    struct Encode<'a>(&'a mut Heads, &'a [Row]);

    impl Kernel for Encode<'_> {
        type Output = ();

        #[inline(always)]
        fn run<L: Lanes>(self) {
            self.0.encode::<L>(self.1, &[], false);
        }
    }

    /// Heads of two elements, sixteen at a time, around every step of the scale.
    #[test]
    fn encoding_is_the_contracts() {
        for set in InstructionSet::available() {
            let mut heads = Heads::new(2, 1);
            for step in 0..40_000i32 {
                // Twenty-two bits, the most that a Hadamard rotation makes.
                let x = |lane: i32| ((step * 16 + lane) * 7) % (1 << 21) - (lane & 1);
                let largest = Row(std::array::from_fn(|lane| x(lane as i32)));
                let other = Row(largest.0.map(|x| -x / 3));
                set.run(Encode(&mut heads, &[largest, other]));
                for (lane, x) in largest.0.into_iter().enumerate() {
                    let scale = bfp_scale((x ^ (x >> 31)) as u32, MANTISSA_BITS);
                    let m = [x, -x / 3].map(|x| mantissa(x, scale, MANTISSA_BITS));
                    let query = heads.query(lane);
                    let [low, high, ..] = query.words[0].to_le_bytes();
                    assert_eq!([low as i8, high as i8], m, "{} {x}", set.name());
                    assert_eq!(query.mu, i32::from(scale.mu));
                    assert_eq!(query.exponent, i32::from(scale.e));
                    assert_eq!(query.bias, -128 * (i32::from(m[0]) + i32::from(m[1])));
                }
            }
        }
    }
}
