//! Free scalings of a model, chosen so that it loses least in 8 bits.
//!
//! Some channels may be scaled by any factor `a` where another matrix takes the
//! inverse: a hidden unit between up and down, a value between `wv` and `wo`, a pair
//! of a query against the same pair of its key. The function stays the same. What
//! changes is the noise of the int8 vector `x` that the channels share: it is a share
//! of the whole vector's size, and weighs as much as what reads the channel, `w`. So
//! `sum (a x)^2 * sum (w / a)^2` should be small, and `a^2 = |w| / |x|` makes it least.
//! It also makes the result independent of how a checkpoint happens to be scaled.

use super::calibrate::{Reach, Reaches};
use crate::float::FloatModel;
use std::ops::Range;

/// Factors are kept within the inverse of this and this.
const LIMIT: f64 = (1u64 << 40) as f64;

/// Scales channels of all layers by what calibration saw of them, and `reaches` with them.
pub fn balance(model: &mut FloatModel, reaches: &mut Reaches) {
    let (dim, hidden, size) = (model.dim, model.hidden, model.head_size);
    let group = model.heads / model.kv_heads;
    for (layer, reach) in model.layers.iter_mut().zip(&mut reaches.layers) {
        for unit in 0..hidden {
            let factor = factor(
                power(&reach.hidden[unit..=unit]),
                column_power(&layer.w2, hidden, unit),
            );
            let (writer, written) = match &mut layer.w3 {
                Some(w3) => (w3, &mut reach.up),
                None => (&mut layer.w1, &mut reach.gate),
            };
            scale_rows(writer, dim, unit..unit + 1, factor);
            scale_column(&mut layer.w2, hidden, unit, 1.0 / factor);
            scale_reaches(&mut written[unit..=unit], factor);
            scale_reaches(&mut reach.hidden[unit..=unit], factor);
        }
        for head in 0..model.kv_heads {
            let readers = || head * group..(head + 1) * group;
            for c in 0..size {
                let value = head * size + c;
                let read = readers()
                    .map(|h| column_power(&layer.wo, dim, h * size + c))
                    .sum();
                let factor = factor(power(&reach.v[value..=value]), read);
                scale_rows(&mut layer.wv, dim, value..value + 1, factor);
                scale_reaches(&mut reach.v[value..=value], factor);
                readers()
                    .for_each(|h| scale_column(&mut layer.wo, dim, h * size + c, 1.0 / factor));
            }
            for c in (0..size).step_by(2) {
                let pair = |head: usize| head * size + c..head * size + c + 2;
                let queries = readers().map(|h| power(&reach.q[pair(h)])).sum();
                let factor = factor(power(&reach.k[pair(head)]), queries);
                scale_rows(&mut layer.wk, dim, pair(head), factor);
                scale_reaches(&mut reach.k[pair(head)], factor);
                for h in readers() {
                    scale_rows(&mut layer.wq, dim, pair(h), 1.0 / factor);
                    scale_reaches(&mut reach.q[pair(h)], 1.0 / factor);
                }
            }
        }
    }
}

/// `sqrt(|reader| / |channel|)` from the squares of both, as a power of two: a row so
/// scaled keeps its int8 weights. 1 where either is zero.
fn factor(channel: f64, reader: f64) -> f64 {
    if channel == 0.0 || reader == 0.0 {
        return 1.0;
    }
    let factor = (reader / channel).powf(0.25).clamp(1.0 / LIMIT, LIMIT);
    factor.log2().round().exp2()
}

fn power(channels: &[Reach]) -> f64 {
    channels.iter().map(|channel| channel.power).sum()
}

fn column_power(w: &[f32], cols: usize, column: usize) -> f64 {
    w.iter()
        .skip(column)
        .step_by(cols)
        .map(|&w| f64::from(w).powi(2))
        .sum()
}

fn scale_rows(w: &mut [f32], cols: usize, rows: Range<usize>, factor: f64) {
    w[rows.start * cols..rows.end * cols]
        .iter_mut()
        .for_each(|w| *w = (f64::from(*w) * factor) as f32);
}

fn scale_column(w: &mut [f32], cols: usize, column: usize, factor: f64) {
    w.iter_mut()
        .skip(column)
        .step_by(cols)
        .for_each(|w| *w = (f64::from(*w) * factor) as f32);
}

fn scale_reaches(channels: &mut [Reach], factor: f64) {
    channels
        .iter_mut()
        .for_each(|channel| channel.scale(factor));
}
