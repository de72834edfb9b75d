//! How a model is spread over a GPU, and the search for what is fastest.

use crate::device::{CudaError, Device};
use crate::engine::Engine;
use crate::layout::*;
use crate::program::Program;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// `THREADS,BLOCKS`: a plan in place of the search.
pub const PLAN_VARIABLE: &str = "ANNULUS_CUDA_PLAN";

/// Threads of a block that are tried.
const THREADS: [u32; 5] = [32, 64, 128, 256, 512];
/// Blocks of a stream that are tried, for models that are worth it.
const BLOCKS: [u32; 8] = [1, 2, 4, 8, 16, 32, 64, 128];
/// Weights below which one block always has it: they stay in its own caches, and
/// blocks that meet cost more than they bring.
const ONE_BLOCK_WORDS: usize = (128 << 10) / 4;
/// Tokens of a trial, and trials of a plan, of which the fastest counts.
const TRIAL: (usize, usize) = (8, 3);

/// Ways to run the token loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// All of it in one launch.
    Persistent,
    /// A kernel a step, in a graph a token.
    Graph,
    /// Many streams at once, a block each, in one launch.
    Batched,
}

impl Mode {
    /// All of them.
    pub const ALL: [Mode; 3] = [Mode::Persistent, Mode::Graph, Mode::Batched];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Persistent => "persistent",
            Mode::Graph => "graph",
            Mode::Batched => "batched",
        }
    }
}

/// Blocks and threads of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How the token loop runs.
    pub mode: Mode,
    /// Streams at once; 1 but for [`Mode::Batched`].
    pub streams: usize,
    /// Blocks of a stream.
    pub blocks: u32,
    /// Threads of a block, whole warps.
    pub threads: u32,
}

/// `THREADS,BLOCKS`.
struct Fixed {
    threads: u32,
    blocks: u32,
}

impl FromStr for Fixed {
    type Err = CudaError;

    fn from_str(text: &str) -> Result<Self, CudaError> {
        let wrong = || {
            CudaError::Plan(format!(
                "{PLAN_VARIABLE} is {text:?}, but must be threads and blocks, such as 256,1"
            ))
        };
        let (threads, blocks) = text.split_once(',').ok_or_else(wrong)?;
        Ok(Fixed {
            threads: threads.parse().map_err(|_| wrong())?,
            blocks: blocks.parse().map_err(|_| wrong())?,
        })
    }
}

impl Plan {
    /// The fastest plan for a program: measured, or the one that
    /// [`PLAN_VARIABLE`] names.
    ///
    /// # Errors
    /// If the GPU fails, or the variable makes no sense.
    pub fn best(
        device: &Arc<Device>,
        program: &Arc<Program>,
        mode: Mode,
        streams: usize,
    ) -> Result<Plan, CudaError> {
        if let Ok(text) = std::env::var(PLAN_VARIABLE) {
            let Fixed { threads, blocks } = text.parse()?;
            let plan = Plan {
                mode,
                streams,
                blocks: if mode == Mode::Batched { 1 } else { blocks },
                threads,
            };
            plan.check(device)?;
            return Ok(plan);
        }
        let mut best: Option<(Duration, Plan)> = None;
        for plan in Self::candidates(device, program, mode, streams) {
            // A plan that this GPU cannot launch is none; if none is left, its words count.
            match (plan.trial(device, program), &best) {
                (Ok(time), Some((least, _))) if time >= *least => {}
                (Ok(time), _) => best = Some((time, plan)),
                (Err(CudaError::Driver(_) | CudaError::Barrier), Some(_)) => {}
                (Err(error), _) => return Err(error),
            }
        }
        best.map(|(_, plan)| plan)
            .ok_or_else(|| CudaError::Plan("the GPU has no room for a single warp".into()))
    }

    fn candidates(
        device: &Device,
        program: &Program,
        mode: Mode,
        streams: usize,
    ) -> impl Iterator<Item = Plan> {
        let limits = device.limits();
        let large = program.words().len() > ONE_BLOCK_WORDS;
        let many = match mode {
            Mode::Persistent => large && limits.cooperative,
            Mode::Graph => true,
            Mode::Batched => false,
        };
        let most = if many { limits.multiprocessors } else { 1 };
        let blocks = BLOCKS.into_iter().filter(move |&blocks| blocks <= most);
        blocks.flat_map(move |blocks| {
            let threads = THREADS.into_iter().filter(move |&t| t <= limits.threads);
            threads.map(move |threads| Plan {
                mode,
                streams,
                blocks,
                threads,
            })
        })
    }

    /// Time of the fastest trial.
    fn trial(self, device: &Arc<Device>, program: &Arc<Program>) -> Result<Duration, CudaError> {
        let (passes, trials) = TRIAL;
        let mut engine = Engine::new(device.clone(), program.clone(), self)?;
        let mut least = Duration::MAX;
        for _ in 0..trials {
            engine.reset()?;
            let start = Instant::now();
            engine.run(&[0], passes, 0)?;
            least = least.min(start.elapsed());
        }
        Ok(least)
    }

    pub(crate) fn check(&self, device: &Device) -> Result<(), CudaError> {
        let limits = device.limits();
        if !self.threads.is_multiple_of(32) || !(32..=limits.threads).contains(&self.threads) {
            return Err(CudaError::Plan(format!(
                "{} threads a block are not whole warps of at most {}",
                self.threads, limits.threads
            )));
        }
        if self.blocks == 0 || self.streams == 0 {
            return Err(CudaError::Plan("a plan needs a block and a stream".into()));
        }
        if self.blocks > 1 && self.mode == Mode::Persistent && !limits.cooperative {
            return Err(CudaError::Plan(
                "this GPU cannot launch blocks that meet: use one".into(),
            ));
        }
        Ok(())
    }

    /// What fits a block's shared memory besides the operand.
    pub(crate) fn placement(&self, device: &Device, program: &Program) -> i32 {
        if self.blocks > 1 || self.mode == Mode::Graph {
            return 0;
        }
        let room = device.limits().shared_bytes;
        [PLACE_SCRATCH | PLACE_PROGRAM, PLACE_SCRATCH, PLACE_PROGRAM]
            .into_iter()
            .find(|&placement| program.shared_bytes(placement) <= room)
            .unwrap_or(0)
    }
}
