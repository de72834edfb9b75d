//! Leaf arithmetic: every sum, shift, rounding and table of the core, a file a cell.
//!
//! A cell is a free-running pipeline: new inputs on every clock, no stall, no
//! valid. `LATENCY` counts the clock edges from an input to the output that it
//! decides, so whatever travels beside a cell is delayed by as many registers.
//! Numbers are signed unless a port says otherwise, and a quarter-octave
//! multiplier `mu` travels as the two bits `mu - 5`.
//!
//! `model` is what a cell computes, in Rust and taken from `annulus_contract`
//! wherever that has it; `sim/tests/cells.rs` holds the Verilog to it. Tables
//! are written into the Verilog from the contract's.
//!
//! A stage has at most one multiplier, one wide adder and what fits around it
//! in 12 ns on an ECP5 of speed grade 6. A multiplier has registers of its own
//! before and after it.

mod fragments;

mod crc24;
mod dot8;
mod encode8;
mod exp2;
mod gumbel;
mod head_scale;
mod magnitude8;
mod read_block;
mod recip;
mod requantize;
mod rope;
mod row_scale;
mod rsqrt;
mod score;
mod score_max;
mod sin;
mod sum_p8;
mod swiglu;
mod temperature;
mod v_code;

pub use crc24::Crc24;
pub use dot8::Dot8;
pub use encode8::Encode8;
pub use exp2::Exp2;
pub use gumbel::Gumbel;
pub use head_scale::HeadScale;
pub use magnitude8::Magnitude8;
pub use read_block::ReadBlock;
pub use recip::Recip;
pub use requantize::Requantize;
pub use rope::Rope;
pub use row_scale::RowScale;
pub use rsqrt::Rsqrt;
pub use score::Score;
pub use score_max::ScoreMax;
pub use sin::Sin;
pub use sum_p8::SumP8;
pub use swiglu::SwiGlu;
pub use temperature::Temperature;
pub use v_code::VCode;
