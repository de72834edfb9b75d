//! Cycles a token: counted by the core itself, by position and by kind of step,
//! beside the ideal and what the cycle model predicts.

use crate::backend::{Backend, BackendError, Choice, Kind};
use crate::driver::Counters;
use crate::generate::GenerateError;
use crate::sampling::Sampling;
use annulus_contract::shape::clock_of_board;
use annulus_contract::step;
use annulus_model::cycles::token_cycles;
use annulus_model::image::Image;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::time::{Duration, Instant};

/// Measured tokens when nothing is said, of a model whose streams do not end.
const TOKENS: usize = 128;
/// Streams measured when nothing is said, of a model whose streams do.
const STREAMS: usize = 4;
/// How long the rate is measured at least.
const RATE_TIME: Duration = Duration::from_millis(500);

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Positions in the stream at which tokens count. At the end of it the stream
    /// begins anew.
    pub positions: Range<usize>,
    /// How many tokens count in all.
    pub tokens: usize,
}

impl Plan {
    /// The plan for an image where `positions` or `tokens` may be left open: a model
    /// whose streams begin anew (names) is measured over all of its positions,
    /// any other once its ring is full.
    pub fn new(image: &Image, positions: Option<Range<usize>>, tokens: Option<usize>) -> Self {
        let stream = image.window().min(image.trained_window);
        let positions = match (positions, image.special.restart) {
            (Some(positions), _) => positions,
            (None, Some(_)) => 0..stream,
            (None, None) => image.window()..image.window() + tokens.unwrap_or(TOKENS),
        };
        let all = match image.special.restart {
            Some(_) => STREAMS * positions.len(),
            None => positions.len(),
        };
        Plan {
            tokens: tokens.unwrap_or(all),
            positions,
        }
    }
}

/// What a benchmark found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Name of the backend.
    pub backend: String,
    /// Name of the model.
    pub model: String,
    /// Multipliers of the core.
    pub lanes: usize,
    /// Slots of each ring.
    pub window: usize,
    /// Slots that keep a stream's first tokens.
    pub sinks: usize,
    /// Softmax temperature; 0 is greedy.
    pub temperature: f64,
    /// Seed of the first stream.
    pub seed: u64,
    /// Tokens measured.
    pub tokens: usize,
    /// Positions measured: the first, and the one after the last.
    pub positions: [usize; 2],
    /// The core's cycles; `None` where there is no core.
    pub cycles_per_token: Option<Cycles>,
    /// Multiply-accumulates over lanes: mean of the measured tokens.
    pub ideal_cycles: f64,
    /// The same with the ring full.
    pub ideal_cycles_full_ring: f64,
    /// Ideal, by position from `positions[0]` on.
    pub ideal_cycles_by_position: Vec<f64>,
    /// Cycles of the cycle model; `None` for 8 lanes, whose folded core has no model.
    pub predicted_cycles: Option<Predicted>,
    /// Share of the multipliers' cycles that the model needed: ideal over measured.
    pub mac_utilization: Option<f64>,
    /// Share of the cycles in which the array took a word, padding included.
    pub array_busy: Option<f64>,
    /// Mean cycles a token, by kind of step; empty where the core does not count them.
    pub cycles_by_step: BTreeMap<String, f64>,
    /// Tokens a second of wall-clock time on this machine: for `sim` the simulator's
    /// speed, which says nothing about a board.
    pub tokens_per_second: f64,
    /// Cycles simulated a second of wall-clock time.
    pub simulated_cycles_per_second: Option<f64>,
    /// What a board would do, where one was named.
    pub on_board: Option<OnBoard>,
    /// Where the figures come from: `simulated` (cycles are exact) or `measured`.
    pub evidence: String,
}

/// Cycles a token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cycles {
    /// Mean of the measured tokens.
    pub mean: f64,
    /// Fewest.
    pub min: u64,
    /// Most.
    pub max: u64,
    /// Mean at each position, from `positions[0]` on.
    pub by_position: Vec<f64>,
}

/// A rate of a board: *derived*, for no board was there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OnBoard {
    /// Its name.
    pub board: String,
    /// Megahertz at which the board's top runs; not what its routing would allow.
    pub clock_mhz: f64,
    /// That clock over the mean of the simulated cycles.
    pub derived_tokens_per_second: f64,
}

impl Report {
    /// The report with the rate on a board, if its core is simulated and the board has a clock.
    pub fn on(mut self, board: &str) -> Self {
        let cycles = self.cycles_per_token.as_ref();
        let cycles = cycles.filter(|_| self.backend == Kind::Sim.name());
        self.on_board = clock_of_board(board)
            .zip(cycles)
            .map(|(hertz, cycles)| OnBoard {
                board: board.into(),
                clock_mhz: f64::from(hertz) / 1e6,
                derived_tokens_per_second: f64::from(hertz) / cycles.mean,
            });
        self
    }
}

/// What the cycle model says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Predicted {
    /// Mean of the measured positions, weighed as they were measured.
    pub mean: f64,
    /// At each position, from `positions[0]` on.
    pub by_position: Vec<u64>,
    /// Largest relative difference from a measured position.
    pub largest_error: Option<f64>,
}

/// What a token took.
struct Sample {
    position: usize,
    counters: Option<Counters>,
}

/// Measure. `prompt` begins each stream; streams differ by their seed. Nothing
/// stops or restarts a stream but its length. `progress` hears how many forward
/// passes are done, of how many.
///
/// # Errors
/// If sampling makes no sense or the backend fails.
pub fn measure(
    backend: &mut dyn Backend,
    image: &Image,
    prompt: &[u32],
    sampling: &Sampling,
    plan: &Plan,
    mut progress: impl FnMut(usize, usize),
) -> Result<Report, GenerateError> {
    if plan.tokens == 0 || plan.positions.is_empty() {
        return Err(GenerateError::NoPasses);
    }
    let streams = plan.tokens.div_ceil(plan.positions.len());
    let all = streams * plan.positions.start + plan.tokens;
    let mut samples = Vec::with_capacity(plan.tokens);
    let mut passes = 0;
    for stream in 0..streams {
        start(backend, image, sampling, stream)?;
        let mut token = *prompt.first().ok_or(GenerateError::NoPrompt)?;
        for position in 0..plan.positions.end {
            if samples.len() == plan.tokens {
                break;
            }
            let counts = plan.positions.contains(&position);
            if counts {
                backend.clear_counters()?;
            }
            let chosen = backend.step(token)?;
            if counts {
                samples.push(Sample {
                    position,
                    counters: backend.counters()?,
                });
            }
            token = prompt.get(position + 1).copied().unwrap_or(chosen);
            passes += 1;
            progress(passes, all);
        }
    }
    let rate = rate(backend, image, prompt, sampling, plan)?;
    Ok(report(
        backend.kind(),
        image,
        sampling,
        plan,
        &samples,
        rate,
    ))
}

/// An empty stream with a seed of its own.
fn start(
    backend: &mut dyn Backend,
    image: &Image,
    sampling: &Sampling,
    stream: usize,
) -> Result<(), GenerateError> {
    let seed = sampling.seed.wrapping_add(stream as u64);
    let gumbel = Sampling { seed, ..*sampling }.gumbel(image)?;
    backend.set_choice(Choice {
        gumbel,
        stop: None,
        restart: None,
    })?;
    Ok(backend.reset()?)
}

/// Tokens a second when the backend runs by itself at the measured positions.
fn rate(
    backend: &mut dyn Backend,
    image: &Image,
    prompt: &[u32],
    sampling: &Sampling,
    plan: &Plan,
) -> Result<f64, GenerateError> {
    let from = plan.positions.start;
    let n = plan.tokens.min(plan.positions.len());
    let (mut time, mut tokens, mut stream) = (Duration::ZERO, 0, 0);
    while time < RATE_TIME {
        start(backend, image, sampling, stream)?;
        stream += 1;
        let forced = prompt.len().min(from + 1);
        let (&last, silent) = prompt[..forced]
            .split_last()
            .ok_or(GenerateError::NoPrompt)?;
        backend.prefill(silent)?;
        let mut token = last;
        run(backend, &mut token, from - silent.len())?;
        let begin = Instant::now();
        run(backend, &mut token, n)?;
        time += begin.elapsed();
        tokens += n;
    }
    Ok(tokens as f64 / time.as_secs_f64())
}

/// Let the backend run from `token`, which becomes its last choice.
fn run(backend: &mut dyn Backend, token: &mut u32, n: usize) -> Result<(), BackendError> {
    if n == 0 {
        return Ok(());
    }
    let first = *token;
    let mut keep = |chosen| {
        *token = chosen;
        ControlFlow::Continue(())
    };
    backend.run(first, n, &mut keep).map(drop)
}

fn report(
    kind: Kind,
    image: &Image,
    sampling: &Sampling,
    plan: &Plan,
    samples: &[Sample],
    rate: f64,
) -> Report {
    let (window, lanes) = (image.window(), image.lanes());
    let n = samples.len() as f64;
    let from = plan.positions.start;
    let reached = samples.iter().map(|s| s.position + 1).max().unwrap_or(from);
    let ideal = |position: usize| image.macs((position + 1).min(window)) as f64 / lanes as f64;
    let predicted = (image.ring.rows > 1).then(|| {
        (from..reached)
            .map(|p| token_cycles(image, p as u64, true).total)
            .collect::<Vec<_>>()
    });
    let mean = |value: &dyn Fn(&Sample) -> f64| samples.iter().map(value).sum::<f64>() / n;

    let ideal_mean = mean(&|s| ideal(s.position));
    let counters: Option<Vec<&Counters>> = samples.iter().map(|s| s.counters.as_ref()).collect();
    let cycles = counters.as_ref().map(|counters| {
        let by_position = (from..reached).map(|position| {
            let here = samples
                .iter()
                .filter(|s| s.position == position)
                .filter_map(|s| s.counters.as_ref());
            let (sum, count) = here.fold((0, 0), |(sum, count), c| (sum + c.cycles, count + 1));
            sum as f64 / f64::from(count)
        });
        Cycles {
            mean: counters.iter().map(|c| c.cycles as f64).sum::<f64>() / n,
            min: counters.iter().map(|c| c.cycles).min().unwrap_or(0),
            max: counters.iter().map(|c| c.cycles).max().unwrap_or(0),
            by_position: by_position.collect(),
        }
    });
    let mut cycles_by_step = BTreeMap::new();
    for by_kind in counters.iter().flatten().filter_map(|c| c.by_kind) {
        for (kind, cycles) in step::Kind::ALL.into_iter().zip(by_kind) {
            if kind != step::Kind::End {
                *cycles_by_step.entry(kind.name().to_owned()).or_insert(0.0) +=
                    f64::from(cycles) / n;
            }
        }
    }
    cycles_by_step.retain(|_, cycles| *cycles > 0.0);
    let busy = counters
        .as_ref()
        .map(|counters| counters.iter().map(|c| c.busy as f64).sum::<f64>() / n);
    let error = cycles
        .as_ref()
        .zip(predicted.as_ref())
        .map(|(cycles, predicted)| {
            let pairs = cycles.by_position.iter().zip(predicted);
            pairs
                .map(|(&found, &said)| (said as f64 / found - 1.0).abs())
                .fold(0.0, f64::max)
        });
    let mean_cycles = cycles.as_ref().map(|c| c.mean);
    Report {
        backend: kind.name().into(),
        model: image.name.clone(),
        lanes,
        window,
        sinks: image.sinks(),
        temperature: sampling.temperature,
        seed: sampling.seed,
        tokens: samples.len(),
        positions: [from, reached],
        ideal_cycles: ideal_mean,
        ideal_cycles_full_ring: ideal(window - 1),
        ideal_cycles_by_position: (from..reached).map(ideal).collect(),
        predicted_cycles: predicted.map(|predicted| Predicted {
            mean: mean(&|s| predicted[s.position - from] as f64),
            by_position: predicted,
            largest_error: error,
        }),
        mac_utilization: mean_cycles.map(|cycles| ideal_mean / cycles),
        array_busy: busy.zip(mean_cycles).map(|(busy, cycles)| busy / cycles),
        cycles_by_step,
        tokens_per_second: rate,
        simulated_cycles_per_second: mean_cycles
            .filter(|_| kind == Kind::Sim)
            .map(|cycles| cycles * rate),
        on_board: None,
        evidence: if kind == Kind::Sim {
            "simulated"
        } else {
            "measured"
        }
        .into(),
        cycles_per_token: cycles,
    }
}

/// Why two reports cannot be compared, or what became worse.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Regression {
    /// Measured under other conditions.
    #[error("the baseline was measured with {name} {baseline}, this run with {found}: measure the baseline again")]
    Conditions {
        /// Which condition.
        name: &'static str,
        /// The baseline's.
        baseline: String,
        /// This run's.
        found: String,
    },
    /// It became worse.
    #[error("{what} went from {baseline:.1} to {found:.1}, which is {:.2}% worse: at most {:.2}% is allowed", worse * 100.0, allowed * 100.0)]
    Worse {
        /// Which figure.
        what: &'static str,
        /// The baseline's.
        baseline: f64,
        /// This run's.
        found: f64,
        /// By which part.
        worse: f64,
        /// Which part would be allowed.
        allowed: f64,
    },
}

impl Report {
    /// Hold this report to a baseline: cycles a token where there is a core, else
    /// tokens a second. Returns the part by which it became worse (negative: better).
    ///
    /// # Errors
    /// If it became worse by more than `allowed`, or the two cannot be compared.
    pub fn compare(&self, baseline: &Report, allowed: f64) -> Result<f64, Regression> {
        let conditions = |r: &Report| {
            [
                ("backend", r.backend.clone()),
                ("model", r.model.clone()),
                ("lanes", r.lanes.to_string()),
                ("window", r.window.to_string()),
                ("sinks", r.sinks.to_string()),
                (
                    "positions",
                    format!("{}..{}", r.positions[0], r.positions[1]),
                ),
            ]
        };
        for ((name, baseline), (_, found)) in conditions(baseline).into_iter().zip(conditions(self))
        {
            if baseline != found {
                return Err(Regression::Conditions {
                    name,
                    baseline,
                    found,
                });
            }
        }
        let (what, was, found, worse) = match (&baseline.cycles_per_token, &self.cycles_per_token) {
            (Some(was), Some(found)) => (
                "cycles per token",
                was.mean,
                found.mean,
                found.mean / was.mean - 1.0,
            ),
            _ => {
                let (was, found) = (baseline.tokens_per_second, self.tokens_per_second);
                ("tokens per second", was, found, was / found - 1.0)
            }
        };
        // A baseline that is no number allows nothing.
        if worse <= allowed {
            Ok(worse)
        } else {
            Err(Regression::Worse {
                what,
                baseline: was,
                found,
                worse,
                allowed,
            })
        }
    }
}
