//! What a token's pass leaves behind for tests: every vector between steps.

use annulus_contract::rsqrt::Rsqrt;

/// Intermediate vectors of one token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// One a layer.
    pub layers: Vec<LayerTrace>,
    /// The residual after all layers.
    pub x_final: Vec<i32>,
}

/// Intermediate vectors of one token in one layer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LayerTrace {
    /// The residual that enters the layer.
    pub x: Vec<i32>,
    /// Its norm.
    pub norm: Rsqrt,
    /// Its mantissas.
    pub m: Vec<i8>,
    /// Its exponent.
    pub e: u8,
    /// Queries after RoPE, before Hadamard.
    pub q: Vec<i32>,
    /// Keys after RoPE, before Hadamard.
    pub k: Vec<i32>,
    /// Values.
    pub v: Vec<i32>,
    /// Slot of the ring that keys and values were written to.
    pub slot: usize,
    /// Scores of the filled slots, one list a query head.
    pub scores: Vec<Vec<i32>>,
    /// Sum of probabilities, one a query head.
    pub sums: Vec<u32>,
    /// Attention output.
    pub ao: Vec<i32>,
    /// Gate (or the only matrix's output, for ReLU).
    pub gate: Vec<i32>,
    /// Up; empty for ReLU.
    pub up: Vec<i32>,
    /// Hidden.
    pub h: Vec<i32>,
}
