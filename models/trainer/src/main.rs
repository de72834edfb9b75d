//! Trains the models that Annulus ships.
//!
//! `annulus-trainer names` trains a microGPT on a list of names, `annulus-trainer
//! shakespeare` a Llama of characters with a sliding window on a text. Candle
//! supplies tensors and gradients.

/// Keeps the pages of freed tensors, which the system's allocator returns and faults in at every step.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod chart;
mod curve;
mod llama;
mod names;

use std::env;

use anyhow::Result;
use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

#[derive(Parser)]
#[command(version, about = "Trains the models that Annulus ships")]
struct Cli {
    #[command(subcommand)]
    model: Model,
}

#[derive(Subcommand)]
enum Model {
    /// Train a microGPT on a list of names
    Names(names::Names),
    /// Train a Llama of characters on a text
    Shakespeare(llama::Shakespeare),
}

fn main() -> Result<()> {
    // Sums split over threads may round differently: one thread, before any starts.
    env::set_var("RAYON_NUM_THREADS", "1");
    match Cli::parse().model {
        Model::Names(names) => names.run(),
        Model::Shakespeare(shakespeare) => shakespeare.run(),
    }
}

/// A bar of `steps` steps.
fn progress(steps: usize) -> Result<ProgressBar> {
    let style = ProgressStyle::with_template("{bar:32} {pos}/{len} steps, {eta} left, {msg}")?;
    Ok(ProgressBar::new(steps as u64).with_style(style))
}
