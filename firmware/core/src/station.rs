//! What a board does for its host, one request and one turn of the loop at a time.

mod alone;
mod uploads;
mod work;

use crate::board::{Board, Lights};
use crate::driver::{self, Driver, Prefill};
use crate::loader::Model;
use crate::run::{Run, TokenBytes};
use crate::upload::Upload;
use alone::Alone;
use annulus_contract::link::{LinkError, Master, Wire};
use annulus_contract::regs::{self, status};
use annulus_contract::shape::CoreShape;
use annulus_contract::wire::{
    self, Answer, Digest, Fault, Hello, Meters, Object, Place, Reboot, Request, CORE_REGISTERS,
    MAX_TOKENS, MAX_WORDS,
};
use heapless::Vec;
use work::{Then, Work};

/// Microseconds without a token after which a core is given up: far more than the slowest
/// token takes.
const PATIENCE: u64 = 10_000_000;
/// Bytes of text that wait for the port.
const TEXT: usize = 256;

/// What becomes of a request.
pub(crate) enum Reply<'a> {
    /// It is answered.
    Now(Answer<'a>),
    /// It has begun; [`Station::turn`] will have the answer.
    Later,
    /// It has not begun, because the core is not idle yet: ask again.
    NotYet,
}

/// A board and the core on it.
pub(crate) struct Station<B, W> {
    board: B,
    core: Driver<Master<W>>,
    /// The core that answered when it was last asked, and what it said of itself.
    shape: Result<CoreShape, Fault>,
    registers: [u32; CORE_REGISTERS.len()],
    bitstream: Option<Digest>,
    image: Option<(Digest, Model)>,
    upload: Option<Upload>,
    run: Option<Run>,
    work: Work,
    /// How far it is without a host.
    alone: Alone,
    /// Why it is no further.
    stayed: Option<Fault>,
    /// What it writes without one, on its way to the port.
    text: Vec<u8, TEXT>,
    /// When the core was last seen to go on.
    alive: u64,
    /// Since when the core has been busy with nothing that it was asked for.
    restless: Option<u64>,
    /// When the last turn was.
    turned: u64,
    /// The last thing that was tried has failed.
    failed: bool,
    lights: Option<Lights>,
    pub meters: Meters,
    pub reboot: Option<Reboot>,
    /// The words or tokens of an answer.
    bytes: Vec<u8, { 4 * MAX_WORDS }>,
    tokens: TokenBytes,
}

impl<B: Board, W: Wire> Station<B, W> {
    pub fn new(board: B, wire: W) -> Self {
        Station {
            board,
            core: Driver::new(Master::idle(wire)),
            shape: Err(Fault::NotConfigured),
            registers: [0; CORE_REGISTERS.len()],
            bitstream: None,
            image: None,
            upload: None,
            run: None,
            work: Work::Idle,
            alone: Alone::Off,
            stayed: None,
            text: Vec::new(),
            alive: 0,
            restless: None,
            turned: 0,
            failed: false,
            lights: None,
            meters: Meters::default(),
            reboot: None,
            bytes: Vec::new(),
            tokens: Vec::new(),
        }
    }

    pub fn board(&mut self) -> &mut B {
        &mut self.board
    }

    /// Says who is there, after ending what another host may have begun; `None` while the FPGA is
    /// being configured from flash, which would be left half done.
    pub fn hello(&mut self) -> Option<Answer<'_>> {
        if matches!(self.alone, Alone::Load(Object::Bitstream)) {
            return None;
        }
        self.alone = Alone::Off;
        if !matches!(self.work, Work::Idle) {
            self.halt(Then::Nothing);
        }
        self.run = None;
        self.meet();
        let stored = |object| self.board.stored(object).map(|(digest, _)| digest);
        Some(Answer::Hello(Hello {
            board: self.board.name(),
            part: self.board.part(),
            firmware: env!("CARGO_PKG_VERSION"),
            bitstream: self.bitstream,
            core: self.shape.map(|_| self.registers),
            image: self.image.as_ref().map(|(digest, _)| *digest),
            stored_bitstream: stored(Object::Bitstream),
            stored_image: stored(Object::Image),
            stored_script: stored(Object::Script),
            stayed: self.stayed,
            died: self.board.died(),
        }))
    }

    /// Executes a request; one that was not [answered](Reply::Now) by the last one may be given up
    /// for this one.
    pub fn request(&mut self, request: &Request) -> Reply<'_> {
        let failed = &mut self.failed;
        if !matches!(request, Request::Credit { .. } | Request::Meters) {
            *failed = false;
        }
        match self.execute(request) {
            Ok(Outcome::Done) => Reply::Now(Answer::Done),
            Ok(Outcome::Have(bytes)) => Reply::Now(Answer::Have(bytes)),
            Ok(Outcome::Words) => Reply::Now(Answer::Words(&self.bytes)),
            Ok(Outcome::Meters) => Reply::Now(Answer::Meters(self.meters())),
            Ok(Outcome::Tokens) => match &mut self.run {
                Some(run) => Reply::Now(run.answer(&mut self.tokens)),
                None => Reply::Now(Answer::Fault(Fault::NoRun)),
            },
            Ok(Outcome::Later) => Reply::Later,
            Ok(Outcome::NotYet) => Reply::NotYet,
            Err(fault) => {
                self.failed = true;
                Reply::Now(Answer::Fault(fault))
            }
        }
    }

    fn execute(&mut self, request: &Request) -> Result<Outcome, Fault> {
        match *request {
            Request::Hello => Err(Fault::Request),
            Request::Begin {
                object,
                place,
                digest,
            } => self.begin(object, place, digest),
            Request::Chunk { offset, bytes } => self.chunk(offset, bytes),
            Request::Finish => self.finish(),
            Request::Erase(object) => {
                self.upload = None;
                self.stayed = None;
                self.board.forget(object)?;
                Ok(Outcome::Done)
            }
            Request::ReadRegisters { first, count } => self.idle(|station| {
                let first = u32::from(first);
                let registers = first..first + u32::from(count);
                if registers.end > 256 || registers.len() > MAX_WORDS {
                    return Err(Fault::Request);
                }
                station.bytes.clear();
                for register in registers {
                    let word = station.link(|core| core.read(register as u8))?;
                    station.word(word);
                }
                Ok(Outcome::Words)
            }),
            Request::WriteRegister { register, value } => self.idle(|station| {
                station.link(|core| core.write(register, value))?;
                Ok(Outcome::Done)
            }),
            Request::ReadMemory { address, count } => self.idle(|station| {
                let mut words = [0; MAX_WORDS];
                let words = words.get_mut(..count.into()).ok_or(Fault::Request)?;
                station.link(|core| core.read_memory(address, words))?;
                station.bytes.clear();
                words.iter().for_each(|&word| station.word(word));
                Ok(Outcome::Words)
            }),
            Request::WriteMemory { address, words } => self.idle(|station| {
                let mut list: Vec<u32, MAX_WORDS> = Vec::new();
                if words.len() % 4 != 0 || words.len() > 4 * MAX_WORDS {
                    return Err(Fault::Request);
                }
                list.extend(wire::words(words));
                station.link(|core| core.write_memory(address, &list))?;
                Ok(Outcome::Done)
            }),
            Request::Prompt { tokens } => self.idle(|station| {
                let mut list = Vec::new();
                if tokens.len() % 2 != 0 || tokens.len() > 2 * MAX_TOKENS {
                    return Err(Fault::Request);
                }
                list.extend(wire::tokens(tokens));
                station.check_tokens(&list)?;
                station.begin_work(Work::Prompt {
                    tokens: list,
                    prefill: Prefill::default(),
                });
                Ok(Outcome::Later)
            }),
            Request::Run { run, token, count } => self.idle(|station| {
                if count == 0 {
                    return Err(Fault::Request);
                }
                station.check_tokens(&[token])?;
                let stop = station.link(Driver::stop_token)?;
                station.link(|core| core.start(token.into(), count))?;
                station.run = Some(Run::new(run, count, stop));
                station.begin_work(Work::Run);
                Ok(Outcome::Done)
            }),
            Request::Credit { run, from, until } => match &mut self.run {
                Some(current) if current.id == run => {
                    current.credit(from, until);
                    Ok(Outcome::Tokens)
                }
                _ => Err(Fault::NoRun),
            },
            Request::Stop => {
                self.shape?;
                self.halt(Then::Done);
                Ok(Outcome::Later)
            }
            Request::Reset => {
                self.shape?;
                self.halt(Then::Reset);
                self.run = None;
                Ok(Outcome::Later)
            }
            Request::SelfTest => self.idle(|station| {
                station.model()?;
                station.halt(Then::SelfTest);
                Ok(Outcome::Later)
            }),
            Request::Meters => Ok(Outcome::Meters),
            Request::Reboot(how) => {
                self.reboot = Some(how);
                Ok(Outcome::Done)
            }
        }
    }

    /// One turn: goes on with what takes longer. Gives the answer of the request that began it
    /// when it is done.
    pub fn turn(&mut self) -> Option<Answer<'static>> {
        let now = self.board.micros();
        self.board.feed();
        let passed = now.saturating_sub(self.turned);
        self.turned = now;
        let answer = match core::mem::replace(&mut self.work, Work::Idle) {
            Work::Idle => None,
            Work::Run => {
                self.run_on(now, passed);
                None
            }
            work => match self.work_on(work, now) {
                Ok(outcome) => outcome,
                Err(fault) => {
                    self.failed = true;
                    Some(Answer::Fault(fault))
                }
            },
        };
        let answer = if self.alone.is_on() {
            self.alone_on(answer, now);
            None
        } else {
            answer
        };
        self.show();
        answer
    }

    /// Text for whoever reads the port without saying hello.
    pub fn take_text(&mut self) -> Vec<u8, TEXT> {
        core::mem::take(&mut self.text)
    }

    /// Tokens that the host has not been told yet.
    pub fn news(&mut self) -> Option<Answer<'_>> {
        let run = self.run.as_mut().filter(|run| run.has_news())?;
        Some(run.answer(&mut self.tokens))
    }

    // ---- the core ------------------------------------------------------------

    /// Asks the core who it is.
    fn meet(&mut self) {
        let configured = self.bitstream.is_some();
        let met = self.link(|core| {
            core.bus_mut().greet()?;
            let shape = core.greet()?;
            let mut registers = [0; CORE_REGISTERS.len()];
            for (value, register) in registers.iter_mut().zip(CORE_REGISTERS) {
                *value = core.read(register)?;
            }
            Ok((shape, registers))
        });
        self.shape = match met {
            Ok((shape, registers)) => {
                self.registers = registers;
                Ok(shape)
            }
            Err(Fault::NoCore) if !configured => Err(Fault::NotConfigured),
            Err(fault) => Err(fault),
        };
        if self.shape.is_err() {
            self.forget();
        }
    }

    /// Whatever the core held is gone.
    fn forget(&mut self) {
        self.image = None;
        self.run = None;
        self.work = Work::Idle;
        self.restless = None;
        let live = |upload: &Upload| upload.place == Place::Live;
        if self.upload.as_ref().is_some_and(live) {
            self.upload = None;
        }
    }

    /// Speaks with the core, and notes how long that took.
    fn link<T>(
        &mut self,
        speak: impl FnOnce(&mut Driver<Master<W>>) -> Result<T, driver::Error<LinkError<W::Error>>>,
    ) -> Result<T, Fault> {
        let start = self.board.micros();
        let result = speak(&mut self.core);
        self.meters.link_micros += self.board.micros().saturating_sub(start);
        result.map_err(fault)
    }

    /// Does something with an idle core.
    fn idle(
        &mut self,
        act: impl FnOnce(&mut Self) -> Result<Outcome, Fault>,
    ) -> Result<Outcome, Fault> {
        self.shape?;
        match self.work {
            Work::Halt { .. } => return Ok(Outcome::NotYet),
            Work::Idle => {}
            _ => return Err(Fault::Busy),
        }
        // The last token of a run is out a little before the core has come to rest.
        if self.link(|core| core.read(regs::STATUS))? & status::BUSY != 0 {
            let now = self.board.micros();
            let since = *self.restless.get_or_insert(now);
            return if now.saturating_sub(since) > PATIENCE {
                Err(Fault::Stuck)
            } else {
                Ok(Outcome::NotYet)
            };
        }
        self.restless = None;
        act(self)
    }

    fn model(&self) -> Result<&Model, Fault> {
        let (_, model) = self.image.as_ref().ok_or(Fault::NotLoaded)?;
        Ok(model)
    }

    fn check_tokens(&self, tokens: &[u16]) -> Result<(), Fault> {
        let vocab = self.model()?.vocab;
        match tokens.iter().find(|&&token| u32::from(token) >= vocab) {
            Some(&token) => Err(Fault::Token(token)),
            None => Ok(()),
        }
    }

    fn word(&mut self, word: u32) {
        // Callers ask for no more words than there is room for.
        let _ = self.bytes.extend_from_slice(&word.to_le_bytes());
    }

    // ---- what it tells -------------------------------------------------------

    fn meters(&mut self) -> Meters {
        self.meters.micros = self.board.micros();
        self.meters.link_repeated = self.core.bus_mut().repeated() as u32;
        self.meters
    }

    fn show(&mut self) {
        let held = self.run.as_ref().is_some_and(|run| !run.wants());
        let lights = match &self.work {
            Work::Run if held => Lights::Held,
            Work::Run | Work::Prompt { .. } | Work::SelfTest { .. } => Lights::Running,
            _ if self.alone.writes() => Lights::Running,
            _ if self.failed => Lights::Fault,
            _ if self.upload.is_some() => Lights::Loading,
            _ if self.shape.is_err() => Lights::NoCore,
            _ if self.image.is_none() => Lights::NoImage,
            _ => Lights::Ready,
        };
        if self.lights != Some(lights) {
            self.lights = Some(lights);
            self.board.show(lights);
        }
    }
}

/// What a request has come to.
enum Outcome {
    Done,
    Have(u32),
    Words,
    Tokens,
    Meters,
    Later,
    NotYet,
}

/// A driver's error as a code.
fn fault<E>(error: driver::Error<LinkError<E>>) -> Fault {
    match error {
        driver::Error::Bus(LinkError::Wire(_)) => Fault::Port,
        driver::Error::Bus(LinkError::NoAnswer) => Fault::NoCore,
        driver::Error::NotACore(identity) => Fault::Stranger(identity),
        driver::Error::Core(bits) => Fault::Core(bits),
    }
}
