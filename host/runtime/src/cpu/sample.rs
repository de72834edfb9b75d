//! Choosing a token, sixteen at a time (`docs/arithmetic.md` section 9).

use annulus_contract::sample::{Gumbel, Key, KEY_BITS};
use annulus_contract::tables::GUMBEL;

use super::simd::{Kernel, Lanes, Row, LANES};

/// Bits that scaled logits are held to: all they can have, and few enough that
/// a filler of `i32::MIN` takes noise without a wrap.
const SCALED_BITS: u32 = 31;

/// Index of the largest value, the lowest on ties.
pub struct Greedy<'a> {
    /// Logits, filled up with `i32::MIN`.
    pub logits: &'a [Row],
}

impl Kernel for Greedy<'_> {
    type Output = u32;

    #[inline(always)]
    fn run<L: Lanes>(self) -> u32 {
        argmax::<L>(self.logits)
    }
}

/// The contract's `Gumbel::choose`.
pub struct Choose<'a> {
    /// Temperature and key.
    pub gumbel: Gumbel,
    /// Tokens sampled so far.
    pub step: u32,
    /// Logits, filled up with `i32::MIN`.
    pub logits: &'a [Row],
    /// Room for as many.
    pub perturbed: &'a mut [Row],
}

impl Kernel for Choose<'_> {
    type Output = u32;

    #[inline(always)]
    fn run<L: Lanes>(self) -> u32 {
        let it = L::splat(self.gumbel.it.into());
        let shift = L::splat(self.gumbel.logit_bits as i32 - 1);
        let mut index = L::load(&FIRST_INDICES);
        for (logits, out) in self.logits.iter().zip(&mut *self.perturbed) {
            let scaled = L::load(logits).requantize(it, shift, SCALED_BITS);
            let noise = gumbel(prng(self.gumbel.key, self.step, index));
            scaled.add(noise).store(out);
            index = index.add(L::splat(LANES as i32));
        }
        argmax::<L>(self.perturbed)
    }
}

/// Index of the largest element, the lowest on ties.
#[inline(always)]
fn argmax<L: Lanes>(x: &[Row]) -> u32 {
    let mut max = L::splat(i32::MIN);
    for x in x {
        max = max.max(L::load(x));
    }
    let max = L::splat(max.largest());
    for (row, x) in x.iter().enumerate() {
        let hits = L::load(x).equal(max);
        if hits != 0 {
            return (row * LANES) as u32 + hits.trailing_zeros();
        }
    }
    0
}

/// The contract's `prng` at sixteen indices.
#[inline(always)]
fn prng<L: Lanes>(key: Key, step: u32, index: L) -> L {
    let (mut x, mut y) = (L::splat(step as i32), index);
    for round in 0..8 {
        let key = if round % 2 == 1 { key.k1 } else { key.k0 };
        x = x.rotate_left(24).add(y);
        x = x.xor(L::splat(key.wrapping_add(round) as i32));
        y = y.rotate_left(3).xor(x);
    }
    y
}

/// The contract's `gumbel`. Its 33 bits `v = 2r + 1` have a leading one at bit
/// `32 - n`; what lies below it, shifted to the top, is segment and fraction.
#[inline(always)]
fn gumbel<L: Lanes>(r: L) -> L {
    let n = r.leading_zeros();
    let segment = n.min(L::splat(7));
    let below = r.shl(L::splat(1)).or(L::splat(1)).shl(n);
    let i = below.shr(L::splat(27));
    let f = below.shr(L::splat(19)).and(L::splat(255));
    let entry = L::splat(7)
        .sub(segment)
        .shl(L::splat(5))
        .add(i)
        .gather(&ENTRIES);
    let here = entry.shl(L::splat(16)).sar(L::splat(16));
    let rise = entry.sar(L::splat(16)).mul(f).add(L::splat(128));
    let octaves = n.sub(segment).shl(L::splat(KEY_BITS as i32));
    here.add(rise.sar(L::splat(8))).add(octaves)
}

/// 0 to 15.
static FIRST_INDICES: Row = {
    let mut row = Row([0; LANES]);
    let mut i = 0;
    while i < LANES {
        row.0[i] = i as i32;
        i += 1;
    }
    row
};

/// [`GUMBEL`] with each entry's distance to the next in the high half.
static ENTRIES: [i32; 256] = {
    let mut table = [0; 256];
    let mut a = 0;
    while a < table.len() {
        let rise = GUMBEL[a + 1] as i32 - GUMBEL[a] as i32;
        table[a] = rise << 16 | GUMBEL[a] as u16 as i32;
        a += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::simd::InstructionSet;
    use annulus_contract::sample;

    struct Noise<'a>(&'a [Row], &'a mut [Row]);

    impl Kernel for Noise<'_> {
        type Output = ();

        #[inline(always)]
        fn run<L: Lanes>(self) {
            for (r, out) in self.0.iter().zip(self.1) {
                gumbel(L::load(r)).store(out);
            }
        }
    }

    /// Random bits around every power of two and every segment's end.
    #[test]
    fn noise_is_the_contracts() {
        let near =
            |center: u32| (0..LANES as u32).map(move |i| center.wrapping_add(i).wrapping_sub(8));
        let r: Vec<i32> = (0..32)
            .flat_map(|bit| (0..64).map(move |i| (1u32 << bit).wrapping_add(i << bit >> 6)))
            .chain([0])
            .flat_map(near)
            .map(|r| r as i32)
            .collect();
        let rows: Vec<Row> = r.as_chunks().0.iter().copied().map(Row).collect();
        for set in InstructionSet::available() {
            let mut out = rows.clone();
            set.run(Noise(&rows, &mut out));
            for (r, noise) in rows.iter().zip(&out) {
                let expected = r.0.map(|r| sample::gumbel(r as u32));
                assert_eq!(noise.0, expected, "{} {r:?}", set.name());
            }
        }
    }

    /// Ties and every length of the last row.
    #[test]
    fn choices_are_the_contracts() {
        let key = Key { k0: 1, k1: 2 };
        for vocab in 1..70 {
            let logits: Vec<i32> = (0..vocab)
                .map(|i| sample::prng(key, vocab, i) as i32 >> 8 << (vocab % 22))
                .map(|x| x.clamp(-(1 << 23), (1 << 23) - 1))
                .collect();
            let mut padded = logits.clone();
            padded.resize(logits.len().next_multiple_of(LANES), i32::MIN);
            let rows: Vec<Row> = padded.as_chunks().0.iter().copied().map(Row).collect();
            let gumbel = Gumbel {
                it: if vocab % 2 == 0 { 1847 } else { u16::MAX },
                key,
                logit_bits: 12,
            };
            for set in InstructionSet::available() {
                let greedy = set.run(Greedy { logits: &rows });
                assert_eq!(greedy, sample::greedy(&logits), "{}", set.name());
                let chosen = set.run(Choose {
                    gumbel,
                    step: vocab,
                    logits: &rows,
                    perturbed: &mut rows.clone(),
                });
                assert_eq!(chosen, gumbel.choose(vocab, &logits), "{}", set.name());
            }
        }
    }
}
