//! The driver of a core behind its registers: the simulated core, a board's, or
//! any other that answers to `annulus_contract::regs`. What is to be written and read
//! is [`annulus_firmware_core::driver`]'s matter, as in the firmware; here it is waited for.

mod state;

pub use annulus_firmware_core::driver::{Counters, RegisterBus};
pub use state::Snapshot;

use annulus_contract::regs::{self, region};
use annulus_contract::sample::Gumbel;
use annulus_contract::shape::CoreShape;
use annulus_contract::wire::Fault;
use annulus_firmware_core::driver::{Driver, Error, Halt, Prefill};
use annulus_model::compile::CompileError;
use annulus_model::image::Image;
use std::ops::ControlFlow;

/// Times that a core is polled without an answer before it is given up.
const MAX_POLLS: u32 = 50_000_000;
/// Why a core cannot be driven.
#[derive(Debug, thiserror::Error)]
pub enum DriverError<E: std::error::Error + 'static> {
    /// The link failed.
    #[error(transparent)]
    Bus(E),
    /// Something else answers.
    #[error(
        "no Annulus core of this version answers: its identity reads {found:08x}, not {:08x}",
        regs::ID_VALUE
    )]
    NotACore {
        /// What it says it is.
        found: u32,
    },
    /// The image does not run on this core.
    #[error(transparent)]
    Image(#[from] CompileError),
    /// The core reported an error.
    #[error(transparent)]
    Core(Fault),
    /// The core does not go on.
    #[error("the core does not answer any more")]
    Stuck,
    /// Nothing has been loaded yet.
    #[error("no image has been loaded into the core")]
    NotLoaded,
    /// A token that the model does not have.
    #[error("token {token} is not in the vocabulary of {vocab}")]
    Token {
        /// The token.
        token: u32,
        /// The number of symbols.
        vocab: usize,
    },
    /// There is nothing to continue.
    #[error("a run needs at least one token to start with")]
    NoTokens,
    /// Sinks are read relative to position 0.
    #[error("a stream with sinks starts at position 0, not at {0}")]
    Start(u64),
    /// A snapshot of another model, window or core.
    #[error("the saved state belongs to another image")]
    Snapshot,
    /// The self-test gave other tokens or logits.
    #[error("the self-test failed: {0}")]
    SelfTest(String),
}

impl<E: std::error::Error + 'static> From<Error<E>> for DriverError<E> {
    fn from(error: Error<E>) -> Self {
        match error {
            Error::Bus(error) => DriverError::Bus(error),
            Error::NotACore(found) => DriverError::NotACore { found },
            Error::Core(bits) => DriverError::Core(Fault::Core(bits)),
        }
    }
}

type Result<T, B> = std::result::Result<T, DriverError<<B as RegisterBus>::Error>>;

/// A core, and the image that it runs.
#[derive(Debug)]
pub struct CoreDriver<B> {
    core: Driver<B>,
    shape: CoreShape,
    image: Option<Image>,
}

impl<B: RegisterBus> CoreDriver<B>
where
    B::Error: std::error::Error + 'static,
{
    /// Greet the core and read what it is.
    ///
    /// # Errors
    /// If no core answers.
    pub fn new(bus: B) -> Result<Self, B> {
        let mut core = Driver::new(bus);
        let shape = core.greet()?;
        Ok(CoreDriver {
            core,
            shape,
            image: None,
        })
    }

    /// The shape of the core.
    pub fn shape(&self) -> &CoreShape {
        &self.shape
    }

    /// The image that the core runs, once it has been loaded.
    pub fn image(&self) -> Option<&Image> {
        self.image.as_ref()
    }

    /// The link, for what only it can do.
    pub fn bus_mut(&mut self) -> &mut B {
        self.core.bus_mut()
    }

    /// Load an image: memories, registers, and an empty stream that is chosen
    /// from greedily and never stops.
    ///
    /// # Errors
    /// If the image does not fit this core, or the link fails.
    pub fn load(&mut self, image: &Image) -> Result<(), B> {
        image.check_core(&self.shape)?;
        self.halt()?;
        for (region, words) in image.loads() {
            self.core
                .write_memory(regs::mem_address(region, 0, 0), &words)?;
        }
        for (register, value) in image.registers() {
            self.core.write(register, value)?;
        }
        self.adopt(image);
        self.set_sampler(None)?;
        self.set_special(None, None)?;
        self.reset()
    }

    /// The core has this image, however it came there: as after [`CoreDriver::load`].
    pub fn adopt(&mut self, image: &Image) {
        self.image = Some(image.clone());
    }

    /// Empty the stream: position 0, nothing in the ring or in the queues, the
    /// sampler's count at 0.
    ///
    /// # Errors
    /// If the link fails.
    pub fn reset(&mut self) -> Result<(), B> {
        self.halt()?;
        Ok(self.core.reset()?)
    }

    /// Empty the stream and let the next token stand at `position`.
    ///
    /// # Errors
    /// With sinks, if `position` is not 0.
    pub fn start_at(&mut self, position: u64) -> Result<(), B> {
        let image = self.loaded()?;
        if image.sinks() > 0 && position != 0 {
            return Err(DriverError::Start(position));
        }
        let phase = |increment: &u32| increment.wrapping_mul(position as u32);
        let phases: Vec<u32> = image.increments.iter().map(phase).collect();
        self.reset()?;
        self.core.write(regs::POSITION, position as u32)?;
        self.core
            .write(regs::POSITION_HIGH, (position >> 32) as u32)?;
        let at = regs::mem_address(region::PHASE, 0, 0);
        Ok(self.core.write_memory(at, &phases)?)
    }

    /// Choose greedily (`None`), or at an inverse temperature with a key.
    ///
    /// # Errors
    /// If the link fails.
    pub fn set_sampler(&mut self, sampler: Option<Gumbel>) -> Result<(), B> {
        let (it, key) = sampler.map_or_else(Default::default, |gumbel| (gumbel.it, gumbel.key));
        Ok(self.core.set_sampler(it, key)?)
    }

    /// The tokens that end a run, and that restart position and ring, when chosen.
    ///
    /// # Errors
    /// If the link fails.
    pub fn set_special(&mut self, stop: Option<u32>, restart: Option<u32>) -> Result<(), B> {
        Ok(self.core.set_special(stop, restart)?)
    }

    /// Process tokens whose logits nobody wants.
    ///
    /// # Errors
    /// If a token does not exist or the core fails.
    pub fn prefill(&mut self, tokens: &[u32]) -> Result<(), B> {
        self.check_tokens(tokens)?;
        let mut prefill = Prefill::default();
        self.poll(|core| {
            let done = prefill.step(core, tokens.iter().copied())?;
            Ok(done.then_some(()))
        })
    }

    /// Process one token and choose its successor; [`CoreDriver::logits`] tells why.
    ///
    /// # Errors
    /// If the token does not exist or the core fails.
    pub fn step(&mut self, token: u32) -> Result<u32, B> {
        self.check_tokens(&[token])?;
        self.core.start(token, 1)?;
        self.poll(Driver::take)
    }

    /// Process `tokens`, then let the core feed its own choices back: `n` choices
    /// in all, each handed to `on_token` as it comes. Ends early where the stop
    /// token is chosen or `on_token` says so; in the latter case the core may have
    /// run ahead, and the stream must be reset or restored.
    ///
    /// Returns the number of tokens handed out.
    ///
    /// # Errors
    /// If a token does not exist or the core fails.
    pub fn generate(
        &mut self,
        tokens: &[u32],
        n: usize,
        on_token: impl FnMut(u32) -> ControlFlow<()>,
    ) -> Result<usize, B> {
        self.generate_in_runs(tokens, n, u32::MAX, on_token)
    }

    /// [`CoreDriver::generate`], with the core let off for at most `run` choices at
    /// a time: its budget is a register of 32 bits, and `n` may be more.
    ///
    /// # Errors
    /// If a token does not exist or the core fails.
    pub fn generate_in_runs(
        &mut self,
        tokens: &[u32],
        n: usize,
        run: u32,
        mut on_token: impl FnMut(u32) -> ControlFlow<()>,
    ) -> Result<usize, B> {
        self.check_tokens(tokens)?;
        let (&last, prompt) = tokens.split_last().ok_or(DriverError::NoTokens)?;
        if n == 0 {
            self.prefill(tokens)?;
            return Ok(0);
        }
        let stop = self.core.stop_token()?;
        if !prompt.is_empty() {
            self.prefill(prompt)?;
        }
        let mut token = last;
        let mut done = 0;
        while done < n {
            let run = u32::try_from(n - done)
                .map_or(run, |left| left.min(run))
                .max(1);
            self.core.start(token, run)?;
            for _ in 0..run {
                token = self.poll(Driver::take)?;
                done += 1;
                let flow = on_token(token);
                if Some(token) == stop {
                    return Ok(done);
                }
                if flow.is_break() {
                    self.halt()?;
                    return Ok(done);
                }
            }
        }
        Ok(n)
    }

    /// Logits of the last token whose logits were wanted, while the core is idle.
    ///
    /// # Errors
    /// If nothing is loaded or the link fails.
    pub fn logits(&mut self) -> Result<Vec<i32>, B> {
        let vocab = self.loaded()?.config.vocab;
        let words = self.read_memory(region::LOGITS, 0, vocab)?;
        Ok(words.into_iter().map(|word| word as i32).collect())
    }

    /// The residual of the last token, while the core is idle.
    ///
    /// # Errors
    /// If nothing is loaded or the link fails.
    pub fn residual(&mut self) -> Result<Vec<i16>, B> {
        let dim = self.loaded()?.config.dim;
        let words = self.read_memory(region::RESIDUAL, 0, dim.div_ceil(2))?;
        let elements = words
            .into_iter()
            .flat_map(|word| [word as i16, (word >> 16) as i16]);
        Ok(elements.take(dim).collect())
    }

    /// CRC-32 of all logits since [`CoreDriver::clear_logits_crc`].
    ///
    /// # Errors
    /// If the link fails.
    pub fn logits_crc(&mut self) -> Result<u32, B> {
        Ok(self.core.read(regs::LOGITS_CRC)?)
    }

    /// Start the CRC of logits anew.
    ///
    /// # Errors
    /// If the link fails.
    pub fn clear_logits_crc(&mut self) -> Result<(), B> {
        Ok(self.core.clear_logits_crc()?)
    }

    /// The core's counters.
    ///
    /// # Errors
    /// If the link fails.
    pub fn counters(&mut self) -> Result<Counters, B> {
        Ok(self.core.counters()?)
    }

    /// Set the counters to 0.
    ///
    /// # Errors
    /// If the link fails.
    pub fn clear_counters(&mut self) -> Result<(), B> {
        Ok(self.core.clear_counters()?)
    }

    /// Run the image's self-test on an empty stream and leave one behind.
    ///
    /// # Errors
    /// [`DriverError::SelfTest`] if tokens or logits differ from the image's.
    pub fn self_test(&mut self) -> Result<(), B> {
        let golden = self.loaded()?.golden.clone();
        self.set_sampler(None)?;
        self.set_special(None, None)?;
        self.reset()?;
        self.clear_logits_crc()?;
        let mut tokens = Vec::new();
        self.generate(&golden.prompt, golden.tokens.len(), |token| {
            tokens.push(token);
            ControlFlow::Continue(())
        })?;
        let crc = self.logits_crc()?;
        self.reset()?;
        if tokens != golden.tokens {
            let why = format!("the tokens are {tokens:?}, but must be {:?}", golden.tokens);
            return Err(DriverError::SelfTest(why));
        }
        if crc != golden.crc {
            let why = format!(
                "the logits' hash is {crc:08x}, but must be {:08x}",
                golden.crc
            );
            return Err(DriverError::SelfTest(why));
        }
        Ok(())
    }

    /// Let no more tokens in, wait for the one under way, and drop what was chosen.
    fn halt(&mut self) -> Result<(), B> {
        let mut halt = Halt::default();
        self.poll(|core| Ok(halt.step(core)?.then_some(())))
    }

    /// Let the core go on until `ready` has an answer.
    fn poll<T>(
        &mut self,
        mut ready: impl FnMut(&mut Driver<B>) -> std::result::Result<Option<T>, Error<B::Error>>,
    ) -> Result<T, B> {
        for _ in 0..MAX_POLLS {
            if let Some(answer) = ready(&mut self.core)? {
                return Ok(answer);
            }
            self.core.bus_mut().run().map_err(DriverError::Bus)?;
        }
        Err(DriverError::Stuck)
    }

    fn loaded(&self) -> Result<&Image, B> {
        self.image.as_ref().ok_or(DriverError::NotLoaded)
    }

    /// Whether the model has all of these tokens.
    ///
    /// # Errors
    /// The first that it has not; or that nothing is loaded.
    pub fn check_tokens(&self, tokens: &[u32]) -> Result<(), B> {
        let vocab = self.loaded()?.config.vocab;
        match tokens.iter().find(|&&token| token as usize >= vocab) {
            Some(&token) => Err(DriverError::Token { token, vocab }),
            None => Ok(()),
        }
    }

    /// Read `n` words of a memory, lane by lane from `index` on.
    fn read_memory(&mut self, region: u32, index: u32, n: usize) -> Result<Vec<u32>, B> {
        let mut words = vec![0; n];
        let at = regs::mem_address(region, index, 0);
        self.core.read_memory(at, &mut words)?;
        Ok(words)
    }
}
