//! Models on a board: whether they fit, and how fast they would run.

use crate::{BitstreamError, Board};
use annulus_runtime::backend::{self, Kind};
use annulus_runtime::bench::{self, Plan};
use annulus_runtime::models::{self, OpenError, Opened};
use annulus_runtime::sampling::Sampling;
use annulus_runtime::Rotation;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Models whose cycles go into a manifest, if they fit: those that ship with Annulus, and one that
/// may be on this machine.
const MODELS: [&str; 4] = ["names", "shakespeare", "shakespeare-int4", "stories260K"];
/// Where the last may also be, beside its tokenizer: a folder of checkpoints.
const DATA: &str = "ANNULUS_DATA";

/// A model on a board.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelOnBoard {
    /// Its name.
    pub model: String,
    /// Positions that attention looks back on.
    pub window: usize,
    /// Cycles a token, with sampling: *simulated*, mean of all positions or, of a model whose
    /// streams do not end, with a full ring.
    pub cycles_per_token: f64,
    /// Tokens a second: *derived*, the board's clock over the cycles.
    pub tokens_per_second: f64,
}

/// Counts the cycles of models on the board's core, simulated. Those that do not fit or are not
/// on this machine are left out.
///
/// # Errors
/// If a model is damaged or the simulation cannot run.
pub fn measure(board: &Board, megahertz: f64) -> Result<Vec<ModelOnBoard>, BitstreamError> {
    let measured = MODELS.iter().map(|name| {
        one(board, megahertz, name).map_err(|why| BitstreamError::Model {
            model: (*name).into(),
            why,
        })
    });
    measured.filter_map(Result::transpose).collect()
}

fn one(board: &Board, megahertz: f64, name: &str) -> Result<Option<ModelOnBoard>, String> {
    let words = |error: &dyn std::fmt::Display| error.to_string();
    let shape = board.shape();
    let Some(mut opened) = open(name).map_err(|e| words(&e))? else {
        return Ok(None);
    };
    opened.suit(&shape).map_err(|e| words(&e))?;
    // The longest window that fits: the one that it was trained for, or a half of it, or ...
    let mut windows = std::iter::successors(Some(opened.default_window()), |w| Some(w / 2));
    let Some(image) = windows
        .by_ref()
        .take_while(|&window| window > 0)
        .find_map(|window| opened.image(&shape, Some(window), None).ok())
    else {
        return Ok(None);
    };
    let mut core = backend::open(Kind::Sim, &shape, None, None).map_err(|e| words(&e))?;
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
    Ok(Some(ModelOnBoard {
        model: name.into(),
        window: image.window(),
        cycles_per_token: (10.0 * cycles).round() / 10.0,
        tokens_per_second: (1e6 * megahertz / cycles).round(),
    }))
}

/// A model, if it is on this machine.
fn open(name: &str) -> Result<Option<Opened>, OpenError> {
    match models::open(Path::new(name), None, Rotation::Hadamard) {
        Err(OpenError::NotFetched(_)) => {}
        opened => return opened.map(Some),
    }
    let Some(folder) = std::env::var_os(DATA).map(PathBuf::from) else {
        return Ok(None);
    };
    let (checkpoint, tokenizer) = (
        folder.join(format!("{name}.bin")),
        folder.join("tok512.bin"),
    );
    if !checkpoint.is_file() {
        return Ok(None);
    }
    models::open(&checkpoint, Some(&tokenizer), Rotation::Hadamard).map(Some)
}
