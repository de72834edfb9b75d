//! The numbers of a quantized model without its weights.

use crate::check::{range, CheckError};
use crate::config::{HEAD_SIZE, MAX_DIM, MAX_HIDDEN, VOCAB};
use crate::quant::{Embedding, Formats, QuantModel, Width};
use annulus_contract::{sigmoid, stage};
use serde::{Serialize, Serializer};

/// Sizes, formats and flags of a quantized model: all but its weights and tables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Config {
    /// Width of the residual.
    pub dim: usize,
    /// Width of the hidden vector.
    pub hidden: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Elements a head.
    pub head_size: usize,
    /// Symbols.
    pub vocab: usize,
    /// Fraction bits of the residual.
    pub residual_bits: u8,
    /// Fraction bits of the logits.
    pub logit_bits: u8,
    /// Epsilon of the norms, in units of the sum of squares.
    pub eps: u64,
    /// Rotary positions.
    pub rope: bool,
    /// Hadamard rotation of queries and keys.
    pub hadamard: bool,
    /// ReLU in place of SwiGLU.
    pub relu: bool,
    /// Norm before the classifier.
    pub final_norm: bool,
    /// Where a token's row comes from.
    pub embedding: EmbeddingConfig,
    /// Shift of the embedding's gains and of its norm.
    pub igsh: i8,
    /// Epsilon of the norm after the embedding, where there is one.
    pub embedding_norm: Option<u64>,
    /// Bits that a weight of the blocks' matrices is stored in.
    #[serde(serialize_with = "count")]
    pub weight_bits: Width,
    /// Bits that a value is stored in.
    #[serde(serialize_with = "count")]
    pub value_bits: Width,
    /// Fraction bits of each layer's vectors.
    #[serde(skip)]
    pub formats: Vec<Formats>,
}

fn count<S: Serializer>(bits: &Width, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(bits.count())
}

/// The kind of an embedding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EmbeddingConfig {
    /// The classifier's rows times a gain a column.
    Tied,
    /// A table of its own.
    Own {
        /// Rows of learned positions, a power of two.
        positions: Option<usize>,
        /// Fraction bits of the sum of both rows.
        fraction_bits: u8,
    },
}

impl Config {
    /// The numbers of `model`.
    pub fn of(model: &QuantModel) -> Self {
        Config {
            dim: model.dim,
            hidden: model.hidden,
            heads: model.heads,
            kv_heads: model.kv_heads,
            head_size: model.head_size,
            vocab: model.vocab,
            residual_bits: model.residual_bits,
            logit_bits: model.logit_bits,
            eps: model.eps,
            rope: model.rope.is_some(),
            hadamard: model.hadamard,
            relu: model.relu,
            final_norm: model.final_norm,
            embedding: match &model.embedding {
                Embedding::Tied { .. } => EmbeddingConfig::Tied,
                Embedding::Own {
                    positions,
                    fraction_bits,
                    ..
                } => EmbeddingConfig::Own {
                    positions: positions.as_ref().map(|p| p.rows),
                    fraction_bits: *fraction_bits,
                },
            },
            igsh: model.igsh,
            embedding_norm: model.embedding_norm,
            weight_bits: model.weight_bits(),
            value_bits: model.value_bits,
            formats: model.layers.iter().map(|layer| layer.formats).collect(),
        }
    }

    /// The fewer bits of weights and values, which a simulated core is chosen by.
    pub fn narrowest(&self) -> Width {
        self.weight_bits.max(self.value_bits)
    }

    /// Elements of all key (or value) heads.
    pub fn kv_dim(&self) -> usize {
        self.kv_heads * self.head_size
    }

    /// Butterfly stages of the Hadamard rotation; 0 where there is none.
    pub fn hadamard_stages(&self) -> u32 {
        if self.hadamard {
            self.head_size.ilog2()
        } else {
            0
        }
    }

    /// Rows of learned positions; 0 where there are none.
    pub fn positions(&self) -> usize {
        match self.embedding {
            EmbeddingConfig::Own { positions, .. } => positions.unwrap_or(0),
            EmbeddingConfig::Tied => 0,
        }
    }

    /// Weights in all matrices.
    pub fn parameters(&self) -> u64 {
        let (dim, hidden) = (self.dim as u64, self.hidden as u64);
        let feed_forward = if self.relu { 2 } else { 3 } * dim * hidden;
        let layer = 2 * dim * dim + 2 * dim * self.kv_dim() as u64 + feed_forward;
        let tables = match self.embedding {
            EmbeddingConfig::Tied => self.vocab,
            EmbeddingConfig::Own { .. } => 2 * self.vocab + self.positions(),
        };
        layer * self.formats.len() as u64 + tables as u64 * dim
    }

    /// Refuse numbers that no layout or program can be computed from; what else
    /// may be wrong is found by [`QuantModel::check`] once the weights are there.
    pub(crate) fn check(&self) -> Result<(), CheckError> {
        range("dim", self.dim, 1, MAX_DIM)?;
        range("hidden", self.hidden, 1, MAX_HIDDEN)?;
        range("heads", self.heads, 1, MAX_DIM)?;
        range("kv_heads", self.kv_heads, 1, self.heads)?;
        range(
            "head_size",
            self.head_size,
            *HEAD_SIZE.start(),
            *HEAD_SIZE.end(),
        )?;
        range("vocab", self.vocab, *VOCAB.start(), *VOCAB.end())?;
        range("positions", self.positions(), 0, 1 << 16)?;
        range("residual_bits", self.residual_bits, 0, 15)?;
        range("logit_bits", self.logit_bits, 1, 23)?;
        range("igsh", self.igsh, -32, 31)?;
        if let EmbeddingConfig::Own { fraction_bits, .. } = self.embedding {
            range("embedding fraction_bits", fraction_bits, 0, 31)?;
        }
        for (l, f) in self.formats.iter().enumerate() {
            for bits in [f.q, f.k, f.v, f.gate, f.up, f.hidden] {
                range(&format!("layer {l} fraction bits"), bits, 0, 31)?;
            }
            if !self.relu {
                let (min, max) = (sigmoid::MIN_FRACTION_BITS, sigmoid::MAX_FRACTION_BITS);
                range(&format!("layer {l} gate fraction bits"), f.gate, min, max)?;
                let shift = i32::from(f.gate) + i32::from(f.up) - i32::from(f.hidden);
                range(
                    &format!("layer {l} SwiGLU shift"),
                    shift,
                    0,
                    stage::MAX_SHIFT,
                )?;
            }
        }
        Ok(())
    }
}
