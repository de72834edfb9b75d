//! microGPT's forward pass in float32.

use anyhow::Result;
use candle_core::{Device, Tensor, Var, D};
use candle_nn::{loss, ops};
use rand::distr::{weighted::WeightedIndex, Distribution};
use rand::Rng;
use rand_distr::Normal;

use super::data::{Batch, Name};
use super::weights::{Weights, BLOCK, BOS, HEADS, HEAD_SIZE, SHAPES, WIDTH};

/// Added to the mean square before the root.
const EPS: f64 = 1e-5;
/// Spread of the initial weights.
const INIT_STD: f32 = 0.08;
/// Names that the held-out loss takes at a time.
const EVAL_BATCH: usize = 1024;

/// Karpathy's microGPT: one layer, norms without gain, no biases, no final norm, untied head.
pub struct MicroGpt {
    weights: Weights<Var>,
}

impl MicroGpt {
    /// A model with weights drawn from a normal distribution.
    pub fn random(rng: &mut impl Rng) -> Result<Self> {
        let normal = Normal::new(0.0, INIT_STD)?;
        let weights = SHAPES.try_map(|&shape| {
            let values: Vec<f32> = normal
                .sample_iter(&mut *rng)
                .take(shape.0 * shape.1)
                .collect();
            Var::from_vec(values, shape, &Device::Cpu)
        })?;
        Ok(Self { weights })
    }

    /// A model with these weights, whose shapes must be [`SHAPES`].
    pub fn new(weights: Weights<Var>) -> Self {
        Self { weights }
    }

    /// The weights.
    pub fn weights(&self) -> &Weights<Var> {
        &self.weights
    }

    /// Logits, `rows x VOCAB`, at the flattened positions `rows` of `inputs`
    /// (`names x positions`). Attention needs whole names; what comes after it
    /// is computed for `rows` only.
    pub fn logits(&self, inputs: &Tensor, rows: &Tensor) -> Result<Tensor> {
        let w = &self.weights;
        let (names, positions) = inputs.dims2()?;
        let tokens = w
            .wte
            .embedding(&inputs.flatten_all()?)?
            .reshape((names, positions, WIDTH))?;
        let places = w.wpe.narrow(0, 0, positions)?;
        let x = tokens
            .broadcast_add(&places)?
            .reshape((names * positions, WIDTH))?;
        let x = rms_norm(&x)?;
        let mixed = self.attention(&rms_norm(&x)?, names, positions)?;
        let mixed = mixed.index_select(rows, 0)?.matmul(&w.wo.t()?)?;
        let x = (x.index_select(rows, 0)? + mixed)?;
        let hidden = rms_norm(&x)?.matmul(&w.fc1.t()?)?.relu()?;
        let x = (x + hidden.matmul(&w.fc2.t()?)?)?;
        Ok(x.matmul(&w.lm_head.t()?)?)
    }

    /// Causal attention over `x` (`names * positions x WIDTH`), before its output matrix.
    fn attention(&self, x: &Tensor, names: usize, positions: usize) -> Result<Tensor> {
        let w = &self.weights;
        let heads = |matrix: &Tensor| -> Result<Tensor> {
            let split = x
                .matmul(&matrix.t()?)?
                .reshape((names, positions, HEADS, HEAD_SIZE))?;
            Ok(split.transpose(1, 2)?.contiguous()?)
        };
        let (q, k, v) = (heads(&w.wq)?, heads(&w.wk)?, heads(&w.wv)?);
        let scores = (q.matmul(&k.t()?)? / (HEAD_SIZE as f64).sqrt())?;
        let shares = ops::softmax(&scores.broadcast_add(&causal_mask(positions)?)?, D::Minus1)?;
        let mixed = shares.matmul(&v)?.transpose(1, 2)?;
        Ok(mixed.reshape((names * positions, WIDTH))?)
    }

    /// Mean loss, in nats a symbol, with its gradients' graph.
    pub fn loss(&self, batch: &Batch) -> Result<Tensor> {
        Ok(loss::cross_entropy(
            &self.logits(&batch.inputs, &batch.rows)?,
            &batch.targets,
        )?)
    }

    /// Mean loss over every predicted symbol of `names`, ends included, in nats.
    pub fn mean_loss(&self, names: &[Name]) -> Result<f64> {
        let mut sum = 0.0;
        let mut count = 0;
        for names in names.chunks(EVAL_BATCH) {
            let batch = Batch::new(names)?;
            let symbols = batch.targets.elem_count();
            sum += f64::from(self.loss(&batch)?.to_scalar::<f32>()?) * symbols as f64;
            count += symbols;
        }
        Ok(sum / count as f64)
    }

    /// Writes one name.
    pub fn sample(&self, temperature: f32, rng: &mut impl Rng) -> Result<String> {
        let mut symbols = vec![BOS];
        while symbols.len() <= BLOCK {
            let inputs = Tensor::new(symbols.as_slice(), &Device::Cpu)?.unsqueeze(0)?;
            let last = Tensor::new(&[symbols.len() as u32 - 1], &Device::Cpu)?;
            let logits = (self.logits(&inputs, &last)?.squeeze(0)? / f64::from(temperature))?;
            let shares = ops::softmax(&logits, 0)?.to_vec1::<f32>()?;
            match WeightedIndex::new(shares)?.sample(rng) as u32 {
                BOS => break,
                letter => symbols.push(letter),
            }
        }
        Ok(symbols[1..]
            .iter()
            .map(|&letter| char::from(b'a' + letter as u8))
            .collect())
    }
}

/// Divides each row by its root mean square.
fn rms_norm(x: &Tensor) -> Result<Tensor> {
    let mean_square = x.sqr()?.mean_keepdim(D::Minus1)?;
    Ok(x.broadcast_div(&(mean_square + EPS)?.sqrt()?)?)
}

/// 0 where a position (row) may look and minus infinity in its future.
fn causal_mask(positions: usize) -> Result<Tensor> {
    let mask: Vec<f32> = (0..positions * positions)
        .map(|i| {
            if i % positions > i / positions {
                f32::NEG_INFINITY
            } else {
                0.0
            }
        })
        .collect();
    Ok(Tensor::from_vec(
        mask,
        (positions, positions),
        &Device::Cpu,
    )?)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::names::weights::{HIDDEN, VOCAB};

    type Matrix = Vec<Vec<f32>>;

    fn times(matrix: &Matrix, x: &[f32]) -> Vec<f32> {
        matrix
            .iter()
            .map(|row| row.iter().zip(x).map(|(w, x)| w * x).sum())
            .collect()
    }

    fn normalized(x: &[f32]) -> Vec<f32> {
        let mean_square = x.iter().map(|x| x * x).sum::<f32>() / x.len() as f32;
        x.iter().map(|x| x / (mean_square + 1e-5).sqrt()).collect()
    }

    fn plus(a: &[f32], b: &[f32]) -> Vec<f32> {
        a.iter().zip(b).map(|(a, b)| a + b).collect()
    }

    /// microGPT as its author writes it: one symbol at a time, with a cache of keys and values.
    fn reference(w: &Weights<Matrix>, symbols: &[u32]) -> Matrix {
        let (mut keys, mut values) = (Matrix::new(), Matrix::new());
        let mut logits = Matrix::new();
        for (position, &symbol) in symbols.iter().enumerate() {
            let x = normalized(&plus(&w.wte[symbol as usize], &w.wpe[position]));
            let normed = normalized(&x);
            let q = times(&w.wq, &normed);
            keys.push(times(&w.wk, &normed));
            values.push(times(&w.wv, &normed));
            let mut mixed = vec![0.0; WIDTH];
            for head in 0..HEADS {
                let columns = head * HEAD_SIZE..(head + 1) * HEAD_SIZE;
                let powers: Vec<f32> = keys
                    .iter()
                    .map(|k| columns.clone().map(|c| q[c] * k[c]).sum::<f32>() / 2.0)
                    .map(f32::exp)
                    .collect();
                let total: f32 = powers.iter().sum();
                for (power, v) in powers.iter().zip(&values) {
                    columns
                        .clone()
                        .for_each(|c| mixed[c] += power / total * v[c]);
                }
            }
            let x = plus(&x, &times(&w.wo, &mixed));
            let hidden: Vec<f32> = times(&w.fc1, &normalized(&x))
                .into_iter()
                .map(|h| h.max(0.0))
                .collect();
            assert_eq!(hidden.len(), HIDDEN);
            let x = plus(&x, &times(&w.fc2, &hidden));
            logits.push(times(&w.lm_head, &x));
        }
        logits
    }

    #[test]
    fn logits_of_a_padded_batch_are_those_of_one_symbol_at_a_time() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let model = MicroGpt::random(&mut rng).unwrap();
        // Larger weights, so that attention is far from uniform.
        model
            .weights()
            .try_map(|var| var.set(&(var.as_tensor() * 6.0)?))
            .unwrap();
        let weights = model.weights().try_map(|var| var.to_vec2()).unwrap();

        let names: [Name; 3] = [vec![0], (0..15).collect(), vec![12, 0, 17, 24]];
        let batch = Batch::new(&names).unwrap();
        let logits = model
            .logits(&batch.inputs, &batch.rows)
            .unwrap()
            .to_vec2::<f32>()
            .unwrap();
        let expected: Matrix = names
            .iter()
            .flat_map(|name| reference(&weights, &[&[BOS], name.as_slice()].concat()))
            .collect();
        assert_eq!((logits.len(), expected.len()), (23, 23));
        for (logits, expected) in logits.iter().zip(&expected) {
            assert_eq!((logits.len(), expected.len()), (VOCAB, VOCAB));
            for (logit, expected) in logits.iter().zip(expected) {
                assert!((logit - expected).abs() < 1e-3, "{logit} is not {expected}");
            }
        }
    }

    #[test]
    fn the_loss_counts_symbols_not_names_or_batches() {
        let model = MicroGpt::random(&mut ChaCha8Rng::seed_from_u64(4)).unwrap();
        let names: Vec<Name> = (0..2 * EVAL_BATCH)
            .map(|i| vec![(i % 26) as u32; i % 15 + 1])
            .collect();
        let (mut sum, mut count) = (0.0, 0);
        for name in &names {
            let symbols = name.len() + 1;
            sum += model.mean_loss(std::slice::from_ref(name)).unwrap() * symbols as f64;
            count += symbols;
        }
        let loss = model.mean_loss(&names).unwrap();
        assert!((loss - sum / f64::from(count as u32)).abs() < 1e-5);
    }

    #[test]
    fn names_are_letters_that_fit_the_block() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let model = MicroGpt::random(&mut rng).unwrap();
        for _ in 0..50 {
            let name = model.sample(1.0, &mut rng).unwrap();
            assert!(
                name.len() <= BLOCK && name.bytes().all(|c| c.is_ascii_lowercase()),
                "{name}"
            );
        }
    }
}
