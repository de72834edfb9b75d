//! `annulus quantize`.

use crate::args::QuantizeArgs;
use crate::output::{self, grouped, Failure, Outcome};
use crate::setup::Setup;
use annulus_runtime::backend::Kind;
use serde::Serialize;

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    image: &'a std::path::Path,
    bytes: usize,
    model: &'a str,
    lanes: usize,
    window: usize,
    sinks: usize,
}

pub fn run(args: &QuantizeArgs) -> Outcome {
    let setup = Setup::new(&args.model, &[Kind::Sim], None)?;
    let image = &setup.image;
    let bytes = image.to_bytes();
    std::fs::write(&args.out, &bytes)
        .map_err(|e| Failure::Verdict(format!("cannot write {}: {e}", args.out.display())))?;
    if args.json {
        return output::write_json(&Report {
            image: &args.out,
            bytes: bytes.len(),
            model: &image.name,
            lanes: image.lanes(),
            window: image.window(),
            sinks: image.sinks(),
        });
    }
    output::write(&format!(
        "{}: {} bytes for {} lanes, window {}, {} sinks\n",
        args.out.display(),
        grouped(bytes.len() as f64),
        image.lanes(),
        image.window(),
        image.sinks()
    ))
}
