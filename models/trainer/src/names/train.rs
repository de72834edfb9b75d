//! The training loop: AdamW, a warm-up and a cosine decay.

use std::f64::consts::PI;

use anyhow::{ensure, Result};
use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use clap::Args;
use rand::seq::SliceRandom;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::data::{Batch, Dataset, Name};
use super::model::MicroGpt;
use crate::curve::CurvePoint;

/// Steps over which the learning rate rises to the cosine.
const WARMUP: usize = 200;

/// Points on the loss curve.
const CURVE_POINTS: usize = 120;

/// What a training run may choose; the defaults are the shipped model's.
#[derive(Args, Clone, Debug)]
pub struct Recipe {
    /// Training steps
    #[arg(long, default_value_t = 200_000)]
    pub steps: usize,
    /// Names a step
    #[arg(long, default_value_t = 64)]
    pub batch: usize,
    /// Peak learning rate
    #[arg(long, default_value_t = 0.01)]
    pub peak_rate: f64,
}

impl Recipe {
    /// The learning rate of a step, counted from 0.
    fn rate(&self, step: usize) -> f64 {
        let warmup = ((step + 1) as f64 / WARMUP as f64).min(1.0);
        let cosine = 0.5 * (1.0 + (PI * step as f64 / self.steps as f64).cos());
        self.peak_rate * warmup * cosine
    }
}

/// What a training run yields.
pub struct Trained {
    /// The model after the last step.
    pub model: MicroGpt,
    /// The losses on the way.
    pub curve: Vec<CurvePoint>,
}

/// Trains a new model. `report` hears, after each step, how many are done and the curve so far.
pub fn run(
    data: &Dataset,
    recipe: &Recipe,
    seed: u64,
    mut report: impl FnMut(usize, &[CurvePoint]),
) -> Result<Trained> {
    let mut trainer = Trainer::new(&data.train, recipe.clone(), seed)?;
    let interval = recipe.steps.div_ceil(CURVE_POINTS).max(1);
    let mut curve = Vec::new();
    let mut losses = Vec::with_capacity(interval);
    for step in 1..=recipe.steps {
        losses.push(f64::from(trainer.step()?));
        if step % interval == 0 || step == recipe.steps {
            curve.push(CurvePoint {
                step,
                train: losses.iter().sum::<f64>() / losses.len() as f64,
                held_out: trainer.model.mean_loss(&data.held_out)?,
            });
            losses.clear();
        }
        report(step, &curve);
    }
    let model = trainer.model;
    Ok(Trained { model, curve })
}

/// A model in training.
struct Trainer<'a> {
    model: MicroGpt,
    optimizer: AdamW,
    recipe: Recipe,
    order: Order<'a>,
    step: usize,
}

impl<'a> Trainer<'a> {
    /// A new model, about to see `names`. Everything random comes from `seed`.
    fn new(names: &'a [Name], recipe: Recipe, seed: u64) -> Result<Self> {
        ensure!(
            recipe.steps > 0 && recipe.batch > 0,
            "steps and batch must be above 0"
        );
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let model = MicroGpt::random(&mut rng)?;
        let vars = model.weights().each().into_iter().cloned().collect();
        let optimizer = AdamW::new(vars, ParamsAdamW::default())?;
        Ok(Self {
            model,
            optimizer,
            recipe,
            order: Order::new(names, rng),
            step: 0,
        })
    }

    /// One step; returns the batch's loss before it.
    fn step(&mut self) -> Result<f32> {
        let batch = Batch::new(self.order.by_ref().take(self.recipe.batch))?;
        let loss = self.model.loss(&batch)?;
        self.optimizer
            .set_learning_rate(self.recipe.rate(self.step));
        self.optimizer.backward_step(&loss)?;
        self.step += 1;
        Ok(loss.to_scalar()?)
    }
}

/// The names without end, shuffled anew each time round.
struct Order<'a> {
    names: Vec<&'a Name>,
    next: usize,
    rng: ChaCha8Rng,
}

impl<'a> Order<'a> {
    fn new(names: &'a [Name], rng: ChaCha8Rng) -> Self {
        let names: Vec<&Name> = names.iter().collect();
        Self {
            next: names.len(),
            names,
            rng,
        }
    }
}

impl<'a> Iterator for Order<'a> {
    type Item = &'a Name;

    fn next(&mut self) -> Option<&'a Name> {
        if self.next == self.names.len() {
            self.names.shuffle(&mut self.rng);
            self.next = 0;
        }
        let name = self.names.get(self.next)?;
        self.next += 1;
        Some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<Name> {
        [
            "emma", "olivia", "ava", "isabella", "sophia", "mia", "amelia", "luna",
        ]
        .map(|name| name.bytes().map(|c| u32::from(c - b'a')).collect())
        .to_vec()
    }

    fn recipe(steps: usize) -> Recipe {
        Recipe {
            steps,
            batch: 8,
            peak_rate: 0.01,
        }
    }

    #[test]
    fn a_step_along_the_gradient_lowers_the_loss() {
        let names = names();
        let mut trainer = Trainer::new(&names, recipe(1000), 1).unwrap();
        let before = trainer.model.mean_loss(&names).unwrap();
        assert!((f64::from(trainer.step().unwrap()) - before).abs() < 1e-5);
        let after = trainer.model.mean_loss(&names).unwrap();
        assert!(after < before, "{after} is not below {before}");
        for _ in 0..200 {
            trainer.step().unwrap();
        }
        assert!(trainer.model.mean_loss(&names).unwrap() < 1.0);
    }

    #[test]
    fn the_seed_decides_every_bit() {
        let names = names();
        let weights = |seed| {
            let mut trainer = Trainer::new(&names, recipe(20), seed).unwrap();
            for _ in 0..20 {
                trainer.step().unwrap();
            }
            trainer
                .model
                .weights()
                .try_map(|var| var.to_vec2::<f32>())
                .unwrap()
        };
        assert_eq!(weights(1), weights(1));
        assert_ne!(weights(1), weights(2));
    }

    #[test]
    fn the_rate_warms_up_and_decays_to_nothing() {
        let recipe = recipe(10_000);
        assert!(recipe.rate(0) < 0.01 * recipe.rate(WARMUP));
        assert!((recipe.rate(WARMUP) / recipe.peak_rate - 1.0).abs() < 0.01);
        assert!((recipe.rate(5_000) / recipe.peak_rate - 0.5).abs() < 0.01);
        assert!(recipe.rate(9_999) < 1e-6 * recipe.peak_rate);
    }

    #[test]
    fn each_time_round_takes_every_name_once() {
        let names = names();
        let mut order = Order::new(&names, ChaCha8Rng::seed_from_u64(1));
        let mut round = || {
            order
                .by_ref()
                .take(names.len())
                .cloned()
                .collect::<Vec<_>>()
        };
        let (first, second) = (round(), round());
        assert_ne!(first, second);
        for mut round in [first, second] {
            round.sort();
            let mut sorted = names.clone();
            sorted.sort();
            assert_eq!(round, sorted);
        }
    }
}
