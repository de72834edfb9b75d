//! How a model is spread over a GPU.

use crate::device::{CudaError, Device};
use crate::layout::*;
use crate::program::Program;

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

impl Plan {
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
