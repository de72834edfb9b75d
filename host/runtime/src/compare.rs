//! One model, one prompt, one seed, on everything this machine has: the same
//! tokens from all, and how long each took for them.
//!
//! The first row is the `cpu` backend's, and every other row's tokens are held to
//! its own. A row that cannot run says why; a row whose tokens differ is a fault.

mod bench;
mod chart;
mod core;
mod energy;
mod figures;
mod gpu;
mod host;
mod markdown;
mod processor;
mod row;

pub use self::chart::{draw, ChartError};
pub use self::energy::Energy;
pub use self::figures::{Evidence, Figures, Spread};
pub use self::markdown::markdown;

use self::bench::Bench;
use self::figures::hash;
use crate::backend::Kind;
use annulus_contract::sample::Gumbel;
use annulus_contract::shape::CoreShape;
use annulus_model::image::Image;
use serde::Serialize;
use std::error::Error;

/// Why nothing can be compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// A comparison of nothing.
    #[error("a comparison needs at least one token and one run")]
    Nothing,
    /// The `cpu` backend, which all are held to, failed.
    #[error("the cpu backend, which all others are held to, failed: {0}")]
    Reference(Box<dyn Error + Send + Sync>),
    /// A prompt without a token.
    #[error("a run needs at least one token to start with")]
    NoPrompt,
}

/// A core to simulate.
#[derive(Clone, Debug)]
pub struct Core {
    /// Its name: a number of lanes or a board.
    pub name: String,
    /// What it is.
    pub shape: CoreShape,
    /// The model compiled for it, or why it does not fit.
    pub image: Result<Image, String>,
}

/// What is to be compared, and how.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The model.
    pub image: &'a Image,
    /// Cores to simulate.
    pub cores: &'a [Core],
    /// Backends that are wanted.
    pub kinds: &'a [Kind],
    /// Tokens to begin with.
    pub prompt: &'a [u32],
    /// Noise; greedy without.
    pub gumbel: Option<Gumbel>,
    /// Tokens of a run, those of the prompt not counted.
    pub tokens: usize,
    /// Runs; the median counts.
    pub runs: usize,
    /// Streams of a batch; by the GPU's size without.
    pub streams: Option<usize>,
    /// A clock in MHz for all cores, in place of their boards'.
    pub clock_mhz: Option<f64>,
    /// A board's power in watts, where somebody has measured it.
    pub board_watts: Option<f64>,
}

/// What came of a row.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It ran, and its tokens are right.
    Ran(Box<Figures>),
    /// It could not run; why.
    CouldNotRun(String),
    /// It ran, and its tokens are not the `cpu` backend's; where.
    Differs(String),
}

/// A row of the comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The backend's name on the command line.
    pub backend: &'static str,
    /// Which way of running it.
    pub variant: String,
    /// What it ran on.
    pub device: String,
    /// What came of it.
    #[serde(flatten)]
    pub result: Outcome,
}

/// All rows, and what is common to them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// This program's version.
    pub version: &'static str,
    /// The model.
    pub model: String,
    /// Slots of each ring.
    pub window: usize,
    /// Slots that keep a stream's first tokens.
    pub sinks: usize,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Whether tokens are sampled, always on the device; greedy if not.
    pub sampled: bool,
    /// The seed.
    pub seed: u64,
    /// Tokens of a run.
    pub tokens: usize,
    /// Runs, after one that warms up.
    pub runs: usize,
    /// The processor.
    pub processor: String,
    /// The operating system.
    pub system: String,
    /// The hash that every row must have.
    pub token_hash: String,
    /// The rows.
    pub rows: Vec<Row>,
}

impl Comparison {
    /// The first row whose tokens are not the reference's, in a sentence.
    pub fn difference(&self) -> Option<String> {
        self.rows.iter().find_map(|row| match &row.result {
            Outcome::Differs(what) => Some(format!("{} ({}): {what}", row.backend, row.variant)),
            _ => None,
        })
    }
}

/// Run everything. `progress` hears what runs next.
///
/// # Errors
/// If there is nothing to compare, or the `cpu` backend fails.
pub fn compare(
    request: &Request,
    mut progress: impl FnMut(&str),
) -> Result<Comparison, CompareError> {
    if request.tokens == 0 || request.runs == 0 {
        return Err(CompareError::Nothing);
    }
    let (&last, silent) = request.prompt.split_last().ok_or(CompareError::NoPrompt)?;
    let bench = Bench {
        request,
        silent,
        last,
    };
    progress("cpu");
    let expected = bench.tokens_of_seed(0).map_err(CompareError::Reference)?;
    let mut rows = vec![];
    for &kind in request.kinds {
        progress(kind.name());
        match kind {
            Kind::Cpu => {
                rows.push(bench.one_core(&expected));
                rows.push(bench.all_cores(&expected));
            }
            Kind::Sim => rows.extend(request.cores.iter().map(|core| bench.sim(core, &expected))),
            Kind::Cuda => rows.extend(bench.cuda(&expected, &mut progress)),
            Kind::Reference | Kind::Twin | Kind::Serial => rows.push(bench.other(kind, &expected)),
        }
    }
    let image = request.image;
    Ok(Comparison {
        version: env!("CARGO_PKG_VERSION"),
        model: image.name.clone(),
        window: image.window(),
        sinks: image.sinks(),
        prompt_tokens: request.prompt.len(),
        sampled: request.gumbel.is_some(),
        seed: request
            .gumbel
            .map_or(0, |g| u64::from(g.key.k0) | u64::from(g.key.k1) << 32),
        tokens: request.tokens,
        runs: request.runs,
        processor: host::processor(),
        system: host::system(),
        token_hash: hash(&expected),
        rows,
    })
}
