//! Writing: a prompt in, tokens out as they come.

use crate::backend::{Backend, BackendError, Choice};
use crate::sampling::{Sampling, SamplingError};
use annulus_contract::sample::Gumbel;
use annulus_model::image::Image;
use annulus_model::tokenizer::{check_utf8, TokenizerError};
use serde::Serialize;
use std::ops::ControlFlow;
use std::time::Instant;

/// Why nothing can be written.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// The prompt is not text, or not of the model's symbols.
    #[error("the prompt cannot be used: {0}")]
    Prompt(TokenizerError),
    /// An image without a tokenizer.
    #[error("the image holds no tokenizer: make it again with `annulus quantize`")]
    NoTokenizer,
    /// Nothing to start with.
    #[error("a run needs at least one token to start with")]
    NoPrompt,
    /// Nothing to do.
    #[error("-n must be at least 1: it counts forward passes")]
    NoPasses,
    /// The way of sampling makes no sense.
    #[error(transparent)]
    Sampling(#[from] SamplingError),
    /// The backend failed.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

/// The tokens of a prompt, after the one that starts a stream. An empty prompt is
/// that token alone.
///
/// # Errors
/// If it is not UTF-8, or the model has no symbol for a character of it.
pub fn prompt_tokens(image: &Image, prompt: &[u8]) -> Result<Vec<u32>, GenerateError> {
    check_utf8(prompt).map_err(GenerateError::Prompt)?;
    let tokenizer = image.tokenizer.as_ref().ok_or(GenerateError::NoTokenizer)?;
    tokenizer
        .encode(prompt, true)
        .map_err(GenerateError::Prompt)
}

/// What is to be written.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// Tokens to begin with; at least one.
    pub prompt: &'a [u32],
    /// Forward passes in all, those of the prompt included; at least one.
    pub passes: usize,
    /// How tokens are chosen.
    pub sampling: Sampling,
}

/// One part of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Phase {
    /// Forward passes.
    pub passes: usize,
    /// Wall-clock time.
    pub seconds: f64,
    /// The core's cycles; `None` where there is no core.
    pub cycles: Option<u64>,
}

impl Phase {
    /// Forward passes a second of wall-clock time.
    pub fn rate(&self) -> Option<f64> {
        (self.passes > 0 && self.seconds > 0.0).then(|| self.passes as f64 / self.seconds)
    }

    /// Cycles a forward pass.
    pub fn cycles_per_token(&self) -> Option<f64> {
        self.cycles
            .filter(|_| self.passes > 0)
            .map(|cycles| cycles as f64 / self.passes as f64)
    }
}

/// How a run ended, and how fast it was. Its tokens are with whom they were handed to: a run may
/// go on for as long as anyone listens.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Run {
    /// Whether the stop token ended the run.
    pub stopped: bool,
    /// The prompt but its last token: passes without logits.
    pub prompt: Phase,
    /// Passes that chose a token, the stop token included.
    pub decode: Phase,
}

/// Write: `on_token` hears each token as it is chosen, the stop token included, and may end the run.
///
/// Position, ring and samples start at 0. The image's stop token ends the run;
/// its restart token starts the stream anew and the run goes on.
///
/// # Errors
/// If the request makes no sense or the backend fails.
pub fn generate(
    backend: &mut dyn Backend,
    image: &Image,
    request: &Request,
    mut on_token: impl FnMut(u32) -> ControlFlow<()>,
) -> Result<Run, GenerateError> {
    if request.passes == 0 {
        return Err(GenerateError::NoPasses);
    }
    let (&last, prompt) = request.prompt.split_last().ok_or(GenerateError::NoPrompt)?;
    let gumbel = request.sampling.gumbel(image)?;
    let special = image.special;
    let host = request.sampling.needs_host();
    backend.set_choice(if host {
        Choice::default()
    } else {
        Choice {
            gumbel,
            stop: special.stop,
            restart: special.restart,
        }
    })?;
    backend.reset()?;

    let silent = prompt.len().min(request.passes);
    let prompt = timed(backend, |backend| {
        backend.prefill(&prompt[..silent])?;
        Ok(silent)
    })?;
    let mut run = Run {
        prompt,
        ..Run::default()
    };
    let n = request.passes - silent;
    if n == 0 {
        return Ok(run);
    }
    let mut hear = |token| {
        let flow = on_token(token);
        run.stopped = special.stop == Some(token);
        if run.stopped {
            ControlFlow::Break(())
        } else {
            flow
        }
    };
    run.decode = timed(backend, |backend| {
        if host {
            run_on_host(
                backend,
                &request.sampling,
                gumbel,
                special.restart,
                (last, n),
                &mut hear,
            )
        } else {
            backend.run(last, n, &mut hear)
        }
    })?;
    Ok(run)
}

/// As [`Backend::run`], with the host choosing from the logits.
fn run_on_host(
    backend: &mut dyn Backend,
    sampling: &Sampling,
    gumbel: Option<Gumbel>,
    restart: Option<u32>,
    (mut token, n): (u32, usize),
    on_token: &mut dyn FnMut(u32) -> ControlFlow<()>,
) -> Result<usize, BackendError> {
    for done in 0..n {
        backend.step(token)?;
        token = sampling.choose(gumbel, done as u32, &backend.logits()?);
        if on_token(token).is_break() {
            return Ok(done + 1);
        }
        if restart == Some(token) {
            backend.reset()?;
        }
    }
    Ok(n)
}

/// Time and cycles of `work`, which tells how many passes it made.
fn timed(
    backend: &mut dyn Backend,
    work: impl FnOnce(&mut dyn Backend) -> Result<usize, BackendError>,
) -> Result<Phase, BackendError> {
    backend.clear_counters()?;
    let start = Instant::now();
    let passes = work(backend)?;
    let seconds = start.elapsed().as_secs_f64();
    let cycles = backend.counters()?.map(|counters| counters.cycles);
    Ok(Phase {
        passes,
        seconds,
        cycles,
    })
}
