//! Quality: the fast engine against float32 on a text.

use crate::cpu::{CpuEngine, EngineError};
use annulus_model::eval::{self, evaluate, Engine, EvalError};
pub use annulus_model::eval::{Pass, Report};
use annulus_model::model::Model;
use std::error::Error;

/// Why an evaluation cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum QualityError {
    /// No engine runs the model at this window.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The text or the model does not allow it.
    #[error(transparent)]
    Eval(#[from] EvalError),
}

impl Engine for CpuEngine {
    fn restart(&mut self) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.reset();
        Ok(())
    }

    fn step(&mut self, token: u32) -> Result<&[i32], Box<dyn Error + Send + Sync>> {
        Ok(CpuEngine::step(self, token)?)
    }
}

/// Measure a model on the first `limit` predictions of a text. `progress` hears
/// how many are done, of how many.
///
/// # Errors
/// If the model has no float32 weights or the text no tokens.
pub fn quality(
    model: &Model,
    text: &[u8],
    (window, sinks): (usize, usize),
    limit: Option<usize>,
    progress: impl FnMut(usize, usize),
) -> Result<Report, QualityError> {
    let mut engine = CpuEngine::new(&model.quant, window, sinks)?;
    Ok(evaluate(
        model,
        &mut engine,
        text,
        (window, sinks),
        limit,
        progress,
    )?)
}

/// Measure a model on a text that is read `passes` times in one stream. `progress`
/// hears how many tokens are done, of how many.
///
/// # Errors
/// If the model has no float32 weights or the text no tokens.
pub fn endurance(
    model: &Model,
    text: &[u8],
    (window, sinks): (usize, usize),
    passes: usize,
    progress: impl FnMut(usize, usize),
) -> Result<Vec<Pass>, QualityError> {
    let mut engine = CpuEngine::new(&model.quant, window, sinks)?;
    Ok(eval::endure(
        model,
        &mut engine,
        text,
        (window, sinks),
        passes,
        progress,
    )?)
}
