//! The model: embedding, blocks of attention and SwiGLU, a tied classifier.

use std::f32::consts::LOG2_E;

use anyhow::{ensure, Context, Result};
use candle_core::{CustomOp1, Device, Tensor, Var};
use rand::Rng;
use rand_distr::{Distribution, Normal};
use serde::{Deserialize, Serialize};

use super::attention::{Attention, HEAD_SIZE};
use super::ops::{CrossEntropy, QuantizeWeights, RmsNorm, SwiGlu};
use super::quant::WeightBits;

/// The shape, under the names of a Mistral `config.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shape {
    /// Width of the residual.
    pub hidden_size: usize,
    /// Width of the hidden vector.
    pub intermediate_size: usize,
    /// Blocks.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads.
    pub num_key_value_heads: usize,
    /// Elements a head.
    pub head_dim: usize,
    /// Symbols.
    pub vocab_size: usize,
    /// Positions that a query sees, its own included.
    pub sliding_window: usize,
    /// Added to the mean square before the root.
    pub rms_norm_eps: f64,
    /// Base of the rotary positions.
    pub rope_theta: f64,
}

impl Shape {
    fn check(&self) -> Result<()> {
        ensure!(
            self.head_dim == HEAD_SIZE
                && self.num_attention_heads * HEAD_SIZE == self.hidden_size
                && self
                    .num_attention_heads
                    .is_multiple_of(self.num_key_value_heads)
                && self.sliding_window > 0,
            "heads have {HEAD_SIZE} elements and fill the residual, in whole groups"
        );
        Ok(())
    }

    /// Rows of keys, and of values.
    fn kv_width(&self) -> usize {
        self.num_key_value_heads * HEAD_SIZE
    }
}

/// One block's weights, `[out][in]`.
pub(super) struct Block {
    attention_norm: Var,
    q: Var,
    k: Var,
    /// Values, a row a channel.
    pub v: Var,
    /// What reads the mixed values, a column a channel.
    pub o: Var,
    ffn_norm: Var,
    gate: Var,
    /// What is multiplied into the hidden vector, a row a channel.
    pub up: Var,
    /// What reads it, a column a channel.
    pub down: Var,
}

/// Vectors between a block's matrices, `symbols x channels`.
pub(super) struct Vectors {
    /// Queries, keys and values.
    pub qkv: Tensor,
    /// The hidden vector.
    pub hidden: Tensor,
}

/// The model.
pub struct Llama {
    shape: Shape,
    embedding: Var,
    blocks: Vec<Block>,
    norm: Var,
}

/// Which numbers a forward pass computes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// Float32 throughout.
    Float,
    /// Weights and vectors rounded as the integer pipeline rounds them.
    Integer(WeightBits),
}

impl Arithmetic {
    /// A block's matrix as it is stored; the quantizer multiplies it by `factor`.
    fn block(self, matrix: &Tensor, factor: f32) -> Result<Tensor> {
        match self {
            Self::Float => Ok(matrix.clone()),
            Self::Integer(bits) => apply(matrix, QuantizeWeights { bits, factor }),
        }
    }

    /// The classifier as it is stored.
    fn classifier(self, matrix: &Tensor) -> Result<Tensor> {
        match self {
            Self::Float => Ok(matrix.clone()),
            Self::Integer(_) => Self::Integer(WeightBits::Eight).block(matrix, 1.0),
        }
    }
}

impl Llama {
    /// A model whose matrices come from `matrix(name, rows, columns)` and gains from `gain(name, length)`.
    fn build(
        shape: Shape,
        mut matrix: impl FnMut(&str, usize, usize) -> Result<Var>,
        gain: impl Fn(&str, usize) -> Result<Var>,
    ) -> Result<Self> {
        shape.check()?;
        let (dim, hidden, kv) = (shape.hidden_size, shape.intermediate_size, shape.kv_width());
        let embedding = matrix("model.embed_tokens", shape.vocab_size, dim)?;
        let blocks = (0..shape.num_hidden_layers)
            .map(|l| {
                let name = |part: &str| format!("model.layers.{l}.{part}");
                Ok(Block {
                    attention_norm: gain(&name("input_layernorm"), dim)?,
                    q: matrix(&name("self_attn.q_proj"), dim, dim)?,
                    k: matrix(&name("self_attn.k_proj"), kv, dim)?,
                    v: matrix(&name("self_attn.v_proj"), kv, dim)?,
                    o: matrix(&name("self_attn.o_proj"), dim, dim)?,
                    ffn_norm: gain(&name("post_attention_layernorm"), dim)?,
                    gate: matrix(&name("mlp.gate_proj"), hidden, dim)?,
                    up: matrix(&name("mlp.up_proj"), hidden, dim)?,
                    down: matrix(&name("mlp.down_proj"), dim, hidden)?,
                })
            })
            .collect::<Result<_>>()?;
        let norm = gain("model.norm", dim)?;
        Ok(Self {
            shape,
            embedding,
            blocks,
            norm,
        })
    }

    /// A model with random weights: each product keeps its input's size, and what
    /// writes to the residual is smaller by the number of writers.
    pub fn random(shape: Shape, rng: &mut impl Rng) -> Result<Self> {
        let writers = (2 * shape.num_hidden_layers) as f32;
        let matrix = |name: &str, rows: usize, columns: usize| {
            let fan_in = columns as f32;
            let std = match name {
                _ if name.ends_with("o_proj") || name.ends_with("down_proj") => {
                    (fan_in * writers).sqrt().recip()
                }
                _ => fan_in.sqrt().recip(),
            };
            let normal = Normal::new(0.0, std)?;
            let values: Vec<f32> = normal.sample_iter(&mut *rng).take(rows * columns).collect();
            Ok(Var::from_vec(values, (rows, columns), &Device::Cpu)?)
        };
        let gain = |_: &str, length| Ok(Var::from_vec(vec![1.0f32; length], length, &Device::Cpu)?);
        Self::build(shape, matrix, gain)
    }

    /// A model of stored tensors, found by `tensor(name)`.
    pub fn stored(shape: Shape, tensor: impl Fn(&str) -> Option<Tensor>) -> Result<Self> {
        let read = |name: &str, dims: &[usize]| {
            let name = format!("{name}.weight");
            let tensor = tensor(&name).with_context(|| format!("there is no tensor {name}"))?;
            ensure!(
                tensor.dims() == dims,
                "{name} is {:?}, not {dims:?}",
                tensor.dims()
            );
            Ok(Var::from_tensor(&tensor)?)
        };
        let matrix = |name: &str, rows, columns| read(name, &[rows, columns]);
        Self::build(shape, matrix, |name, length| read(name, &[length]))
    }

    /// The shape.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// All weights under the names of a Llama checkpoint.
    pub fn named(&self) -> Vec<(String, Var)> {
        let mut all = vec![("model.embed_tokens".to_owned(), &self.embedding)];
        for (l, b) in self.blocks.iter().enumerate() {
            let parts = [
                ("input_layernorm", &b.attention_norm),
                ("self_attn.q_proj", &b.q),
                ("self_attn.k_proj", &b.k),
                ("self_attn.v_proj", &b.v),
                ("self_attn.o_proj", &b.o),
                ("post_attention_layernorm", &b.ffn_norm),
                ("mlp.gate_proj", &b.gate),
                ("mlp.up_proj", &b.up),
                ("mlp.down_proj", &b.down),
            ];
            let named = |(part, var)| (format!("model.layers.{l}.{part}"), var);
            all.extend(parts.into_iter().map(named));
        }
        all.push(("model.norm".to_owned(), &self.norm));
        all.into_iter()
            .map(|(name, var)| (format!("{name}.weight"), var.clone()))
            .collect()
    }

    /// Logits of sequences of `positions` symbols that lie one after another,
    /// `symbols x vocabulary`.
    pub fn logits(&self, symbols: &[u32], positions: usize, numbers: Arithmetic) -> Result<Tensor> {
        self.observed_logits(symbols, positions, numbers, |_, _| Ok(()))
    }

    /// [`Self::logits`]; `see` is shown every block and its vectors on the way.
    pub(super) fn observed_logits(
        &self,
        symbols: &[u32],
        positions: usize,
        numbers: Arithmetic,
        mut see: impl FnMut(&Block, Vectors) -> Result<()>,
    ) -> Result<Tensor> {
        let s = &self.shape;
        let quantize = numbers != Arithmetic::Float;
        let norm = || RmsNorm {
            eps: s.rms_norm_eps as f32,
            quantize,
        };
        // Gains are folded into the columns of what reads the norm, as the quantizer does.
        let root = (s.hidden_size as f32).sqrt();
        let read = |matrix: &Var, gain: &Var, factor: f32| -> Result<Tensor> {
            numbers.block(&matrix.broadcast_mul(gain)?, factor * root)
        };
        let classifier = numbers.classifier(&self.embedding.broadcast_mul(&self.norm)?)?;
        let ids = Tensor::new(symbols, &Device::Cpu)?;
        let mut x = classifier.broadcast_div(&self.norm)?.embedding(&ids)?;
        for b in &self.blocks {
            let gain = &b.attention_norm;
            // Scores are base-2 logarithms.
            let rows = [
                read(&b.q, gain, LOG2_E)?,
                read(&b.k, gain, 1.0)?,
                read(&b.v, gain, 1.0)?,
            ];
            let qkv = times(&apply(&x, norm())?, &Tensor::cat(&rows, 0)?)?;
            let attention = Attention {
                positions,
                heads: s.num_attention_heads,
                kv_heads: s.num_key_value_heads,
                window: s.sliding_window,
                rope_theta: s.rope_theta,
                quantize,
            };
            let mixed = apply(&qkv, attention)?;
            x = (x + times(&mixed, &numbers.block(&b.o, 1.0)?)?)?;
            let rows = [
                read(&b.gate, &b.ffn_norm, 1.0)?,
                read(&b.up, &b.ffn_norm, 1.0)?,
            ];
            let hidden = times(&apply(&x, norm())?, &Tensor::cat(&rows, 0)?)?;
            let hidden = apply(&hidden, SwiGlu { quantize })?;
            x = (x + times(&hidden, &numbers.block(&b.down, 1.0)?)?)?;
            see(b, Vectors { qkv, hidden })?;
        }
        times(&apply(&x, norm())?, &classifier)
    }

    /// Mean loss over sequences, in nats a symbol, with its gradients' graph.
    pub fn loss(
        &self,
        inputs: &[u32],
        targets: &[u32],
        positions: usize,
        numbers: Arithmetic,
    ) -> Result<Tensor> {
        let logits = self.logits(inputs, positions, numbers)?;
        apply(
            &logits,
            CrossEntropy {
                targets: targets.to_vec(),
            },
        )
    }

    /// Mean loss over a text read in `streams` equal parts, each from an empty window, in nats a symbol.
    pub fn mean_loss(&self, text: &[u32], streams: usize, numbers: Arithmetic) -> Result<f64> {
        let length = (text.len() - 1) / streams;
        let mut sum = 0.0;
        for part in 0..streams {
            let at = part * length;
            let (inputs, targets) = (&text[at..at + length], &text[at + 1..at + length + 1]);
            let loss = self
                .loss(inputs, targets, length, numbers)?
                .to_scalar::<f32>()?;
            sum += f64::from(loss);
        }
        Ok(sum / streams as f64)
    }
}

fn apply(x: &Tensor, op: impl CustomOp1 + Send + Sync + 'static) -> Result<Tensor> {
    Ok(x.contiguous()?.apply_op1(op)?)
}

/// Each row of `x` through a matrix `[out][in]`.
fn times(x: &Tensor, matrix: &Tensor) -> Result<Tensor> {
    Ok(x.matmul(&matrix.t()?)?)
}
