//! How anything is run and timed.

use super::energy::{Energy, Meter};
use super::figures::{figures, mean, Evidence, Figures, Runs};
use super::row::{row, Boxed};
use super::{Request, Row};
use crate::backend::twin::BOARD;
use crate::backend::{self, Backend, Choice, Kind};
use annulus_contract::sample::Gumbel;
use annulus_contract::shape::CoreShape;
use annulus_model::image::Image;
use cpu_time::ThreadTime;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// A run that is shorter is repeated until it has taken this long.
pub(super) const RUN_TIME: Duration = Duration::from_millis(50);

/// What all rows share.
pub(super) struct Bench<'a> {
    pub(super) request: &'a Request<'a>,
    pub(super) silent: &'a [u32],
    pub(super) last: u32,
}

impl Bench<'_> {
    /// How the stream number `n` chooses: streams differ by their seed.
    pub(super) fn gumbel(&self, n: usize) -> Option<Gumbel> {
        self.request.gumbel.map(|gumbel| {
            let seed = u64::from(gumbel.key.k0) | u64::from(gumbel.key.k1) << 32;
            Gumbel {
                key: seed.wrapping_add(n as u64).into(),
                ..gumbel
            }
        })
    }

    pub(super) fn choice(&self) -> Choice {
        Choice {
            gumbel: self.gumbel(0),
            stop: None,
            restart: self.request.image.special.restart,
        }
    }

    pub(super) fn open(
        &self,
        kind: Kind,
        image: &Image,
        core: Option<&CoreShape>,
    ) -> Result<Box<dyn Backend>, Boxed> {
        let default = crate::cores::default_core();
        let mut backend = backend::open(kind, core.unwrap_or(&default), None, None)?;
        backend.load(image)?;
        backend.set_choice(self.choice())?;
        Ok(backend)
    }

    /// A run that warms up, one with single tokens timed, and those that count.
    pub(super) fn runs(
        &self,
        backend: &mut dyn Backend,
        meter: &Meter,
    ) -> Result<(Runs, Energy), Boxed> {
        let n = self.request.tokens;
        let mut runs = self.stepped(backend)?;
        let energy = self.timed(&mut runs, meter, n, |runs| {
            backend.reset()?;
            backend.prefill(self.silent)?;
            runs.tokens.clear();
            let start = Instant::now();
            backend.run(self.last, n, &mut |token| {
                runs.tokens.push(token);
                ControlFlow::Continue(())
            })?;
            Ok(start.elapsed())
        })?;
        Ok((runs, energy))
    }

    /// Runs of so many tokens, which tell how long they took: one that warms up and
    /// says how often each of the others is to be repeated, and those that count.
    pub(super) fn timed(
        &self,
        runs: &mut Runs,
        meter: &Meter,
        tokens: usize,
        mut run: impl FnMut(&mut Runs) -> Result<Duration, Boxed>,
    ) -> Result<Energy, Boxed> {
        let warm = run(runs)?.as_secs_f64().max(1e-9);
        let repeats = (RUN_TIME.as_secs_f64() / warm).ceil() as usize;
        let joules = meter.start();
        let (wall, processor) = (Instant::now(), ThreadTime::now());
        for _ in 0..self.request.runs {
            let mut time = Duration::ZERO;
            for _ in 0..repeats {
                time += run(runs)?;
            }
            runs.rates
                .push((repeats * tokens) as f64 / time.as_secs_f64());
        }
        runs.processor_share =
            Some(processor.elapsed().as_secs_f64() / wall.elapsed().as_secs_f64().max(1e-9));
        Ok(meter.energy(&joules, self.request.runs * repeats * tokens))
    }

    /// A token at a time.
    pub(super) fn stepped(&self, backend: &mut dyn Backend) -> Result<Runs, Boxed> {
        let mut runs = Runs::default();
        backend.reset()?;
        backend.prefill(self.silent)?;
        backend.step(self.last)?;

        backend.reset()?;
        backend.clear_counters()?;
        let start = Instant::now();
        backend.prefill(self.silent)?;
        let mut token = self.last;
        let cycles = |backend: &mut dyn Backend| -> Result<_, Boxed> {
            Ok(backend.counters()?.map_or(0, |counters| counters.cycles))
        };
        let mut before = cycles(backend)?;
        for n in 0..self.request.tokens {
            let step = Instant::now();
            token = backend.step(token)?;
            let time = step.elapsed();
            let after = cycles(backend)?;
            if n == 0 {
                runs.first_token = Some(start.elapsed());
                runs.first_cycles = (after > 0).then_some(after as f64);
            } else {
                runs.single.push(time.as_secs_f64());
            }
            if after > 0 {
                runs.cycles.push((after - before) as f64);
            }
            before = after;
            runs.tokens.push(token);
        }
        runs.cycles_per_token = mean(&runs.cycles);
        Ok(runs)
    }

    /// Any backend that has no rows of its own kind.
    pub(super) fn other(&self, kind: Kind, expected: &[u32]) -> Row {
        let row = row(kind, "", kind.name().into());
        let opened = self.open(kind, self.request.image, None);
        if kind == Kind::Twin {
            // Its core is a simulated one: its cycles count, its seconds do not.
            let measured = opened
                .and_then(|mut backend| self.stepped(backend.as_mut()))
                .map(|runs| (runs, Energy::unknown("a simulated core uses none")));
            return row.finish(measured, expected, |runs, _| self.derived(runs, BOARD));
        }
        let meter = Meter::None("no meter reads this device");
        let measured = opened.and_then(|mut backend| self.runs(backend.as_mut(), &meter));
        row.finish(measured, expected, |runs, energy| Figures {
            evidence: Evidence::Measured,
            ..figures(runs, energy)
        })
    }
}
