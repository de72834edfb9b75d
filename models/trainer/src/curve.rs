//! Losses over the steps of a run.

use serde::{Deserialize, Serialize};

/// One point of the loss curve, in nats a symbol.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CurvePoint {
    /// Steps done.
    pub step: usize,
    /// Mean loss of the batches since the point before.
    pub train: f64,
    /// Loss on what is held out.
    pub held_out: f64,
}
