//! A model as microGPT's JSON: `metadata`, and `weights` as nested lists.

use std::fs;
use std::path::Path;

use anyhow::{ensure, Context, Result};
use candle_core::{Device, Tensor, Var};
use serde::{Deserialize, Serialize};

use super::model::MicroGpt;
use super::weights::{Weights, BLOCK, BOS, HEADS, HEAD_SIZE, SHAPES, VOCAB, WIDTH};

/// The file. Numbers are the shortest decimals that read back as the same float32.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// What the weights are.
    pub metadata: Metadata,
    /// The matrices, `[out][in]`.
    pub weights: Weights<Vec<Vec<f32>>>,
}

/// What the weights are. In the file the fields of both parts stand side by side.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// microGPT's own fields.
    #[serde(flatten)]
    pub shape: Shape,
    /// How the weights came about, where that is known.
    #[serde(flatten)]
    pub training: Option<Training>,
}

/// The model's shape, under microGPT's names.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Shape {
    uchars: Vec<char>,
    vocab_size: usize,
    n_embd: usize,
    n_layer: usize,
    n_head: usize,
    head_dim: usize,
    block_size: usize,
    #[serde(rename = "BOS")]
    bos: u32,
}

/// How the weights came about.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// Mean loss over the held-out names, in nats a symbol.
    pub held_out_loss: f64,
    /// The same over the names trained on.
    pub train_loss: f64,
    /// Training steps.
    pub steps: usize,
    /// Names a step.
    pub batch: usize,
    /// Peak learning rate.
    pub peak_rate: f64,
    /// Seed of the initial weights and the order of the names.
    pub seed: u64,
    /// Seed of the split.
    pub split_seed: u64,
    /// SHA-256 of the names.
    pub data_sha256: String,
    /// License of the weights, as an SPDX expression.
    pub license: String,
}

impl Shape {
    /// The one shape that this crate trains.
    pub fn ours() -> Self {
        Self {
            uchars: ('a'..='z').collect(),
            vocab_size: VOCAB,
            n_embd: WIDTH,
            n_layer: 1,
            n_head: HEADS,
            head_dim: HEAD_SIZE,
            block_size: BLOCK,
            bos: BOS,
        }
    }
}

impl Checkpoint {
    /// Takes the weights out of `model`.
    pub fn of(model: &MicroGpt, training: Training) -> Result<Self> {
        let weights = model.weights().try_map(|var| var.to_vec2())?;
        let metadata = Metadata {
            shape: Shape::ours(),
            training: Some(training),
        };
        Ok(Self { metadata, weights })
    }

    /// The model. Fails where its shape is not the one in [`super::weights`].
    pub fn model(&self) -> Result<MicroGpt> {
        ensure!(
            self.metadata.shape == Shape::ours(),
            "the metadata describes another shape"
        );
        let weights = self
            .weights
            .try_map(|rows| Var::from_tensor(&Tensor::new(rows.clone(), &Device::Cpu)?))?;
        ensure!(
            weights.try_map(|var| var.dims2())? == SHAPES,
            "the matrices have other shapes"
        );
        Ok(MicroGpt::new(weights))
    }

    /// Reads the file.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read(path)
            .with_context(|| format!("cannot read the checkpoint {}", path.display()))?;
        serde_json::from_slice(&text)
            .with_context(|| format!("{} is not a microGPT checkpoint", path.display()))
    }

    /// Writes the file.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string(self)? + "\n";
        fs::write(path, text)
            .with_context(|| format!("cannot write the checkpoint {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn checkpoint() -> Checkpoint {
        let model = MicroGpt::random(&mut ChaCha8Rng::seed_from_u64(7)).unwrap();
        let training = Training {
            held_out_loss: 2.1,
            train_loss: 1.0 / 3.0,
            steps: 10,
            batch: 2,
            peak_rate: 0.01,
            seed: 7,
            split_seed: 42,
            data_sha256: "0".repeat(64),
            license: "MIT".to_owned(),
        };
        Checkpoint::of(&model, training).unwrap()
    }

    #[test]
    fn json_keeps_every_bit() {
        let mut written = checkpoint();
        written.weights.wte[0][..4].copy_from_slice(&[
            f32::MIN_POSITIVE,
            -f32::MAX,
            1.0 + f32::EPSILON,
            f32::from_bits(1),
        ]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.json");
        written.write(&path).unwrap();
        let read = Checkpoint::read(&path).unwrap();
        assert_eq!(read, written);
        let weights = read
            .model()
            .unwrap()
            .weights()
            .try_map(|var| var.to_vec2())
            .unwrap();
        assert_eq!(weights, written.weights);
    }

    #[test]
    fn the_layout_is_microgpts() {
        let json = serde_json::to_value(checkpoint()).unwrap();
        let keys = |part: &str| -> Vec<String> {
            json[part].as_object().unwrap().keys().cloned().collect()
        };
        assert_eq!(
            keys("metadata")[..8],
            [
                "uchars",
                "vocab_size",
                "n_embd",
                "n_layer",
                "n_head",
                "head_dim",
                "block_size",
                "BOS"
            ]
        );
        assert_eq!(
            keys("weights"),
            [
                "wte",
                "wpe",
                "lm_head",
                "layer0.attn_wq",
                "layer0.attn_wk",
                "layer0.attn_wv",
                "layer0.attn_wo",
                "layer0.mlp_fc1",
                "layer0.mlp_fc2"
            ]
        );
        let numbers: usize = json["weights"]
            .as_object()
            .unwrap()
            .values()
            .flat_map(|matrix| matrix.as_array().unwrap())
            .map(|row| row.as_array().unwrap().len())
            .sum();
        assert_eq!(numbers, 4192);
    }

    #[test]
    fn another_shape_is_refused() {
        let mut short = checkpoint();
        short.weights.fc1.pop();
        assert!(short.model().is_err());

        let mut ragged = checkpoint();
        ragged.weights.wo[3].pop();
        assert!(ragged.model().is_err());

        let mut two_heads = checkpoint();
        two_heads.metadata.shape.n_head = 2;
        assert!(two_heads.model().is_err());
    }
}
