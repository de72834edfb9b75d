//! A plan's matrices: gains and constants folded in, rows quantized within the
//! exponents that hardware can shift by.

use super::plan::{Plan, Point};
use super::rows::quantize_rows;
use super::{QuantizeError, LOGIT_BITS};
use crate::check::normed_shifts;
use crate::quant::{Embedding, Formats, Layer, Matrix, Width};
use std::ops::RangeInclusive;

/// A tied embedding's smallest column factor, of 32,767: its relative error is 1/256.
const LEAST_GAIN: f64 = 128.0;

impl<'m> Plan<'m> {
    /// What the residual is divided by before its format is applied.
    fn residual_unit(&self) -> f64 {
        self.unit / self.residual.factor()
    }

    /// Block `l`.
    pub fn layer(&self, l: usize) -> Result<Layer, QuantizeError> {
        let (model, layer, points) = (self.model, &self.model.layers[l], &self.layers[l]);
        let (dim, hidden, kv_dim) = (model.dim, model.hidden, model.kv_heads * model.head_size);
        let root = (dim as f64).sqrt();
        let norm = normed_shifts(dim, self.eps);
        let named = |name: &str| format!("layers.{l}.{name}");
        let reader = |name, w: &[f32], gain: &[f32], rows, point: Point, factor: f64| {
            let factor = factor * point.factor() * root;
            let weight =
                |r: usize, c: usize| f64::from(w[r * dim + c]) * f64::from(gain[c]) * factor;
            let exponents = normed_exponents(point.bits, norm);
            matrix(named(name), rows, dim, weight, exponents, self.weight_bits)
        };
        let writer = |name, w: &[f32], cols, from: Point| {
            let factor = 1.0 / self.residual_unit() / from.factor();
            let weight = |r: usize, c: usize| f64::from(w[r * cols + c]) * factor;
            let exponents = plain_exponents(self.residual.bits, from.bits);
            matrix(named(name), dim, cols, weight, exponents, self.weight_bits)
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
    pub fn tables(&self) -> Result<(Embedding, i8, Matrix), QuantizeError> {
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
            table("classifier", model.vocab, dim, weight, exponents)
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
            self::table(name, count, dim, weight, shifts.clone())
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

/// A matrix whose rows are read one by one as well.
fn table(
    name: &str,
    rows: usize,
    cols: usize,
    weight: impl Fn(usize, usize) -> f64,
    exponents: RangeInclusive<i32>,
) -> Result<Matrix, QuantizeError> {
    let bits = Width::Eight;
    matrix(name.into(), rows, cols, weight, exponents, bits)
}

fn matrix(
    name: String,
    rows: usize,
    cols: usize,
    weight: impl Fn(usize, usize) -> f64,
    exponents: RangeInclusive<i32>,
    bits: Width,
) -> Result<Matrix, QuantizeError> {
    let exponents = *exponents.start().max(&-32)..=*exponents.end().min(&31);
    quantize_rows(rows, cols, weight, exponents, bits).map_err(|e| QuantizeError::Row {
        matrix: name,
        row: e.row,
        peak: e.peak,
        limit: e.limit,
    })
}
