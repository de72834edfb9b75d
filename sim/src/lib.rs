//! The verilated Annulus core behind a safe Rust face.
//!
//! [`verilated`] turns any Verilog into a model that runs inside this process:
//! Verilator and a C++ compiler are called on first use, and the result is cached by
//! content, so the second use costs a few milliseconds.

pub mod core;
pub mod link;
pub mod progress;
pub mod twin;
pub mod verilated;
