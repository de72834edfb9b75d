//! `annulus selftest`.

use crate::args::SelftestArgs;
use crate::output::{self, Failure, Outcome};
use crate::setup::{self, Setup};
use annulus_runtime::backend::BackendError;
use serde::Serialize;

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    backend: &'static str,
    model: &'a str,
    passed: bool,
    /// What differed.
    fault: Option<String>,
}

pub fn run(args: &SelftestArgs) -> Outcome {
    let (kind, _) = setup::kind(&args.backend, &args.port)?;
    let mut setup = Setup::new(&args.model, &[kind], args.port.port.as_deref())?;
    let result = setup.backend(kind, None)?.self_test();
    let fault = match &result {
        Ok(()) => None,
        Err(BackendError::SelfTest(fault)) => Some(fault.clone()),
        Err(_) => return result.map_err(Failure::new),
    };
    if args.json {
        let model = &setup.image.name;
        output::write_json(&Report {
            backend: kind.name(),
            model,
            passed: fault.is_none(),
            fault,
        })?;
    } else if fault.is_none() {
        let golden = &setup.image.golden;
        let tokens = golden.tokens.len();
        output::write(&format!(
            "{kind}: passed, {tokens} tokens and the hash of their logits ({:08x})\n",
            golden.crc
        ))?;
    }
    result.map_err(Failure::new)
}
