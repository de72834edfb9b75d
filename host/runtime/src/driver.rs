//! The driver of a core behind its registers: the simulated core, a board's, or
//! any other that answers to `annulus_contract::regs`.

mod bus;
mod state;

pub use bus::RegisterBus;
pub use state::{Counters, Snapshot};

use annulus_contract::error;
use annulus_contract::regs::{self, control, region, status};
use annulus_contract::sample::{Gumbel, Key};
use annulus_contract::shape::CoreShape;
use annulus_contract::step::Kind;
use annulus_model::compile::CompileError;
use annulus_model::image::Image;
use std::ops::ControlFlow;

/// Times that a core is polled without an answer before it is given up.
const MAX_POLLS: u32 = 50_000_000;
/// A special token's register says that there is one.
const PRESENT: u32 = 1 << 31;
/// A token's logits are not wanted.
const SILENT: u32 = 1 << 31;

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
    #[error("the core reports: {}", meaning(*bits))]
    Core {
        /// Bits of [`error`].
        bits: u32,
    },
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

/// What the core's sticky error bits mean.
fn meaning(bits: u32) -> String {
    let known = error::MEANINGS.iter().filter(|(bit, _)| bits & bit != 0);
    let sentences: Vec<&str> = known.map(|(_, sentence)| *sentence).collect();
    if sentences.is_empty() {
        format!("an unknown error ({bits:#x})")
    } else {
        sentences.join("; ")
    }
}

type Result<T, B> = std::result::Result<T, DriverError<<B as RegisterBus>::Error>>;

/// A core, and the image that it runs.
#[derive(Debug)]
pub struct CoreDriver<B: RegisterBus> {
    bus: B,
    shape: CoreShape,
    image: Option<Image>,
}

impl<B: RegisterBus> CoreDriver<B> {
    /// Greet the core and read what it is.
    ///
    /// # Errors
    /// If no core answers.
    pub fn new(mut bus: B) -> Result<Self, B> {
        let found = bus.read(regs::ID).map_err(DriverError::Bus)?;
        if found != regs::ID_VALUE {
            return Err(DriverError::NotACore { found });
        }
        let shape = CoreShape::read(|register| bus.read(register)).map_err(DriverError::Bus)?;
        Ok(CoreDriver {
            bus,
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
        &mut self.bus
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
            self.write_memory(region, 0, &words)?;
        }
        for (register, value) in image.registers() {
            self.write(register, value)?;
        }
        self.image = Some(image.clone());
        self.set_sampler(None)?;
        self.set_special(None, None)?;
        self.reset()
    }

    /// Empty the stream: position 0, nothing in the ring or in the queues, the
    /// sampler's count at 0.
    ///
    /// # Errors
    /// If the link fails.
    pub fn reset(&mut self) -> Result<(), B> {
        self.halt()?;
        self.write(regs::CONTROL, control::RESET)
    }

    /// Empty the stream and let the next token stand at `position`.
    ///
    /// # Errors
    /// With sinks, if `position` is not 0.
    pub fn start_at(&mut self, position: u64) -> Result<(), B> {
        let image = self.image.as_ref().ok_or(DriverError::NotLoaded)?;
        if image.sinks() > 0 && position != 0 {
            return Err(DriverError::Start(position));
        }
        let phase = |increment: &u32| increment.wrapping_mul(position as u32);
        let phases: Vec<u32> = image.increments.iter().map(phase).collect();
        self.reset()?;
        self.write(regs::POSITION, position as u32)?;
        self.write(regs::POSITION_HIGH, (position >> 32) as u32)?;
        self.write_memory(region::PHASE, 0, &phases)
    }

    /// Choose greedily (`None`), or at an inverse temperature with a key.
    ///
    /// # Errors
    /// If the link fails.
    pub fn set_sampler(&mut self, sampler: Option<Gumbel>) -> Result<(), B> {
        let Gumbel { it, key, .. } = sampler.unwrap_or(Gumbel {
            it: 0,
            key: Key::default(),
            logit_bits: 0,
        });
        self.write(regs::TEMPERATURE, it.into())?;
        self.write(regs::KEY0, key.k0)?;
        self.write(regs::KEY1, key.k1)
    }

    /// The tokens that end a run, and that restart position and ring, when chosen.
    ///
    /// # Errors
    /// If the link fails.
    pub fn set_special(&mut self, stop: Option<u32>, restart: Option<u32>) -> Result<(), B> {
        let register = |token: Option<u32>| token.map_or(0, |token| token | PRESENT);
        self.write(regs::STOP, register(stop))?;
        self.write(regs::RESTART, register(restart))
    }

    /// Process tokens whose logits nobody wants.
    ///
    /// # Errors
    /// If a token does not exist or the core fails.
    pub fn prefill(&mut self, tokens: &[u32]) -> Result<(), B> {
        self.check_tokens(tokens)?;
        let done = self.read(regs::TOKENS)?.wrapping_add(tokens.len() as u32);
        for &token in tokens {
            self.queue(token | SILENT)?;
        }
        self.poll(|driver, _| Ok((driver.read(regs::TOKENS)? == done).then_some(())))
    }

    /// Process one token and choose its successor; [`CoreDriver::logits`] tells why.
    ///
    /// # Errors
    /// If the token does not exist or the core fails.
    pub fn step(&mut self, token: u32) -> Result<u32, B> {
        self.check_tokens(&[token])?;
        self.queue(token)?;
        self.next_choice()
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
        let stop = self.read(regs::STOP)?;
        for &token in prompt {
            self.queue(token | SILENT)?;
        }
        let mut token = last;
        let mut done = 0;
        while done < n {
            // The budget comes last: before the first token is taken it would feed
            // back what was chosen for another run.
            self.queue(token)?;
            let run = u32::try_from(n - done)
                .map_or(run, |left| left.min(run))
                .max(1);
            self.write(regs::BUDGET, run - 1)?;
            for _ in 0..run {
                token = self.next_choice()?;
                done += 1;
                let flow = on_token(token);
                if token | PRESENT == stop {
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
        let vocab = self
            .image
            .as_ref()
            .ok_or(DriverError::NotLoaded)?
            .config
            .vocab;
        let words = self.read_memory(region::LOGITS, 0, vocab)?;
        Ok(words.into_iter().map(|word| word as i32).collect())
    }

    /// The residual of the last token, while the core is idle.
    ///
    /// # Errors
    /// If nothing is loaded or the link fails.
    pub fn residual(&mut self) -> Result<Vec<i16>, B> {
        let dim = self
            .image
            .as_ref()
            .ok_or(DriverError::NotLoaded)?
            .config
            .dim;
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
        self.read(regs::LOGITS_CRC)
    }

    /// Start the CRC of logits anew.
    ///
    /// # Errors
    /// If the link fails.
    pub fn clear_logits_crc(&mut self) -> Result<(), B> {
        self.write(regs::CONTROL, control::CLEAR_CRC)
    }

    /// The core's counters.
    ///
    /// # Errors
    /// If the link fails.
    pub fn counters(&mut self) -> Result<Counters, B> {
        let wide = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        let cycles = wide(self.read(regs::CYCLES)?, self.read(regs::CYCLES_HIGH)?);
        let busy = wide(self.read(regs::BUSY)?, self.read(regs::BUSY_HIGH)?);
        let tokens = self.read(regs::TOKENS)?;
        let mut by_kind = Vec::new();
        if self.shape.has(regs::feature::KIND_COUNTERS) {
            for kind in Kind::ALL {
                by_kind.push((kind, self.read(regs::KIND_CYCLES + kind as u8)?));
            }
        }
        Ok(Counters {
            cycles,
            busy,
            tokens,
            by_kind,
        })
    }

    /// Set the counters to 0.
    ///
    /// # Errors
    /// If the link fails.
    pub fn clear_counters(&mut self) -> Result<(), B> {
        self.write(regs::CONTROL, control::CLEAR_COUNTERS)
    }

    /// Run the image's self-test on an empty stream and leave one behind.
    ///
    /// # Errors
    /// [`DriverError::SelfTest`] if tokens or logits differ from the image's.
    pub fn self_test(&mut self) -> Result<(), B> {
        let golden = self
            .image
            .as_ref()
            .ok_or(DriverError::NotLoaded)?
            .golden
            .clone();
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
        self.write(regs::BUDGET, 0)?;
        let mut calm = 0;
        for _ in 0..MAX_POLLS {
            let status = self.read(regs::STATUS)?;
            if status & status::OUTPUT != 0 {
                self.read(regs::TOKEN_OUT)?;
            }
            // Between two queued tokens a core may look idle once.
            calm = if status & (status::BUSY | status::OUTPUT) == 0 {
                calm + 1
            } else {
                0
            };
            if calm == 2 {
                return Ok(());
            }
            self.bus.run().map_err(DriverError::Bus)?;
        }
        Err(DriverError::Stuck)
    }

    /// Put a token into the input queue, once there is room.
    fn queue(&mut self, token: u32) -> Result<(), B> {
        self.poll(|_, status| Ok((status & status::INPUT_FULL == 0).then_some(())))?;
        self.write(regs::TOKEN_IN, token)
    }

    /// Wait for a chosen token.
    fn next_choice(&mut self) -> Result<u32, B> {
        self.poll(|driver, status| {
            if status & status::OUTPUT == 0 {
                return Ok(None);
            }
            Ok(Some(driver.read(regs::TOKEN_OUT)? & 0xffff))
        })
    }

    /// Let the core go on until `ready` has an answer; it sees the status.
    fn poll<T>(
        &mut self,
        mut ready: impl FnMut(&mut Self, u32) -> Result<Option<T>, B>,
    ) -> Result<T, B> {
        for _ in 0..MAX_POLLS {
            let status = self.read(regs::STATUS)?;
            if status & status::ERROR != 0 {
                return Err(DriverError::Core {
                    bits: self.read(regs::ERROR)?,
                });
            }
            if let Some(answer) = ready(self, status)? {
                return Ok(answer);
            }
            self.bus.run().map_err(DriverError::Bus)?;
        }
        Err(DriverError::Stuck)
    }

    fn check_tokens(&self, tokens: &[u32]) -> Result<(), B> {
        let vocab = self
            .image
            .as_ref()
            .ok_or(DriverError::NotLoaded)?
            .config
            .vocab;
        match tokens.iter().find(|&&token| token as usize >= vocab) {
            Some(&token) => Err(DriverError::Token { token, vocab }),
            None => Ok(()),
        }
    }

    fn read(&mut self, register: u8) -> Result<u32, B> {
        self.bus.read(register).map_err(DriverError::Bus)
    }

    fn write(&mut self, register: u8, value: u32) -> Result<(), B> {
        self.bus.write(register, value).map_err(DriverError::Bus)
    }

    /// Write words to a memory, lane by lane from `index` on.
    fn write_memory(&mut self, region: u32, index: u32, words: &[u32]) -> Result<(), B> {
        self.write(regs::MEM_ADDRESS, regs::mem_address(region, index, 0))?;
        self.bus
            .write_block(regs::MEM_DATA, words)
            .map_err(DriverError::Bus)
    }

    /// Read `n` words of a memory, lane by lane from `index` on.
    fn read_memory(&mut self, region: u32, index: u32, n: usize) -> Result<Vec<u32>, B> {
        let mut words = vec![0; n];
        self.write(regs::MEM_ADDRESS, regs::mem_address(region, index, 0))?;
        self.bus
            .read_block(regs::MEM_DATA, &mut words)
            .map_err(DriverError::Bus)?;
        Ok(words)
    }
}
