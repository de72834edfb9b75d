//! AdamW whose state can be saved, with the gradient's norm clipped.

use anyhow::{Context, Result};
use candle_core::{backprop::GradStore, Tensor, Var};

/// Decay of the mean of gradients.
const BETA1: f64 = 0.9;
/// Decay of the mean of their squares.
const BETA2: f64 = 0.99;
const EPS: f64 = 1e-8;
/// Decay of the weights, times the learning rate.
const WEIGHT_DECAY: f64 = 0.05;
/// Norm to which a larger gradient is scaled down.
const CLIP: f64 = 1.0;

/// One parameter and the moments of its gradient.
pub struct Parameter {
    /// Its name in the checkpoint.
    pub name: String,
    /// The weights.
    pub var: Var,
    /// Mean of the gradients.
    pub mean: Vec<f32>,
    /// Mean of their squares.
    pub square: Vec<f32>,
}

/// The optimizer.
pub struct AdamW {
    /// All that it changes.
    pub parameters: Vec<Parameter>,
}

impl AdamW {
    /// An optimizer of these variables that has seen no gradient.
    pub fn new(vars: impl IntoIterator<Item = (String, Var)>) -> Self {
        let parameter = |(name, var): (String, Var)| {
            let count = var.elem_count();
            Parameter {
                name,
                var,
                mean: vec![0.0; count],
                square: vec![0.0; count],
            }
        };
        Self {
            parameters: vars.into_iter().map(parameter).collect(),
        }
    }

    /// The step of number `step`, counted from 0, along `gradients`.
    pub fn step(&mut self, gradients: &GradStore, rate: f64, step: usize) -> Result<()> {
        let all: Vec<Vec<f32>> = self
            .parameters
            .iter()
            .map(|p| {
                let gradient = gradients
                    .get(&p.var)
                    .with_context(|| format!("{} has no gradient", p.name))?;
                Ok(gradient.flatten_all()?.to_vec1()?)
            })
            .collect::<Result<_>>()?;
        let norm = all
            .iter()
            .flatten()
            .map(|&g| f64::from(g).powi(2))
            .sum::<f64>()
            .sqrt();
        let scale = (CLIP / norm.max(CLIP)) as f32;
        let steps = step as i32 + 1;
        let (bias1, bias2) = (1.0 - BETA1.powi(steps), 1.0 - BETA2.powi(steps));
        for (p, gradient) in self.parameters.iter_mut().zip(&all) {
            let mut w: Vec<f32> = p.var.flatten_all()?.to_vec1()?;
            // Gains are kept where they are: decay is for matrices.
            let decay = if p.var.rank() > 1 {
                rate * WEIGHT_DECAY
            } else {
                0.0
            };
            for (((w, g), m), v) in w
                .iter_mut()
                .zip(gradient)
                .zip(&mut p.mean)
                .zip(&mut p.square)
            {
                let g = g * scale;
                *m += (1.0 - BETA1 as f32) * (g - *m);
                *v += (1.0 - BETA2 as f32) * (g * g - *v);
                let step = f64::from(*m) / bias1 / ((f64::from(*v) / bias2).sqrt() + EPS);
                *w = (f64::from(*w) * (1.0 - decay) - rate * step) as f32;
            }
            p.var
                .set(&Tensor::from_vec(w, p.var.shape(), p.var.device())?)?;
        }
        Ok(())
    }
}
