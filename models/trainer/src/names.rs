//! A microGPT of names.

mod checkpoint;
mod data;
mod model;
mod train;
mod weights;

use std::path::{Path, PathBuf};

use anyhow::{bail, ensure, Result};
use clap::{Args, Subcommand};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::{chart, progress};
use checkpoint::{Checkpoint, Training};
use data::Dataset;
use train::Recipe;

/// Loss curve's range in nats; the first steps, above it, are left out.
const DRAWN: std::ops::Range<f64> = 2.0..2.4;

/// What to do with a microGPT.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Names {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    train: Option<TrainArgs>,
    #[command(flatten)]
    recipe: Recipe,
}

#[derive(Subcommand)]
enum Action {
    /// Recompute the held-out loss of a checkpoint
    Eval(EvalArgs),
    /// Write names
    Sample(SampleArgs),
}

#[derive(Args)]
struct EvalArgs {
    /// microGPT checkpoint (JSON)
    #[arg(long)]
    model: PathBuf,
    /// Names, one a line
    #[arg(long)]
    data: PathBuf,
}

#[derive(Args)]
struct SampleArgs {
    /// microGPT checkpoint (JSON)
    #[arg(long)]
    model: PathBuf,
    /// How many names
    #[arg(long, short = 'n', default_value_t = 20)]
    count: usize,
    /// Seed of the choices
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Temperature, above 0
    #[arg(long, default_value_t = 0.8)]
    temperature: f32,
}

#[derive(Args)]
struct TrainArgs {
    /// Names, one a line
    #[arg(long)]
    data: PathBuf,
    /// The checkpoint to write; the loss curve goes beside it as `loss.svg`
    #[arg(long)]
    out: PathBuf,
    /// Seed of the initial weights and of the order of the names
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl Names {
    /// Trains, measures or samples.
    pub fn run(self) -> Result<()> {
        match (self.action, self.train) {
            (Some(Action::Eval(args)), _) => eval(&args),
            (Some(Action::Sample(args)), _) => sample(&args),
            (None, Some(args)) => train(&args, self.recipe),
            (None, None) => bail!("training needs --data and --out"),
        }
    }
}

fn eval(args: &EvalArgs) -> Result<()> {
    let model = Checkpoint::read(&args.model)?.model()?;
    let held_out = Dataset::read(&args.data)?.held_out;
    let loss = model.mean_loss(&held_out)?;
    println!("held-out loss {loss:.4} nats over {} names", held_out.len());
    Ok(())
}

fn sample(args: &SampleArgs) -> Result<()> {
    let temperature = args.temperature;
    ensure!(
        temperature > 0.0,
        "temperature {temperature} is not above 0"
    );
    let model = Checkpoint::read(&args.model)?.model()?;
    let mut rng = ChaCha8Rng::seed_from_u64(args.seed);
    for _ in 0..args.count {
        println!("{}", model.sample(temperature, &mut rng)?);
    }
    Ok(())
}

fn train(args: &TrainArgs, recipe: Recipe) -> Result<()> {
    let data = Dataset::read(&args.data)?;
    let folder = args.out.parent().unwrap_or(Path::new(""));
    // Asked now, not after minutes of training.
    ensure!(
        folder == Path::new("") || folder.is_dir(),
        "there is no folder {}",
        folder.display()
    );

    let progress = progress(recipe.steps)?;
    let trained = train::run(&data, &recipe, args.seed, |step, curve| {
        progress.set_position(step as u64);
        if let Some(point) = curve.last() {
            progress.set_message(format!("held-out loss {:.4}", point.held_out));
        }
    })?;
    progress.finish();

    let held_out_loss = trained.model.mean_loss(&data.held_out)?;
    println!(
        "held-out loss {held_out_loss:.4} nats after {} steps",
        recipe.steps
    );
    let training = Training {
        held_out_loss,
        train_loss: trained.model.mean_loss(&data.train)?,
        steps: recipe.steps,
        batch: recipe.batch,
        peak_rate: recipe.peak_rate,
        seed: args.seed,
        split_seed: data::SPLIT_SEED,
        data_sha256: data.sha256,
        license: env!("CARGO_PKG_LICENSE").to_owned(),
    };
    Checkpoint::of(&trained.model, training)?.write(&args.out)?;
    chart::write(&trained.curve, DRAWN, &args.out.with_file_name("loss.svg"))
}

#[cfg(test)]
mod tests {
    use std::env;

    use super::*;

    /// What the project promises of the model it ships, in nats a symbol.
    const PROMISED_LOSS: f64 = 2.12;

    #[test]
    fn the_shipped_model_has_the_loss_that_it_states() {
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let shipped = Checkpoint::read(&models.join("names/names.json")).unwrap();
        let model = shipped.model().unwrap();
        let stated = shipped.metadata.training.unwrap();
        assert!(stated.held_out_loss <= PROMISED_LOSS);

        let folder = env::var_os("ANNULUS_DATA")
            .map_or_else(|| models.join("../../shared/data"), PathBuf::from);
        let names = folder.join("names.txt");
        if !names.exists() {
            eprintln!(
                "SKIPPED: the loss needs {} (set ANNULUS_DATA)",
                names.display()
            );
            return;
        }
        let data = Dataset::read(&names).unwrap();
        assert_eq!(data.sha256, stated.data_sha256);
        let loss = model.mean_loss(&data.held_out).unwrap();
        assert!((loss - stated.held_out_loss).abs() < 1e-4, "{loss}");
    }
}
