//! What a bitstream was made of, and what it reaches.

use crate::flow::{Routed, Used};
use crate::models::ModelOnBoard;
use crate::{sha256, Board};
use annulus_contract::shape::CoreShape;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// A board's `manifest.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The board.
    pub board: String,
    /// The chip.
    pub device: String,
    /// Version of the generator, and the last commit that touched it where it was built from one.
    pub generator: String,
    /// The core's parameters.
    pub core: CoreShape,
    /// Versions of the tools.
    pub tools: BTreeMap<String, String>,
    /// Of placement.
    pub seed: u32,
    /// The clock that the board gives, in megahertz.
    pub clock_mhz: f64,
    /// Where it comes from.
    pub clock_source: String,
    /// What each clock would allow, in megahertz: post-route estimate.
    pub fmax_mhz: BTreeMap<String, f64>,
    /// LUTs by yosys' count.
    pub lut4: u64,
    /// Cells of the device as nextpnr packs them.
    pub resources: BTreeMap<String, Used>,
    /// SHA-256 of the top's Verilog.
    pub verilog_sha256: String,
    /// SHA-256 of the list of pins.
    pub pins_sha256: String,
    /// SHA-256 of the bitstream.
    pub bitstream_sha256: String,
    /// Bytes of the wide memory: weights, rings and their padding.
    pub memory_bytes: u64,
    /// Shipped models that fit, and their rates.
    pub models: Vec<ModelOnBoard>,
}

impl Manifest {
    /// The manifest of a bitstream that was just built.
    pub fn new(
        root: &Path,
        board: &Board,
        megahertz: f64,
        verilog: &str,
        pins: &str,
        routed: &Routed,
        models: Vec<ModelOnBoard>,
    ) -> Self {
        let shape = board.shape();
        let round = |(name, mhz): (&String, &f64)| (name.clone(), (100.0 * mhz).round() / 100.0);
        Manifest {
            board: board.name.into(),
            device: board.device.name.into(),
            generator: generator(root),
            core: shape,
            tools: routed.tools.clone(),
            seed: board.seed,
            clock_mhz: megahertz,
            clock_source: board.clock_source.into(),
            fmax_mhz: routed.fmax.iter().map(round).collect(),
            lut4: routed.luts,
            resources: routed.resources.clone(),
            verilog_sha256: sha256(verilog.as_bytes()),
            pins_sha256: sha256(pins.as_bytes()),
            bitstream_sha256: sha256(&routed.bitstream),
            memory_bytes: shape.memory_bytes(),
            models,
        }
    }

    /// As it is written.
    pub fn to_json(&self) -> String {
        let json = serde_json::to_string_pretty(self);
        json.unwrap_or_else(|error| unreachable!("a manifest is JSON: {error}")) + "\n"
    }
}

/// `0.1.0, 905bae5`.
fn generator(root: &Path) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let git = Command::new("git")
        .args(["log", "-1", "--format=%h", "--", "hdl", "contract"])
        .current_dir(root)
        .output();
    match git.map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned()) {
        Ok(revision) if !revision.is_empty() => format!("{version}, {revision}"),
        _ => version.to_owned(),
    }
}
