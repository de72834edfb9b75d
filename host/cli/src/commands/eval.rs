//! `annulus eval`.

use crate::args::EvalArgs;
use crate::output::{self, grouped, Failure, Outcome};
use crate::setup::Setup;
use annulus_runtime::backend::Kind;
use annulus_runtime::eval::{endurance, quality, Pass};
use annulus_runtime::fetch;
use serde::Serialize;

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    model: &'a str,
    window: usize,
    sinks: usize,
    documents: usize,
    tokens: usize,
    perplexity: f64,
    perplexity_f32: f64,
    /// Nats a token, of the integers and of float32.
    loss: f64,
    loss_f32: f64,
    /// Mean divergence of the integers' prediction from float32's, nats.
    kl: f64,
    /// Share of positions at which both rank the same token first.
    top1: f64,
}

pub fn run(args: &EvalArgs) -> Outcome {
    if args.tokens == Some(0) {
        return Err(Failure::Verdict(
            "--tokens must be at least 1: it counts predictions".into(),
        ));
    }
    let path = fetch::text(&args.text);
    let text = std::fs::read(&path)
        .map_err(|e| Failure::Verdict(format!("cannot read {}: {e}", path.display())))?;
    let text = last(&text, args.last);
    let setup = Setup::new(&args.model, &[Kind::Cpu], None)?;
    let image = &setup.image;
    let (window, sinks) = (image.window(), image.sinks());
    let bar = output::bar("tokens", 0);
    let progress = |done, all| {
        if done % 64 == 0 {
            bar.set_length(all as u64);
            bar.set_position(done as u64);
        }
    };
    let model = &setup.opened.model;
    if let Some(passes) = args.passes {
        let found = endurance(model, text, (window, sinks), passes.into(), progress);
        bar.finish_and_clear();
        return tell_passes(args, &model.name, window, &found.map_err(Failure::new)?);
    }
    let found = quality(model, text, (window, sinks), args.tokens, progress);
    bar.finish_and_clear();
    let found = found.map_err(Failure::new)?;

    let report = Report {
        model: &model.name,
        window,
        sinks,
        documents: found.documents,
        tokens: found.tokens,
        perplexity: found.perplexity(),
        perplexity_f32: found.perplexity_f32(),
        loss: found.loss,
        loss_f32: found.loss_f32,
        kl: found.kl,
        top1: found.top1,
    };
    if args.json {
        return output::write_json(&report);
    }
    let change = 100.0 * (report.perplexity / report.perplexity_f32 - 1.0);
    output::write(&format!(
        "text                  {} tokens of {} documents, window {window}, {sinks} sinks\n\
         loss, float32         {:.4} nats a token (perplexity {:.4})\n\
         loss, integers        {:.4} nats a token (perplexity {:.4}, {change:+.2}%)\n\
         KL divergence         {:.5} nats\n\
         same first choice     {:.2}%\n",
        grouped(report.tokens as f64),
        grouped(report.documents as f64),
        report.loss_f32,
        report.perplexity_f32,
        report.loss,
        report.perplexity,
        report.kl,
        100.0 * report.top1,
    ))
}

/// The last `share` of a text, from the start of a character on.
pub fn last(text: &[u8], share: f64) -> &[u8] {
    let skipped = text.len() as f64 * (1.0 - share);
    let mut rest = &text[(skipped as usize).min(text.len())..];
    while let [0x80..=0xbf, after @ ..] = rest {
        rest = after;
    }
    rest
}

/// What `--passes --json` prints.
#[derive(Serialize)]
struct Endurance<'a> {
    model: &'a str,
    window: usize,
    passes: &'a [Pass],
}

fn tell_passes(args: &EvalArgs, model: &str, window: usize, passes: &[Pass]) -> Outcome {
    if args.json {
        return output::write_json(&Endurance {
            model,
            window,
            passes,
        });
    }
    let mut table = format!(
        "{:>12} {:>10} {:>10}\n",
        "from token", "float32", "integers"
    );
    for pass in passes {
        let from = grouped(pass.from as f64);
        table += &format!("{from:>12} {:>10.4} {:>10.4}\n", pass.loss_f32, pass.loss);
    }
    output::write(&table)
}
