//! `annulus eval`.

use crate::args::EvalArgs;
use crate::output::{self, grouped, Failure, Outcome};
use crate::setup::Setup;
use annulus_runtime::backend::Kind;
use annulus_runtime::eval::quality;
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
    let text = std::fs::read(&args.text)
        .map_err(|e| Failure::Verdict(format!("cannot read {}: {e}", args.text.display())))?;
    let setup = Setup::new(&args.model, &[Kind::Cpu], None)?;
    let image = &setup.image;
    let (window, sinks) = (image.window(), image.sinks());
    let bar = output::bar("tokens", 0);
    let found = quality(
        &setup.opened.model,
        &text,
        (window, sinks),
        args.tokens,
        |done, all| {
            if done % 64 == 0 {
                bar.set_length(all as u64);
                bar.set_position(done as u64);
            }
        },
    );
    bar.finish_and_clear();
    let found = found.map_err(Failure::new)?;

    let report = Report {
        model: &setup.opened.model.name,
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
         perplexity, float32   {:.4}\n\
         perplexity, integers  {:.4} ({change:+.2}%)\n\
         KL divergence         {:.5} nats\n\
         same first choice     {:.2}%\n",
        grouped(report.tokens as f64),
        grouped(report.documents as f64),
        report.perplexity_f32,
        report.perplexity,
        report.kl,
        100.0 * report.top1,
    ))
}
