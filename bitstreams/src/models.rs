//! Models on a board: whether they fit, and how fast they would run.

use crate::{BitstreamError, Board};
use annulus_runtime::backend::{self, Kind};
use annulus_runtime::bench::{self, Plan};
use annulus_runtime::models;
use annulus_runtime::sampling::Sampling;
use annulus_runtime::Rotation;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Models whose cycles go into every manifest: those that ship with Annulus.
const SHIPPED: [&str; 1] = ["names"];

/// A model on a board.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelOnBoard {
    /// Its name.
    pub model: String,
    /// Positions that attention looks back on.
    pub window: usize,
    /// Cycles a token, with sampling: *simulated*, mean of all positions.
    pub cycles_per_token: f64,
    /// Tokens a second: *derived*, the board's clock over the cycles.
    pub tokens_per_second: f64,
}

/// Counts the cycles of the shipped models on the board's core, simulated.
///
/// # Errors
/// If one does not fit or the simulation cannot run.
pub fn measure(board: &Board, megahertz: f64) -> Result<Vec<ModelOnBoard>, BitstreamError> {
    SHIPPED
        .iter()
        .map(|name| {
            one(board, megahertz, name).map_err(|why| BitstreamError::Model {
                model: (*name).into(),
                why,
            })
        })
        .collect()
}

fn one(board: &Board, megahertz: f64, name: &str) -> Result<ModelOnBoard, String> {
    let words = |error: &dyn std::fmt::Display| error.to_string();
    let opened = models::open(Path::new(name), None, Rotation::None).map_err(|e| words(&e))?;
    let image = opened
        .image(&board.shape(), None, None)
        .map_err(|e| words(&e))?;
    let mut core = backend::open(Kind::Sim, &board.shape(), None, None).map_err(|e| words(&e))?;
    core.load(&image).map_err(|e| words(&e))?;
    let sampling = Sampling {
        temperature: 0.8,
        seed: 1,
        top_k: None,
        top_p: None,
    };
    let plan = Plan::new(&image, None, None);
    let prompt = [image.special.bos];
    let report = bench::measure(core.as_mut(), &image, &prompt, &sampling, &plan, |_, _| ())
        .map_err(|e| words(&e))?;
    let cycles = report
        .cycles_per_token
        .ok_or("the simulated core counts no cycles")?
        .mean;
    Ok(ModelOnBoard {
        model: name.into(),
        window: image.window(),
        cycles_per_token: (10.0 * cycles).round() / 10.0,
        tokens_per_second: (1e6 * megahertz / cycles).round(),
    })
}
