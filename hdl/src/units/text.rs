//! Small pieces of Verilog text that the units share.

use annulus_contract::step::{field, Kind, WORDS};

/// `localparam NAME = value;` for each pair.
pub fn localparams(values: &[(&str, usize)]) -> String {
    values
        .iter()
        .map(|(name, value)| format!("localparam {name} = {value};\n"))
        .collect()
}

/// A localparam for the code of each kind of step: `EMBED`, `GATE_UP`, ...
pub fn kinds() -> String {
    let line = |kind: &Kind| {
        format!(
            "localparam [3:0] KIND_{} = 4'd{};\n",
            kind.name().to_uppercase(),
            *kind as u8
        )
    };
    Kind::ALL.iter().map(line).collect()
}

/// A wire `<bus>_<field>` for each of these fields of a step on the bus.
pub fn step_fields(bus: &str, names: &[&str]) -> String {
    let wire = |name: &&str| {
        let f = field::ALL
            .iter()
            .find(|f| f.name == *name)
            .unwrap_or_else(|| unreachable!("no field {name}"));
        format!(
            "wire [{}:0] {bus}_{name} = {bus}[{} +: {}];\n",
            f.bits - 1,
            f.low,
            f.bits
        )
    };
    names.iter().map(wire).collect()
}

/// Before a small memory: it stays out of the block RAMs, which the wide memory needs.
pub const LUT_RAM: &str = "(* ram_style = \"distributed\" *) ";

/// Before a memory of block RAMs: nobody needs what a read finds while the same word is
/// written, so synthesis need not spend registers and multiplexers on it.
pub const BLOCK_RAM: &str = "(* no_rw_check *) ";

/// Bits of an encoded step.
pub const STEP_BITS: usize = 32 * WORDS;

/// `ceil(log2(n))`: address bits of a memory of `n` words, at least 1.
pub fn address_bits(words: usize) -> usize {
    (usize::BITS - words.saturating_sub(1).leading_zeros()).max(1) as usize
}
