//! The search for the fastest plan: each that a GPU can launch is tried on the model itself.

use crate::device::{CudaError, Device};
use crate::engine::Engine;
use crate::plan::{Mode, Plan};
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
}
