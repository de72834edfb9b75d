//! Names as symbols: reading, the fixed split, and padded batches.

use std::fs;
use std::path::Path;

use anyhow::{ensure, Context, Result};
use candle_core::{Device, Tensor};
use rand::seq::SliceRandom;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

use super::weights::{BLOCK, BOS};

/// Seed of the shuffle before the split: the same for every run, so that the
/// held-out names are the same names for every model.
pub const SPLIT_SEED: u64 = 42;

/// One name: its letters as symbols 0 to 25.
pub type Name = Vec<u32>;

/// The names, shuffled with [`SPLIT_SEED`] and split.
pub struct Dataset {
    /// The first 90%.
    pub train: Vec<Name>,
    /// The last 10%, never trained on.
    pub held_out: Vec<Name>,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
}

impl Dataset {
    /// Reads a file of lower-case names, one a line.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("cannot read the names {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("in {}", path.display()))
    }

    /// Parses and splits lower-case names, one a line.
    pub fn parse(text: &str) -> Result<Self> {
        let mut names = Vec::new();
        for (number, line) in text.lines().enumerate() {
            ensure!(
                !line.is_empty() && line.bytes().all(|c| c.is_ascii_lowercase()),
                "line {} is not a name of the letters a to z",
                number + 1
            );
            names.push(line.bytes().map(|c| u32::from(c - b'a')).collect());
        }
        ensure!(
            names.len() >= 10,
            "{} names are too few to hold out a tenth",
            names.len()
        );
        names.shuffle(&mut ChaCha8Rng::seed_from_u64(SPLIT_SEED));
        let held_out = names.split_off(names.len() * 9 / 10);
        let sha256 = Sha256::digest(text)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Ok(Self {
            train: names,
            held_out,
            sha256,
        })
    }
}

/// Names side by side, padded to the longest among them.
pub struct Batch {
    /// Symbols, `names x positions`: BOS, then the letters, then padding.
    pub inputs: Tensor,
    /// The rows of `inputs`, flattened, that are not padding.
    pub rows: Tensor,
    /// The symbol that follows each of `rows`.
    pub targets: Tensor,
}

impl Batch {
    /// Lays `names` side by side. There are [`BLOCK`] positions: of a name of more than 15
    /// letters the first 16 are predicted, and its end is not.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a Name>) -> Result<Self> {
        let names: Vec<&Name> = names.into_iter().collect();
        let predictions = |name: &Name| (name.len() + 1).min(BLOCK);
        let width = names
            .iter()
            .map(|name| predictions(name))
            .max()
            .context("an empty batch")?;

        let mut inputs = vec![BOS; names.len() * width];
        let mut rows = Vec::new();
        let mut targets = Vec::new();
        for (index, name) in names.iter().enumerate() {
            let count = predictions(name);
            let start = index * width;
            inputs[start + 1..start + count].copy_from_slice(&name[..count - 1]);
            rows.extend((start as u32)..(start + count) as u32);
            targets.extend(name.iter().copied().chain([BOS]).take(count));
        }
        Ok(Self {
            inputs: Tensor::from_vec(inputs, (names.len(), width), &Device::Cpu)?,
            rows: Tensor::new(rows, &Device::Cpu)?,
            targets: Tensor::new(targets, &Device::Cpu)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.bytes().map(|c| u32::from(c - b'a')).collect()
    }

    #[test]
    fn a_batch_predicts_every_letter_and_the_end_and_no_padding() {
        let batch = Batch::new(&[name("ab"), name("cdef")]).unwrap();
        assert_eq!(
            batch.inputs.to_vec2::<u32>().unwrap(),
            [[BOS, 0, 1, BOS, BOS], [BOS, 2, 3, 4, 5]]
        );
        assert_eq!(
            batch.rows.to_vec1::<u32>().unwrap(),
            [0, 1, 2, 5, 6, 7, 8, 9]
        );
        assert_eq!(
            batch.targets.to_vec1::<u32>().unwrap(),
            [0, 1, BOS, 2, 3, 4, 5, BOS]
        );
    }

    #[test]
    fn a_name_that_fills_the_block_keeps_its_end_and_a_longer_one_loses_it() {
        let letters = "abcdefghijklmnopqr";
        let last_target = |length: usize| {
            let batch = Batch::new(&[name(&letters[..length])]).unwrap();
            let targets = batch.targets.to_vec1::<u32>().unwrap();
            assert_eq!(
                (batch.inputs.dims2().unwrap(), targets.len()),
                ((1, BLOCK), BLOCK)
            );
            targets[BLOCK - 1]
        };
        assert_eq!(last_target(15), BOS);
        assert_eq!(last_target(16), 15);
        assert_eq!(last_target(18), 15);
    }

    #[test]
    fn the_split_is_fixed_disjoint_and_complete() {
        let text: Vec<String> = (b'a'..=b'z').map(|c| char::from(c).to_string()).collect();
        let data = Dataset::parse(&text.join("\n")).unwrap();
        assert_eq!((data.train.len(), data.held_out.len()), (23, 3));
        let again = Dataset::parse(&text.join("\n")).unwrap();
        assert_eq!(data.held_out, again.held_out);
        let mut all: Vec<Name> = data.train.into_iter().chain(data.held_out).collect();
        all.sort();
        assert_eq!(all, (0..26).map(|c| vec![c]).collect::<Vec<_>>());
    }

    #[test]
    fn a_bad_line_is_named() {
        let error = Dataset::parse("anna\nBob\n").err().unwrap().to_string();
        assert!(error.contains("line 2"), "{error}");
        assert!(Dataset::parse("anna\n").is_err());
    }
}
