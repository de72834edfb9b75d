//! The `cuda` backend: a GPU that runs the whole token loop, sampling included, in
//! one launch.

use super::{test_by_steps, Backend, BackendError, Choice, Kind, Saved};
use crate::driver::Counters;
use annulus_contract::shape::CoreShape;
use annulus_kernels::device::Device;
use annulus_kernels::engine::{self, Engine, SavedStream, CAPACITY};
use annulus_kernels::plan::{Mode, Plan};
use annulus_kernels::program::Program;
use annulus_model::image::Image;
use annulus_model::reference::StepError;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The only stream.
const STREAM: usize = 0;
/// Passes of a run's first launch: its tokens show soon.
const FIRST_PASSES: usize = 16;
/// A launch that took longer is not made longer: a desktop that shares the GPU
/// waits for no more than about twice this.
const LONG: Duration = Duration::from_millis(50);

/// A GPU as a backend.
pub struct Cuda {
    device: Arc<Device>,
    loaded: Option<Loaded>,
}

struct Loaded {
    engine: Engine,
    image: Image,
    stop: Option<u32>,
}

/// What [`Cuda`] saves.
struct State {
    stream: SavedStream,
    image: Image,
}

impl Cuda {
    /// The first GPU, with nothing loaded.
    ///
    /// # Errors
    /// If there is none.
    pub fn open() -> Result<Self, BackendError> {
        Ok(Cuda {
            device: Device::open()?,
            loaded: None,
        })
    }

    fn engine(&mut self) -> Result<&mut Engine, BackendError> {
        Ok(&mut self.loaded()?.engine)
    }

    fn loaded(&mut self) -> Result<&mut Loaded, BackendError> {
        self.loaded.as_mut().ok_or(BackendError::NotLoaded)
    }

    fn check(&mut self, tokens: &[u32]) -> Result<(), BackendError> {
        let vocab = self.engine()?.program().vocab();
        match tokens.iter().find(|&&token| token as usize >= vocab) {
            Some(&token) => Err(BackendError::Run(Box::new(StepError::Token {
                token,
                vocab,
            }))),
            None => Ok(()),
        }
    }

    /// Up to `passes` choices, from `token` on.
    fn choices(&mut self, token: u32, passes: usize) -> Result<Vec<u32>, BackendError> {
        let mut streams = self.engine()?.run(&[token], passes, 0)?;
        Ok(streams.swap_remove(STREAM).tokens)
    }
}

impl Backend for Cuda {
    fn kind(&self) -> Kind {
        Kind::Cuda
    }

    fn shape(&self) -> Option<&CoreShape> {
        None
    }

    fn load(&mut self, image: &Image) -> Result<(), BackendError> {
        let boxed = |error: Box<dyn std::error::Error + Send + Sync>| BackendError::Run(error);
        let model = image.quant_model().map_err(|e| boxed(e.into()))?;
        let program = Program::new(&model, image.window(), image.sinks());
        let program = Arc::new(program.map_err(|e| boxed(e.into()))?);
        let plan = Plan::best(&self.device, &program, Mode::Persistent, 1)?;
        self.loaded = Some(Loaded {
            engine: Engine::new(self.device.clone(), program, plan)?,
            image: image.clone(),
            stop: None,
        });
        Ok(())
    }

    fn set_choice(&mut self, choice: Choice) -> Result<(), BackendError> {
        let Choice {
            gumbel,
            stop,
            restart,
        } = choice;
        let choice = engine::Choice {
            gumbel,
            stop,
            restart,
        };
        // Without an image there is nothing to keep it; loading one resets it anyway.
        match &mut self.loaded {
            Some(loaded) => {
                loaded.stop = stop;
                Ok(loaded.engine.set_choice(STREAM, choice)?)
            }
            None => Ok(()),
        }
    }

    fn reset(&mut self) -> Result<(), BackendError> {
        Ok(self.engine()?.reset()?)
    }

    fn prefill(&mut self, tokens: &[u32]) -> Result<(), BackendError> {
        self.check(tokens)?;
        for tokens in tokens.chunks(CAPACITY) {
            self.engine()?.run(tokens, tokens.len(), tokens.len())?;
        }
        Ok(())
    }

    fn step(&mut self, token: u32) -> Result<u32, BackendError> {
        self.check(&[token])?;
        Ok(self.choices(token, 1)?[0])
    }

    fn run(
        &mut self,
        mut token: u32,
        n: usize,
        on_token: &mut dyn FnMut(u32) -> ControlFlow<()>,
    ) -> Result<usize, BackendError> {
        self.check(&[token])?;
        let (mut done, mut passes) = (0, FIRST_PASSES);
        while done < n {
            let wanted = passes.min(n - done);
            let start = Instant::now();
            let tokens = self.choices(token, wanted)?;
            if start.elapsed() < LONG {
                passes = (2 * passes).min(CAPACITY);
            }
            for &chosen in &tokens {
                done += 1;
                token = chosen;
                if on_token(chosen).is_break() {
                    return Ok(done);
                }
            }
            if self.loaded()?.stop == Some(token) {
                break;
            }
        }
        Ok(done)
    }

    fn logits(&mut self) -> Result<Vec<i32>, BackendError> {
        Ok(self.engine()?.logits(STREAM)?)
    }

    fn counters(&mut self) -> Result<Option<Counters>, BackendError> {
        Ok(None)
    }

    fn clear_counters(&mut self) -> Result<(), BackendError> {
        Ok(())
    }

    fn save(&mut self) -> Result<Saved, BackendError> {
        let Loaded { engine, image, .. } = self.loaded()?;
        Ok(Saved(Box::new(State {
            stream: engine.save(STREAM)?,
            image: image.clone(),
        })))
    }

    fn restore(&mut self, saved: &Saved) -> Result<(), BackendError> {
        let state: &State = saved.0.downcast_ref().ok_or(BackendError::Foreign)?;
        let Loaded { engine, image, .. } = self.loaded()?;
        if *image != state.image {
            return Err(BackendError::Foreign);
        }
        Ok(engine.restore(STREAM, &state.stream)?)
    }

    fn self_test(&mut self) -> Result<(), BackendError> {
        let golden = self.loaded()?.image.golden.clone();
        test_by_steps(self, &golden)
    }
}
