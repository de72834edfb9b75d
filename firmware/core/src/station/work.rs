//! What takes more than one turn of the loop: coming to rest, prompts, runs, the self-test.

use super::{Station, PATIENCE};
use crate::board::Board;
use crate::driver::{Driver, Halt, Prefill};
use crate::loader::Golden;
use annulus_contract::link::Wire;
use annulus_contract::regs::{self, status};
use annulus_contract::wire::{Answer, End, Fault, MAX_TOKENS};
use heapless::Vec;

/// Tokens that are taken from the core in one turn.
const TURN: usize = 16;

/// What takes more than one turn.
pub(super) enum Work {
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
pub(super) enum Then {
    /// Nobody waits for it.
    Nothing,
    Done,
    Reset,
    BeginImage,
    SelfTest,
}

/// How far a self-test is.
#[derive(Clone, Copy)]
pub(super) enum Stage {
    Prompt(Prefill),
    Tokens(usize),
    Settle,
}

impl<B: Board, W: Wire> Station<B, W> {
    pub(super) fn begin_work(&mut self, work: Work) {
        self.work = work;
        self.alive = self.board.micros();
    }

    /// Lets the core come to rest; what was under way is given up.
    pub(super) fn halt(&mut self, then: Then) {
        if let Some(run) = &mut self.run {
            run.finish(End::Stopped);
        }
        let halt = Halt::default();
        self.begin_work(Work::Halt { halt, then });
    }

    /// Goes on with everything but runs.
    pub(super) fn work_on(
        &mut self,
        work: Work,
        now: u64,
    ) -> Result<Option<Answer<'static>>, Fault> {
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
    pub(super) fn run_on(&mut self, now: u64, passed: u64) {
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
}
