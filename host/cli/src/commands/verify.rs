//! `annulus verify`.

use crate::args::VerifyArgs;
use crate::output::{self, grouped, Failure, Outcome};
use crate::setup::{self, Setup};
use annulus_runtime::backend::{Choice, Kind};
use annulus_runtime::generate::GenerateError;
use annulus_runtime::lockstep::{compare, Agreement};
use serde::Serialize;

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    equal: bool,
    backends: Vec<&'static str>,
    model: &'a str,
    lanes: usize,
    window: usize,
    sinks: usize,
    temperature: f64,
    seed: u64,
    /// Forward passes asked for.
    n: usize,
    #[serde(flatten)]
    agreement: &'a Agreement,
}

pub fn run(args: &VerifyArgs) -> Outcome {
    if args.passes == 0 {
        return Err(Failure::new(GenerateError::NoPasses));
    }
    let kinds = kinds(args)?;
    let mut setup = Setup::new(&args.model, &kinds, args.port.port.as_deref())?;
    let prompt = setup.prompt(&args.stream)?;
    let gumbel = args
        .stream
        .sampling()
        .gumbel(&setup.image)
        .map_err(Failure::new)?;
    let backends = kinds.iter().map(|&kind| setup.backend(kind, None));
    let mut backends = backends.collect::<Result<Vec<_>, _>>()?;

    let choice = Choice {
        gumbel,
        stop: None,
        restart: setup.image.special.restart,
    };
    let bar = output::bar("tokens", args.passes);
    let agreement = compare(&mut backends, &prompt, args.passes, choice, |done| {
        bar.set_position(done as u64)
    });
    bar.finish_and_clear();
    let agreement = agreement.map_err(Failure::new)?;

    let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
    if args.json {
        output::write_json(&Report {
            equal: agreement.difference.is_none(),
            backends: names.clone(),
            model: &setup.image.name,
            lanes: setup.image.lanes(),
            window: setup.image.window(),
            sinks: setup.image.sinks(),
            temperature: args.stream.temperature,
            seed: args.stream.seed,
            n: args.passes,
            agreement: &agreement,
        })?;
    }
    if let Some(difference) = &agreement.difference {
        return Err(Failure::Verdict(format!(
            "{} are not equal: {difference}",
            names.join(" and ")
        )));
    }
    if !args.json {
        let restarts = match agreement.restarts {
            0 => String::new(),
            n => format!(", {} restarts", grouped(n as f64)),
        };
        let (positions, logits) = (
            grouped(agreement.positions as f64),
            grouped(agreement.logits as f64),
        );
        output::write(&format!(
            "{} are equal: {positions} tokens, {logits} logits{restarts}\n",
            names.join(" and ")
        ))?;
    }
    Ok(())
}

/// The backends asked for, at least two.
fn kinds(args: &VerifyArgs) -> Result<Vec<Kind>, Failure> {
    let kind = |name: &String| Ok(setup::kind(name, &args.port)?.0);
    let mut kinds = args
        .backends
        .iter()
        .map(kind)
        .collect::<Result<Vec<_>, Failure>>()?;
    if args.reference && !kinds.contains(&Kind::Reference) {
        kinds.push(Kind::Reference);
    }
    if kinds.len() < 2 {
        return Err(Failure::Verdict(
            "a comparison needs two backends at least, such as --backends sim,cpu".into(),
        ));
    }
    Ok(kinds)
}
