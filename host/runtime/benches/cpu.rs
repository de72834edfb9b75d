//! The `cpu` engine's rate beside that of a float32 loop, in runs that take
//! turns, so that both meet the same machine.
//!
//! `ANNULUS_DATA=... cargo bench -p annulus-runtime --bench cpu`

#[path = "../tests/data/mod.rs"]
mod data;
mod float32;

use annulus_contract::sample::{Gumbel, Key};
use annulus_model::float::{FloatModel, FloatState};
use annulus_model::model::Model;
use annulus_runtime::cpu::{CpuEngine, InstructionSet};
use cpu_time::ThreadTime;

use float32::Float32;

/// Runs of each contestant; the median counts.
const RUNS: usize = 31;

fn main() {
    if let Some(model) = data::model("stories260K.bin") {
        stories(&model);
    }
    if let Some(model) = data::model("microgpt-karpathy.json") {
        microgpt(&model);
    }
}

/// Greedy text at positions 0 to 255 with a window of 512.
fn stories(model: &Model) {
    const POSITIONS: usize = 256;
    let float = model
        .float
        .as_ref()
        .expect("a checkpoint holds float32 weights");
    check_float32(float);
    let mut engines: Vec<CpuEngine> = InstructionSet::available()
        .into_iter()
        .map(|set| {
            CpuEngine::with_instructions(set, &model.quant, 512, 0).expect("a model that fits")
        })
        .collect();
    let mut float32 = Float32::new(float, POSITIONS);
    let mut rates = vec![Vec::new(); engines.len() + 1];
    for _ in 0..RUNS {
        for (engine, rates) in engines.iter_mut().zip(&mut rates[1..]) {
            engine.reset();
            rates.push(rate(POSITIONS, model.bos, |token| {
                engine.step(token).expect("a token of the vocabulary");
                engine.greedy()
            }));
        }
        float32.reset();
        rates[0].push(rate(POSITIONS, model.bos, |token| {
            let logits = float32.step(token);
            let mut best = 0;
            for (i, &logit) in logits.iter().enumerate() {
                if logit > logits[best] {
                    best = i;
                }
            }
            best as u32
        }));
    }
    println!("stories260K, greedy, positions 0 to 255, tokens/s of {RUNS} runs:");
    let (float_rate, best) = summary(&mut rates[0]);
    println!(
        "  {:<14}median {float_rate:>9.0}   best {best:>9.0}",
        "float32"
    );
    for (engine, rates) in engines.iter().zip(&mut rates[1..]) {
        let (rate, best) = summary(rates);
        let (name, times) = (engine.instructions().name(), rate / float_rate);
        println!("  {name:<14}median {rate:>9.0}   best {best:>9.0}   {times:.2} x float32");
    }
}

/// Names at a temperature of 1, restarting as the model does.
fn microgpt(model: &Model) {
    const TOKENS: usize = 20_000;
    let gumbel = Gumbel {
        it: 1477,
        key: Key::from(1),
        logit_bits: model.quant.logit_bits.into(),
    };
    println!("microGPT, temperature 1, tokens/s of {RUNS} runs:");
    for set in InstructionSet::available() {
        let mut engine = CpuEngine::with_instructions(set, &model.quant, model.trained_window, 0)
            .expect("a model that fits");
        let mut run = || {
            engine.reset();
            let mut step = 0;
            rate(TOKENS, model.bos, |token| {
                engine.step(token).expect("a token of the vocabulary");
                let next = engine.sample(gumbel, step);
                step += 1;
                if Some(next) == model.restart {
                    engine.reset();
                    step = 0;
                }
                next
            })
        };
        let mut rates: Vec<f64> = (0..RUNS).map(|_| run()).collect();
        let (rate, best) = summary(&mut rates);
        println!("  {:<14}median {rate:>9.0}   best {best:>9.0}", set.name());
    }
}

/// Tokens a second of processor time, so that other programs count little, in
/// `n` steps, each given the token that the last one chose.
fn rate(n: usize, first: u32, mut step: impl FnMut(u32) -> u32) -> f64 {
    let start = ThreadTime::now();
    let mut token = first;
    for _ in 0..n {
        token = step(token);
    }
    std::hint::black_box(token);
    n as f64 / start.elapsed().as_secs_f64()
}

/// Median and largest.
fn summary(rates: &mut [f64]) -> (f64, f64) {
    rates.sort_by(f64::total_cmp);
    (rates[rates.len() / 2], rates[rates.len() - 1])
}

/// The loop must compute what it is timed for: logits of the float32 reference.
fn check_float32(model: &FloatModel) {
    let mut reference = FloatState::new(model, 512, 0).expect("a model that fits");
    let mut float32 = Float32::new(model, 64);
    for t in 0..64 {
        let token = 1 + t * 7 % 500;
        let expected = reference.step(token).expect("a token of the vocabulary");
        for (found, expected) in float32.step(token).iter().zip(expected) {
            assert!((found - expected).abs() < 1e-3, "{found} is not {expected}");
        }
    }
}
