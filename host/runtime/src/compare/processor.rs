//! Rows of this machine's processor.

use super::bench::{Bench, RUN_TIME};
use super::energy::{Energy, Meter};
use super::figures::{figures, Evidence, Figures, Runs, Spread};
use super::row::{row, Boxed};
use super::{host, Row};
use crate::backend::Kind;
use crate::cpu::CpuEngine;
use annulus_contract::sample::Gumbel;
use std::sync::Barrier;
use std::time::{Duration, Instant};

impl Bench<'_> {
    fn engine(&self) -> Result<CpuEngine, Boxed> {
        let image = self.request.image;
        let model = image.quant_model()?;
        Ok(CpuEngine::new(&model, image.window(), image.sinks())?)
    }

    /// The tokens that everything else is held to.
    pub(super) fn tokens_of_seed(&self, n: usize) -> Result<Vec<u32>, Boxed> {
        let mut engine = self.engine()?;
        let mut tokens = vec![];
        self.run_engine(&mut engine, self.gumbel(n), &mut tokens)?;
        Ok(tokens)
    }

    /// A run of the `cpu` engine, as the backend of that name makes it.
    fn run_engine(
        &self,
        engine: &mut CpuEngine,
        gumbel: Option<Gumbel>,
        tokens: &mut Vec<u32>,
    ) -> Result<(), Boxed> {
        tokens.clear();
        engine.reset();
        for &token in self.silent {
            engine.step_silent(token)?;
        }
        let mut token = self.last;
        for sample in 0..self.request.tokens {
            engine.step(token)?;
            token = match gumbel {
                None => engine.greedy(),
                Some(gumbel) => engine.sample(gumbel, sample as u32),
            };
            tokens.push(token);
            if Some(token) == self.request.image.special.restart {
                engine.reset();
            }
        }
        Ok(())
    }

    pub(super) fn one_core(&self, expected: &[u32]) -> Row {
        let row = row(Kind::Cpu, "one core", host::processor());
        let meter = Meter::processor();
        let measured = self
            .open(Kind::Cpu, self.request.image, None)
            .and_then(|mut backend| self.runs(backend.as_mut(), &meter));
        row.finish(measured, expected, |runs, energy| Figures {
            evidence: Evidence::Measured,
            processor_share: runs.processor_share,
            ..figures(runs, energy)
        })
    }

    /// A stream a core, all at once.
    pub(super) fn all_cores(&self, expected: &[u32]) -> Row {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let row = row(Kind::Cpu, "all cores", host::processor());
        let meter = Meter::processor();
        let measured = self.parallel(cores, &meter);
        row.finish(measured, expected, |runs, energy| Figures {
            tokens_per_second: None,
            aggregate_tokens_per_second: Spread::of(runs.rates.clone()),
            streams: cores,
            evidence: Evidence::Measured,
            detail: format!("{cores} streams"),
            ..figures(runs, energy)
        })
    }

    fn parallel(&self, cores: usize, meter: &Meter) -> Result<(Runs, Energy), Boxed> {
        let mut runs = Runs::default();
        let mut engines = (0..cores)
            .map(|_| self.engine())
            .collect::<Result<Vec<_>, _>>()?;
        // Threads are made once a run, so each makes its stream often enough.
        let once = Instant::now();
        let mut tokens = vec![];
        self.run_engine(&mut engines[0], self.gumbel(0), &mut tokens)?;
        let once = once.elapsed().as_secs_f64().max(1e-9);
        let repeats = (RUN_TIME.as_secs_f64() / once).ceil() as usize;
        let all = cores * repeats * self.request.tokens;
        let energy = self.timed(&mut runs, meter, all, |runs| {
            let start = Barrier::new(cores);
            let spans = std::thread::scope(|scope| {
                let threads: Vec<_> = engines
                    .iter_mut()
                    .enumerate()
                    .map(|(n, engine)| {
                        let start = &start;
                        scope.spawn(move || -> Result<_, Boxed> {
                            let mut tokens = Vec::with_capacity(self.request.tokens);
                            start.wait();
                            let begin = Instant::now();
                            for _ in 0..repeats {
                                self.run_engine(engine, self.gumbel(n), &mut tokens)?;
                            }
                            Ok((begin, Instant::now(), tokens))
                        })
                    })
                    .collect();
                let join = |thread: std::thread::ScopedJoinHandle<'_, Result<_, Boxed>>| {
                    thread.join().map_err(|_| Boxed::from("a thread failed"))?
                };
                threads.into_iter().map(join).collect::<Result<Vec<_>, _>>()
            })?;
            let begin = spans.iter().map(|span| span.0).min();
            let end = spans.iter().map(|span| span.1).max();
            runs.tokens = spans.into_iter().next().map(|s| s.2).unwrap_or_default();
            Ok(begin.zip(end).map_or(Duration::ZERO, |(a, b)| b - a))
        })?;
        Ok((runs, energy))
    }
}
