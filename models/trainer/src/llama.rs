//! A Llama of characters with a sliding window, trained for the integer pipeline.

mod adamw;
mod attention;
mod balance;
mod checkpoint;
mod data;
mod model;
mod ops;
mod quant;
mod train;

use std::path::PathBuf;

use anyhow::{bail, ensure, Result};
use clap::{Args, Subcommand};

use crate::{chart, progress};
use data::Text;
use model::Arithmetic;
use quant::WeightBits;
use train::{Recipe, STREAMS};

/// Loss curve's range in nats; the first steps, above it, are left out.
const DRAWN: std::ops::Range<f64> = 1.3..2.1;

/// What to do with a Llama of characters.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Shakespeare {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    train: Option<TrainArgs>,
    #[command(flatten)]
    recipe: Recipe,
}

#[derive(Subcommand)]
enum Action {
    /// Recompute the validation loss of a model
    Eval(EvalArgs),
}

#[derive(Args)]
struct EvalArgs {
    /// Folder of the model
    #[arg(long)]
    model: PathBuf,
    /// Text, UTF-8
    #[arg(long)]
    data: PathBuf,
}

#[derive(Args)]
struct TrainArgs {
    /// Text, UTF-8
    #[arg(long)]
    data: PathBuf,
    /// Folder of the run; a run that lies there goes on
    #[arg(long)]
    out: PathBuf,
    /// Folder of a model of the same characters to start from; its shape is kept
    #[arg(long)]
    from: Option<PathBuf>,
}

impl Shakespeare {
    /// Trains or measures.
    pub fn run(self) -> Result<()> {
        match (self.action, self.train) {
            (Some(Action::Eval(args)), _) => eval(&args),
            (None, Some(args)) => train(&args, &self.recipe),
            (None, None) => bail!("training needs --data and --out"),
        }
    }
}

fn eval(args: &EvalArgs) -> Result<()> {
    let model = checkpoint::read_model(&args.model)?;
    let text = Text::read(&args.data)?;
    for (name, numbers) in [
        ("float32", Arithmetic::Float),
        (
            "rounded, weights of 8 bits",
            Arithmetic::Integer(WeightBits::Eight),
        ),
        (
            "rounded, weights of 4 bits",
            Arithmetic::Integer(WeightBits::Four),
        ),
    ] {
        let loss = model.mean_loss(&text.validation, STREAMS, numbers)?;
        println!("validation loss {loss:.4} nats a character, {name}");
    }
    Ok(())
}

fn train(args: &TrainArgs, recipe: &Recipe) -> Result<()> {
    let text = Text::read(&args.data)?;
    let start = match &args.from {
        Some(folder) => {
            ensure!(
                checkpoint::read_characters(folder)? == text.characters,
                "the model in {} knows other characters than {} has",
                folder.display(),
                args.data.display()
            );
            Some(checkpoint::read_model(folder)?)
        }
        None => None,
    };
    let progress = progress(recipe.steps)?;
    let run = train::run(&text, recipe, start, &args.out, |step, curve| {
        progress.set_position(step as u64);
        if let Some(point) = curve.last() {
            progress.set_message(format!("validation loss {:.4}", point.held_out));
        }
    })?;
    progress.finish();
    chart::write(&run.curve, DRAWN, &args.out.join("loss.svg"))?;
    if let Some(best) = run.best {
        println!(
            "best validation loss {best:.4} nats a character, sha256 of the text {}",
            text.sha256
        );
    }
    Ok(())
}
