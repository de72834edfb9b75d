//! A text as characters: its symbols, the split, and batches from random places.

use std::fs;
use std::path::Path;

use anyhow::{ensure, Context, Result};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

/// A text, in symbols.
pub struct Text {
    /// Its characters in ascending order; symbol `i` stands for the `i`th.
    pub characters: Vec<char>,
    /// The first 90%.
    pub train: Vec<u32>,
    /// The last 10%, never trained on.
    pub validation: Vec<u32>,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
}

impl Text {
    /// Reads a UTF-8 file.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("cannot read the text {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("in {}", path.display()))
    }

    /// Splits a text into symbols and parts.
    pub fn parse(text: &str) -> Result<Self> {
        let mut characters: Vec<char> = text.chars().collect();
        characters.sort_unstable();
        characters.dedup();
        let symbols: Vec<u32> = text
            .chars()
            .map(|c| characters.partition_point(|&known| known < c) as u32)
            .collect();
        ensure!(
            symbols.len() >= 1000,
            "{} characters are too few to train on",
            symbols.len()
        );
        let split = symbols.len() * 9 / 10;
        let sha256 = Sha256::digest(text)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Ok(Self {
            characters,
            train: symbols[..split].to_vec(),
            validation: symbols[split..].to_vec(),
            sha256,
        })
    }
}

/// Sequences that lie one after another, and what follows each of their symbols.
pub struct Batch {
    /// The symbols.
    pub inputs: Vec<u32>,
    /// The symbol after each.
    pub targets: Vec<u32>,
}

impl Batch {
    /// The batch of a step: `sequences` of `positions` symbols from places that the
    /// seed and the step alone decide, so that a run can be taken up again anywhere.
    pub fn of_step(
        text: &[u32],
        sequences: usize,
        positions: usize,
        seed: u64,
        step: usize,
    ) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(1 + step as u64);
        let (mut inputs, mut targets) = (Vec::new(), Vec::new());
        for _ in 0..sequences {
            let at = rng.random_range(0..text.len() - positions);
            inputs.extend(&text[at..at + positions]);
            targets.extend(&text[at + 1..at + positions + 1]);
        }
        Self { inputs, targets }
    }
}
