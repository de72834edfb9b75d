//! How a core is driven over its registers: what has to be written and read, in which order.
//!
//! Nothing here waits. Whatever takes a while is a small machine with a `step` that is called
//! until it has an answer: firmware calls it once a turn of its loop, a host in a
//! loop of its own.

mod bus;

pub use bus::RegisterBus;

use annulus_contract::regs::{self, control, feature, status};
use annulus_contract::sample::Key;
use annulus_contract::shape::CoreShape;
use annulus_contract::step::Kind;

/// A special token's register says that there is one.
const PRESENT: u32 = 1 << 31;
/// A token's logits are not wanted.
const SILENT: u32 = 1 << 31;

/// The registers that hold where a stream is; with the rings, the key scales and the phases they
/// are all of it.
pub const STREAM: [u8; 6] = [
    regs::POSITION,
    regs::POSITION_HIGH,
    regs::RING_STATE,
    regs::KEY_AT,
    regs::VALUE_AT,
    regs::SAMPLES,
];

/// Why a core cannot be driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error<E> {
    /// The link failed.
    Bus(E),
    /// Something else answers, with this identity.
    NotACore(u32),
    /// The core reports errors: bits of [`annulus_contract::error`].
    Core(u32),
}

impl<E> From<E> for Error<E> {
    fn from(error: E) -> Self {
        Error::Bus(error)
    }
}

/// What a driver's methods give.
pub type Result<T, B> = core::result::Result<T, Error<<B as RegisterBus>::Error>>;

/// What a core has counted since its counters were cleared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Cycles with a token in the core.
    pub cycles: u64,
    /// Cycles in which the array took a word.
    pub busy: u64,
    /// Tokens done.
    pub tokens: u32,
    /// Cycles by [`Kind::ALL`]; `None` where the core does not count them.
    pub by_kind: Option<[u32; Kind::ALL.len()]>,
}

/// A core on a bus.
#[derive(Debug)]
pub struct Driver<B> {
    bus: B,
}

impl<B: RegisterBus> Driver<B> {
    /// Whatever is on the bus; [`Driver::greet`] tells what it is.
    pub const fn new(bus: B) -> Self {
        Driver { bus }
    }

    /// The bus.
    pub fn bus_mut(&mut self) -> &mut B {
        &mut self.bus
    }

    /// What kind of core there is.
    ///
    /// # Errors
    /// [`Error::NotACore`] if something else answers.
    pub fn greet(&mut self) -> Result<CoreShape, B> {
        let found = self.bus.read(regs::ID)?;
        if found != regs::ID_VALUE {
            return Err(Error::NotACore(found));
        }
        Ok(CoreShape::read(|register| self.bus.read(register))?)
    }

    /// Reads a register.
    ///
    /// # Errors
    /// If the link fails, as for all that follow.
    pub fn read(&mut self, register: u8) -> Result<u32, B> {
        Ok(self.bus.read(register)?)
    }

    /// Writes a register.
    ///
    /// # Errors
    /// If the link fails.
    pub fn write(&mut self, register: u8, value: u32) -> Result<(), B> {
        Ok(self.bus.write(register, value)?)
    }

    /// Reads the memories of an idle core from `address` on ([`regs::mem_address`]).
    ///
    /// # Errors
    /// If the link fails.
    pub fn read_memory(&mut self, address: u32, words: &mut [u32]) -> Result<(), B> {
        self.bus.write(regs::MEM_ADDRESS, address)?;
        Ok(self.bus.read_block(regs::MEM_DATA, words)?)
    }

    /// Writes the memories of an idle core from `address` on.
    ///
    /// # Errors
    /// If the link fails.
    pub fn write_memory(&mut self, address: u32, words: &[u32]) -> Result<(), B> {
        self.bus.write(regs::MEM_ADDRESS, address)?;
        Ok(self.bus.write_block(regs::MEM_DATA, words)?)
    }

    /// [`status`] bits.
    ///
    /// # Errors
    /// [`Error::Core`] if the core reports an error.
    pub fn status(&mut self) -> Result<u32, B> {
        let status = self.bus.read(regs::STATUS)?;
        if status & status::ERROR != 0 {
            return Err(Error::Core(self.bus.read(regs::ERROR)?));
        }
        Ok(status)
    }

    /// Empties the stream of an idle core, and its errors.
    ///
    /// # Errors
    /// If the link fails.
    pub fn reset(&mut self) -> Result<(), B> {
        self.write(regs::CONTROL, control::RESET)
    }

    /// Sets the counters to 0.
    ///
    /// # Errors
    /// If the link fails.
    pub fn clear_counters(&mut self) -> Result<(), B> {
        self.write(regs::CONTROL, control::CLEAR_COUNTERS)
    }

    /// Starts the CRC of the logits anew.
    ///
    /// # Errors
    /// If the link fails.
    pub fn clear_logits_crc(&mut self) -> Result<(), B> {
        self.write(regs::CONTROL, control::CLEAR_CRC)
    }

    /// Chooses at an inverse temperature (`IT`; 0 for greedily) with a key.
    ///
    /// # Errors
    /// If the link fails.
    pub fn set_sampler(&mut self, it: u16, key: Key) -> Result<(), B> {
        self.write(regs::TEMPERATURE, it.into())?;
        self.write(regs::KEY0, key.k0)?;
        self.write(regs::KEY1, key.k1)
    }

    /// The tokens that end a run, and that restart position and ring, when they are chosen.
    ///
    /// # Errors
    /// If the link fails.
    pub fn set_special(&mut self, stop: Option<u32>, restart: Option<u32>) -> Result<(), B> {
        let register = |token: Option<u32>| token.map_or(0, |token| token | PRESENT);
        self.write(regs::STOP, register(stop))?;
        self.write(regs::RESTART, register(restart))
    }

    /// The token that ends a run.
    ///
    /// # Errors
    /// If the link fails.
    pub fn stop_token(&mut self) -> Result<Option<u32>, B> {
        let register = self.read(regs::STOP)?;
        Ok((register & PRESENT != 0).then_some(register & 0xffff))
    }

    /// Queues a token, if there is room.
    ///
    /// # Errors
    /// If the core reports an error.
    pub fn queue(&mut self, token: u32, logits_wanted: bool) -> Result<bool, B> {
        if self.status()? & status::INPUT_FULL != 0 {
            return Ok(false);
        }
        let silent = if logits_wanted { 0 } else { SILENT };
        self.write(regs::TOKEN_IN, token | silent)?;
        Ok(true)
    }

    /// Begins a run on an idle core: processes `token`, then the core's own choices, `count`
    /// choices in all, at least one. [`Driver::take`] gives them.
    ///
    /// # Errors
    /// If the core reports an error.
    pub fn start(&mut self, token: u32, count: u32) -> Result<(), B> {
        // A budget that is left from a run that was stopped must not feed this one, and the new
        // one comes last: before the first token is taken it would feed back what was chosen
        // for another run.
        self.write(regs::BUDGET, 0)?;
        self.status()?;
        self.write(regs::TOKEN_IN, token)?;
        self.write(regs::BUDGET, count.saturating_sub(1))
    }

    /// Takes a chosen token, if there is one. A core that has reported an error gives none: what
    /// it chooses then is not to be trusted.
    ///
    /// # Errors
    /// If the core reports an error.
    pub fn take(&mut self) -> Result<Option<u32>, B> {
        if self.status()? & status::OUTPUT == 0 {
            return Ok(None);
        }
        Ok(Some(self.read(regs::TOKEN_OUT)? & 0xffff))
    }

    /// The core's counters.
    ///
    /// # Errors
    /// If the link fails.
    pub fn counters(&mut self) -> Result<Counters, B> {
        let mut counts = [0; 5];
        self.bus.read_range(regs::CYCLES, &mut counts)?;
        let [cycles, cycles_high, busy, busy_high, tokens] = counts;
        let wide = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        let features = self.read(regs::SHAPE)? >> 8;
        let by_kind = if features & feature::KIND_COUNTERS != 0 {
            let mut by_kind = [0; Kind::ALL.len()];
            self.bus.read_range(regs::KIND_CYCLES, &mut by_kind)?;
            Some(by_kind)
        } else {
            None
        };
        Ok(Counters {
            cycles: wide(cycles, cycles_high),
            busy: wide(busy, busy_high),
            tokens,
            by_kind,
        })
    }
}

/// Lets no more tokens in, waits for the one under way, and drops what was chosen.
#[derive(Clone, Copy, Debug, Default)]
pub struct Halt {
    calm: u8,
    begun: bool,
}

impl Halt {
    /// Goes on; whether the core is idle and its queues are empty.
    ///
    /// # Errors
    /// If the link fails. The core's own errors do not matter here.
    pub fn step<B: RegisterBus>(&mut self, core: &mut Driver<B>) -> Result<bool, B> {
        if !self.begun {
            core.write(regs::BUDGET, 0)?;
            self.begun = true;
        }
        let status = core.read(regs::STATUS)?;
        if status & status::OUTPUT != 0 {
            core.read(regs::TOKEN_OUT)?;
        }
        // Between two queued tokens a core may look idle once.
        self.calm = if status & (status::BUSY | status::OUTPUT) == 0 {
            self.calm + 1
        } else {
            0
        };
        Ok(self.calm == 2)
    }
}

/// Processes tokens whose logits nobody wants, on an idle core.
#[derive(Clone, Copy, Debug, Default)]
pub struct Prefill {
    queued: usize,
    left: u32,
    /// What [`regs::TOKENS`] will read when all are done.
    done: Option<u32>,
}

impl Prefill {
    /// Goes on; whether all tokens are done. The tokens must be the same at each call.
    ///
    /// # Errors
    /// If the core reports an error.
    pub fn step<B: RegisterBus>(
        &mut self,
        core: &mut Driver<B>,
        tokens: impl ExactSizeIterator<Item = u32>,
    ) -> Result<bool, B> {
        let all = tokens.len();
        let done = match self.done {
            Some(done) => done,
            None => core.read(regs::TOKENS)?.wrapping_add(all as u32),
        };
        self.done = Some(done);
        for token in tokens.skip(self.queued) {
            if !core.queue(token, false)? {
                return Ok(false);
            }
            self.queued += 1;
        }
        core.status()?;
        self.left = done.wrapping_sub(core.read(regs::TOKENS)?);
        Ok(self.left == 0)
    }

    /// Something that changes as long as the core goes on.
    pub fn progress(&self) -> (usize, u32) {
        (self.queued, self.left)
    }
}
