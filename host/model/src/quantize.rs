//! From float32 to the integers of `docs/arithmetic.md`: gains and constants are
//! folded into weights, every vector gets a binary point, every row a scale.
//!
//! A binary point is found as the number of fraction bits that the vector's reach
//! leaves of 16. It may be any whole number; the arithmetic's formats are not
//! negative and bounded. The difference becomes a power of two in the weights that
//! write the vector, and its inverse in those that read it ([`Point`]).

mod balance;
mod calibrate;
mod rows;

use crate::check::{legal_shifts, normed_shifts, CheckError, IllegalShift, EPS_LIMIT};
use crate::config::ShapeError;
use crate::float::{FloatLayer, FloatModel, Site, StateError};
use crate::quant::{Embedding, Formats, Layer, Matrix, QuantModel};
use annulus_contract::exp2::SCORE_BITS;
use annulus_contract::sigmoid;
use balance::balance;
use calibrate::{measure, needed, LayerReach, Reaches};
use rows::{natural_exponent, quantize_rows};
use std::f64::consts::{LOG2_E, TAU};
use std::ops::RangeInclusive;
use thiserror::Error;

/// Fraction bits of the logits.
const LOGIT_BITS: u8 = 12;
/// What a calibrated int16 may reach: rounding of weights takes it a little further.
const INT16: f64 = 32_000.0;
/// Fraction bits that formats are kept within; scores' two formats may add up to less.
const BITS: RangeInclusive<i32> = 0..=15;
/// A fused norm's `k - e` is at least this, whatever epsilon.
const LEAST_NORM_SHIFT: i32 = 0;
/// A tied embedding's smallest column factor, of 32,767: its relative error is 1/256.
const LEAST_GAIN: f64 = 128.0;

/// What a model is calibrated on.
#[derive(Clone, Copy, Debug)]
pub enum Calibration<'a> {
    /// Streams of tokens, each from position 0.
    Tokens(&'a [&'a [u32]]),
    /// Text that the model writes itself: sampled at temperature 1 from `bos`, and
    /// started anew after any of `ends`. The same for every run.
    OwnText {
        /// Token that starts a stream.
        bos: u32,
        /// Tokens that end one.
        ends: &'a [u32],
    },
}

/// Why a model cannot be quantized.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum QuantizeError {
    /// Not a shape that a core runs.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The calibration names a token that the model does not have.
    #[error("calibration: {0}")]
    Calibration(#[from] StateError),
    /// The model leaves float32 before it leaves anything else.
    #[error("the float32 forward pass overflows at {0:?}")]
    Overflow(Site),
    /// SwiGLU's gate has no format for values this large.
    #[error("layer {layer}: the gate reaches {reach:.0}, but its format ends at {limit:.0}")]
    Gate {
        /// The layer.
        layer: usize,
        /// What the gate reaches with its margin.
        reach: f64,
        /// What it may reach.
        limit: f64,
    },
    /// Logits have 24 bits, 12 of them a fraction.
    #[error("the logits reach {0:.0} nats, but 24 bits end at 2047")]
    Logits(f64),
    /// Weights that no legal scale holds.
    #[error(
        "{matrix} row {row} reaches {peak:.3e}, but the largest legal scale ends at {limit:.3e}"
    )]
    Row {
        /// Name of the matrix.
        matrix: String,
        /// The row.
        row: usize,
        /// Its largest weight, constants folded in.
        peak: f64,
        /// The largest that would be legal.
        limit: f64,
    },
    /// The result is not well formed.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// The result may ask hardware for a shift that it does not have.
    #[error(transparent)]
    Shift(#[from] IllegalShift),
}

/// Quantizes `model`; the result has passed [`QuantModel::check`] and [`legal_shifts`].
pub fn quantize(model: &FloatModel, calibration: Calibration) -> Result<QuantModel, QuantizeError> {
    model.check()?;
    let mut reaches = measure(model, &calibration)?;
    let mut balanced = model.clone();
    balance(&mut balanced, &mut reaches);
    let model = &balanced;
    let reach = reaches.logits.needed();
    if reach > f64::from(1 << (23 - LOGIT_BITS)) - 1.0 {
        return Err(QuantizeError::Logits(reach));
    }
    let plan = Plan::new(model, &reaches)?;
    let layers = (0..model.layers.len())
        .map(|l| plan.layer(l))
        .collect::<Result<_, _>>()?;
    let (embedding, igsh, classifier) = plan.tables()?;
    let quantized = QuantModel {
        dim: model.dim,
        hidden: model.hidden,
        heads: model.heads,
        kv_heads: model.kv_heads,
        head_size: model.head_size,
        vocab: model.vocab,
        residual_bits: plan.residual.bits,
        logit_bits: LOGIT_BITS,
        eps: plan.eps,
        rope: model
            .rope_base
            .map(|base| rope_increments(base, model.head_size)),
        hadamard: plan.hadamard,
        relu: model.relu,
        final_norm: model.final_norm.is_some(),
        embedding,
        igsh,
        embedding_norm: plan.sum.map(|sum| sum.eps),
        layers,
        classifier,
    };
    quantized.check()?;
    legal_shifts(&quantized)?;
    Ok(quantized)
}

/// Phase of each pair a position: `2^32 * base^(-2c / head_size) / 2 pi`, rounded.
fn rope_increments(base: f32, head_size: usize) -> Vec<u32> {
    let frequency = |pair: usize| f64::from(base).powf(-2.0 * pair as f64 / head_size as f64);
    (0..head_size / 2)
        .map(|pair| (frequency(pair) / TAU * 32f64.exp2() + 0.5).floor() as u32)
        .collect()
}

/// Where a vector's binary point lies: stored as `x * 2^(bits + fold)`. The weights
/// that write the vector carry `2^fold` and those that read it the inverse, so that
/// the arithmetic sees `bits` alone.
#[derive(Clone, Copy, Debug)]
struct Point {
    bits: u8,
    fold: i32,
}

impl Point {
    /// The point at `bits`, within what formats allow.
    fn at(bits: i32) -> Self {
        Self::within(bits, BITS)
    }

    fn within(bits: i32, range: RangeInclusive<i32>) -> Self {
        let kept = bits.clamp(*range.start(), *range.end());
        Point {
            bits: kept as u8,
            fold: bits - kept,
        }
    }

    /// Factor of the weights that write the vector.
    fn factor(&self) -> f64 {
        f64::from(self.fold).exp2()
    }

    /// Fraction bits, fold included.
    fn total(&self) -> i32 {
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

/// The most fraction bits with which every row of `w` times `factor` has a legal scale.
fn writable_bits(w: &[f32], factor: f64) -> i32 {
    natural_exponent(peak(w) * factor) + 15 + LEAST_NORM_SHIFT
}

fn peak(w: &[f32]) -> f64 {
    w.iter().fold(0.0, |m: f64, &w| m.max(f64::from(w).abs()))
}

/// Exponents of rows that a fused norm feeds, by the norm's smallest and largest `k - e`.
fn normed_exponents(bits: u8, (low, high): (i32, i32)) -> RangeInclusive<i32> {
    let bits = i32::from(bits);
    bits - 15 - low..=bits + 16 - high
}

/// Exponents of rows that read a vector of `from` fraction bits with block exponents 0 to 8.
fn plain_exponents(bits: u8, from: u8) -> RangeInclusive<i32> {
    let bits = i32::from(bits) - i32::from(from);
    bits - 7..=bits + 16
}

/// The sum of token and position where a norm follows it.
#[derive(Clone, Copy, Debug)]
struct EmbeddingSum {
    point: Point,
    eps: u64,
}

/// Points of a layer's vectors.
#[derive(Clone, Copy, Debug)]
struct LayerPoints {
    q: Point,
    k: Point,
    v: Point,
    gate: Point,
    up: Point,
    hidden: Point,
    /// Factor of the queries that makes scores base-2 logarithms and keeps them within 16 bits.
    score_factor: f64,
}

/// Every binary point of a model, from which its matrices follow.
struct Plan<'m> {
    model: &'m FloatModel,
    hadamard: bool,
    residual: Point,
    /// The residual is stored as `x / unit`, `residual.fold` aside. One, but for models with a
    /// norm after the embedding: there it is the factor that the norm's shift leaves of sqrt(dim).
    unit: f64,
    /// Shift of the norm after the embedding.
    norm_shift: i32,
    eps: u64,
    sum: Option<EmbeddingSum>,
    layers: Vec<LayerPoints>,
}

impl<'m> Plan<'m> {
    fn new(model: &'m FloatModel, reaches: &Reaches) -> Result<Self, QuantizeError> {
        // Without rotary positions the rotation would be one more matrix to fold, and buys nothing.
        let hadamard = model.head_size.is_power_of_two() && model.rope_base.is_some();
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
            residual,
            unit,
            norm_shift,
            eps,
            sum,
            layers,
        })
    }

    /// What the residual is divided by before its format is applied.
    fn residual_unit(&self) -> f64 {
        self.unit / self.residual.factor()
    }

    fn layer(&self, l: usize) -> Result<Layer, QuantizeError> {
        let (model, layer, points) = (self.model, &self.model.layers[l], &self.layers[l]);
        let (dim, hidden, kv_dim) = (model.dim, model.hidden, model.kv_heads * model.head_size);
        let root = (dim as f64).sqrt();
        let norm = normed_shifts(dim, self.eps);
        let named = |name: &str| format!("layers.{l}.{name}");
        let reader = |name, w: &[f32], gain: &[f32], rows, point: Point, factor: f64| {
            let factor = factor * point.factor() * root;
            let weight =
                |r: usize, c: usize| f64::from(w[r * dim + c]) * f64::from(gain[c]) * factor;
            matrix(
                named(name),
                rows,
                dim,
                weight,
                normed_exponents(point.bits, norm),
            )
        };
        let writer = |name, w: &[f32], cols, from: Point| {
            let factor = 1.0 / self.residual_unit() / from.factor();
            let weight = |r: usize, c: usize| f64::from(w[r * cols + c]) * factor;
            matrix(
                named(name),
                dim,
                cols,
                weight,
                plain_exponents(self.residual.bits, from.bits),
            )
        };
        let (attention, ffn) = (&layer.attention_norm, &layer.ffn_norm);
        Ok(Layer {
            wq: reader(
                "wq",
                &layer.wq,
                attention,
                dim,
                points.q,
                points.score_factor,
            )?,
            wk: reader("wk", &layer.wk, attention, kv_dim, points.k, 1.0)?,
            wv: reader("wv", &layer.wv, attention, kv_dim, points.v, 1.0)?,
            wo: writer("wo", &layer.wo, dim, points.v)?,
            w1: reader("w1", &layer.w1, ffn, hidden, points.gate, 1.0)?,
            w2: writer("w2", &layer.w2, hidden, points.hidden)?,
            w3: layer
                .w3
                .as_ref()
                .map(|w3| reader("w3", w3, ffn, hidden, points.up, 1.0))
                .transpose()?,
            formats: Formats {
                q: points.q.bits,
                k: points.k.bits,
                v: points.v.bits,
                gate: points.gate.bits,
                up: points.up.bits,
                hidden: points.hidden.bits,
            },
        })
    }

    /// The embedding, its shift (`igsh`) and the classifier.
    fn tables(&self) -> Result<(Embedding, i8, Matrix), QuantizeError> {
        let model = self.model;
        let (dim, root, unit) = (model.dim, (model.dim as f64).sqrt(), self.residual_unit());
        let bits = i32::from(self.residual.bits);
        let gain = |c: usize| {
            model
                .final_norm
                .as_ref()
                .map_or(unit, |gain| f64::from(gain[c]) * root)
        };
        let rows = model.classifier.as_ref().unwrap_or(&model.embedding);
        let exponents = match model.final_norm {
            Some(_) => normed_exponents(LOGIT_BITS, normed_shifts(dim, self.eps)),
            None => plain_exponents(LOGIT_BITS, self.residual.bits),
        };
        let classifier = |exponents| {
            let weight = |r: usize, c: usize| f64::from(rows[r * dim + c]) * gain(c);
            matrix("classifier".into(), model.vocab, dim, weight, exponents)
        };
        if let Some((ig, igsh)) = self.tied_gains(&gain) {
            let shifts = bits - 3 - igsh..=bits + 28 - igsh;
            let both = *exponents.start().max(shifts.start())..=*exponents.end().min(shifts.end());
            if !both.is_empty() {
                if let Ok(classifier) = classifier(both) {
                    return Ok((Embedding::Tied { ig }, igsh as i8, classifier));
                }
            }
        }
        let (point, factor) = match self.sum {
            Some(sum) => (sum.point, sum.point.factor()),
            None => (self.residual, 1.0 / unit),
        };
        let shifts = i32::from(point.bits) - 11..=i32::from(point.bits) + 28;
        let table = |name: &str, count, row: &dyn Fn(usize) -> &'m [f32]| {
            let weight = |r: usize, c: usize| f64::from(row(r)[c]) * factor;
            matrix(name.into(), count, dim, weight, shifts.clone())
        };
        let positions = model.positions.as_ref().map(|_| {
            let row = |r: usize| model.position_row(r as u64).unwrap_or_default();
            table("positions", model.context.next_power_of_two(), &row)
        });
        let embedding = Embedding::Own {
            table: table("embedding", model.vocab, &|r| {
                &model.embedding[r * dim..][..dim]
            })?,
            positions: positions.transpose()?,
            fraction_bits: point.bits,
        };
        // The norm's shift takes up the residual's fold: its output is already in that unit.
        let igsh = self.norm_shift
            + if model.embedding_norm {
                self.residual.fold
            } else {
                0
            };
        Ok((embedding, igsh as i8, classifier(exponents)?))
    }

    /// Factors that turn a classifier's row back into an embedding, with their shift,
    /// where the model is tied and all its columns can be told by 16 bits.
    fn tied_gains(&self, gain: &impl Fn(usize) -> f64) -> Option<(Vec<i16>, i32)> {
        let model = self.model;
        if model.classifier.is_some() || model.positions.is_some() || model.embedding_norm {
            return None;
        }
        let inverse: Vec<f64> = (0..model.dim)
            .map(|c| 1.0 / (gain(c) * self.residual_unit()))
            .collect();
        let largest = inverse.iter().fold(0.0, |m: f64, g| m.max(g.abs()));
        let smallest = inverse.iter().fold(f64::INFINITY, |m, g| m.min(g.abs()));
        let igsh = (f64::from(i16::MAX) / largest).log2().floor();
        let factor = igsh.exp2();
        ((-32.0..=31.0).contains(&igsh) && smallest * factor >= LEAST_GAIN).then(|| {
            (
                inverse
                    .iter()
                    .map(|g| (g * factor).round() as i16)
                    .collect(),
                igsh as i32,
            )
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
    let largest_gain = |gain: &[f32]| peak(gain) * root;
    let (attention, ffn) = (
        largest_gain(&layer.attention_norm),
        largest_gain(&layer.ffn_norm),
    );
    let written =
        |reach: f64, w: &[f32], factor: f64| fraction_bits(reach).min(writable_bits(w, factor));

    // Scores beyond 16 bits lose their order; flattened ones keep it.
    let to_log2 = LOG2_E / (model.head_size as f64).sqrt();
    let score_bits = fraction_bits(reach.score.needed() * LOG2_E) - SCORE_BITS as i32;
    let mut flatten = (-score_bits).max(0);
    let mut q = written(needed(&reach.q) * to_log2, &layer.wq, attention * to_log2) + flatten;
    let mut k = written(needed(&reach.k), &layer.wk, attention);
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

    let v = written(needed(&reach.v), &layer.wv, attention);
    let gate = written(needed(&reach.gate), &layer.w1, ffn);
    let up = layer
        .w3
        .as_ref()
        .map_or(0, |w3| written(needed(&reach.up), w3, ffn));
    let hidden = fraction_bits(needed(&reach.hidden));
    let (gate, up, hidden) = if model.relu {
        (Point::at(gate), Point::at(0), Point::at(gate))
    } else {
        // The sigmoid sees the gate's true value: its format cannot be folded.
        let (least, most) = (
            sigmoid::MIN_FRACTION_BITS as i32,
            sigmoid::MAX_FRACTION_BITS as i32,
        );
        if gate < least {
            let limit = INT16 * f64::from(-least).exp2();
            return Err(QuantizeError::Gate {
                layer: l,
                reach: needed(&reach.gate),
                limit,
            });
        }
        let gate = gate.min(most);
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

fn matrix(
    name: String,
    rows: usize,
    cols: usize,
    weight: impl Fn(usize, usize) -> f64,
    exponents: RangeInclusive<i32>,
) -> Result<Matrix, QuantizeError> {
    let exponents = *exponents.start().max(&-32)..=*exponents.end().min(&31);
    quantize_rows(rows, cols, weight, exponents).map_err(|e| QuantizeError::Row {
        matrix: name,
        row: e.row,
        peak: e.peak,
        limit: e.limit,
    })
}
