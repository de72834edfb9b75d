//! The training run: warm-up, a plateau, a cosine down, and the last part with the
//! integer pipeline's rounding in the loop.

use std::f64::consts::PI;
use std::path::Path;

use anyhow::{ensure, Result};
use clap::Args;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::adamw::AdamW;
use super::balance::balance;
use super::checkpoint::{self, Progress};
use super::data::{Batch, Text};
use super::model::{Arithmetic, Llama, Shape};
use super::quant::WeightBits;
use crate::curve::CurvePoint;

/// Parts that the validation text is read in.
pub const STREAMS: usize = 8;
/// Where the learning rate ends, as a share of its peak.
const LAST_RATE: f64 = 0.01;

/// What a training run may choose; the defaults are the shipped model's.
#[derive(Args, Clone, Debug)]
pub struct Recipe {
    /// Training steps
    #[arg(long, default_value_t = 8_000)]
    pub steps: usize,
    /// Steps, the first ones, over which the learning rate rises
    #[arg(long, default_value_t = 500)]
    pub warmup: usize,
    /// Steps, the last ones, over which the learning rate falls
    #[arg(long, default_value_t = 4_500)]
    pub decay: usize,
    /// Steps, the last ones, with the integer pipeline's rounding in the loop
    #[arg(long, default_value_t = 1_200)]
    pub quantized: usize,
    /// Bits of the blocks' weights in those steps; the classifier's have 8
    #[arg(long, value_enum, default_value = "8")]
    pub weight_bits: WeightBits,
    /// Sequences a step
    #[arg(long, default_value_t = 16)]
    pub batch: usize,
    /// Symbols a sequence
    #[arg(long, default_value_t = 256)]
    pub positions: usize,
    /// Peak learning rate
    #[arg(long, default_value_t = 0.004)]
    pub peak_rate: f64,
    /// Width of the residual: 16 a head
    #[arg(long, default_value_t = 96)]
    pub dim: usize,
    /// Width of the hidden vector
    #[arg(long, default_value_t = 63)]
    pub hidden: usize,
    /// Blocks
    #[arg(long, default_value_t = 2)]
    pub layers: usize,
    /// Key and value heads
    #[arg(long, default_value_t = 2)]
    pub kv_heads: usize,
    /// Positions that a query sees
    #[arg(long, default_value_t = 128)]
    pub window: usize,
    /// Steps between measurements and checkpoints
    #[arg(long, default_value_t = 500)]
    pub interval: usize,
    /// Seed of the initial weights and of the batches
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

impl Recipe {
    /// The learning rate of a step, counted from 0.
    fn rate(&self, step: usize) -> f64 {
        let warmup = ((step + 1) as f64 / self.warmup.max(1) as f64).min(1.0);
        let start = self.steps.saturating_sub(self.decay);
        let done = step.saturating_sub(start) as f64 / self.decay.max(1) as f64;
        let cosine = LAST_RATE + (1.0 - LAST_RATE) * 0.5 * (1.0 + (PI * done).cos());
        self.peak_rate * warmup * cosine
    }

    /// The first step with rounding in the loop.
    fn first_quantized(&self) -> usize {
        self.steps.saturating_sub(self.quantized)
    }

    /// The numbers that a step computes with.
    fn arithmetic(&self, step: usize) -> Arithmetic {
        if step >= self.first_quantized() {
            Arithmetic::Integer(self.weight_bits)
        } else {
            Arithmetic::Float
        }
    }

    fn shape(&self, vocab_size: usize) -> Shape {
        Shape {
            hidden_size: self.dim,
            intermediate_size: self.hidden,
            num_hidden_layers: self.layers,
            num_attention_heads: self.dim / 16,
            num_key_value_heads: self.kv_heads,
            head_dim: 16,
            vocab_size,
            sliding_window: self.window,
            rms_norm_eps: 1e-5,
            rope_theta: 10_000.0,
        }
    }
}

/// Trains `start`, or a random model of the recipe's shape, or goes on with the run that
/// lies in `folder`, and leaves there the last state; the best of the quantized part
/// goes to `folder/best`.
/// `report` hears, after each step, how many are done and the curve so far.
pub fn run(
    text: &Text,
    recipe: &Recipe,
    start: Option<Llama>,
    folder: &Path,
    mut report: impl FnMut(usize, &[CurvePoint]),
) -> Result<Progress> {
    ensure!(
        recipe.steps > 0 && recipe.batch > 0 && recipe.interval > 0,
        "steps, batch and interval must be above 0"
    );
    ensure!(
        recipe.positions > 0 && recipe.positions < text.train.len(),
        "a sequence must be shorter than the text"
    );
    let shape = match &start {
        Some(start) => start.shape().clone(),
        None => recipe.shape(text.characters.len()),
    };
    let (model, mut optimizer, mut progress) = match checkpoint::read_run(folder)? {
        Some((model, optimizer, progress)) => {
            ensure!(
                *model.shape() == shape,
                "the run in {} is of another shape",
                folder.display()
            );
            (model, optimizer, progress)
        }
        None => {
            let model = match start {
                Some(start) => start,
                None => Llama::random(shape, &mut ChaCha8Rng::seed_from_u64(recipe.seed))?,
            };
            let optimizer = AdamW::new(model.named());
            (model, optimizer, Progress::default())
        }
    };
    let mut losses = Vec::with_capacity(recipe.interval);
    while progress.step < recipe.steps {
        let step = progress.step;
        let numbers = recipe.arithmetic(step);
        let batch = Batch::of_step(
            &text.train,
            recipe.batch,
            recipe.positions,
            recipe.seed,
            step,
        );
        if recipe.weight_bits == WeightBits::Four && step == recipe.first_quantized() {
            balance(&model, &batch.inputs, recipe.positions)?;
        }
        let loss = model.loss(&batch.inputs, &batch.targets, recipe.positions, numbers)?;
        optimizer.step(&loss.backward()?, recipe.rate(step), step)?;
        losses.push(f64::from(loss.to_scalar::<f32>()?));
        progress.step += 1;
        if progress.step.is_multiple_of(recipe.interval) || progress.step == recipe.steps {
            let held_out = model.mean_loss(&text.validation, STREAMS, numbers)?;
            progress.curve.push(CurvePoint {
                step: progress.step,
                train: losses.iter().sum::<f64>() / losses.len() as f64,
                held_out,
            });
            losses.clear();
            if numbers != Arithmetic::Float && progress.best.is_none_or(|best| held_out < best) {
                progress.best = Some(held_out);
                let best = folder.join("best");
                checkpoint::write_model(&best, &model, &text.characters, recipe.weight_bits)?;
            }
            let about = (&text.characters[..], recipe.weight_bits);
            checkpoint::write_run(folder, &model, about, &optimizer, &progress)?;
        }
        report(progress.step, &progress.curve);
    }
    Ok(progress)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn text() -> Text {
        let line = "The quality of mercy is not strained. It droppeth as the gentle rain!\n";
        Text::parse(&line.repeat(40)).unwrap()
    }

    fn recipe(steps: usize) -> Recipe {
        Recipe {
            steps,
            warmup: 500,
            decay: steps / 2,
            quantized: steps / 4,
            weight_bits: WeightBits::Eight,
            batch: 4,
            positions: 24,
            peak_rate: 0.01,
            dim: 32,
            hidden: 24,
            layers: 2,
            kv_heads: 1,
            window: 9,
            interval: 10,
            seed: 3,
        }
    }

    fn weights(folder: &Path) -> Vec<u8> {
        fs::read(folder.join("model.safetensors")).unwrap()
    }

    #[test]
    fn a_run_that_was_interrupted_ends_as_one_that_was_not() {
        let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let text = text();
        run(&text, &recipe(40), None, whole.path(), |_, _| {}).unwrap();
        // Stopped after 15 steps: what followed the checkpoint of step 10 is done again.
        let stopped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            run(&text, &recipe(40), None, parts.path(), |step, _| {
                assert!(step < 15)
            })
        }));
        assert!(stopped.is_err());
        let progress = run(&text, &recipe(40), None, parts.path(), |_, _| {}).unwrap();
        assert_eq!(weights(whole.path()), weights(parts.path()));
        assert_eq!(progress.curve.len(), 4);
        assert!(progress.best.is_some());
    }

    #[test]
    fn a_run_learns_and_its_seed_decides_every_bit() {
        let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
        let text = text();
        for (folder, seed) in folders.iter().zip([1, 1, 2]) {
            let recipe = Recipe {
                seed,
                ..recipe(120)
            };
            let progress = run(&text, &recipe, None, folder.path(), |_, _| {}).unwrap();
            let last = progress.curve.last().unwrap();
            assert!(last.held_out < 1.5, "{last:?}");
        }
        let [a, b, c] = [0, 1, 2].map(|i| weights(folders[i].path()));
        assert!(a == b && a != c);
    }

    #[test]
    fn tuning_wins_back_what_weights_of_4_bits_lose() {
        let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
        let [taught, tuned, again] = folders.each_ref().map(tempfile::TempDir::path);
        let text = text();
        run(&text, &recipe(120), None, taught, |_, _| {}).unwrap();
        let start = || checkpoint::read_model(taught).unwrap();
        let tuning = Recipe {
            steps: 60,
            warmup: 10,
            decay: 50,
            quantized: 60,
            weight_bits: WeightBits::Four,
            peak_rate: 0.002,
            // Not what the model has: its own shape is kept.
            dim: 48,
            ..recipe(0)
        };
        let [four, eight] = [WeightBits::Four, WeightBits::Eight].map(Arithmetic::Integer);
        let loss = |numbers| {
            start()
                .mean_loss(&text.validation, STREAMS, numbers)
                .unwrap()
        };
        let before = loss(four);
        assert!(loss(eight) < before);
        let progress = run(&text, &tuning, Some(start()), tuned, |_, _| {}).unwrap();
        assert!(progress.best.unwrap() < before, "{progress:?} {before}");
        run(&text, &tuning, Some(start()), again, |_, _| {}).unwrap();
        assert_eq!(weights(tuned), weights(again));
        let best = checkpoint::read_model(&tuned.join("best")).unwrap();
        let after = best.mean_loss(&text.validation, STREAMS, four).unwrap();
        assert_eq!(Some(after), progress.best);
    }

    #[test]
    fn the_rate_rises_holds_and_falls() {
        let recipe = Recipe {
            steps: 10_000,
            decay: 4_000,
            ..recipe(0)
        };
        assert!(recipe.rate(0) < 0.01 * recipe.peak_rate);
        assert_eq!(recipe.rate(recipe.warmup), recipe.peak_rate);
        assert_eq!(recipe.rate(5_999), recipe.peak_rate);
        assert!((recipe.rate(8_000) / recipe.peak_rate - 0.505).abs() < 1e-9);
        assert!(recipe.rate(9_999) < 0.011 * recipe.peak_rate);
    }
}
