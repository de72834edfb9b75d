//! What a board does for its host, one request and one turn of the loop at a time.

use crate::board::{Board, Lights};
use crate::driver::{self, Driver, Halt, Prefill};
use crate::loader::{Failure, Golden, Loader, Model};
use crate::run::{Run, TokenBytes};
use crate::upload::{Sink, Upload};
use annulus_contract::link::{LinkError, Master, Wire};
use annulus_contract::regs::{self, status};
use annulus_contract::shape::CoreShape;
use annulus_contract::wire::{
    self, Answer, Digest, End, Fault, Hello, Meters, Object, Place, Reboot, Request,
    CORE_REGISTERS, MAX_CHUNK, MAX_TOKENS, MAX_WORDS,
};
use heapless::Vec;

/// Microseconds without a token after which a core is given up: far more than the slowest
/// token takes.
const PATIENCE: u64 = 10_000_000;
/// Tokens that are taken from the core in one turn.
const TURN: usize = 16;

/// What becomes of a request.
pub(crate) enum Reply<'a> {
    /// It is answered.
    Now(Answer<'a>),
    /// It has begun; [`Station::turn`] will have the answer.
    Later,
    /// It has not begun, because the core is not idle yet: ask again.
    NotYet,
}

/// What takes more than one turn.
enum Work {
    Idle,
    Halt {
        halt: Halt,
        then: Then,
    },
    Prompt {
        tokens: Vec<u16, MAX_TOKENS>,
        prefill: Prefill,
    },
    Run,
    SelfTest {
        golden: Golden,
        stage: Stage,
    },
}

/// What comes after a core has become idle.
#[derive(Clone, Copy, Debug)]
enum Then {
    /// Nobody waits for it.
    Nothing,
    Done,
    Reset,
    BeginImage,
    SelfTest,
}

/// How far a self-test is.
#[derive(Clone, Copy)]
enum Stage {
    Prompt(Prefill),
    Tokens(usize),
    Settle,
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
    /// What is being put to use from flash, without a host.
    starting: Option<Object>,
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
            starting: None,
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

    /// Puts to use what is in flash, turn by turn.
    pub fn start_stored(&mut self) {
        self.starting = Some(Object::Bitstream);
    }

    /// Says who is there, after ending what another host may have begun.
    pub fn hello(&mut self) -> Answer<'_> {
        self.starting = None;
        if !matches!(self.work, Work::Idle) {
            self.halt(Then::Nothing);
        }
        self.run = None;
        self.meet();
        let stored = |object| self.board.stored(object).map(|(digest, _)| digest);
        Answer::Hello(Hello {
            board: self.board.name(),
            part: self.board.part(),
            firmware: env!("CARGO_PKG_VERSION"),
            bitstream: self.bitstream,
            core: self.shape.map(|_| self.registers),
            image: self.image.as_ref().map(|(digest, _)| *digest),
            stored_bitstream: stored(Object::Bitstream),
            stored_image: stored(Object::Image),
            died: self.board.died(),
        })
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
            Work::Idle => {
                if let Some(object) = self.starting.take() {
                    match self.start_on(object) {
                        Ok(next) => self.starting = next,
                        Err(_) => self.failed = true,
                    }
                }
                None
            }
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
        self.show();
        answer
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

    // ---- uploads -------------------------------------------------------------

    fn begin(&mut self, object: Object, place: Place, digest: Digest) -> Result<Outcome, Fault> {
        if let Some(upload) = self.upload.as_ref().filter(|u| u.is(object, place, digest)) {
            return Ok(Outcome::Have(upload.have()));
        }
        self.upload = None;
        let mut outcome = Outcome::Have(0);
        let sink = match (place, object) {
            (Place::Live, Object::Bitstream) => {
                self.board.begin_configuration()?;
                self.forget();
                self.shape = Err(Fault::NotConfigured);
                self.bitstream = None;
                Sink::Fpga
            }
            (Place::Live, Object::Image) => {
                let shape = self.shape?;
                let held = |(held, _): &(Digest, Model)| *held == digest;
                if self.image.as_ref().is_some_and(held) {
                    outcome = Outcome::Have(digest.length);
                    Sink::Held
                } else {
                    self.image = None;
                    self.run = None;
                    self.halt(Then::BeginImage);
                    outcome = Outcome::Later;
                    Sink::Core(Loader::new(shape))
                }
            }
            (Place::Stored, _) => {
                if self.stored_soundly(object, digest) {
                    outcome = Outcome::Have(digest.length);
                    Sink::Held
                } else {
                    self.board.begin_storing(object, digest)?;
                    Sink::Flash
                }
            }
        };
        self.upload = Some(Upload::new(object, place, digest, sink));
        Ok(outcome)
    }

    fn chunk(&mut self, offset: u32, bytes: &[u8]) -> Result<Outcome, Fault> {
        if matches!(self.work, Work::Halt { .. }) {
            return Ok(Outcome::NotYet);
        }
        let mut upload = self.upload.take().ok_or(Fault::NoUpload)?;
        let next = offset == upload.have();
        if bytes.len() > MAX_CHUNK || next && bytes.len() as u32 > upload.missing() {
            self.upload = Some(upload);
            return Err(Fault::Request);
        }
        if next {
            // What fails here cannot be gone on with: the upload is dropped.
            self.sink(&mut upload.sink, bytes)?;
            upload.took(bytes);
        }
        let have = upload.have();
        self.upload = Some(upload);
        Ok(Outcome::Have(have))
    }

    /// Puts bytes of an upload where they belong.
    fn sink(&mut self, sink: &mut Sink, bytes: &[u8]) -> Result<(), Fault> {
        match sink {
            Sink::Fpga => self.board.configure(bytes),
            Sink::Flash => self.board.store(bytes),
            Sink::Core(loader) => {
                let start = self.board.micros();
                let fed = loader.feed(&mut self.core, bytes);
                self.meters.link_micros += self.board.micros().saturating_sub(start);
                fed.map_err(|failure| match failure {
                    Failure::Fault(fault) => fault,
                    Failure::Core(error) => fault(error),
                })
            }
            Sink::Held => Ok(()),
        }
    }

    fn finish(&mut self) -> Result<Outcome, Fault> {
        if matches!(self.work, Work::Halt { .. }) {
            return Ok(Outcome::NotYet);
        }
        let upload = self.upload.as_ref().ok_or(Fault::NoUpload)?;
        if upload.missing() > 0 {
            return Err(Fault::Incomplete);
        }
        let Some(upload) = self.upload.take() else {
            return Err(Fault::NoUpload);
        };
        if !upload.is_sound() {
            if matches!(upload.sink, Sink::Fpga) {
                self.board.begin_configuration()?;
            }
            return Err(Fault::Checksum);
        }
        match upload.sink {
            Sink::Fpga => {
                self.board.end_configuration()?;
                self.bitstream = Some(upload.digest);
                self.meet();
            }
            Sink::Core(loader) => {
                let model = loader.finish()?;
                self.image = Some((upload.digest, model));
                self.start_anew()?;
            }
            Sink::Flash => {
                self.board.end_storing()?;
                if !self.stored_soundly(upload.object, upload.digest) {
                    return Err(Fault::Storage);
                }
            }
            Sink::Held => {
                if upload.place == Place::Live {
                    self.halt(Then::Reset);
                    self.run = None;
                    self.start_greedy()?;
                    return Ok(Outcome::Later);
                }
            }
        }
        Ok(Outcome::Done)
    }

    /// An empty stream that is chosen from greedily and never stops.
    fn start_anew(&mut self) -> Result<(), Fault> {
        self.start_greedy()?;
        self.link(Driver::reset)
    }

    fn start_greedy(&mut self) -> Result<(), Fault> {
        self.link(|core| {
            core.set_sampler(None)?;
            core.set_special(None, None)
        })
    }

    /// Whether the flash holds this object, every bit of it.
    fn stored_soundly(&self, object: Object, digest: Digest) -> bool {
        let stored = self.board.stored(object);
        stored.is_some_and(|(stored, bytes)| stored == digest && Digest::of(bytes) == digest)
    }

    /// Goes on with an object from flash, as if a host were uploading it; gives what comes next.
    fn start_on(&mut self, object: Object) -> Result<Option<Object>, Fault> {
        let next = match object {
            Object::Bitstream => Some(Object::Image),
            Object::Image => None,
        };
        let Some((digest, _)) = self.board.stored(object) else {
            return Ok(next);
        };
        let Outcome::Have(have) = self.begin(object, Place::Live, digest)? else {
            return Ok(Some(object));
        };
        if have == digest.length {
            self.finish()?;
            if object == Object::Image {
                self.halt(Then::SelfTest);
            }
            return Ok(next);
        }
        let mut chunk: Vec<u8, MAX_CHUNK> = Vec::new();
        if let Some((_, bytes)) = self.board.stored(object) {
            let rest = bytes.get(have as usize..).unwrap_or_default();
            chunk.extend(rest.iter().copied().take(MAX_CHUNK));
        }
        if chunk.is_empty() {
            return Err(Fault::Storage);
        }
        self.chunk(have, &chunk)?;
        Ok(Some(object))
    }

    // ---- work ----------------------------------------------------------------

    fn begin_work(&mut self, work: Work) {
        self.work = work;
        self.alive = self.board.micros();
    }

    /// Lets the core come to rest; what was under way is given up.
    fn halt(&mut self, then: Then) {
        if let Some(run) = &mut self.run {
            run.finish(End::Stopped);
        }
        let halt = Halt::default();
        self.begin_work(Work::Halt { halt, then });
    }

    /// Goes on with everything but runs.
    fn work_on(&mut self, work: Work, now: u64) -> Result<Option<Answer<'static>>, Fault> {
        if now.saturating_sub(self.alive) > PATIENCE {
            return Err(Fault::Stuck);
        }
        match work {
            Work::Idle | Work::Run => {}
            Work::Halt { mut halt, then } => {
                if self.link(|core| halt.step(core))? {
                    return self.halted(then);
                }
                self.work = Work::Halt { halt, then };
            }
            Work::Prompt {
                tokens,
                mut prefill,
            } => {
                if self.prefill(&mut prefill, &tokens, now)? {
                    return Ok(Some(Answer::Done));
                }
                self.work = Work::Prompt { tokens, prefill };
            }
            Work::SelfTest { golden, stage } => match self.self_test(&golden, stage, now)? {
                Some(stage) => self.work = Work::SelfTest { golden, stage },
                None => return Ok(Some(Answer::Done)),
            },
        }
        Ok(None)
    }

    fn halted(&mut self, then: Then) -> Result<Option<Answer<'static>>, Fault> {
        match then {
            Then::Nothing => return Ok(None),
            Then::Done => {}
            Then::Reset => self.link(Driver::reset)?,
            Then::BeginImage => return Ok(Some(Answer::Have(0))),
            Then::SelfTest => {
                self.start_anew()?;
                self.link(Driver::clear_logits_crc)?;
                let golden = self.model()?.golden.clone();
                let stage = Stage::Prompt(Prefill::default());
                self.begin_work(Work::SelfTest { golden, stage });
                return Ok(None);
            }
        }
        Ok(Some(Answer::Done))
    }

    fn prefill(&mut self, prefill: &mut Prefill, tokens: &[u16], now: u64) -> Result<bool, Fault> {
        let before = prefill.progress();
        let tokens = tokens.iter().map(|&token| token.into());
        let done = self.link(|core| prefill.step(core, tokens))?;
        if prefill.progress() != before {
            self.alive = now;
        }
        Ok(done)
    }

    /// Goes on with a self-test; `None` when it has passed.
    fn self_test(
        &mut self,
        golden: &Golden,
        stage: Stage,
        now: u64,
    ) -> Result<Option<Stage>, Fault> {
        match stage {
            Stage::Prompt(mut prefill) => {
                let (&last, silent) = golden.prompt.split_last().ok_or(Fault::Image)?;
                if !self.prefill(&mut prefill, silent, now)? {
                    return Ok(Some(Stage::Prompt(prefill)));
                }
                let count = golden.tokens.len() as u32;
                self.link(|core| core.start(last.into(), count))?;
                self.alive = now;
                Ok(Some(Stage::Tokens(0)))
            }
            Stage::Tokens(index) => {
                let Some(&expected) = golden.tokens.get(index) else {
                    return Ok(Some(Stage::Settle));
                };
                let Some(found) = self.link(Driver::take)? else {
                    return Ok(Some(stage));
                };
                self.alive = now;
                if found != expected.into() {
                    self.halt(Then::Nothing);
                    return Err(Fault::SelfTestToken {
                        index: index as u16,
                        expected,
                        found: found as u16,
                    });
                }
                Ok(Some(Stage::Tokens(index + 1)))
            }
            Stage::Settle => {
                if self.link(Driver::status)? & status::BUSY != 0 {
                    return Ok(Some(stage));
                }
                let found = self.link(|core| core.read(regs::LOGITS_CRC))?;
                self.link(Driver::reset)?;
                let expected = golden.crc;
                if found == expected {
                    Ok(None)
                } else {
                    Err(Fault::SelfTestLogits { expected, found })
                }
            }
        }
    }

    /// Takes tokens from the core as long as there is room for them.
    fn run_on(&mut self, now: u64, passed: u64) {
        let Some(mut run) = self.run.take() else {
            return;
        };
        if !run.wants() {
            self.meters.held_micros += passed;
            self.alive = now;
        }
        for _ in 0..TURN {
            if !run.wants() {
                break;
            }
            match self.link(Driver::take) {
                Ok(Some(token)) => {
                    run.push(token);
                    self.meters.tokens += 1;
                    self.alive = now;
                }
                Ok(None) if now.saturating_sub(self.alive) > PATIENCE => {
                    run.finish(End::Fault(Fault::Stuck));
                }
                Ok(None) => break,
                Err(fault) => run.finish(End::Fault(fault)),
            }
        }
        if !run.ended() {
            self.work = Work::Run;
        }
        self.run = Some(run);
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
