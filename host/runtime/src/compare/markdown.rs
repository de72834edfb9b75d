//! The comparison as a Markdown table.

use super::{Comparison, Energy, Evidence, Figures, Outcome, Row, Spread};
use crate::number::grouped;
use std::fmt::Write;

const NOTHING: &str = "-";

/// A table a person can read as it is.
pub fn markdown(comparison: &Comparison) -> String {
    let c = comparison;
    let mut text = format!(
        "{}, window {}, {} sinks; {} prompt tokens, then {} tokens, {} on the device with seed {}. \
         Median of {} runs after one that warms up. {}; {}; annulus {}.\n\n",
        c.model,
        c.window,
        c.sinks,
        c.prompt_tokens,
        c.tokens,
        if c.sampled { "sampled" } else { "chosen greedily" },
        c.seed,
        c.runs,
        c.processor,
        c.system,
        c.version
    );
    text += "| row | tokens/s, one stream | tokens/s, all streams | first token | token p50 | token p99 | cycles a token | energy a token | evidence | tokens |\n";
    text += "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n";
    let mut notes = String::new();
    for row in &c.rows {
        let name = name(row);
        match &row.result {
            Outcome::Ran(figures) => {
                let _ = writeln!(text, "| {name} |{} |", cells(figures).join(" |"));
                let _ = writeln!(notes, "- {name}: {}", note(row, figures));
            }
            Outcome::CouldNotRun(why) => {
                let _ = writeln!(text, "| {name} | could not run: {why} | | | | | | | | |");
            }
            Outcome::Differs(what) => {
                let _ = writeln!(text, "| {name} | WRONG TOKENS: {what} | | | | | | | | |");
            }
        }
    }
    text + "\n" + &notes
}

/// Backend and variant.
pub(super) fn name(row: &Row) -> String {
    if row.variant.is_empty() {
        row.backend.into()
    } else {
        format!("{}, {}", row.backend, row.variant)
    }
}

fn cells(f: &Figures) -> [String; 9] {
    let rate = |spread: Option<Spread>| spread.map_or(NOTHING.into(), |s| grouped(s.median));
    let time = |us: Option<f64>| us.map_or(NOTHING.into(), |us| format!("{} us", short(us)));
    let aggregate = f.aggregate_tokens_per_second.map_or(NOTHING.into(), |s| {
        format!("{} ({} streams)", grouped(s.median), f.streams)
    });
    let evidence = match f.evidence {
        Evidence::Measured => "measured",
        Evidence::Simulated => "simulated",
        Evidence::Derived => "derived",
        Evidence::Emulated => "emulated: times mean nothing",
    };
    let energy = match &f.energy {
        Energy::Known {
            joules_per_token, ..
        } => format!("{} uJ", short(1e6 * joules_per_token)),
        Energy::Unknown { .. } => NOTHING.into(),
    };
    [
        rate(f.tokens_per_second),
        aggregate,
        time(f.first_token_us),
        time(f.token_us_p50),
        time(f.token_us_p99),
        f.cycles_per_token.map_or(NOTHING.into(), grouped),
        energy,
        evidence.into(),
        f.token_hash.clone(),
    ]
    .map(|cell| format!(" {cell}"))
}

/// From here on a thread had the processor to itself.
const UNDISTURBED: f64 = 0.95;

/// What a table has no room for.
fn note(row: &Row, f: &Figures) -> String {
    let mut parts = vec![row.device.clone()];
    if !f.detail.is_empty() {
        parts.push(f.detail.clone());
    }
    let spread = f.aggregate_tokens_per_second.or(f.tokens_per_second);
    if let Some(spread) = spread.filter(|spread| spread.min < spread.max) {
        let (min, max) = (grouped(spread.min), grouped(spread.max));
        parts.push(format!("runs from {min} to {max} tokens/s"));
    }
    let disturbed = f.processor_share.filter(|&share| share < UNDISTURBED);
    if let Some((share, rate)) = disturbed.zip(f.tokens_per_second) {
        parts.push(format!(
            "other work had the processor {:.0}% of the time: {} tokens a second of its own",
            100.0 * (1.0 - share),
            grouped(rate.median / share)
        ));
    }
    if f.token_us_p50.is_some() {
        parts.push(format!("single tokens timed by {}", f.token_clock));
    }
    parts.push(match &f.energy {
        Energy::Known { source, .. } => format!("energy: {source}"),
        Energy::Unknown { why } => format!("no energy: {why}"),
    });
    parts.join("; ")
}

/// Three digits or so.
fn short(number: f64) -> String {
    if number >= 100.0 {
        grouped(number)
    } else if number >= 1.0 {
        format!("{number:.1}")
    } else {
        format!("{number:.3}")
    }
}
