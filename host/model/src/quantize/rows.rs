//! From float rows to int8 rows with a quarter-octave scale each.

use super::nibbles::choose_nibbles;
use crate::quant::{row_scale, Matrix, Width};
use std::ops::RangeInclusive;

/// Largest magnitude of a quantized weight.
const TOP: f64 = 127.0;

/// A row with weights too large for the largest scale it may have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowTooLarge {
    /// The row.
    pub row: usize,
    /// Its largest magnitude.
    pub peak: f64,
    /// The largest magnitude that a legal scale reaches.
    pub limit: f64,
}

/// Quantizes a `rows x cols` matrix, row by row, with exponents in `exponents` only.
///
/// With 8 bits each row takes the scale `2^-s * mu / 8` with the least squared error, which
/// may clip its few largest weights. A row too small for the smallest scale loses
/// digits, down to zero: the exponent's limits are those below which a row's
/// output rounds to nothing. With 4 bits see [`choose_nibbles`].
pub fn quantize_rows(
    rows: usize,
    cols: usize,
    weight: impl Fn(usize, usize) -> f64,
    exponents: RangeInclusive<i32>,
    bits: Width,
) -> Result<Matrix, RowTooLarge> {
    let mut matrix = Matrix {
        rows,
        cols,
        w: Vec::with_capacity(rows * cols),
        s: Vec::with_capacity(rows),
        mu: Vec::with_capacity(rows),
        groups: (bits == Width::Four).then(Vec::new),
    };
    for r in 0..rows {
        let row: Vec<f64> = (0..cols).map(|c| weight(r, c)).collect();
        let peak = row.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
        let limit = TOP * row_scale(*exponents.start(), 8);
        if peak > limit {
            return Err(RowTooLarge {
                row: r,
                peak,
                limit,
            });
        }
        let (s, mu) = if let Some(groups) = &mut matrix.groups {
            let chosen = choose_nibbles(&row, peak, &exponents);
            matrix.w.extend(chosen.w);
            groups.extend(chosen.groups);
            (chosen.s, chosen.mu)
        } else {
            let (s, mu) = choose_scale(&row, peak, &exponents);
            let scale = row_scale(s, mu);
            let w = row.iter().map(|&x| nearest(x, scale) as i8);
            matrix.w.extend(w);
            (s, mu)
        };
        matrix.s.push(s as i8);
        matrix.mu.push(mu);
    }
    Ok(matrix)
}

/// The most a scale's exponent may be for weights up to `peak` to fit: `peak <= 127 * 2^-s`.
pub fn natural_exponent(peak: f64) -> i32 {
    (TOP / peak).log2().floor().clamp(-1000.0, 1000.0) as i32
}

fn nearest(x: f64, scale: f64) -> f64 {
    (x / scale).round().clamp(-TOP, TOP)
}

fn choose_scale(row: &[f64], peak: f64, exponents: &RangeInclusive<i32>) -> (i32, u8) {
    if peak == 0.0 {
        return (*exponents.end(), 8);
    }
    let natural = natural_exponent(peak);
    let candidates = (natural - 1..=natural + 2)
        .flat_map(|s| (5..=8).map(move |mu| (s.clamp(*exponents.start(), *exponents.end()), mu)));
    let error = |&(s, mu): &(i32, u8)| {
        let scale = row_scale(s, mu);
        row.iter()
            .map(|&x| (x - nearest(x, scale) * scale).powi(2))
            .sum::<f64>()
    };
    let best = candidates.min_by(|a, b| error(a).total_cmp(&error(b)));
    best.unwrap_or((natural, 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dequantized(m: &Matrix, i: usize) -> f64 {
        let r = i / m.cols;
        f64::from(m.w[i]) * row_scale(m.s[r].into(), m.mu[r])
    }

    #[test]
    fn each_row_takes_its_own_scale() {
        let rows = [
            [0.5, -0.25, 0.1, 0.0],
            [100.0, -3.0, 50.0, 1.0],
            [1e-6, 2e-6, -3e-6, 0.0],
        ];
        let m = quantize_rows(3, 4, |r, c| rows[r][c], -32..=31, Width::Eight).unwrap();
        for (i, x) in rows.concat().into_iter().enumerate() {
            let peak = rows[i / 4].iter().fold(0.0, |m: f64, x| m.max(x.abs()));
            assert!(
                (dequantized(&m, i) - x).abs() <= peak / 127.0 * 0.6,
                "{i}: {x} {}",
                dequantized(&m, i)
            );
        }
        assert!(m.mu.iter().all(|mu| (5..=8).contains(mu)));
    }

    #[test]
    fn limits_cap_small_rows_and_refuse_large_ones() {
        let m = quantize_rows(2, 1, |r, _| [1e-9, 0.0][r], -4..=10, Width::Eight).unwrap();
        assert_eq!((m.w, m.s[0] <= 10), (vec![0, 0], true));
        let edge = 127.0 * 16.0;
        assert_eq!(
            quantize_rows(1, 1, |_, _| edge, -4..=10, Width::Eight)
                .unwrap()
                .w,
            [127]
        );
        let error = quantize_rows(1, 1, |_, _| edge * 1.01, -4..=10, Width::Eight).unwrap_err();
        assert_eq!((error.row, error.limit), (0, edge));
    }

    #[test]
    fn one_outlier_is_not_worth_a_row() {
        // A thousand small weights and one a little above them: clipping it costs less.
        let row = |_, c: usize| {
            if c == 0 {
                1.02
            } else {
                f64::from((c * 7919 % 2001) as i32 - 1000) / 1000.0
            }
        };
        let m = quantize_rows(1, 1000, row, -32..=31, Width::Eight).unwrap();
        assert_eq!((m.w[0], m.s[0], m.mu[0]), (127, 7, 8));
    }
}
