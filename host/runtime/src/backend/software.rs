//! Backends without a core: the fast engine and the integer reference.

use super::{Backend, BackendError, Choice, Kind, Saved};
use crate::cpu::{CpuEngine, SavedState};
use crate::driver::Counters;
use annulus_contract::crc::Crc32;
use annulus_contract::sample::{greedy, Gumbel};
use annulus_contract::shape::CoreShape;
use annulus_model::image::Image;
use annulus_model::reference::Reference;
use std::error::Error;
use std::ops::ControlFlow;

type Boxed = Box<dyn Error + Send + Sync>;

/// A stream of tokens through a quantized model, in software.
pub trait Engine: Sized {
    /// A stream as it can be saved.
    type Stream: 'static;

    /// An empty stream of the image's model.
    ///
    /// # Errors
    /// If the model is not well formed.
    fn new(image: &Image) -> Result<Self, Boxed>;

    /// Empty the ring and go back to position 0.
    fn reset(&mut self);

    /// Process a token, with or without its logits.
    ///
    /// # Errors
    /// If there is no such token.
    fn process(&mut self, token: u32, with_logits: bool) -> Result<(), Boxed>;

    /// Logits of the last token that was processed with them.
    fn logits(&self) -> &[i32];

    /// Choose from the logits; `sample` counts the choices of the stream.
    fn choose(&mut self, gumbel: Option<Gumbel>, sample: u32) -> u32;

    /// The stream as it is.
    fn save(&self) -> Self::Stream;

    /// Go on from there.
    ///
    /// # Errors
    /// If it belongs to another model or window.
    fn restore(&mut self, stream: &Self::Stream) -> Result<(), BackendError>;
}

impl Engine for CpuEngine {
    type Stream = SavedState;

    fn new(image: &Image) -> Result<Self, Boxed> {
        Ok(CpuEngine::new(
            &image.quant_model()?,
            image.window(),
            image.sinks(),
        )?)
    }

    fn reset(&mut self) {
        CpuEngine::reset(self);
    }

    fn process(&mut self, token: u32, with_logits: bool) -> Result<(), Boxed> {
        Ok(if with_logits {
            self.step(token).map(drop)
        } else {
            self.step_silent(token)
        }?)
    }

    fn logits(&self) -> &[i32] {
        CpuEngine::logits(self)
    }

    fn choose(&mut self, gumbel: Option<Gumbel>, sample: u32) -> u32 {
        match gumbel {
            None => self.greedy(),
            Some(gumbel) => self.sample(gumbel, sample),
        }
    }

    fn save(&self) -> SavedState {
        CpuEngine::save(self)
    }

    fn restore(&mut self, stream: &SavedState) -> Result<(), BackendError> {
        CpuEngine::restore(self, stream).map_err(|_| BackendError::Foreign)
    }
}

/// The integer reference, which keeps the logits that [`Reference::step`] hands out.
pub struct Plain {
    reference: Reference,
    logits: Vec<i32>,
}

impl Engine for Plain {
    type Stream = Reference;

    fn new(image: &Image) -> Result<Self, Boxed> {
        let reference = Reference::new(&image.quant_model()?, image.window(), image.sinks())?;
        Ok(Plain {
            reference,
            logits: vec![0; image.config.vocab],
        })
    }

    fn reset(&mut self) {
        self.reference.reset();
    }

    fn process(&mut self, token: u32, with_logits: bool) -> Result<(), Boxed> {
        if with_logits {
            self.logits.copy_from_slice(self.reference.step(token)?);
        } else {
            self.reference.step_silent(token)?;
        }
        Ok(())
    }

    fn logits(&self) -> &[i32] {
        &self.logits
    }

    fn choose(&mut self, gumbel: Option<Gumbel>, sample: u32) -> u32 {
        gumbel.map_or_else(
            || greedy(&self.logits),
            |gumbel| gumbel.choose(sample, &self.logits),
        )
    }

    fn save(&self) -> Reference {
        self.reference.clone()
    }

    fn restore(&mut self, stream: &Reference) -> Result<(), BackendError> {
        self.reference = stream.clone();
        Ok(())
    }
}

/// A backend around an [`Engine`]: counts samples, and acts on special tokens as
/// the core does.
pub struct Software<E> {
    kind: Kind,
    loaded: Option<Loaded<E>>,
    choice: Choice,
    samples: u32,
}

struct Loaded<E> {
    engine: E,
    image: Image,
}

/// What [`Software`] saves: the engine's stream, the count of samples, and the image.
struct State<S> {
    stream: S,
    samples: u32,
    image: Image,
}

impl<E: Engine> Software<E> {
    /// A backend with nothing loaded.
    pub fn new(kind: Kind) -> Self {
        Software {
            kind,
            loaded: None,
            choice: Choice::default(),
            samples: 0,
        }
    }

    fn loaded(&mut self) -> Result<&mut Loaded<E>, BackendError> {
        self.loaded.as_mut().ok_or(BackendError::NotLoaded)
    }

    fn process(&mut self, token: u32, with_logits: bool) -> Result<(), BackendError> {
        self.loaded()?
            .engine
            .process(token, with_logits)
            .map_err(BackendError::Run)
    }
}

impl<E: Engine> Backend for Software<E> {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn shape(&self) -> Option<&CoreShape> {
        None
    }

    fn load(&mut self, image: &Image) -> Result<(), BackendError> {
        let engine = E::new(image).map_err(BackendError::Run)?;
        self.loaded = Some(Loaded {
            engine,
            image: image.clone(),
        });
        self.choice = Choice::default();
        self.samples = 0;
        Ok(())
    }

    fn set_choice(&mut self, choice: Choice) -> Result<(), BackendError> {
        self.choice = choice;
        Ok(())
    }

    fn reset(&mut self) -> Result<(), BackendError> {
        self.loaded()?.engine.reset();
        self.samples = 0;
        Ok(())
    }

    fn prefill(&mut self, tokens: &[u32]) -> Result<(), BackendError> {
        tokens
            .iter()
            .try_for_each(|&token| self.process(token, false))
    }

    fn step(&mut self, token: u32) -> Result<u32, BackendError> {
        self.process(token, true)?;
        let (choice, sample) = (self.choice, self.samples);
        self.samples = sample.wrapping_add(1);
        let engine = &mut self.loaded()?.engine;
        let chosen = engine.choose(choice.gumbel, sample);
        if choice.restart == Some(chosen) {
            engine.reset();
        }
        Ok(chosen)
    }

    fn run(
        &mut self,
        mut token: u32,
        n: usize,
        on_token: &mut dyn FnMut(u32) -> ControlFlow<()>,
    ) -> Result<usize, BackendError> {
        for done in 1..=n {
            token = self.step(token)?;
            if on_token(token).is_break() || self.choice.stop == Some(token) {
                return Ok(done);
            }
        }
        Ok(n)
    }

    fn logits(&mut self) -> Result<Vec<i32>, BackendError> {
        Ok(self.loaded()?.engine.logits().to_vec())
    }

    fn counters(&mut self) -> Result<Option<Counters>, BackendError> {
        Ok(None)
    }

    fn clear_counters(&mut self) -> Result<(), BackendError> {
        Ok(())
    }

    fn save(&mut self) -> Result<Saved, BackendError> {
        let samples = self.samples;
        let Loaded { engine, image } = self.loaded()?;
        Ok(Saved(Box::new(State {
            stream: engine.save(),
            samples,
            image: image.clone(),
        })))
    }

    fn restore(&mut self, saved: &Saved) -> Result<(), BackendError> {
        let state: &State<E::Stream> = saved.0.downcast_ref().ok_or(BackendError::Foreign)?;
        let Loaded { engine, image } = self.loaded()?;
        if *image != state.image {
            return Err(BackendError::Foreign);
        }
        engine.restore(&state.stream)?;
        self.samples = state.samples;
        Ok(())
    }

    fn self_test(&mut self) -> Result<(), BackendError> {
        let golden = self.loaded()?.image.golden.clone();
        self.choice = Choice::default();
        self.reset()?;
        let (&last, prompt) = golden
            .prompt
            .split_last()
            .ok_or_else(|| BackendError::SelfTest("the image has none".into()))?;
        self.prefill(prompt)?;
        let mut crc = Crc32::new();
        let mut token = last;
        for (t, &expected) in golden.tokens.iter().enumerate() {
            token = self.step(token)?;
            crc.update_logits(self.loaded()?.engine.logits());
            if token != expected {
                return Err(BackendError::SelfTest(format!(
                    "token {t} is {token}, but must be {expected}"
                )));
            }
        }
        self.reset()?;
        if crc.value() != golden.crc {
            let why = format!(
                "the logits' hash is {:08x}, but must be {:08x}",
                crc.value(),
                golden.crc
            );
            return Err(BackendError::SelfTest(why));
        }
        Ok(())
    }
}
