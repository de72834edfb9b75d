//! The cores that can be asked for, by lanes or by board.

use annulus_contract::regs::feature;
use annulus_contract::shape::{self, clock_of_board, CoreShape, BOARDS, SIMULATED};
use annulus_contract::step;
use annulus_model::quant::Width;
use annulus_sim::verilated::SimError;

/// Lanes of a core when nothing else is said.
pub const DEFAULT_LANES: u32 = 64;

/// Lanes of a row of the array.
pub const COLUMNS: u32 = step::COLUMNS as u32;

/// Names of the simulated cores: their lanes.
pub fn lanes() -> impl Iterator<Item = &'static str> {
    SIMULATED.iter().map(|preset| preset.name)
}

/// Names of the boards.
pub fn boards() -> impl Iterator<Item = &'static str> {
    BOARDS.iter().map(|preset| preset.name)
}

/// The core of a number of lanes or of a board, by name.
pub fn named(name: &str) -> Option<CoreShape> {
    let mut presets = SIMULATED.iter().chain(&BOARDS);
    Some(presets.find(|preset| preset.name == name)?.shape)
}

/// The core of that name for models with weights or values of so many bits: a simulated core is built
/// with what it needs for them, a board's core is what it is.
pub fn named_for(name: &str, bits: Width) -> Option<CoreShape> {
    let core = named(name)?;
    let board = boards().any(|board| board == name);
    Some(if board { core } else { bits.simulated(core) })
}

/// The core when nothing else is said.
pub fn default_core() -> CoreShape {
    shape::with_lanes(DEFAULT_LANES).unwrap_or_else(unbounded)
}

/// The generated Verilog of a core.
///
/// # Errors
/// If no core has this number of lanes.
pub fn verilog(core: &CoreShape) -> Result<String, SimError> {
    annulus_sim::core::verilog(core)
}

/// A core as large as programs can address, for backends that have none: only
/// what no core can express is refused.
pub fn unbounded() -> CoreShape {
    CoreShape {
        rows: DEFAULT_LANES / COLUMNS,
        features: feature::SINKS
            | feature::HADAMARD
            | feature::KIND_COUNTERS
            | feature::NIBBLES
            | feature::NARROW_VALUES,
        max_head: 64,
        memory: 1 << 20,
        scales: 1 << 16,
        steps: 1 << 16,
        key_scales: 1 << 16,
        score_words: 1 << 10,
        residual: 1 << 16,
        hidden: 1 << 13,
        vocab: 1 << 14,
    }
}

/// The clock in MHz at which the top of the board of this name runs.
pub fn clock_mhz(name: &str) -> Option<f64> {
    clock_of_board(name).map(|hertz| f64::from(hertz) / 1e6)
}
