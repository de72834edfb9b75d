//! `annulus explore`.

use crate::args::ExploreArgs;
use crate::commands::eval::last;
use crate::output::{self, grouped, Failure, Outcome};
use annulus_runtime::explore::{self, explore, Figures, Point, Space, Variants};
use annulus_runtime::{cores, fetch, models, Rotation, Scheme, Width};
use serde::Serialize;

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    model: &'a str,
    tokens: Option<usize>,
    points: &'a [Point],
}

pub fn run(args: &ExploreArgs) -> Outcome {
    let path = fetch::text(&args.text);
    let text = std::fs::read(&path)
        .map_err(|e| Failure::Verdict(format!("cannot read {}: {e}", path.display())))?;
    let text = last(&text, args.last);
    let open = |rotation, (weights, values): (Width, Width)| {
        let scheme = Scheme {
            rotation,
            weight_bits: Some(weights),
            value_bits: values,
        };
        let opened = models::open(&args.model, args.tokenizer.as_deref(), scheme);
        opened.map(|opened| opened.model).map_err(Failure::new)
    };
    let variants = |bits| {
        Ok::<_, Failure>(Variants {
            rotated: open(Rotation::Hadamard, bits)?,
            plain: open(Rotation::None, bits)?,
        })
    };
    let bits = args
        .weight_bits
        .iter()
        .flat_map(|&weights| args.value_bits.iter().map(move |&values| (weights, values)));
    let space = Space {
        cores: args
            .cores
            .iter()
            .map(|name| (name.clone(), args.clock.or_else(|| cores::clock_mhz(name))))
            .collect(),
        windows: args.windows.clone(),
        sinks: args.sinks.clone(),
        models: bits.map(variants).collect::<Result<_, _>>()?,
    };
    let bar = output::bar("combinations", 0);
    let points = explore(&space, text, Some(args.tokens), |done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    let points = points.map_err(Failure::new)?;
    let model = match space.models.first() {
        Some(variants) => variants.rotated.name.as_str(),
        None => "",
    };
    if let Some(svg) = &args.svg {
        let picture = explore::svg(model, &points).map_err(Failure::new)?;
        std::fs::write(svg, picture)
            .map_err(|e| Failure::Verdict(format!("cannot write {}: {e}", svg.display())))?;
    }
    if args.json {
        return output::write_json(&Report {
            model,
            tokens: Some(args.tokens),
            points: &points,
        });
    }
    output::write(&table(&points))
}

/// A line a combination; `*` marks what nothing dominates. Bits are those of weights and values.
fn table(points: &[Point]) -> String {
    let rated = |point: &Point| match &point.outcome {
        explore::Outcome::Fits(figures) => figures.tokens_per_second.is_some(),
        explore::Outcome::Refused { .. } => false,
    };
    let rate = if points.iter().any(rated) {
        "  tokens/s (derived)"
    } else {
        ""
    };
    let mut table = format!(
        "  {:<9} {:>4} {:>6} {:>5}  {:>9} {:>9}  {:>7} {:>8}  {:>14}{rate}\n",
        "core", "bits", "window", "sinks", "weights", "rings", "loss", "KL", "cycles"
    );
    for point in points {
        let place = format!(
            "{:<9} {:>2}/{} {:>6} {:>5}",
            point.core, point.weight_bits, point.value_bits, point.window, point.sinks
        );
        table += &match &point.outcome {
            explore::Outcome::Fits(figures) => format!(
                "{} {place}  {}\n",
                if figures.pareto { '*' } else { ' ' },
                columns(figures)
            ),
            explore::Outcome::Refused { refused } => format!("  {place}  {refused}\n"),
        };
    }
    table
}

fn columns(f: &Figures) -> String {
    let rate = f
        .tokens_per_second
        .zip(f.clock_mhz)
        .map_or(String::new(), |(rate, mhz)| {
            format!("  {:>8} at {mhz} MHz", grouped(rate))
        });
    format!(
        "{:>9} {:>9}  {:>7.4} {:>8.5}  {:>8} {}{rate}",
        grouped(f.weight_bytes as f64),
        grouped(f.ring_bytes as f64),
        f.loss,
        f.kl,
        grouped(f.cycles as f64),
        if f.evidence == "model" {
            "model"
        } else {
            "sim  "
        },
    )
}
