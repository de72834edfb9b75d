//! A board without a host: it puts to use what its flash holds, and writes.

use super::work::{Then, Work};
use super::{Outcome, Station};
use crate::board::Board;
use crate::driver::Prefill;
use crate::run::Run;
use annulus_contract::link::Wire;
use annulus_contract::script::{Script, MAX_PROMPT, MAX_SPELLING};
use annulus_contract::wire::{tokens, Answer, Digest, End, Fault, Object, Place, MAX_CHUNK};
use core::fmt::Write;
use heapless::{String, Vec};

/// Microseconds that a letter is given to be read.
const READING: u64 = 40_000;
/// Tokens that the core chooses at once. They are shown one by one, when all are there: so their
/// rate is the core's and the link's, and not the reader's.
const BURST: u32 = 32;
/// The name of the run that they are.
const RUN: u32 = 0;

/// How far a board without a host is.
pub(super) enum Alone {
    /// There is a host, or nothing that can be done without one.
    Off,
    /// This is put to use next.
    Load(Object),
    /// The image's self-test is under way.
    Test,
    /// The text of this number begins.
    Begin(u32),
    /// Its prompt is being processed; the last token of it.
    Prompt { text: u32, last: u16 },
    /// The core chooses, or what it has chosen is shown.
    Write(Writing),
}

/// How far a text is.
pub(super) struct Writing {
    text: u32,
    /// The token that was shown last.
    previous: u16,
    /// When the core began to choose those that come next; `None` once they are there.
    begun: Option<u64>,
    /// Tokens a second.
    rate: u32,
    /// When the next one is to be shown.
    due: u64,
}

impl Alone {
    pub fn is_on(&self) -> bool {
        !matches!(self, Alone::Off)
    }

    pub fn writes(&self) -> bool {
        matches!(self, Alone::Write(_))
    }
}

/// A script that has been checked to be for this image. It is read anew each time, because it lies
/// in flash, which belongs to the board.
fn script<B: Board>(board: &B) -> Result<Script<'_>, Fault> {
    let stored = board.stored(Object::Script);
    let script = stored.and_then(|(_, bytes)| Script::decode(bytes));
    script.ok_or(Fault::Damaged(Object::Script))
}

impl<B: Board, W: Wire> Station<B, W> {
    /// Begins a life without a host.
    pub fn start_stored(&mut self) {
        self.alone = Alone::Load(Object::Bitstream);
    }

    /// Goes on; `answer` is that of the work that was under way, if it has ended.
    pub(super) fn alone_on(&mut self, answer: Option<Answer>, now: u64) {
        let alone = core::mem::replace(&mut self.alone, Alone::Off);
        let next = match answer {
            Some(Answer::Fault(fault)) => Err(fault),
            _ => self.next_alone(alone, now),
        };
        match next {
            Ok(next) => self.alone = next,
            Err(fault) => {
                self.failed = true;
                self.stayed = Some(fault);
                let mut sentence: String<256> = String::new();
                // There is room for every sentence.
                let _ = writeln!(sentence, "annulus: {fault}");
                self.say(sentence.as_bytes(), 0);
            }
        }
    }

    fn next_alone(&mut self, alone: Alone, now: u64) -> Result<Alone, Fault> {
        match alone {
            Alone::Write(writing) => self.write_on(writing, now),
            // The work that was begun has not ended.
            waiting if !matches!(self.work, Work::Idle) => Ok(waiting),
            Alone::Load(object) => self.load(object),
            Alone::Test => self.begin_script(),
            Alone::Begin(text) => self.begin_text(text),
            Alone::Prompt { text, last } => {
                let writing = Writing {
                    text,
                    previous: last,
                    begun: None,
                    rate: 0,
                    due: now,
                };
                self.choose(writing, now)
            }
            Alone::Off => Ok(Alone::Off),
        }
    }

    /// Goes on with an object from flash, as if a host were uploading it.
    fn load(&mut self, object: Object) -> Result<Alone, Fault> {
        let Some((digest, _)) = self.board.stored(object) else {
            if object == Object::Bitstream {
                // The FPGA may have its configuration from elsewhere.
                self.meet();
                return Ok(Alone::Load(Object::Image));
            }
            return Ok(Alone::Off);
        };
        let begun = |upload: &crate::upload::Upload| upload.is(object, Place::Live, digest);
        if !self.upload.as_ref().is_some_and(begun) && !self.stored_soundly(object, digest) {
            return Err(Fault::Damaged(object));
        }
        let Outcome::Have(have) = self.begin(object, Place::Live, digest)? else {
            return Ok(Alone::Load(object));
        };
        if have == digest.length {
            self.finish()?;
            if object == Object::Bitstream {
                return Ok(Alone::Load(Object::Image));
            }
            self.halt(Then::SelfTest);
            return Ok(Alone::Test);
        }
        let mut chunk: Vec<u8, MAX_CHUNK> = Vec::new();
        if let Some((_, bytes)) = self.board.stored(object) {
            let rest = bytes.get(have as usize..).unwrap_or_default();
            chunk.extend(rest.iter().copied().take(MAX_CHUNK));
        }
        self.chunk(have, &chunk)?;
        Ok(Alone::Load(object))
    }

    /// The core has passed its self-test.
    fn begin_script(&mut self) -> Result<Alone, Fault> {
        let Some((digest, bytes)) = self.board.stored(Object::Script) else {
            return Ok(Alone::Off);
        };
        let image = self.image.as_ref().map(|(digest, _)| *digest);
        if Digest::of(bytes) != digest || Some(script(&self.board)?.image) != image {
            return Err(Fault::Damaged(Object::Script));
        }
        Ok(Alone::Begin(0))
    }

    /// Begins a text on an empty stream.
    fn begin_text(&mut self, text: u32) -> Result<Alone, Fault> {
        let mut prompt: Vec<u16, MAX_PROMPT> = Vec::new();
        prompt.extend(tokens(script(&self.board)?.prompt));
        let Some(last) = prompt.pop() else {
            return Err(Fault::Damaged(Object::Script));
        };
        let begun = self.idle(|station| {
            station.check_tokens(&prompt)?;
            station.check_tokens(&[last])?;
            let Script {
                it, stop, restart, ..
            } = script(&station.board)?;
            let key = script(&station.board)?.key(text);
            station.link(|core| {
                core.set_sampler(it, key)?;
                core.set_special(stop.map(u32::from), restart.map(u32::from))?;
                core.reset()
            })?;
            if !prompt.is_empty() {
                station.begin_work(Work::Prompt {
                    tokens: prompt.clone(),
                    prefill: Prefill::default(),
                });
            }
            Ok(Outcome::Done)
        })?;
        if matches!(begun, Outcome::NotYet) {
            return Ok(Alone::Begin(text));
        }
        // The token that starts a stream is not text.
        let mut previous = None;
        for &token in prompt.iter().chain([&last]) {
            if let Some(previous) = previous {
                self.spell(previous, token, 0)?;
            }
            previous = Some(token);
        }
        Ok(Alone::Prompt { text, last })
    }

    /// Lets the core choose.
    fn choose(&mut self, writing: Writing, now: u64) -> Result<Alone, Fault> {
        let token = writing.previous;
        let begun = self.idle(|station| {
            let stop = script(&station.board)?.stop;
            station.link(|core| core.start(token.into(), BURST))?;
            let mut run = Run::new(RUN, BURST, stop.map(u32::from));
            run.credit(0, BURST);
            station.run = Some(run);
            station.begin_work(Work::Run);
            Ok(Outcome::Done)
        })?;
        Ok(Alone::Write(Writing {
            begun: match begun {
                Outcome::NotYet => None,
                _ => Some(now),
            },
            ..writing
        }))
    }

    /// Shows what the core has chosen, one token after the other, and lets it choose more.
    fn write_on(&mut self, mut writing: Writing, now: u64) -> Result<Alone, Fault> {
        if matches!(self.work, Work::Run) {
            return Ok(Alone::Write(writing));
        }
        let run = self.run.as_mut().ok_or(Fault::NoRun)?;
        if let Some(begun) = writing.begun.take() {
            let micros = now.saturating_sub(begun).max(1);
            let rate = u64::from(run.waiting()) * 1_000_000 / micros;
            writing.rate = u32::try_from(rate).unwrap_or(u32::MAX);
        }
        if now < writing.due {
            return Ok(Alone::Write(writing));
        }
        let stop = script(&self.board)?.stop;
        match (run.shift(), run.end()) {
            (Some(token), _) => {
                if Some(token) != stop {
                    let letters = self.spell(writing.previous, token, writing.rate)?;
                    writing.due = now + letters * READING;
                }
                writing.previous = token;
                Ok(Alone::Write(writing))
            }
            (None, Some(End::Stop)) => {
                self.say(b"\n", writing.rate);
                Ok(Alone::Begin(writing.text.wrapping_add(1)))
            }
            (None, Some(End::Fault(fault))) => Err(fault),
            (None, _) => self.choose(writing, now),
        }
    }

    /// Shows a token, and returns how many letters it has.
    fn spell(&mut self, previous: u16, token: u16, rate: u32) -> Result<u64, Fault> {
        let mut spelling: Vec<u8, MAX_SPELLING> = Vec::new();
        let letters = script(&self.board)?.spelling(previous, token).iter();
        spelling.extend(letters.copied().take(MAX_SPELLING));
        self.say(&spelling, rate);
        Ok(spelling.len() as u64)
    }

    /// Shows text to whoever is there. If nobody reads the port, it is lost there.
    fn say(&mut self, text: &[u8], rate: u32) {
        self.board.write(text, rate);
        let _ = self.text.extend_from_slice(text);
    }
}
