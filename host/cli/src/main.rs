//! The `annulus` command: reads the command line, and leaves the work to the
//! runtime. What a command finds goes to standard output, all else to standard
//! error; what goes wrong is one sentence there.

mod args;
mod commands;
mod output;
mod setup;

use args::{Cli, Command};
use clap::Parser;
use output::Failure;
use std::process::ExitCode;

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Generate(args) => commands::generate::run(&args),
        Command::Verify(args) => commands::verify::run(&args),
        Command::Bench(args) => commands::bench::run(&args),
        Command::Eval(args) => commands::eval::run(&args),
        Command::Inspect(args) => commands::inspect::run(&args),
        Command::Quantize(args) => commands::quantize::run(&args),
        Command::Verilog(args) => commands::verilog::run(&args),
        Command::Selftest(args) => commands::selftest::run(&args),
        Command::Twin(args) => commands::twin::run(&args),
        Command::Fetch(args) => commands::fetch::run(&args),
        Command::Devices(args) => commands::devices::run(&args),
        Command::Flash(args) => commands::flash::run(&args),
    };
    match done {
        // A reader that has seen enough is no fault.
        Ok(()) | Err(Failure::BrokenPipe) => ExitCode::SUCCESS,
        Err(failure) => {
            output::say(&failure);
            failure.code().into()
        }
    }
}
