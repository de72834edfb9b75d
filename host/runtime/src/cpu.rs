//! The `cpu` backend's engine: the arithmetic of `docs/arithmetic.md`, bit for
//! bit, as fast as vector instructions allow.
//!
//! The model is repacked once (`cpu/program.rs`), a token's pass reads as the
//! text does (`cpu/step.rs`), and every loop works on sixteen numbers at a time
//! with whatever instructions the machine has (`cpu/simd.rs`). Nothing is
//! allocated once an engine stands.

mod attention;
mod feed_forward;
mod heads;
mod matrix;
mod operand;
mod program;
mod sample;
mod simd;
mod step;
mod stream;

use std::sync::Arc;

use annulus_contract::sample::Gumbel;
use annulus_model::check::{legal_shifts, IllegalShift};
use annulus_model::config::MAX_WINDOW;
use annulus_model::quant::QuantModel;
use annulus_model::reference::{ShapeError, StepError};

use program::Program;
use sample::{Choose, Greedy};
pub use simd::InstructionSet;
use step::{Scratch, Step};
use stream::Stream;

/// Why no engine can be made of a model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The model, the window or the sinks are not well formed.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The model may ask for a shift that no backend is bound to do.
    #[error(transparent)]
    Shift(#[from] IllegalShift),
}

/// A saved state was taken from an engine of another shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the saved state is of a model or a window of another shape")]
pub struct ForeignState;

/// The rings of a stream and its place in them, for [`CpuEngine::restore`].
#[derive(Clone)]
pub struct SavedState(Stream);

/// A stream of tokens through a quantized model, equal to
/// [`Reference`](annulus_model::reference::Reference) in every logit.
///
/// Clones share the model and have streams of their own.
#[derive(Clone)]
pub struct CpuEngine {
    instructions: InstructionSet,
    program: Arc<Program>,
    stream: Stream,
    scratch: Scratch,
}

impl CpuEngine {
    /// A stream at position 0 with an empty ring of `window` slots (1 to
    /// 1,024), the first `sinks` of which keep the stream's first tokens.
    ///
    /// # Errors
    /// If the model is not well formed, could ask for an illegal shift, or not
    /// `0 <= sinks < window <= 1024`.
    pub fn new(model: &QuantModel, window: usize, sinks: usize) -> Result<Self, EngineError> {
        Self::with_instructions(InstructionSet::best(), model, window, sinks)
    }

    /// As [`new`](Self::new), with a chosen instruction set.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_instructions(
        instructions: InstructionSet,
        model: &QuantModel,
        window: usize,
        sinks: usize,
    ) -> Result<Self, EngineError> {
        model.check().map_err(ShapeError::from)?;
        if !(1..=MAX_WINDOW).contains(&window) {
            return Err(ShapeError::Window(window).into());
        }
        if sinks >= window {
            return Err(ShapeError::Sinks { sinks, window }.into());
        }
        legal_shifts(model)?;
        let program = Program::new(model, window, sinks);
        Ok(CpuEngine {
            instructions,
            stream: Stream::new(program.shape, sinks, program.layers.len()),
            scratch: Scratch::new(&program),
            program: Arc::new(program),
        })
    }

    /// The instructions it runs on.
    pub fn instructions(&self) -> InstructionSet {
        self.instructions
    }

    /// Process a token: logits of its successor (24 bits, LF fraction bits),
    /// one a symbol.
    ///
    /// # Errors
    /// If the token is not in the vocabulary; the stream is as before.
    pub fn step(&mut self, token: u32) -> Result<&[i32], StepError> {
        self.pass::<true>(token)?;
        Ok(self.logits())
    }

    /// Process a token without its logits: all of a prompt but its last token.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub fn step_silent(&mut self, token: u32) -> Result<(), StepError> {
        self.pass::<false>(token)
    }

    fn pass<const WITH_LOGITS: bool>(&mut self, token: u32) -> Result<(), StepError> {
        let vocab = self.program.vocab;
        if token as usize >= vocab {
            return Err(StepError::Token { token, vocab });
        }
        self.instructions.run(Step::<WITH_LOGITS> {
            program: &self.program,
            stream: &mut self.stream,
            scratch: &mut self.scratch,
            token,
        });
        Ok(())
    }

    /// Logits of the last [`step`](Self::step); 0 before the first.
    pub fn logits(&self) -> &[i32] {
        let rows = &self.scratch.logits;
        &simd::flatten(rows)[..self.program.vocab]
    }

    /// The largest of the logits, the lowest index on ties.
    pub fn greedy(&self) -> u32 {
        self.instructions.run(Greedy {
            logits: &self.scratch.logits,
        })
    }

    /// The token that [`Gumbel::choose`] chooses from the logits; `step` counts
    /// the stream's sampled tokens from 0.
    pub fn sample(&mut self, gumbel: Gumbel, step: u32) -> u32 {
        self.instructions.run(Choose {
            gumbel,
            step,
            logits: &self.scratch.logits,
            perturbed: &mut self.scratch.perturbed,
        })
    }

    /// Empty the ring and go back to position 0.
    pub fn reset(&mut self) {
        self.stream.start_at(0);
    }

    /// Empty the ring and let the next token stand at `position`.
    ///
    /// # Errors
    /// With sinks, if `position` is not 0: sinks are read relative to it.
    pub fn start_at(&mut self, position: u32) -> Result<(), ShapeError> {
        if self.program.sinks > 0 && position != 0 {
            return Err(ShapeError::Start(position));
        }
        self.stream.start_at(position);
        Ok(())
    }

    /// Position of the next token (modulo 2^32, as RoPE's phases are).
    pub fn position(&self) -> u32 {
        self.stream.position()
    }

    /// Tokens taken since the stream began.
    pub fn taken(&self) -> u64 {
        self.stream.taken()
    }

    /// The stream's rings and its place in them. Logits are not part of it.
    pub fn save(&self) -> SavedState {
        SavedState(self.stream.clone())
    }

    /// Go on from a saved state.
    ///
    /// # Errors
    /// If it is of another shape; the stream is as before.
    pub fn restore(&mut self, state: &SavedState) -> Result<(), ForeignState> {
        if !self.stream.fits(&state.0) {
            return Err(ForeignState);
        }
        self.stream.clone_from(&state.0);
        Ok(())
    }
}
