//! From float32 to the integers of `docs/arithmetic.md`: channels are balanced, every
//! vector gets a binary point, gains and constants are folded into weights, and every
//! row gets a scale.

mod balance;
mod calibrate;
mod matrices;
mod nibbles;
mod plan;
mod rows;

use crate::check::{legal_shifts, CheckError, IllegalShift};
use crate::config::ShapeError;
use crate::float::{FloatModel, Site, StateError};
use crate::quant::{QuantModel, Width};
use balance::balance;
use calibrate::measure;
use plan::Plan;
use std::f64::consts::TAU;
use thiserror::Error;

/// Fraction bits of the logits.
const LOGIT_BITS: u8 = 12;

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

/// Whether queries and keys are rotated before they are rounded to 8 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rotation {
    /// By a Hadamard matrix, where heads have rotary positions and a power of two elements:
    /// rounding then costs about half as much.
    #[default]
    Hadamard,
    /// Not at all, for cores that leave it out.
    None,
}

/// How a model is quantized.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scheme {
    /// Whether queries and keys are rotated.
    pub rotation: Rotation,
    /// Bits that a weight of the blocks' matrices is stored in; `None` leaves it to the
    /// checkpoint, which wants 8 where it says nothing.
    pub weight_bits: Option<Width>,
    /// Bits that a value is stored in.
    pub value_bits: Width,
}

impl From<Rotation> for Scheme {
    fn from(rotation: Rotation) -> Self {
        Scheme {
            rotation,
            ..Scheme::default()
        }
    }
}

impl Scheme {
    /// This scheme for a checkpoint that wants `own`: it may forgo the rotation, and is asked
    /// for the weights' bits where nothing else is said.
    pub fn or(self, own: Scheme) -> Scheme {
        Scheme {
            rotation: self.rotation.max(own.rotation),
            weight_bits: self.weight_bits.or(own.weight_bits),
            value_bits: self.value_bits.max(own.value_bits),
        }
    }
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
    #[error("the float32 forward pass overflows at {0}")]
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
pub fn quantize(
    model: &FloatModel,
    calibration: Calibration,
    scheme: impl Into<Scheme>,
) -> Result<QuantModel, QuantizeError> {
    let scheme = scheme.into();
    let weight_bits = scheme.weight_bits.unwrap_or_default();
    model.check()?;
    let mut reaches = measure(model, &calibration)?;
    let mut balanced = model.clone();
    balance(&mut balanced, &mut reaches);
    let model = &balanced;
    let reach = reaches.logits.needed();
    if reach > f64::from(1 << (23 - LOGIT_BITS)) - 1.0 {
        return Err(QuantizeError::Logits(reach));
    }
    let plan = Plan::new(model, &reaches, (scheme.rotation, weight_bits))?;
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
        value_bits: scheme.value_bits,
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
