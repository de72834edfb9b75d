//! One model, one prompt, one seed, on everything this machine has: the same
//! tokens from all, and how long each took for them.
//!
//! The first row is the `cpu` backend's, and every other row's tokens are held to
//! its own. A row that cannot run says why; a row whose tokens differ is a fault.

mod chart;
mod energy;
mod host;
mod markdown;

pub use self::chart::{draw, ChartError};
pub use self::energy::Energy;
pub use self::markdown::markdown;

use self::energy::Meter;
use crate::backend::{self, Backend, Choice, Kind};
use crate::cpu::CpuEngine;
use annulus_contract::sample::Gumbel;
use annulus_contract::shape::CoreShape;
use annulus_kernels::device::{CudaError, Device};
use annulus_kernels::engine::{self, Chosen, Engine, CAPACITY};
use annulus_kernels::plan::{Mode, Plan};
use annulus_kernels::program::Program;
use annulus_model::image::Image;
use cpu_time::ThreadTime;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::error::Error;
use std::ops::ControlFlow;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

/// Streams that a multiprocessor gets when nothing is said about batches.
const STREAMS_A_MULTIPROCESSOR: usize = 2;
/// A run that is shorter is repeated until it has taken this long.
const RUN_TIME: Duration = Duration::from_millis(50);
/// Hexadecimal digits of a hash that are shown.
const HASH_DIGITS: usize = 16;

/// Why nothing can be compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// A comparison of nothing.
    #[error("a comparison needs at least one token and one run")]
    Nothing,
    /// The `cpu` backend, which all are held to, failed.
    #[error("the cpu backend, which all others are held to, failed: {0}")]
    Reference(Box<dyn Error + Send + Sync>),
    /// A prompt without a token.
    #[error("a run needs at least one token to start with")]
    NoPrompt,
}

/// A core to simulate.
#[derive(Clone, Debug)]
pub struct Core {
    /// Its name: a number of lanes or a board.
    pub name: String,
    /// What it is.
    pub shape: CoreShape,
    /// The model compiled for it, or why it does not fit.
    pub image: Result<Image, String>,
}

/// What is to be compared, and how.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The model.
    pub image: &'a Image,
    /// Cores to simulate.
    pub cores: &'a [Core],
    /// Backends that are wanted.
    pub kinds: &'a [Kind],
    /// Tokens to begin with.
    pub prompt: &'a [u32],
    /// Noise; greedy without.
    pub gumbel: Option<Gumbel>,
    /// Tokens of a run, those of the prompt not counted.
    pub tokens: usize,
    /// Runs; the median counts.
    pub runs: usize,
    /// Streams of a batch; by the GPU's size without.
    pub streams: Option<usize>,
    /// A core's clock in MHz, where one is known.
    pub clock_mhz: Option<f64>,
    /// A board's power in watts, where somebody has measured it.
    pub board_watts: Option<f64>,
}

/// Where a row's figures come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Evidence {
    /// Timed on the device itself.
    Measured,
    /// Cycles counted by the simulated core; nothing is said about seconds.
    Simulated,
    /// Simulated cycles over a clock that was given.
    Derived,
    /// Run on an interpreter of GPU code: tokens count, times do not.
    Emulated,
}

/// A median with its extremes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// Of at least one value; `None` of none.
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        Some(Spread {
            median: quantile(&values, 0.5)?,
            min: *values.first()?,
            max: *values.last()?,
        })
    }
}

/// The value that a share of the sorted values does not exceed.
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

/// What a row found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// Tokens a second of one stream.
    pub tokens_per_second: Option<Spread>,
    /// Tokens a second of all streams together, where there are several.
    pub aggregate_tokens_per_second: Option<Spread>,
    /// Streams at once.
    pub streams: usize,
    /// From an empty stream through the prompt to the first choice.
    pub first_token_us: Option<f64>,
    /// Time of a token: half of them take no longer.
    pub token_us_p50: Option<f64>,
    /// Time of a token: of a hundred, one takes longer.
    pub token_us_p99: Option<f64>,
    /// Where the times of single tokens were taken.
    pub token_clock: &'static str,
    /// Cycles of the core or of the multiprocessor.
    pub cycles_per_token: Option<f64>,
    /// Energy, or why it is not known.
    pub energy: Energy,
    /// For rows of one thread: the share of the time in which it had the processor.
    /// Well below 1, other work was in the way, and the rates are too low.
    pub processor_share: Option<f64>,
    /// Where the figures come from.
    pub evidence: Evidence,
    /// SHA-256 of the tokens of the first stream, its beginning.
    pub token_hash: String,
    /// What was chosen, such as blocks and threads.
    pub detail: String,
}

/// What came of a row.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It ran, and its tokens are right.
    Ran(Box<Figures>),
    /// It could not run; why.
    CouldNotRun(String),
    /// It ran, and its tokens are not the `cpu` backend's; where.
    Differs(String),
}

/// A row of the comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The backend's name on the command line.
    pub backend: &'static str,
    /// Which way of running it.
    pub variant: String,
    /// What it ran on.
    pub device: String,
    /// What came of it.
    #[serde(flatten)]
    pub result: Outcome,
}

/// All rows, and what is common to them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// This program's version.
    pub version: &'static str,
    /// The model.
    pub model: String,
    /// Slots of each ring.
    pub window: usize,
    /// Slots that keep a stream's first tokens.
    pub sinks: usize,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Whether tokens are sampled, always on the device; greedy if not.
    pub sampled: bool,
    /// The seed.
    pub seed: u64,
    /// Tokens of a run.
    pub tokens: usize,
    /// Runs, after one that warms up.
    pub runs: usize,
    /// The processor.
    pub processor: String,
    /// The operating system.
    pub system: String,
    /// The hash that every row must have.
    pub token_hash: String,
    /// The rows.
    pub rows: Vec<Row>,
}

impl Comparison {
    /// The first row whose tokens are not the reference's, in a sentence.
    pub fn difference(&self) -> Option<String> {
        self.rows.iter().find_map(|row| match &row.result {
            Outcome::Differs(what) => Some(format!("{} ({}): {what}", row.backend, row.variant)),
            _ => None,
        })
    }
}

/// Run everything. `progress` hears what runs next.
///
/// # Errors
/// If there is nothing to compare, or the `cpu` backend fails.
pub fn compare(
    request: &Request,
    mut progress: impl FnMut(&str),
) -> Result<Comparison, CompareError> {
    if request.tokens == 0 || request.runs == 0 {
        return Err(CompareError::Nothing);
    }
    let (&last, silent) = request.prompt.split_last().ok_or(CompareError::NoPrompt)?;
    let bench = Bench {
        request,
        silent,
        last,
    };
    progress("cpu");
    let expected = bench.tokens_of_seed(0).map_err(CompareError::Reference)?;
    let mut rows = vec![];
    for &kind in request.kinds {
        progress(kind.name());
        match kind {
            Kind::Cpu => {
                rows.push(bench.one_core(&expected));
                rows.push(bench.all_cores(&expected));
            }
            Kind::Sim => rows.extend(request.cores.iter().map(|core| bench.sim(core, &expected))),
            Kind::Cuda => rows.extend(bench.cuda(&expected, &mut progress)),
            Kind::Reference | Kind::Twin | Kind::Serial => rows.push(bench.other(kind, &expected)),
        }
    }
    let image = request.image;
    Ok(Comparison {
        version: env!("CARGO_PKG_VERSION"),
        model: image.name.clone(),
        window: image.window(),
        sinks: image.sinks(),
        prompt_tokens: request.prompt.len(),
        sampled: request.gumbel.is_some(),
        seed: request
            .gumbel
            .map_or(0, |g| u64::from(g.key.k0) | u64::from(g.key.k1) << 32),
        tokens: request.tokens,
        runs: request.runs,
        processor: host::processor(),
        system: host::system(),
        token_hash: hash(&expected),
        rows,
    })
}

type Boxed = Box<dyn Error + Send + Sync>;

/// What all rows share.
struct Bench<'a> {
    request: &'a Request<'a>,
    silent: &'a [u32],
    last: u32,
}

/// Times and tokens of the runs of a row.
#[derive(Default)]
struct Runs {
    tokens: Vec<u32>,
    /// Tokens a second, of each run.
    rates: Vec<f64>,
    /// Seconds of single tokens, of an own run.
    single: Vec<f64>,
    first_token: Option<Duration>,
    cycles_per_token: Option<f64>,
    /// Share of the runs' time in which this thread had the processor.
    processor_share: Option<f64>,
    /// Cycles of the prompt and the first token.
    first_cycles: Option<f64>,
    /// Cycles of single tokens.
    cycles: Vec<f64>,
}

impl Bench<'_> {
    /// How the stream number `n` chooses: streams differ by their seed.
    fn gumbel(&self, n: usize) -> Option<Gumbel> {
        self.request.gumbel.map(|gumbel| {
            let seed = u64::from(gumbel.key.k0) | u64::from(gumbel.key.k1) << 32;
            Gumbel {
                key: seed.wrapping_add(n as u64).into(),
                ..gumbel
            }
        })
    }

    fn choice(&self) -> Choice {
        Choice {
            gumbel: self.gumbel(0),
            stop: None,
            restart: self.request.image.special.restart,
        }
    }

    fn engine(&self) -> Result<CpuEngine, Boxed> {
        let image = self.request.image;
        let model = image.quant_model()?;
        Ok(CpuEngine::new(&model, image.window(), image.sinks())?)
    }

    /// The tokens that everything else is held to.
    fn tokens_of_seed(&self, n: usize) -> Result<Vec<u32>, Boxed> {
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

    fn one_core(&self, expected: &[u32]) -> Row {
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
    fn all_cores(&self, expected: &[u32]) -> Row {
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

    /// A core in simulation: cycles are exact, and seconds need a clock.
    fn sim(&self, core: &Core, expected: &[u32]) -> Row {
        let lanes = core.shape.lanes();
        let row = row(
            Kind::Sim,
            &core.name,
            format!("simulated core, {lanes} lanes"),
        );
        let image = match &core.image {
            Ok(image) => image,
            Err(why) => return row.could_not_run(why),
        };
        let measured = self
            .open(Kind::Sim, image, Some(&core.shape))
            .and_then(|mut backend| self.stepped(backend.as_mut()))
            .map(|runs| (runs, Energy::unknown("a simulated core uses none")));
        row.finish(measured, expected, |runs, _| self.derived(runs))
    }

    fn derived(&self, runs: &Runs) -> Figures {
        let clock = self.request.clock_mhz.map(|mhz| mhz * 1e6);
        let rate = clock
            .zip(runs.cycles_per_token)
            .map(|(clock, cycles)| clock / cycles);
        let seconds = |share| {
            let cycles = sorted(&runs.cycles);
            Some(1e6 * quantile(&cycles, share)? / clock?)
        };
        let energy = match (self.request.board_watts, rate) {
            (Some(watts), Some(rate)) => Energy::Known {
                joules_per_token: watts / rate,
                source: format!("{watts} W, as given for the board"),
            },
            (None, _) => Energy::unknown("no board was measured: give --board-watts"),
            (_, None) => Energy::unknown("power needs a rate: give --clock"),
        };
        Figures {
            tokens_per_second: rate.and_then(|rate| Spread::of(vec![rate])),
            first_token_us: runs
                .first_cycles
                .zip(clock)
                .map(|(c, clock)| 1e6 * c / clock),
            token_us_p50: seconds(0.5),
            token_us_p99: seconds(0.99),
            token_clock: "the core's cycle counter",
            evidence: if rate.is_some() {
                Evidence::Derived
            } else {
                Evidence::Simulated
            },
            detail: self.request.clock_mhz.map_or_else(
                || "no clock was given".into(),
                |mhz| format!("at {mhz} MHz, as given"),
            ),
            ..figures(runs, energy)
        }
    }

    /// Any backend that has no rows of its own kind.
    fn other(&self, kind: Kind, expected: &[u32]) -> Row {
        let row = row(kind, "", kind.name().into());
        let opened = self.open(kind, self.request.image, None);
        if kind == Kind::Twin {
            // Its core is a simulated one: its cycles count, its seconds do not.
            let measured = opened
                .and_then(|mut backend| self.stepped(backend.as_mut()))
                .map(|runs| (runs, Energy::unknown("a simulated core uses none")));
            return row.finish(measured, expected, |runs, _| self.derived(runs));
        }
        let meter = Meter::None("no meter reads this device");
        let measured = opened.and_then(|mut backend| self.runs(backend.as_mut(), &meter));
        row.finish(measured, expected, |runs, energy| Figures {
            evidence: Evidence::Measured,
            ..figures(runs, energy)
        })
    }

    fn open(
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
    fn runs(&self, backend: &mut dyn Backend, meter: &Meter) -> Result<(Runs, Energy), Boxed> {
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
    fn timed(
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
    fn stepped(&self, backend: &mut dyn Backend) -> Result<Runs, Boxed> {
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

    /// The three ways of a GPU.
    fn cuda(&self, expected: &[u32], progress: &mut impl FnMut(&str)) -> Vec<Row> {
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

/// The figures that every row has.
fn figures(runs: &Runs, energy: Energy) -> Figures {
    let single = sorted(&runs.single);
    Figures {
        tokens_per_second: Spread::of(runs.rates.clone()),
        aggregate_tokens_per_second: None,
        streams: 1,
        first_token_us: runs.first_token.map(|time| time.as_secs_f64() * 1e6),
        token_us_p50: quantile(&single, 0.5).map(|s| s * 1e6),
        token_us_p99: quantile(&single, 0.99).map(|s| s * 1e6),
        token_clock: "the host, a token at a time",
        cycles_per_token: runs.cycles_per_token,
        energy,
        processor_share: None,
        evidence: Evidence::Simulated,
        token_hash: hash(&runs.tokens),
        detail: String::new(),
    }
}

/// A row that has not run yet.
struct Unfinished {
    backend: &'static str,
    variant: String,
    device: String,
}

fn row(kind: Kind, variant: &str, device: String) -> Unfinished {
    Unfinished {
        backend: kind.name(),
        variant: variant.into(),
        device,
    }
}

impl Unfinished {
    fn with(self, result: Outcome) -> Row {
        Row {
            backend: self.backend,
            variant: self.variant,
            device: self.device,
            result,
        }
    }

    fn could_not_run(self, why: &dyn std::fmt::Display) -> Row {
        self.with(Outcome::CouldNotRun(why.to_string()))
    }

    /// The row of what was measured, if its tokens are the expected ones.
    fn finish(
        self,
        measured: Result<(Runs, Energy), Boxed>,
        expected: &[u32],
        figures: impl FnOnce(&Runs, Energy) -> Figures,
    ) -> Row {
        let (runs, energy) = match measured {
            Ok(measured) => measured,
            Err(why) => return self.could_not_run(&why),
        };
        match first_difference(&runs.tokens, expected) {
            Some(what) => self.with(Outcome::Differs(what)),
            None => {
                let figures = figures(&runs, energy);
                self.with(Outcome::Ran(Box::new(figures)))
            }
        }
    }
}

fn first_difference(tokens: &[u32], expected: &[u32]) -> Option<String> {
    if tokens == expected {
        return None;
    }
    let at = tokens.iter().zip(expected).position(|(a, b)| a != b);
    Some(match at {
        Some(at) => format!("token {at} is {}, but {} on cpu", tokens[at], expected[at]),
        None => format!("{} tokens, but {} on cpu", tokens.len(), expected.len()),
    })
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn hash(tokens: &[u32]) -> String {
    let mut sha = Sha256::new();
    tokens
        .iter()
        .for_each(|token| sha.update(token.to_le_bytes()));
    let mut text: String = sha.finalize().iter().map(|b| format!("{b:02x}")).collect();
    text.truncate(HASH_DIGITS);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_quantiles() {
        let spread = Spread::of(vec![3.0, 1.0, 2.0]).unwrap();
        assert_eq!((spread.median, spread.min, spread.max), (2.0, 1.0, 3.0));
        assert_eq!(Spread::of(vec![]), None);
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(quantile(&hundred, 0.99), Some(99.0));
        assert_eq!(quantile(&[7.0], 0.5), Some(7.0));
    }

    #[test]
    fn differences_are_named() {
        assert_eq!(first_difference(&[1, 2], &[1, 2]), None);
        let other = first_difference(&[1, 3], &[1, 2]).unwrap();
        assert_eq!(other, "token 1 is 3, but 2 on cpu");
        let short = first_difference(&[1], &[1, 2]).unwrap();
        assert_eq!(short, "1 tokens, but 2 on cpu");
    }
}
