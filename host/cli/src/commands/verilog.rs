//! `annulus verilog`.

use crate::args::VerilogArgs;
use crate::output::{self, Failure, Outcome};
use crate::setup::named_core;
use annulus_runtime::cores;
use serde::Serialize;

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    lanes: u32,
    /// Bytes of the wide memory.
    memory_bytes: u64,
    max_head_size: u32,
    lines: usize,
    verilog: &'a str,
}

pub fn run(args: &VerilogArgs) -> Outcome {
    let bits = args.core.weight_bits.unwrap_or_default();
    let core =
        named_core(&args.core, bits).unwrap_or_else(|| bits.simulated(cores::default_core()));
    let verilog = cores::verilog(&core).map_err(Failure::new)?;
    if let Some(path) = &args.out {
        std::fs::write(path, &verilog)
            .map_err(|e| Failure::Verdict(format!("cannot write {}: {e}", path.display())))?;
    }
    if args.json {
        return output::write_json(&Report {
            lanes: core.lanes(),
            memory_bytes: core.memory_bytes(),
            max_head_size: core.max_head,
            lines: verilog.lines().count(),
            verilog: &verilog,
        });
    }
    match args.out {
        Some(_) => Ok(()),
        None => output::write(&verilog),
    }
}
