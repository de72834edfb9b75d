//! The nine matrices of a one-layer microGPT, whatever holds them.

use serde::{Deserialize, Serialize};

/// Symbols: `a` to `z` and the one that begins and ends a name.
pub const VOCAB: usize = 27;
/// The symbol that begins and ends a name.
pub const BOS: u32 = 26;
/// Width of the residual.
pub const WIDTH: usize = 16;
/// Attention heads.
pub const HEADS: usize = 4;
/// Elements a head.
pub const HEAD_SIZE: usize = WIDTH / HEADS;
/// Positions.
pub const BLOCK: usize = 16;
/// Width of the hidden layer.
pub const HIDDEN: usize = 4 * WIDTH;

/// One `T` for each matrix, all `[out][in]`, under the names of microGPT's JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Weights<T> {
    /// Token embedding, `VOCAB x WIDTH`.
    pub wte: T,
    /// Learned positions, `BLOCK x WIDTH`.
    pub wpe: T,
    /// Classifier, `VOCAB x WIDTH`.
    pub lm_head: T,
    /// Queries, `WIDTH x WIDTH`.
    #[serde(rename = "layer0.attn_wq")]
    pub wq: T,
    /// Keys, `WIDTH x WIDTH`.
    #[serde(rename = "layer0.attn_wk")]
    pub wk: T,
    /// Values, `WIDTH x WIDTH`.
    #[serde(rename = "layer0.attn_wv")]
    pub wv: T,
    /// Attention's output, `WIDTH x WIDTH`.
    #[serde(rename = "layer0.attn_wo")]
    pub wo: T,
    /// Into the hidden layer, `HIDDEN x WIDTH`.
    #[serde(rename = "layer0.mlp_fc1")]
    pub fc1: T,
    /// Out of the hidden layer, `WIDTH x HIDDEN`.
    #[serde(rename = "layer0.mlp_fc2")]
    pub fc2: T,
}

/// The shape of each matrix, `(out, in)`.
pub const SHAPES: Weights<(usize, usize)> = Weights {
    wte: (VOCAB, WIDTH),
    wpe: (BLOCK, WIDTH),
    lm_head: (VOCAB, WIDTH),
    wq: (WIDTH, WIDTH),
    wk: (WIDTH, WIDTH),
    wv: (WIDTH, WIDTH),
    wo: (WIDTH, WIDTH),
    fc1: (HIDDEN, WIDTH),
    fc2: (WIDTH, HIDDEN),
};

impl<T> Weights<T> {
    /// The matrices in the order of the fields.
    pub fn each(&self) -> [&T; 9] {
        let Self {
            wte,
            wpe,
            lm_head,
            wq,
            wk,
            wv,
            wo,
            fc1,
            fc2,
        } = self;
        [wte, wpe, lm_head, wq, wk, wv, wo, fc1, fc2]
    }

    /// Applies `f` to each matrix in the order of the fields; the first error ends it.
    pub fn try_map<U, E>(&self, mut f: impl FnMut(&T) -> Result<U, E>) -> Result<Weights<U>, E> {
        Ok(Weights {
            wte: f(&self.wte)?,
            wpe: f(&self.wpe)?,
            lm_head: f(&self.lm_head)?,
            wq: f(&self.wq)?,
            wk: f(&self.wk)?,
            wv: f(&self.wv)?,
            wo: f(&self.wo)?,
            fc1: f(&self.fc1)?,
            fc2: f(&self.fc2)?,
        })
    }
}
