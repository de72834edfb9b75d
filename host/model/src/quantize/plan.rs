//! Where every binary point lies, from how strong every vector becomes.
//!
//! A point is found as the number of fraction bits that the vector's reach leaves of
//! 16. It may be any whole number; the arithmetic's formats are not negative and
//! bounded. The difference becomes a power of two in the weights that write the
//! vector, and its inverse in those that read it ([`Point`]).

use super::calibrate::{needed, LayerReach, Reaches};
use super::rows::natural_exponent;
use super::{QuantizeError, Rotation};
use crate::check::EPS_LIMIT;
use crate::float::{FloatLayer, FloatModel};
use crate::quant::Width;
use annulus_contract::exp2::SCORE_BITS;
use annulus_contract::sigmoid;
use std::f64::consts::LOG2_E;
use std::ops::RangeInclusive;

/// What a calibrated int16 may reach: rounding of weights takes it a little further.
const INT16: f64 = 32_000.0;
/// Fraction bits that formats are kept within; scores' two formats may add up to less.
const BITS: RangeInclusive<i32> = 0..=15;
/// A fused norm's `k - e` is at least this, whatever epsilon.
const LEAST_NORM_SHIFT: i32 = 0;

/// Where a vector's binary point lies: stored as `x * 2^(bits + fold)`. The weights
/// that write the vector carry `2^fold` and those that read it the inverse, so that
/// the arithmetic sees `bits` alone.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    /// Fraction bits that the arithmetic sees.
    pub bits: u8,
    /// Power of two in the weights.
    pub fold: i32,
}

impl Point {
    /// The point at `bits`, within what formats allow.
    pub fn at(bits: i32) -> Self {
        let kept = bits.clamp(*BITS.start(), *BITS.end());
        Point {
            bits: kept as u8,
            fold: bits - kept,
        }
    }

    /// Factor of the weights that write the vector.
    pub fn factor(&self) -> f64 {
        f64::from(self.fold).exp2()
    }

    /// Fraction bits, fold included.
    pub fn total(&self) -> i32 {
        i32::from(self.bits) + self.fold
    }
}

/// Fraction bits with which values up to `reach` fit 16 bits; 15 for a vector of zeros.
fn fraction_bits(reach: f64) -> i32 {
    if reach == 0.0 {
        return *BITS.end();
    }
    (INT16 / reach).log2().floor().clamp(-1000.0, 1000.0) as i32
}

/// The most fraction bits with which every row of `w`, its columns times `gain` and all
/// times `factor`, has a legal scale.
fn writable_bits(w: &[f32], gain: &[f32], factor: f64) -> i32 {
    let peak = w.chunks_exact(gain.len()).fold(0.0, |m: f64, row| {
        let weights = row.iter().zip(gain);
        weights.fold(m, |m, (&w, &g)| m.max((f64::from(w) * f64::from(g)).abs()))
    });
    natural_exponent(peak * factor) + 15 + LEAST_NORM_SHIFT
}

fn peak(w: &[f32]) -> f64 {
    w.iter().fold(0.0, |m: f64, &w| m.max(f64::from(w).abs()))
}

/// The sum of token and position where a norm follows it.
#[derive(Clone, Copy, Debug)]
pub struct EmbeddingSum {
    /// Where the tables' binary point lies.
    pub point: Point,
    /// Epsilon of the norm (`eps_emb`).
    pub eps: u64,
}

/// Points of a layer's vectors.
#[derive(Clone, Copy, Debug)]
pub struct LayerPoints {
    /// Queries.
    pub q: Point,
    /// Keys.
    pub k: Point,
    /// Values and attention output.
    pub v: Point,
    /// Gate.
    pub gate: Point,
    /// Up.
    pub up: Point,
    /// Hidden; shares its fold with what writes it.
    pub hidden: Point,
    /// Factor of the queries that makes scores base-2 logarithms and keeps them within 16 bits.
    pub score_factor: f64,
}

/// Every binary point of a model, from which its matrices follow.
pub struct Plan<'m> {
    /// The model, channels balanced.
    pub model: &'m FloatModel,
    /// Whether q and k are rotated.
    pub hadamard: bool,
    /// Bits that a weight of the blocks' matrices is stored in.
    pub weight_bits: Width,
    /// The residual.
    pub residual: Point,
    /// The residual is stored as `x / unit`, `residual.fold` aside. One, but for models with a
    /// norm after the embedding: there it is the factor that the norm's shift leaves of sqrt(dim).
    pub unit: f64,
    /// Shift of the norm after the embedding.
    pub norm_shift: i32,
    /// Epsilon of the norms (`EPS`).
    pub eps: u64,
    /// The embedding's sum, where a norm follows it.
    pub sum: Option<EmbeddingSum>,
    /// The blocks.
    pub layers: Vec<LayerPoints>,
}

impl<'m> Plan<'m> {
    /// Finds all points, or says which vector has none.
    pub fn new(
        model: &'m FloatModel,
        reaches: &Reaches,
        (rotation, weight_bits): (Rotation, Width),
    ) -> Result<Self, QuantizeError> {
        // Without rotary positions the rotation would be one more matrix to fold, and buys nothing.
        let hadamard = rotation == Rotation::Hadamard
            && model.head_size.is_power_of_two()
            && model.rope_base.is_some();
        let stages = if hadamard {
            model.head_size.ilog2() as i32
        } else {
            0
        };
        let layers: Vec<LayerPoints> = model
            .layers
            .iter()
            .zip(&reaches.layers)
            .enumerate()
            .map(|(l, (layer, reach))| layer_points(model, l, layer, reach, stages))
            .collect::<Result<_, _>>()?;

        let root = (model.dim as f64).sqrt();
        let norm_shift = if model.embedding_norm {
            root.log2().round() as i32
        } else {
            0
        };
        let unit = if model.embedding_norm {
            root / f64::from(norm_shift).exp2()
        } else {
            1.0
        };
        let mut bits = fraction_bits(reaches.residual.needed() / unit);
        // Tokens that calibration has not met must fit as well.
        let table_reach = table_reach(model);
        if !model.embedding_norm {
            bits = bits.min(fraction_bits(table_reach));
        }
        for (layer, points) in model.layers.iter().zip(&layers) {
            for (w, from) in [(&layer.wo, points.v), (&layer.w2, points.hidden)] {
                bits = bits.min(natural_exponent(peak(w) / unit) + from.total() + 7);
            }
        }
        let scaled_eps = |bits: i32, unit: f64| {
            let eps = f64::from(model.eps) * model.dim as f64 / (unit * unit)
                * f64::from(2 * bits).exp2();
            eps.round().max(1.0)
        };
        let largest = |bits: i32, unit: f64| {
            (0..)
                .map(|less| bits - less)
                .find(|&bits| scaled_eps(bits, unit) < EPS_LIMIT as f64)
                .unwrap_or(0)
        };
        bits = largest(bits, unit);
        let sum = model.embedding_norm.then(|| {
            let point = Point::at(largest(fraction_bits(table_reach), 1.0));
            EmbeddingSum {
                point,
                eps: scaled_eps(point.total(), 1.0) as u64,
            }
        });
        if let Some(sum) = sum {
            // The norm's shift, 15 + k - norm_shift - bits, is not negative for the smallest k.
            bits = bits.min(15 + (sum.eps.ilog2() / 2) as i32 - norm_shift);
        }
        let residual = Point::at(bits);
        let eps = scaled_eps(bits, unit) as u64;
        Ok(Plan {
            model,
            hadamard,
            weight_bits,
            residual,
            unit,
            norm_shift,
            eps,
            sum,
            layers,
        })
    }
}

/// The largest magnitude of any sum of a token's and a position's row.
fn table_reach(model: &FloatModel) -> f64 {
    let column_peaks = |table: &[f32]| {
        let mut peaks = vec![0.0f64; model.dim];
        for row in table.chunks_exact(model.dim) {
            peaks
                .iter_mut()
                .zip(row)
                .for_each(|(p, w)| *p = p.max(f64::from(w.abs())));
        }
        peaks
    };
    let tokens = column_peaks(&model.embedding);
    let positions = column_peaks(model.positions.as_deref().unwrap_or(&[]));
    tokens
        .iter()
        .zip(positions)
        .fold(0.0, |m: f64, (t, p)| m.max(t + p))
}

fn layer_points(
    model: &FloatModel,
    l: usize,
    layer: &FloatLayer,
    reach: &LayerReach,
    stages: i32,
) -> Result<LayerPoints, QuantizeError> {
    let root = (model.dim as f64).sqrt();
    let (attention, ffn) = (&layer.attention_norm, &layer.ffn_norm);
    let written = |reach: f64, w: &[f32], gain: &[f32], factor: f64| {
        fraction_bits(reach * factor).min(writable_bits(w, gain, root * factor))
    };

    // Scores beyond 16 bits lose their order; flattened ones keep it.
    let to_log2 = LOG2_E / (model.head_size as f64).sqrt();
    let score_bits = fraction_bits(reach.score.needed() * LOG2_E) - SCORE_BITS as i32;
    let mut flatten = (-score_bits).max(0);
    let mut q = written(needed(&reach.q), &layer.wq, attention, to_log2) + flatten;
    let mut k = written(needed(&reach.k), &layer.wk, attention, 1.0);
    // The scores' shift is FQ + FK + 1 + stages - eq - ek, with exponents of up to 8 + stages.
    let (least, most) = (15 + stages, 30 - stages);
    let missing = (least - q - k).max(0);
    flatten += missing;
    q += missing;
    let excess = (q + k - most).max(0);
    q -= excess / 2;
    k -= excess - excess / 2;
    // The two may trade bits: only their sum is seen.
    let q_bits = q.clamp((q + k - BITS.end()).max(0), (q + k).min(*BITS.end()));
    let k_bits = q + k - q_bits;

    let v = written(needed(&reach.v), &layer.wv, attention, 1.0);
    let gate = written(needed(&reach.gate), &layer.w1, ffn, 1.0);
    let up = layer
        .w3
        .as_ref()
        .map_or(0, |w3| written(needed(&reach.up), w3, ffn, 1.0));
    let hidden = fraction_bits(needed(&reach.hidden));
    let (gate, up, hidden) = if model.relu {
        (Point::at(gate), Point::at(0), Point::at(gate))
    } else {
        // The sigmoid sees the gate's true value: its format cannot be folded.
        let (least, most) = (
            sigmoid::MIN_FRACTION_BITS as i32,
            sigmoid::MAX_FRACTION_BITS as i32,
        );
        if fraction_bits(needed(&reach.gate)) < least {
            let limit = INT16 * f64::from(-least).exp2();
            return Err(QuantizeError::Gate {
                layer: l,
                reach: needed(&reach.gate),
                limit,
            });
        }
        // Weights too large for it even so are found when their rows are quantized.
        let gate = gate.clamp(least, most);
        // The product of gate and up may only be shifted to the right, by at most 31.
        let hidden = hidden.clamp(gate + up - 31, gate + up);
        let up = up.min(hidden + BITS.end());
        // What up folds, the product has folded already.
        let fold = 0.clamp(up.max(hidden) - BITS.end(), up.min(hidden));
        let folded = |bits: i32| Point {
            bits: (bits - fold) as u8,
            fold,
        };
        (Point::at(gate), folded(up), folded(hidden))
    };
    Ok(LayerPoints {
        q: Point {
            bits: q_bits as u8,
            fold: q - q_bits,
        },
        k: Point {
            bits: k_bits as u8,
            fold: k - k_bits,
        },
        v: Point::at(v),
        gate,
        up,
        hidden,
        score_factor: to_log2 * f64::from(-flatten).exp2(),
    })
}
