//! `annulus-bitstream`: builds and checks the bitstreams of boards.

use annulus_bitstreams::{board, build, check, folder, BitstreamError};
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Bitstreams for boards, made from nothing with open tools.
#[derive(Parser)]
#[command(name = "annulus-bitstream", version)]
struct Cli {
    /// What to do
    #[command(subcommand)]
    command: Command,
    /// Root of the repository
    #[arg(long, value_name = "PATH", default_value = ".", global = true)]
    root: PathBuf,
}

#[derive(Subcommand)]
enum Command {
    /// Build a board's bitstream and write it with its manifest
    Build {
        /// The board
        board: String,
        /// Another clock than the board's, in MHz
        #[arg(long, value_name = "MHZ")]
        clock: Option<f64>,
        /// Another folder than the board's
        #[arg(long, value_name = "PATH")]
        out: Option<PathBuf>,
        /// Keep the tools' files here, and use them again while nothing has changed
        #[arg(long, value_name = "PATH")]
        work: Option<PathBuf>,
    },
    /// Say whether bitstreams and manifests belong to today's generator
    Check {
        /// The board [default: all]
        board: Option<String>,
    },
}

fn run(cli: &Cli) -> Result<(), BitstreamError> {
    match &cli.command {
        Command::Build {
            board,
            clock,
            out,
            work,
        } => {
            let board = board::named(board)?;
            let out = out.clone().unwrap_or_else(|| folder(&cli.root, &board));
            let clock = clock.unwrap_or(board.megahertz());
            let mut say = |what: &str| eprintln!("annulus-bitstream: {what}");
            let manifest = build(&cli.root, &board, clock, &out, work.as_deref(), &mut say)?;
            print!("{}", manifest.to_json());
        }
        Command::Check { board } => {
            let boards = match board {
                Some(name) => vec![board::named(name)?],
                None => board::BOARDS.to_vec(),
            };
            for board in boards {
                let manifest = check(&cli.root, &board)?;
                println!("{}: current, {} MHz", board.name, manifest.clock_mhz);
            }
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("annulus-bitstream: {error}");
            ExitCode::FAILURE
        }
    }
}
