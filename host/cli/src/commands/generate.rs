//! `annulus generate`.

use crate::args::GenerateArgs;
use crate::output::{self, grouped, Failure, Outcome};
use crate::setup::{self, Setup};
use annulus_runtime::generate::{generate, GenerateError, Phase, Request, Run};
use annulus_runtime::sampling::Sampling;
use annulus_runtime::text::TextStream;
use serde::Serialize;
use std::ops::ControlFlow;

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    backend: &'static str,
    model: &'a str,
    lanes: usize,
    window: usize,
    sinks: usize,
    temperature: f64,
    seed: u64,
    /// Forward passes asked for, and made.
    n: usize,
    forward_passes: usize,
    /// Whether the stop token ended the text.
    stopped: bool,
    prompt_tokens: &'a [u32],
    /// Tokens chosen.
    tokens: &'a [u32],
    /// Prompt and what follows it.
    text: &'a str,
    /// Tokens a second of wall-clock time.
    prompt_tokens_per_second: Option<f64>,
    decode_tokens_per_second: Option<f64>,
    /// The core's cycles, where there is one.
    cycles: Option<u64>,
    cycles_per_token: Option<f64>,
    prompt: Phase,
    decode: Phase,
}

pub fn run(args: &GenerateArgs) -> Outcome {
    let (kind, why) = setup::kind(&args.backend, &args.port)?;
    if args.passes == 0 {
        return Err(Failure::new(GenerateError::NoPasses));
    }
    let mut setup = Setup::new(&args.model, &[kind], args.port.port.as_deref())?;
    let prompt = setup.prompt(&args.stream)?;
    let sampling = Sampling {
        top_k: args.top_k,
        top_p: args.top_p,
        ..args.stream.sampling()
    };
    sampling.gumbel(&setup.image).map_err(Failure::new)?;
    let mut backend = setup.backend(kind, args.trace.as_deref())?;
    if let Some(why) = why {
        output::say(&format_args!("auto takes {kind}: {why}"));
    }

    let mut writer = Writer {
        stream: TextStream::new(&setup.opened.model.tokenizer),
        text: String::new(),
        quiet: args.json,
    };
    writer.prompt(&prompt, args.passes)?;
    let request = Request {
        prompt: &prompt,
        passes: args.passes,
        sampling,
    };
    let stop = setup.image.special.stop;
    let mut written = Ok(());
    let mut tokens = Vec::new();
    let run = generate(backend.as_mut(), &setup.image, &request, |token| {
        if args.json {
            tokens.push(token);
        }
        if Some(token) == stop {
            return ControlFlow::Break(());
        }
        written = writer.push(token);
        if written.is_ok() {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })
    .map_err(Failure::new)?;
    written?;
    let text = writer.finish()?;

    if args.json {
        return output::write_json(&Report {
            backend: kind.name(),
            model: &setup.image.name,
            lanes: setup.image.lanes(),
            window: setup.image.window(),
            sinks: setup.image.sinks(),
            temperature: args.stream.temperature,
            seed: args.stream.seed,
            n: args.passes,
            forward_passes: run.prompt.passes + run.decode.passes,
            stopped: run.stopped,
            prompt_tokens: &prompt,
            tokens: &tokens,
            text: &text,
            prompt_tokens_per_second: run.prompt.rate(),
            decode_tokens_per_second: run.decode.rate(),
            cycles: run.prompt.cycles.zip(run.decode.cycles).map(|(a, b)| a + b),
            cycles_per_token: run.decode.cycles_per_token(),
            prompt: run.prompt,
            decode: run.decode,
        });
    }
    if run.decode.passes == 0 {
        output::say(&format_args!(
            "-n {} ends within the prompt of {} tokens: nothing was written after it, ask for more",
            args.passes,
            prompt.len()
        ));
    }
    output::say(&summary(&run, kind.name()));
    Ok(())
}

/// Prompt and decode rates, and cycles where there is a core.
fn summary(run: &Run, backend: &str) -> String {
    let phase = |name, phase: &Phase| {
        let tokens = if phase.passes == 1 { "token" } else { "tokens" };
        let rate = phase.rate().map_or(String::new(), |rate| {
            format!(" at {} tokens/s", grouped(rate))
        });
        let cycles = phase.cycles_per_token();
        let cycles = cycles.map_or(String::new(), |cycles| {
            format!(", {} cycles per token", grouped(cycles))
        });
        format!("{name} {} {tokens}{rate}{cycles}", phase.passes)
    };
    let parts = [("prompt", &run.prompt), ("decode", &run.decode)];
    let made = parts
        .iter()
        .filter(|(_, part)| part.passes > 0)
        .map(|(name, part)| phase(name, part));
    format!("{backend}: {}", made.collect::<Vec<_>>().join("; "))
}

/// Text on its way to standard output, or kept for the report.
struct Writer<'a> {
    stream: TextStream<'a>,
    /// All of the text for the report; else no more than what was written last.
    text: String,
    quiet: bool,
}

impl Writer<'_> {
    /// The tokens of the prompt that are processed at all; the first starts the
    /// stream and is not written.
    fn prompt(&mut self, tokens: &[u32], passes: usize) -> Outcome {
        if let Some((&first, rest)) = tokens.split_first() {
            self.stream.skip(first);
            rest.iter()
                .take(passes - 1)
                .try_for_each(|&token| self.push(token))?;
        }
        Ok(())
    }

    fn push(&mut self, token: u32) -> Outcome {
        let text = self.stream.push(token).map_err(Failure::new)?;
        self.emit(&text)
    }

    fn emit(&mut self, text: &str) -> Outcome {
        if text.is_empty() {
            return Ok(());
        }
        if !self.quiet {
            output::write(text)?;
            self.text.clear();
        }
        self.text += text;
        Ok(())
    }

    /// Writes what is left and ends the line; gives the text that was kept.
    fn finish(mut self) -> Result<String, Failure> {
        let rest = self.stream.finish();
        self.emit(&rest)?;
        if !self.quiet && !self.text.ends_with('\n') {
            output::write("\n")?;
        }
        Ok(self.text)
    }
}
