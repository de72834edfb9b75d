//! The number formats of `docs/arithmetic.md`, in float32: what a value becomes
//! when the integer pipeline stores it. Gradients pass straight through.

use std::ops::RangeInclusive;

use annulus_contract::step::{GROUP, GROUP_SCALE, NIBBLE};
use clap::ValueEnum;
use wide::f32x16;

/// Largest mantissa of 8 bits.
const TOP: f32 = 127.0;
/// Smallest and largest weight of 4 bits.
const DIGITS: [f32; 2] = [NIBBLE[0] as f32, NIBBLE[1] as f32];
/// Largest scale of a group of them, in the row's steps; the smallest is 1.
const TOP_SCALE: f32 = GROUP_SCALE[1] as f32;
/// Steps that are tried for a row of them, counted from the least that clips nothing.
const TRIED_STEPS: RangeInclusive<i32> = -6..=1;

/// Bits of the weights of a block's matrices; the classifier's have 8 always.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WeightBits {
    /// A scale a row.
    #[value(name = "8")]
    Eight,
    /// A scale a group of 16.
    #[value(name = "4")]
    Four,
}

impl WeightBits {
    /// How many they are.
    pub fn count(self) -> u8 {
        match self {
            Self::Eight => 8,
            Self::Four => 4,
        }
    }
}

/// A power of two.
fn exp2i(exponent: i32) -> f32 {
    f32::from_bits(((exponent + 127).clamp(1, 254) as u32) << 23)
}

/// Bits left of the binary point of `x`: the least `n` with `x < 2^n`.
fn bits(x: f32) -> i32 {
    (x.to_bits() >> 23) as i32 - 126
}

fn peak(x: &[f32]) -> f32 {
    x.iter().fold(0.0, |m: f32, x| m.max(x.abs()))
}

fn round_to(x: &mut [f32], unit: f32) {
    let inverse = 1.0 / unit;
    x.iter_mut()
        .for_each(|x| *x = (*x * inverse).round_ties_even().clamp(-TOP - 1.0, TOP) * unit);
}

/// A vector between steps: int8 mantissas and one power of two (`block`).
pub fn block(x: &mut [f32]) {
    let peak = peak(x);
    if peak > f32::MIN_POSITIVE {
        round_to(x, exp2i(bits(peak) - 7));
    }
}

/// A query or key: int8 mantissas and one scale in quarter octaves (`bfp`).
pub fn quarter_octave(x: &mut [f32]) {
    let peak = peak(x);
    if peak > f32::MIN_POSITIVE {
        let unit = exp2i(bits(peak) - 7);
        let mu = [5.0, 6.0, 7.0]
            .into_iter()
            .find(|mu| 8.0 * peak <= mu * TOP * unit)
            .unwrap_or(8.0);
        round_to(x, unit * mu / 8.0);
    }
}

/// Values, which share one power of two that holds `peak` in 8 bits with a margin of a half.
pub fn fixed(x: &mut [f32], peak: f32) {
    if peak > f32::MIN_POSITIVE {
        round_to(x, exp2i(bits(1.5 * peak) - 7));
    }
}

/// A row of weights: int8 and the scale in quarter octaves with the least squared error.
pub fn weights(row: &mut [f32]) {
    let peak = peak(row);
    if peak <= f32::MIN_POSITIVE {
        return;
    }
    let top = bits(peak) - 7;
    let error = |unit: f32| -> f32 {
        let inverse = 1.0 / unit;
        row.iter()
            .map(|&w| {
                let rounded = (w * inverse).round_ties_even().clamp(-TOP, TOP);
                (w - rounded * unit).powi(2)
            })
            .sum()
    };
    let units =
        (top - 1..=top + 1).flat_map(|e| [5.0, 6.0, 7.0, 8.0].map(|mu| exp2i(e) * mu / 8.0));
    let best = units
        .map(|unit| (error(unit), unit))
        .min_by(|a, b| a.0.total_cmp(&b.0));
    if let Some((_, unit)) = best {
        let inverse = 1.0 / unit;
        row.iter_mut()
            .for_each(|w| *w = (*w * inverse).round_ties_even().clamp(-TOP, TOP) * unit);
    }
}

/// A row of weights of 4 bits: each group of 16 has a whole scale, 1 to 15 of the row's
/// steps, and the row a step in quarter octaves, those with the least squared error.
///
/// `factor` is what the quantizer multiplies the row by before it rounds, powers of two
/// aside: it moves the grid that steps are chosen from.
pub fn grouped_weights(row: &mut [f32], factor: f32) {
    let peak = peak(row);
    if peak <= f32::MIN_POSITIVE {
        return;
    }
    let least = least_step(peak * factor / (TOP_SCALE * DIGITS[1]));
    let error = |scales: &GroupScales| -> f32 {
        let groups = row.chunks(GROUP);
        groups.map(|group| scales.choose(group).1).sum()
    };
    let best = TRIED_STEPS
        .map(|tried| GroupScales::new(step(least + tried) / factor))
        .map(|scales| (error(&scales), scales))
        .min_by(|a, b| a.0.total_cmp(&b.0));
    if let Some((_, scales)) = best {
        row.chunks_mut(GROUP).for_each(|group| scales.round(group));
    }
}

/// The step of number `quarter`, four an octave: `2^e * mu/8`.
fn step(quarter: i32) -> f32 {
    exp2i(quarter.div_euclid(4)) * (5 + quarter.rem_euclid(4)) as f32 / 8.0
}

/// The number of the least step that is not below `x`.
fn least_step(x: f32) -> i32 {
    // `x` may be the end of the octave below.
    let end = 4 * bits(x) + 3;
    (end - 4..end).find(|&q| step(q) >= x).unwrap_or(end)
}

/// All scales that a group may have, one a lane; the lane that is left over repeats the last.
struct GroupScales {
    scales: f32x16,
    inverses: f32x16,
}

impl GroupScales {
    fn new(step: f32) -> Self {
        let scale = |lane| step * (lane as f32 + 1.0).min(TOP_SCALE);
        let scales = f32x16::new(std::array::from_fn(scale));
        let inverses = f32x16::ONE / scales;
        Self { scales, inverses }
    }

    /// What a weight becomes with each scale.
    #[inline(always)]
    fn rounded(&self, w: f32) -> f32x16 {
        let [least, most] = DIGITS.map(f32x16::splat);
        let digits = (f32x16::splat(w) * self.inverses).round_ties_even();
        digits.fast_max(least).fast_min(most) * self.scales
    }

    /// The lane of the scale with the least squared error, and that error.
    #[inline(always)]
    fn choose(&self, group: &[f32]) -> (usize, f32) {
        let mut errors = f32x16::ZERO;
        for &w in group {
            let error = f32x16::splat(w) - self.rounded(w);
            errors = error.mul_add(error, errors);
        }
        let errors = errors.to_array().into_iter().enumerate();
        errors.fold((0, f32::INFINITY), |best, (lane, error)| {
            if error < best.1 {
                (lane, error)
            } else {
                best
            }
        })
    }

    fn round(&self, group: &mut [f32]) {
        let (lane, _) = self.choose(group);
        group
            .iter_mut()
            .for_each(|w| *w = self.rounded(*w).as_array()[lane]);
    }
}

#[cfg(test)]
mod tests {
    use std::f32::consts::LOG2_E;

    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn vectors_take_the_least_power_of_two() {
        // 100 needs 7 bits: units of 1. 200 needs 8: units of 2.
        let mut x = [100.0, 2.4, -0.6];
        block(&mut x);
        assert_eq!(x, [100.0, 2.0, -1.0]);
        let mut x = [200.0, 2.9, -255.0];
        block(&mut x);
        assert_eq!(x, [200.0, 2.0, -256.0]);
        let mut zeros = [0.0; 3];
        block(&mut zeros);
        assert_eq!(zeros, [0.0; 3]);
    }

    #[test]
    fn quarter_octaves_are_finer() {
        // 150 needs 8 bits, units of 2; 5/8 of them hold 158.
        let mut x = [150.0, 1.0, -3.0];
        quarter_octave(&mut x);
        assert_eq!(x, [150.0, 1.25, -2.5]);
    }

    #[test]
    fn weights_take_the_best_scale() {
        let row: Vec<f32> = (0..64)
            .map(|i| ((i * 37 % 64) as f32 - 31.5) / 31.5)
            .collect();
        let mut quantized = row.clone();
        weights(&mut quantized);
        for (w, q) in row.iter().zip(&quantized) {
            // The few largest may be clipped where that costs less.
            assert!((w - q).abs() <= 1.0 / 127.0, "{w} {q}");
        }
        let once = quantized.clone();
        weights(&mut quantized);
        assert_eq!(quantized, once, "int8 weights stay what they are");
    }

    /// Rows of several lengths, most of which end within a group; some groups are small.
    fn rows() -> impl Iterator<Item = Vec<f32>> {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        [1, 15, 16, 63, 96, 200]
            .into_iter()
            .cycle()
            .take(120)
            .map(move |length| {
                let size = exp2i(rng.random_range(-20..20));
                let weight = |c| size * rng.random_range(-1.0..1.0f32) / (1 + c / GROUP) as f32;
                (0..length).map(weight).collect()
            })
    }

    fn squared_error(a: &[f32], b: &[f32]) -> f64 {
        let squares = a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2));
        squares.sum()
    }

    /// A row's steps, of which one is to be chosen, by their definition.
    fn steps(row: &[f32], factor: f64) -> Vec<f64> {
        let grid: Vec<f64> = (-64..64)
            .flat_map(|e| [5.0, 6.0, 7.0, 8.0].map(|mu| f64::exp2(e.into()) * mu / 8.0))
            .collect();
        let least = row.iter().fold(0.0, |m: f64, w| m.max(w.abs().into())) * factor / 105.0;
        let least = grid.iter().position(|&step| step >= least).unwrap();
        let tried = &grid[least - 6..=least + 1];
        tried.iter().map(|step| step / factor).collect()
    }

    #[test]
    fn grouped_weights_are_scale_times_digit_times_step() {
        for row in rows() {
            for factor in [1.0, LOG2_E, 9.797_959] {
                let mut found = row.clone();
                grouped_weights(&mut found, factor);
                let is = |w: f32, unit: f64| {
                    let digit = f64::from(w) / unit;
                    (digit - digit.round()).abs() < 1e-4 && (-8.0..=7.0).contains(&digit.round())
                };
                let fits = |group: &[f32], step: f64| {
                    let mut scales = (1..=15).map(f64::from);
                    scales.any(|g| group.iter().all(|&w| is(w, g * step)))
                };
                let steps = steps(&row, factor.into());
                let all = |&step: &f64| found.chunks(GROUP).all(|group| fits(group, step));
                assert!(steps.iter().any(all), "{found:?}");
            }
        }
    }

    #[test]
    fn grouped_weights_lose_the_least() {
        for row in rows() {
            for factor in [1.0, LOG2_E] {
                let mut found = row.clone();
                grouped_weights(&mut found, factor);
                let error = |group: &[f32], unit: f64| -> f64 {
                    let lost = |&w: &f32| {
                        let w = f64::from(w);
                        (w - (w / unit).round().clamp(-8.0, 7.0) * unit).powi(2)
                    };
                    group.iter().map(lost).sum()
                };
                let of_group = |group: &[f32], step: f64| {
                    let scales = (1..=15).map(f64::from);
                    scales.fold(f64::INFINITY, |m, g| m.min(error(group, g * step)))
                };
                let of_row = |step: f64| -> f64 {
                    row.chunks(GROUP).map(|group| of_group(group, step)).sum()
                };
                let steps = steps(&row, factor.into()).into_iter();
                let least = steps.map(of_row).fold(f64::INFINITY, f64::min);
                let size: f64 = row.iter().map(|&w| f64::from(w).powi(2)).sum();
                let lost = squared_error(&row, &found);
                assert!(
                    (lost - least).abs() <= 1e-3 * least + 1e-12 * size,
                    "{lost} {least}"
                );
            }
        }
    }

    #[test]
    fn groups_lose_no_more_than_a_scale_for_the_whole_row() {
        for row in rows() {
            let mut found = row.clone();
            grouped_weights(&mut found, 1.0);
            // The same unit for all, the least that the peak fits in seven of.
            let unit = 15.0 * step(least_step(peak(&row) / 105.0));
            let plain: Vec<f32> = row
                .iter()
                .map(|w| (w / unit).round_ties_even().clamp(-8.0, 7.0) * unit)
                .collect();
            let (error, plain) = (squared_error(&row, &found), squared_error(&row, &plain));
            assert!(error <= plain * 1.000_001, "{error} {plain}");
        }
    }

    #[test]
    fn steps_are_the_least_in_quarter_octaves() {
        for (x, least) in [
            (1.0, 1.0),
            (1.01, 1.25),
            (1.5, 1.5),
            (1.6, 1.75),
            (1.76, 2.0),
            (0.3, 0.3125),
        ] {
            assert_eq!(step(least_step(x)), least);
        }
        let mut zeros = [0.0; 20];
        grouped_weights(&mut zeros, 1.0);
        assert_eq!(zeros, [0.0; 20]);
    }
}
