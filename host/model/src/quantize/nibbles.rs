//! From a float row to 4-bit weights: a scale for the row, one for each group.

use crate::quant::row_scale;
use annulus_contract::step::{GROUP, GROUP_SCALE, NIBBLE};
use std::ops::RangeInclusive;

/// The largest weight of either sign that no rounding clips.
const TOP: f64 = GROUP_SCALE[1] as f64 * NIBBLE[1] as f64;
/// Row scales that are tried, in quarter octaves from the least that clips nothing: a smaller
/// one clips the row's largest weights, a larger one suits the groups' whole numbers now and then.
const TRIED: RangeInclusive<i32> = -6..=1;

/// A row of 4-bit weights.
#[derive(Clone, Debug, PartialEq)]
pub struct NibbleRow {
    /// Weights, group scale times nibble.
    pub w: Vec<i8>,
    /// A scale for each group of [`GROUP`] columns.
    pub groups: Vec<u8>,
    /// The row's exponent.
    pub s: i32,
    /// Its quarter-octave multiplier.
    pub mu: u8,
}

/// Quantizes a row whose largest magnitude is `peak`, with an exponent in `exponents`.
///
/// Each group takes the scale with the least squared error. So does the row, of a few around
/// the least scale that clips nothing: the result is never worse than with that one.
pub fn choose_nibbles(row: &[f64], peak: f64, exponents: &RangeInclusive<i32>) -> NibbleRow {
    if peak == 0.0 {
        return NibbleRow {
            w: vec![0; row.len()],
            groups: vec![GROUP_SCALE[0]; row.len().div_ceil(GROUP)],
            s: *exponents.end(),
            mu: 8,
        };
    }
    let plain = least_scale(peak / TOP);
    let candidates = TRIED.map(|steps| {
        let (s, mu) = at(plain + steps);
        (s.clamp(*exponents.start(), *exponents.end()), mu)
    });
    let (mut least, mut best) = (f64::INFINITY, None);
    for (s, mu) in candidates {
        let unit = row_scale(s, mu);
        let groups: Vec<_> = row.chunks(GROUP).map(|x| choose_group(x, unit)).collect();
        let error = groups.iter().map(|(_, error)| error).sum::<f64>() * unit * unit;
        if error < least || best.is_none() {
            (least, best) = (error, Some((s, mu, groups)));
        }
    }
    let (s, mu, groups) = best.unwrap_or((*exponents.end(), 8, vec![]));
    let unit = row_scale(s, mu);
    let groups: Vec<u8> = groups.into_iter().map(|(g, _)| g).collect();
    let weights = row.chunks(GROUP).zip(&groups);
    let w = weights.flat_map(|(x, &g)| x.iter().map(move |&x| nearest(x / unit, g) as i8));
    NibbleRow {
        w: w.collect(),
        groups,
        s,
        mu,
    }
}

/// The scale of a group with the least squared error, and that error, in units of the row's scale.
fn choose_group(group: &[f64], unit: f64) -> (u8, f64) {
    let error = |g| {
        let errors = group
            .iter()
            .map(|&x| (x / unit - nearest(x / unit, g)).powi(2));
        (g, errors.sum::<f64>())
    };
    let [least, most] = GROUP_SCALE;
    let all = (least..=most).map(error);
    all.min_by(|a, b| a.1.total_cmp(&b.1))
        .unwrap_or((GROUP_SCALE[0], 0.0))
}

/// The weight nearest to `x` with a group scale of `g`.
fn nearest(x: f64, g: u8) -> f64 {
    let g = f64::from(g);
    let [least, most] = NIBBLE.map(f64::from);
    (x / g).round().clamp(least, most) * g
}

/// Exponent and multiplier of the row scale so many quarter octaves above 5/8.
fn at(quarters: i32) -> (i32, u8) {
    (-quarters.div_euclid(4), 5 + quarters.rem_euclid(4) as u8)
}

/// The least row scale that is at least `unit`, as quarter octaves for [`at`].
fn least_scale(unit: f64) -> i32 {
    let octave = unit.log2().floor().clamp(-1000.0, 1000.0) as i32;
    let reaches = |&quarters: &i32| {
        let (s, mu) = at(quarters);
        row_scale(s, mu) >= unit
    };
    (4 * octave..4 * octave + 9)
        .find(reaches)
        .unwrap_or(4 * octave)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::nibble;
    use crate::random::Rng;

    fn row(rng: &mut Rng, cols: usize) -> Vec<f64> {
        // Normal, with an outlier now and then.
        let size = f64::from(rng.within(-30, 30)).exp2();
        (0..cols)
            .map(|_| {
                let sum: i32 = (0..4).map(|_| rng.within(-1000, 1000)).sum();
                let outlier = if rng.one_in(40) { 6.0 } else { 1.0 };
                f64::from(sum) * size * outlier
            })
            .collect()
    }

    fn peak(row: &[f64]) -> f64 {
        row.iter().fold(0.0, |m: f64, x| m.max(x.abs()))
    }

    fn error(row: &[f64], found: &NibbleRow) -> f64 {
        let unit = row_scale(found.s, found.mu);
        let errors = row.iter().zip(&found.w);
        errors
            .map(|(x, &w)| (x - f64::from(w) * unit).powi(2))
            .sum()
    }

    /// The rule without a search: the least row scale that clips nothing, and each group's best.
    fn plain(row: &[f64]) -> NibbleRow {
        let (s, mu) = (-40..=40)
            .rev()
            .flat_map(|s| (5..=8).map(move |mu| (s, mu)))
            .find(|&(s, mu)| 105.0 * row_scale(s, mu) >= peak(row))
            .unwrap();
        let unit = row_scale(s, mu);
        let of = |group: &[f64]| {
            let weights = |g: i32| -> Vec<i8> {
                let g = f64::from(g);
                let n = group
                    .iter()
                    .map(|x| (x / (unit * g)).round().clamp(-8.0, 7.0));
                n.map(|n| (g * n) as i8).collect()
            };
            let error = |g: i32| -> f64 {
                let pairs = group.iter().zip(weights(g));
                pairs.map(|(x, w)| (x - unit * f64::from(w)).powi(2)).sum()
            };
            let g = (1..=15)
                .min_by(|&a, &b| error(a).total_cmp(&error(b)))
                .unwrap();
            (g as u8, weights(g))
        };
        let (groups, w): (Vec<_>, Vec<_>) = row.chunks(GROUP).map(of).unzip();
        NibbleRow {
            w: w.concat(),
            groups,
            s,
            mu,
        }
    }

    #[test]
    fn weights_are_nibbles_and_no_worse_than_the_plain_rule() {
        let mut rng = Rng::new(4);
        let mut better = 0;
        for cols in (1..=40).chain([96, 255, 256, 257]).cycle().take(400) {
            let row = row(&mut rng, cols);
            let found = choose_nibbles(&row, peak(&row), &(-40..=40));
            assert_eq!(
                (found.w.len(), found.groups.len()),
                (cols, cols.div_ceil(16))
            );
            for (w, &g) in found.w.chunks(GROUP).zip(&found.groups) {
                assert!((1..=15).contains(&g));
                assert!(w.iter().all(|&w| nibble(w, g).is_some()), "{w:?} by {g}");
            }
            let (ours, plain) = (error(&row, &found), error(&row, &plain(&row)));
            assert!(ours <= plain * (1.0 + 1e-12), "{ours} > {plain}");
            better += usize::from(ours < plain);
        }
        assert!(better > 100, "the search is of use: {better}");
    }

    #[test]
    fn what_is_quantized_stays() {
        let mut rng = Rng::new(5);
        let row = row(&mut rng, 96);
        let once = choose_nibbles(&row, peak(&row), &(-40..=40));
        let unit = row_scale(once.s, once.mu);
        let again: Vec<f64> = once.w.iter().map(|&w| f64::from(w) * unit).collect();
        let twice = choose_nibbles(&again, peak(&again), &(-40..=40));
        assert!(error(&again, &twice) < 1e-9 * peak(&again).powi(2));
    }

    #[test]
    fn exponents_stay_within_their_limits() {
        let small = choose_nibbles(&[1e-9; 20], 1e-9, &(-4..=10));
        assert_eq!((small.s, small.w), (10, vec![0; 20]));
        let large = choose_nibbles(&[127.0 * 16.0], 127.0 * 16.0, &(-4..=10));
        assert_eq!((large.s, large.mu, large.w), (-4, 8, vec![105]));
        let zeros = choose_nibbles(&[0.0; 17], 0.0, &(-4..=10));
        assert_eq!((zeros.w, zeros.groups), (vec![0; 17], vec![1, 1]));
    }
}
