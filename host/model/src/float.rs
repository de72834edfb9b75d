//! A model in float32 as its checkpoint holds it, and its forward pass: the
//! yardstick that the integer pipeline is measured against.

/// One transformer block's float32 weights, all row-major `[out][in]`.
#[derive(Clone, Debug)]
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
#[derive(Clone, Debug)]
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
