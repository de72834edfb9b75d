//! `annulus bench`.

use crate::args::BenchArgs;
use crate::output::{self, grouped, Failure, Outcome};
use crate::setup::{self, Setup};
use annulus_runtime::bench::{measure, Plan, Report};
use annulus_runtime::generate::GenerateError;
use std::fmt::Write;
use std::path::Path;

pub fn run(args: &BenchArgs) -> Outcome {
    if args.tokens == Some(0) {
        return Err(Failure::new(GenerateError::NoPasses));
    }
    let (kind, _) = setup::kind(&args.backend, &args.port)?;
    let baseline = args.baseline.as_deref().map(read).transpose()?;
    let mut setup = Setup::new(&args.model, &[kind], args.port.port.as_deref())?;
    let prompt = setup.prompt(&args.stream)?;
    let sampling = args.stream.sampling();
    sampling.gumbel(&setup.image).map_err(Failure::new)?;
    let mut backend = setup.backend(kind, None)?;

    let plan = Plan::new(&setup.image, args.positions.clone(), args.tokens);
    let bar = output::bar("tokens", 0);
    let report = measure(
        backend.as_mut(),
        &setup.image,
        &prompt,
        &sampling,
        &plan,
        |done, all| {
            bar.set_length(all as u64);
            bar.set_position(done as u64);
        },
    );
    bar.finish_and_clear();
    let mut report = report.map_err(Failure::new)?;
    if let Some(board) = &args.model.core.board {
        report = report.on(board);
    }

    if args.json {
        output::write_json(&report)?;
    } else {
        output::write(&table(&report))?;
    }
    if let Some(baseline) = baseline {
        let worse = report
            .compare(&baseline, args.max_regression)
            .map_err(Failure::new)?;
        let (worse, allowed) = (100.0 * worse, 100.0 * args.max_regression);
        output::say(&format_args!(
            "{worse:+.2}% against the baseline, within the {allowed:.2}% allowed"
        ));
    }
    Ok(())
}

/// A baseline.
fn read(path: &Path) -> Result<Report, Failure> {
    let unusable = |why: &dyn std::fmt::Display| {
        Failure::Verdict(format!(
            "the baseline {} cannot be used: {why}",
            path.display()
        ))
    };
    let text = std::fs::read_to_string(path).map_err(|e| unusable(&e))?;
    serde_json::from_str(&text).map_err(|e| unusable(&e))
}

/// The report for people.
fn table(report: &Report) -> String {
    let mut text = String::new();
    let mut row =
        |name: &str, value: String| writeln!(text, "{name:<22}{value}").unwrap_or_default();
    let [from, to] = report.positions;
    row("model", report.model.clone());
    row(
        "core",
        format!(
            "{} lanes, window {}, {} sinks",
            report.lanes, report.window, report.sinks
        ),
    );
    row(
        "measured",
        format!(
            "{} tokens at positions {from} to {} on {}",
            report.tokens,
            to - 1,
            report.backend
        ),
    );
    if let Some(cycles) = &report.cycles_per_token {
        row(
            "cycles per token",
            format!(
                "{} (least {}, most {})",
                grouped(cycles.mean),
                grouped(cycles.min as f64),
                grouped(cycles.max as f64)
            ),
        );
    }
    if let Some(on) = &report.on_board {
        row(
            "derived",
            format!(
                "{} tokens/s on {}: its {} MHz over the simulated cycles",
                grouped(on.derived_tokens_per_second),
                on.board,
                on.clock_mhz
            ),
        );
    }
    row(
        "ideal cycles",
        format!(
            "{} (ring full: {})",
            grouped(report.ideal_cycles),
            grouped(report.ideal_cycles_full_ring)
        ),
    );
    if let Some(utilization) = report.mac_utilization {
        row(
            "times ideal",
            format!(
                "{:.3} (multipliers busy for the model {:.1}% of the time)",
                1.0 / utilization,
                100.0 * utilization
            ),
        );
    }
    let predicted = report.predicted_cycles.as_ref().map(|predicted| {
        let off = predicted.largest_error.map_or(String::new(), |error| {
            format!(" (off by {:.2}% at most)", 100.0 * error)
        });
        format!("{}{off}", grouped(predicted.mean))
    });
    let none = || format!("none for {} lanes", report.lanes);
    row("cycle model", predicted.unwrap_or_else(none));
    for (step, cycles) in &report.cycles_by_step {
        row(&format!("  {step}"), grouped(*cycles));
    }
    let rate = format!(
        "{} tokens/s on this machine",
        grouped(report.tokens_per_second)
    );
    let simulated = report.simulated_cycles_per_second;
    row(
        "speed",
        rate + &simulated.map_or(String::new(), |rate| {
            format!(", {} cycles simulated a second", grouped(rate))
        }),
    );
    text
}
