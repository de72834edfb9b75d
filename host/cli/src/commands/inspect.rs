//! `annulus inspect`.

use crate::args::InspectArgs;
use crate::output::{self, grouped, Outcome};
use crate::setup::Setup;
use annulus_runtime::backend::Kind;
use annulus_runtime::{Summary, Width};
use std::fmt::Write;

pub fn run(args: &InspectArgs) -> Outcome {
    // What fits where is part of the answer, so that nothing is refused here.
    let setup = Setup::new(&args.model, &[Kind::Cpu], None)?;
    let summary = setup.image.summary();
    if args.json {
        output::write_json(&summary)
    } else {
        output::write(&table(&summary))
    }
}

fn table(summary: &Summary) -> String {
    let mut text = String::new();
    let mut row =
        |name: &str, value: String| writeln!(text, "{name:<22}{value}").unwrap_or_default();
    let number = |n: usize| grouped(n as f64);
    let c = &summary.config;
    row("model", summary.name.clone());
    row("parameters", grouped(summary.parameters as f64));
    row(
        "shape",
        format!(
            "{} layers, {} wide, {} hidden, {} heads of {} ({} for keys and values), {} symbols",
            summary.layers, c.dim, c.hidden, c.heads, c.head_size, c.kv_heads, c.vocab
        ),
    );
    let positions = if c.rope { "rotary" } else { "learned" };
    let activation = if c.relu { "ReLU" } else { "SwiGLU" };
    let rotation = if c.hadamard {
        "keys and queries rotated (Hadamard)"
    } else {
        "no rotation"
    };
    row(
        "kind",
        format!("{positions} positions, {activation}, {rotation}"),
    );
    let weights = match c.weight_bits {
        Width::Eight => "8 bits",
        Width::Four => "4 bits, and a scale for each 16; tables and classifier 8 bits",
    };
    row("weights", weights.into());
    let values = match c.value_bits {
        Width::Eight => "8 bits",
        Width::Four => "4 bits, and an exponent for each head of a token",
    };
    row("values", values.into());
    row("trained window", number(summary.trained_window));
    row(
        "compiled for",
        format!(
            "{} lanes, window {}, {} sinks",
            summary.lanes, summary.window, summary.sinks
        ),
    );
    row(
        "ideal cycles",
        format!(
            "{} a token with the ring full",
            grouped(summary.ideal_cycles)
        ),
    );
    row(
        "fraction bits",
        format!("residual {}, logits {}", c.residual_bits, c.logit_bits),
    );
    for (layer, f) in summary.formats.iter().enumerate() {
        let bits = format!(
            "q {}, k {}, v {}, gate {}, up {}, hidden {}",
            f.q, f.k, f.v, f.gate, f.up, f.hidden
        );
        row(&format!("  layer {layer}"), bits);
    }
    let b = &summary.bytes;
    let regions = [
        ("weights", b.weights),
        ("key rings", b.keys),
        ("value rings", b.values),
        ("row scales", b.scales),
        ("key scales", b.key_scales),
        ("steps", b.steps),
        ("tables", b.tables),
    ];
    row(
        "bytes on chip",
        number(regions.iter().map(|(_, bytes)| bytes).sum()),
    );
    for (name, bytes) in regions {
        row(&format!("  {name}"), number(bytes));
    }
    let steps: Vec<String> = summary
        .steps
        .iter()
        .map(|s| format!("{} {}", s.count, s.kind))
        .collect();
    row("steps", steps.join(", "));
    row("self-test", format!("logits' CRC-32 {}", summary.self_test));
    row("fits", String::new());
    for core in &summary.cores {
        let name = match core.core.parse::<u32>() {
            Ok(lanes) => format!("  {lanes} lanes"),
            Err(_) => format!("  {}", core.core),
        };
        let reason = core
            .reason
            .as_ref()
            .map_or(String::new(), |reason| format!("no: {reason}"));
        row(
            &name,
            if core.fits {
                format!("yes, {:.0}% of its wide memory", 100.0 * core.memory_use)
            } else {
                reason
            },
        );
    }
    text
}
