//! Choosing a token (`docs/arithmetic.md` section 9): greedy, or Gumbel-max
//! with a counter-based generator, so that noise depends on key, step and
//! index alone and may be made in any order.

use crate::fixed::{len, rshr};
use crate::tables::GUMBEL;

/// Fraction bits of noise and of scaled logits.
pub const KEY_BITS: u32 = 11;

/// Key of the generator: a stream's seed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Key {
    /// Low half.
    pub k0: u32,
    /// High half.
    pub k1: u32,
}

impl From<u64> for Key {
    fn from(seed: u64) -> Self {
        Key {
            k0: seed as u32,
            k1: (seed >> 32) as u32,
        }
    }
}

/// 32 random bits for a key, a step (sampled tokens so far) and an index.
///
/// ```
/// use annulus_contract::sample::{prng, Key};
/// assert_eq!(prng(Key { k0: 12648430, k1: 4660 }, 1, 0), 4114058535);
/// ```
pub const fn prng(key: Key, step: u32, index: u32) -> u32 {
    let (mut x, mut y) = (step, index);
    let mut round = 0;
    while round < 8 {
        x = x.rotate_right(8).wrapping_add(y);
        x ^= (if round & 1 == 1 { key.k1 } else { key.k0 }).wrapping_add(round);
        y = y.rotate_left(3) ^ x;
        round += 1;
    }
    y
}

/// Gumbel noise from 32 random bits: `-log2(-log2(1 - v))` at `v = (r + 1/2) *
/// 2^-32`, 11 fraction bits, 18 bits signed.
///
/// ```
/// use annulus_contract::sample::gumbel;
/// assert_eq!((gumbel(0), gumbel(1 << 31), gumbel(u32::MAX)), (66495, 0, -6797));
/// ```
pub const fn gumbel(r: u32) -> i32 {
    let v = 2 * r as u64 + 1;
    let n = 33 - len(v);
    let seg = if n < 7 { n } else { 7 };
    let w = (v << n) & ((1 << 33) - 1);
    let (i, f) = ((w >> 27 & 31) as usize, (w >> 19 & 255) as i32);
    let a = (7 - seg as usize) * 32 + i;
    let here = GUMBEL[a] as i32;
    here + (((GUMBEL[a + 1] as i32 - here) * f + 128) >> 8) + ((n - seg) << KEY_BITS) as i32
}

/// Noise of symbol `index` at a step.
///
/// ```
/// use annulus_contract::sample::{noise, Key};
/// assert_eq!(noise(Key { k0: 12648430, k1: 4660 }, 1, 0), -4498);
/// ```
pub const fn noise(key: Key, step: u32, index: u32) -> i32 {
    gumbel(prng(key, step, index))
}

/// A logit (24 bits) over the temperature, 11 fraction bits. `it` is
/// `round(1024 * log2(e) / T)`; `logit_bits` are the logits' fraction bits.
pub const fn scaled_logit(logit: i32, it: u16, logit_bits: u32) -> i32 {
    rshr(logit as i64 * it as i64, logit_bits as i32 - 1) as i32
}

/// Running argmax over (index, value) pairs offered in order of index: the
/// lowest index wins a tie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Argmax {
    best: Option<(u32, i32)>,
}

impl Argmax {
    /// Nothing offered yet.
    pub const fn new() -> Self {
        Argmax { best: None }
    }

    /// Offer a value; `index` lies above every index offered before.
    #[inline]
    pub fn offer(&mut self, index: u32, value: i32) {
        if self.best.is_none_or(|(_, best)| value > best) {
            self.best = Some((index, value));
        }
    }

    /// Index of the largest value so far, `None` before the first.
    pub fn index(&self) -> Option<u32> {
        self.best.map(|(index, _)| index)
    }
}

/// Greedy choice: the largest logit, the lowest index on ties; 0 for none.
///
/// ```
/// assert_eq!(annulus_contract::sample::greedy(&[3, 7, 7, -1]), 1);
/// ```
pub fn greedy(logits: &[i32]) -> u32 {
    let mut argmax = Argmax::new();
    for (i, &logit) in logits.iter().enumerate() {
        argmax.offer(i as u32, logit);
    }
    argmax.index().unwrap_or(0)
}

/// Sampling at a temperature, by the Gumbel-max trick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gumbel {
    /// `round(1024 * log2(e) / T)`: 1477 for T = 1.
    pub it: u16,
    /// The stream's seed.
    pub key: Key,
    /// Fraction bits of the logits (`LF`, 12).
    pub logit_bits: u32,
}

impl Gumbel {
    /// What the choice at `step` compares: scaled logit plus noise (30 bits).
    #[inline]
    pub const fn perturbed(&self, step: u32, index: u32, logit: i32) -> i32 {
        scaled_logit(logit, self.it, self.logit_bits) + noise(self.key, step, index)
    }

    /// The token chosen at `step` (sampled tokens so far); 0 for no logits.
    pub fn choose(&self, step: u32, logits: &[i32]) -> u32 {
        let mut argmax = Argmax::new();
        for (i, &logit) in logits.iter().enumerate() {
            argmax.offer(i as u32, self.perturbed(step, i as u32, logit));
        }
        argmax.index().unwrap_or(0)
    }
}
