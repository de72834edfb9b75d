//! A model in float32 as its checkpoint holds it, and its forward pass: the
//! yardstick that the integer pipeline is measured against.

mod forward;
mod matvec;

pub use forward::{FloatState, Site, StateError};

use crate::config::{Shape, ShapeError};

/// One transformer block's float32 weights, all row-major `[out][in]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FloatLayer {
    /// Gain of the norm before attention, `dim` (all ones where the model has none).
    pub attention_norm: Vec<f32>,
    /// `dim x dim`, row `head * head_size + c`; RoPE pairs are `(2c, 2c + 1)`.
    pub wq: Vec<f32>,
    /// `kv_heads * head_size x dim`.
    pub wk: Vec<f32>,
    /// `kv_heads * head_size x dim`.
    pub wv: Vec<f32>,
    /// `dim x dim`.
    pub wo: Vec<f32>,
    /// Gain of the norm before the feed-forward, `dim`.
    pub ffn_norm: Vec<f32>,
    /// Gate (SwiGLU) or first matrix (ReLU), `hidden x dim`.
    pub w1: Vec<f32>,
    /// Down, `dim x hidden`.
    pub w2: Vec<f32>,
    /// Up (SwiGLU only), `hidden x dim`.
    pub w3: Option<Vec<f32>>,
}

/// A decoder-only transformer in float32.
#[derive(Clone, Debug, PartialEq)]
pub struct FloatModel {
    /// Width of the residual.
    pub dim: usize,
    /// Width of the hidden vector.
    pub hidden: usize,
    /// Query heads; `heads * head_size == dim`.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Elements a head.
    pub head_size: usize,
    /// Symbols.
    pub vocab: usize,
    /// The longest context the checkpoint was trained for.
    pub context: usize,
    /// RMSNorm's epsilon.
    pub eps: f32,
    /// Base of the rotary positions, if the model has them.
    pub rope_base: Option<f32>,
    /// ReLU in place of SwiGLU.
    pub relu: bool,
    /// Normalise (without gain) right after the embedding, as microGPT does.
    pub embedding_norm: bool,
    /// Gain of the norm before the classifier; `None` where there is no such norm.
    pub final_norm: Option<Vec<f32>>,
    /// Token embedding, `vocab x dim`.
    pub embedding: Vec<f32>,
    /// Learned positions, `context x dim`, if the model has them.
    pub positions: Option<Vec<f32>>,
    /// Classifier, `vocab x dim`; `None` where it is the embedding (tied).
    pub classifier: Option<Vec<f32>>,
    /// The blocks.
    pub layers: Vec<FloatLayer>,
}

impl FloatModel {
    /// The numbers that fix the size of every tensor.
    pub fn shape(&self) -> Shape {
        let signed = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        Shape {
            dim: signed(self.dim),
            hidden: signed(self.hidden),
            layers: signed(self.layers.len()),
            heads: signed(self.heads),
            kv_heads: signed(self.kv_heads),
            vocab: signed(self.vocab),
            context: signed(self.context),
        }
    }

    /// Refuses a model whose shape no core runs, whose lists of weights have the
    /// wrong length, or that holds a weight that is not finite.
    pub fn check(&self) -> Result<(), ShapeError> {
        let shape = self.shape();
        shape.check()?;
        if self.head_size as i64 != shape.head_size() {
            return Err(ShapeError::OutOfRange {
                field: "head size",
                value: self.head_size as i64,
                min: shape.head_size() as u64,
                max: shape.head_size() as u64,
            });
        }
        for (field, value) in [("eps", Some(self.eps)), ("rope base", self.rope_base)] {
            match value {
                Some(value) if !(value.is_finite() && value > 0.0) => {
                    return Err(ShapeError::NotPositive { field, value });
                }
                _ => {}
            }
        }
        let (dim, hidden, kv_dim) = (self.dim, self.hidden, self.kv_heads * self.head_size);
        check_weights("embedding", &self.embedding, self.vocab * dim)?;
        if let Some(positions) = &self.positions {
            check_weights("positions", positions, self.context * dim)?;
        }
        for (l, layer) in self.layers.iter().enumerate() {
            let check = |name: &str, weights: &[f32], expected| {
                check_weights(&format!("layers.{l}.{name}"), weights, expected)
            };
            check("attention_norm", &layer.attention_norm, dim)?;
            check("wq", &layer.wq, dim * dim)?;
            check("wk", &layer.wk, kv_dim * dim)?;
            check("wv", &layer.wv, kv_dim * dim)?;
            check("wo", &layer.wo, dim * dim)?;
            check("ffn_norm", &layer.ffn_norm, dim)?;
            check("w1", &layer.w1, hidden * dim)?;
            check("w2", &layer.w2, dim * hidden)?;
            check(
                "w3",
                layer.w3.as_deref().unwrap_or(&[]),
                if self.relu { 0 } else { hidden * dim },
            )?;
        }
        if let Some(gain) = &self.final_norm {
            check_weights("final_norm", gain, dim)?;
        }
        if let Some(classifier) = &self.classifier {
            check_weights("classifier", classifier, self.vocab * dim)?;
        }
        Ok(())
    }

    /// The learned position row for `position`, if the model has such a table.
    ///
    /// Hardware counts positions modulo a power of two, so a table of another
    /// length is taken to repeat its last row up to the next power of two, and
    /// then starts again.
    pub fn position_row(&self, position: u64) -> Option<&[f32]> {
        let table = self.positions.as_ref()?;
        let wrapped = (position % self.context.next_power_of_two() as u64) as usize;
        let row = wrapped.min(self.context - 1);
        Some(&table[row * self.dim..][..self.dim])
    }
}

fn check_weights(field: &str, weights: &[f32], expected: usize) -> Result<(), ShapeError> {
    if weights.len() != expected {
        return Err(ShapeError::Length {
            field: field.into(),
            found: weights.len(),
            expected,
        });
    }
    match weights.iter().position(|w| !w.is_finite()) {
        Some(index) => Err(ShapeError::NotFinite {
            field: field.into(),
            index,
            value: weights[index],
        }),
        None => Ok(()),
    }
}
