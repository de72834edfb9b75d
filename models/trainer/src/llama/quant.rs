//! The number formats of `docs/arithmetic.md`, in float32: what a value becomes
//! when the integer pipeline stores it. Gradients pass straight through.

/// Largest mantissa of 8 bits.
const TOP: f32 = 127.0;

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

#[cfg(test)]
mod tests {
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
}
