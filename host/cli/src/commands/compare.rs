//! `annulus compare`.

use crate::args::{CompareArgs, PortArgs};
use crate::output::{self, Failure, Outcome};
use crate::setup::{self, Setup};
use annulus_runtime::backend::Kind;
use annulus_runtime::compare::{compare, draw, markdown, Comparison, Core, Request};
use annulus_runtime::cores;
use std::path::Path;

pub fn run(args: &CompareArgs) -> Outcome {
    let kinds = args
        .backends
        .iter()
        .map(|name| Ok(setup::kind(name, &PortArgs { port: None })?.0))
        .collect::<Result<Vec<Kind>, Failure>>()?;
    // A board that is not there is a row that says so, not an error.
    let without_boards: Vec<_> = kinds
        .iter()
        .copied()
        .filter(|&kind| kind != Kind::Serial)
        .collect();
    let setup = Setup::new(&args.model, &without_boards, None)?;
    let prompt = setup.prompt(&args.stream)?;
    let sampling = args.stream.sampling();
    let gumbel = sampling.gumbel(&setup.image).map_err(Failure::new)?;
    let cores = cores_of(args, &setup);
    let bar = output::spinner();
    let comparison = compare(
        &Request {
            image: &setup.image,
            cores: &cores,
            kinds: &kinds,
            prompt: &prompt,
            gumbel,
            tokens: args.tokens,
            runs: args.runs,
            streams: args.streams,
            clock_mhz: args.clock,
            board_watts: args.board_watts,
        },
        |row| bar.set_message(format!("measuring {row}")),
    );
    bar.finish_and_clear();
    let comparison = comparison.map_err(Failure::new)?;

    let table = markdown(&comparison);
    if args.json {
        output::write_json(&comparison)?;
    } else {
        output::write(&table)?;
    }
    if let Some(path) = &args.report {
        report(path, &table, &comparison)?;
    }
    // A wrong token outweighs a missing chart.
    if let Some(difference) = comparison.difference() {
        return Err(Failure::Verdict(difference));
    }
    match &args.svg {
        Some(path) => draw(&comparison, path).map_err(Failure::new),
        None => Ok(()),
    }
}

/// The cores to simulate: those that `--cores` names, else the model's.
fn cores_of(args: &CompareArgs, setup: &Setup) -> Vec<Core> {
    let model = &args.model;
    if args.cores.is_empty() {
        let lanes = format!("{} lanes", setup.core.lanes());
        return vec![Core {
            name: model.core.board.clone().unwrap_or(lanes),
            shape: setup.core,
            image: Ok(setup.image.clone()),
        }];
    }
    let bits = setup.opened.model.quant.narrowest();
    let shapes = args
        .cores
        .iter()
        .filter_map(|name| Some((name, cores::named_for(name, bits)?)));
    shapes
        .map(|(name, shape)| Core {
            name: name.clone(),
            shape,
            image: setup
                .opened
                .image(
                    &shape,
                    Some(setup.image.window()),
                    Some(setup.image.sinks()),
                )
                .map_err(|error| error.to_string()),
        })
        .collect()
}

/// One file with all there is: the table for people, the figures for programs.
fn report(path: &Path, table: &str, comparison: &Comparison) -> Outcome {
    let json = serde_json::to_string_pretty(comparison).map_err(Failure::new)?;
    let text = format!("# annulus compare\n\n{table}\n```json\n{json}\n```\n");
    std::fs::write(path, text)
        .map_err(|error| Failure::Verdict(format!("cannot write {}: {error}", path.display())))
}
