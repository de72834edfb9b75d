//! Free scalings of channels, as the quantizer chooses them, made before training with
//! grouped weights begins.
//!
//! A hidden unit, and a value, may be scaled where it is written if what reads it takes
//! the inverse. The quantizer does so by powers of two, by how strong channels are and how
//! strongly they are read. A row's scale takes that up; columns of a group share one, so a
//! group so scaled is not the one that was trained. In a model that is balanced
//! already all channels ask the same factor of the quantizer, and groups stay as they are.

use anyhow::Result;
use candle_core::{Tensor, Var, D};

use super::attention::HEAD_SIZE;
use super::model::{Arithmetic, Llama};

/// Power below which a channel is left alone.
const LEAST_POWER: f64 = 1e-20;

/// Scales the channels of `model` by what they become on sequences of `positions`
/// symbols. The model computes the same as before.
pub fn balance(model: &Llama, symbols: &[u32], positions: usize) -> Result<()> {
    let shape = model.shape();
    let (kv, dim) = (shape.num_key_value_heads, shape.hidden_size);
    let values = kv * HEAD_SIZE;
    model.observed_logits(symbols, positions, Arithmetic::Float, |block, vectors| {
        let factors = factors(&vectors.hidden, &column_powers(&block.down)?)?;
        scale(&block.up, &factors.unsqueeze(1)?)?;
        scale(&block.down, &factors.recip()?)?;

        // The query heads that read a value have the same factor.
        let group = dim / values;
        let read = column_powers(&block.o)?.reshape((kv, group, HEAD_SIZE))?;
        let written = vectors.qkv.narrow(D::Minus1, dim + values, values)?;
        let factors = self::factors(&written, &read.sum(1)?.flatten_all()?)?;
        scale(&block.v, &factors.unsqueeze(1)?)?;
        let columns = factors.recip()?.reshape((kv, 1, HEAD_SIZE))?;
        let columns = columns
            .broadcast_as((kv, group, HEAD_SIZE))?
            .flatten_all()?;
        scale(&block.o, &columns)
    })?;
    Ok(())
}

/// Sum of each column's squares.
fn column_powers(matrix: &Var) -> Result<Tensor> {
    Ok(matrix.sqr()?.sum(0)?)
}

/// What makes each channel, a column of `vectors`, as strong as it is read.
fn factors(vectors: &Tensor, read: &Tensor) -> Result<Tensor> {
    let written = vectors.sqr()?.mean(0)?.maximum(LEAST_POWER)?;
    Ok((read.maximum(LEAST_POWER)? / written)?.powf(0.25)?)
}

fn scale(matrix: &Var, by: &Tensor) -> Result<()> {
    Ok(matrix.set(&matrix.broadcast_mul(by)?.detach())?)
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::super::model::Shape;
    use super::*;

    #[test]
    fn a_balanced_model_computes_the_same_and_asks_for_nothing_more() {
        let shape = Shape {
            hidden_size: 64,
            intermediate_size: 24,
            num_hidden_layers: 2,
            num_attention_heads: 4,
            num_key_value_heads: 2,
            head_dim: HEAD_SIZE,
            vocab_size: 20,
            sliding_window: 10,
            rms_norm_eps: 1e-5,
            rope_theta: 10_000.0,
        };
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let model = Llama::random(shape, &mut rng).unwrap();
        let symbols: Vec<u32> = (0..120).map(|_| rng.random_range(0..20)).collect();
        let seen = || {
            let mut asked = Vec::new();
            let logits = model
                .observed_logits(&symbols, 40, Arithmetic::Float, |block, vectors| {
                    let factors = factors(&vectors.hidden, &column_powers(&block.down)?)?;
                    asked.extend(factors.to_vec1::<f32>()?);
                    Ok(())
                })
                .unwrap();
            let logits: Vec<f32> = logits.flatten_all().unwrap().to_vec1().unwrap();
            (logits, asked)
        };
        let (before, unbalanced) = seen();
        balance(&model, &symbols, 40).unwrap();
        let (after, balanced) = seen();
        assert!(unbalanced.iter().any(|f| (f - 1.0).abs() > 0.2));
        assert!(balanced.iter().all(|f| (f - 1.0).abs() < 1e-3));
        for (before, after) in before.iter().zip(&after) {
            assert!((before - after).abs() < 1e-4, "{before} {after}");
        }
    }
}
