//! Rows of a GPU.

use super::bench::Bench;
use super::energy::{Energy, Meter};
use super::figures::{figures, mean, Evidence, Figures, Runs, Spread};
use super::row::{row, Boxed};
use super::Row;
use crate::backend::{Choice, Kind};
use annulus_kernels::device::{CudaError, Device};
use annulus_kernels::engine::{self, Chosen, Engine, CAPACITY};
use annulus_kernels::plan::{Mode, Plan};
use annulus_kernels::program::Program;
use std::sync::Arc;
use std::time::Instant;

/// Streams that a multiprocessor gets when nothing is said about batches.
const STREAMS_A_MULTIPROCESSOR: usize = 2;

impl Bench<'_> {
    /// The three ways of a GPU.
    pub(super) fn cuda(&self, expected: &[u32], progress: &mut impl FnMut(&str)) -> Vec<Row> {
        let opened = Device::open();
        let name = opened
            .as_ref()
            .map_or_else(|_| "GPU".into(), |device| device.name().to_string());
        let streams = |device: &Device| {
            let all = device.limits().multiprocessors as usize * STREAMS_A_MULTIPROCESSOR;
            self.request.streams.unwrap_or(all).max(1)
        };
        Mode::ALL
            .into_iter()
            .map(|mode| {
                progress(&format!("cuda, {}", mode.name()));
                let row = row(Kind::Cuda, mode.name(), name.clone());
                let device = match &opened {
                    Ok(device) => device.clone(),
                    Err(error) => return row.could_not_run(error),
                };
                let streams = if mode == Mode::Batched {
                    streams(&device)
                } else {
                    1
                };
                let meter = Meter::gpu();
                let mut plan = None;
                let measured = self.gpu(&device, mode, streams, &meter, &mut plan);
                row.finish(measured, expected, |runs, energy| {
                    gpu_figures(&device, mode, streams, plan, runs, energy)
                })
            })
            .collect()
    }

    fn gpu(
        &self,
        device: &Arc<Device>,
        mode: Mode,
        streams: usize,
        meter: &Meter,
        chosen: &mut Option<Plan>,
    ) -> Result<(Runs, Energy), Boxed> {
        let image = self.request.image;
        let program = Program::new(&image.quant_model()?, image.window(), image.sinks())?;
        let program = Arc::new(program);
        let plan = Plan::best(device, &program, mode, streams)?;
        *chosen = Some(plan);
        let mut engine = Engine::new(device.clone(), program, plan)?;
        for stream in 0..streams {
            let Choice { stop, restart, .. } = self.choice();
            let gumbel = self.gumbel(stream);
            let choice = engine::Choice {
                gumbel,
                stop,
                restart,
            };
            engine.set_choice(stream, choice)?;
        }
        let mut runs = Runs::default();
        let n = self.request.tokens;

        // Single tokens from the host's side, the first with its prompt.
        self.prepare(&mut engine)?;
        engine.run(&[self.last], 1, 0)?;
        let start = Instant::now();
        self.prepare(&mut engine)?;
        let mut token = first_of(engine.run(&[self.last], 1, 0)?);
        runs.first_token = Some(start.elapsed());
        if mode == Mode::Graph {
            for _ in 1..n {
                let start = Instant::now();
                token = first_of(engine.run(&[token], 1, 0)?);
                runs.single.push(start.elapsed().as_secs_f64());
            }
        }

        let mut all = vec![];
        let energy = self.timed(&mut runs, meter, streams * n, |runs| {
            self.prepare(&mut engine)?;
            let start = Instant::now();
            all = self.tokens(&mut engine)?;
            let time = start.elapsed();
            if mode != Mode::Graph {
                // The counter counts the loop; its seconds are the loop's.
                runs.cycles = all[0].cycles.iter().map(|&c| f64::from(c)).collect();
                let second = time.as_secs_f64() / runs.cycles.iter().sum::<f64>().max(1.0);
                runs.single = runs.cycles.iter().map(|cycles| cycles * second).collect();
                runs.cycles_per_token = mean(&runs.cycles);
            }
            Ok(time)
        })?;
        for (stream, chosen) in all.iter().enumerate().skip(1) {
            if chosen.tokens != self.tokens_of_seed(stream)? {
                runs.tokens = chosen.tokens.clone();
                return Ok((runs, energy));
            }
        }
        runs.tokens = all.swap_remove(0).tokens;
        Ok((runs, energy))
    }

    /// Empty streams behind the prompt.
    fn prepare(&self, engine: &mut Engine) -> Result<(), CudaError> {
        engine.reset()?;
        for silent in self.silent.chunks(CAPACITY) {
            engine.run(silent, silent.len(), silent.len())?;
        }
        Ok(())
    }

    /// A run in launches as long as they may be. Streams of a batch go on with
    /// their own tokens, which only works where one launch holds them all.
    fn tokens(&self, engine: &mut Engine) -> Result<Vec<Chosen>, Boxed> {
        let n = self.request.tokens;
        let streams = engine.plan().streams;
        if streams > 1 && n > CAPACITY {
            return Err(format!("a batch runs at most {CAPACITY} tokens: give -n").into());
        }
        let mut all = vec![Chosen::default(); streams];
        let mut token = self.last;
        let mut done = 0;
        while done < n {
            let passes = (n - done).min(CAPACITY);
            let chosen = engine.run(&[token], passes, 0)?;
            for (all, chosen) in all.iter_mut().zip(chosen) {
                token = chosen.tokens.last().copied().unwrap_or(token);
                all.tokens.extend(chosen.tokens);
                all.cycles.extend(chosen.cycles);
            }
            done += passes;
        }
        Ok(all)
    }
}

fn first_of(chosen: Vec<Chosen>) -> u32 {
    chosen
        .first()
        .and_then(|c| c.tokens.first().copied())
        .unwrap_or(0)
}

fn gpu_figures(
    device: &Device,
    mode: Mode,
    streams: usize,
    plan: Option<Plan>,
    runs: &Runs,
    energy: Energy,
) -> Figures {
    let batched = mode == Mode::Batched;
    let rates = Spread::of(runs.rates.clone());
    let per_stream = |spread: Spread| Spread {
        median: spread.median / streams as f64,
        min: spread.min / streams as f64,
        max: spread.max / streams as f64,
    };
    let plan = plan.map_or(String::new(), |plan| {
        format!(
            "{} blocks of {} threads a stream, ",
            plan.blocks, plan.threads
        )
    });
    let figures = Figures {
        tokens_per_second: rates.map(per_stream),
        aggregate_tokens_per_second: rates.filter(|_| batched),
        streams,
        token_clock: if mode == Mode::Graph {
            "the host, a token at a time"
        } else {
            "the multiprocessor's counter"
        },
        evidence: Evidence::Measured,
        detail: format!("{plan}code from {}", device.code()),
        ..figures(runs, energy)
    };
    if !device.is_emulated() {
        return figures;
    }
    Figures {
        tokens_per_second: None,
        aggregate_tokens_per_second: None,
        first_token_us: None,
        token_us_p50: None,
        token_us_p99: None,
        cycles_per_token: None,
        energy: Energy::unknown("an interpreter ran the kernels"),
        evidence: Evidence::Emulated,
        ..figures
    }
}
