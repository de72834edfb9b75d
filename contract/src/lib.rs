//! What every side of Annulus agrees on: no allocation, and no code that may panic on
//! what comes from outside.
//!
//! The arithmetic follows `docs/arithmetic.md`, section by section; the host's
//! reference, the generator, the firmware and the kernels all take it from here.

#![no_std]

pub mod block;
pub mod crc;
pub mod error;
pub mod exp2;
pub mod feed_forward;
pub mod fixed;
pub mod flash;
pub mod hadamard;
pub mod ice40;
pub mod image;
pub mod link;
pub mod recip;
pub mod regs;
pub mod ring;
pub mod rope;
pub mod rsqrt;
pub mod sample;
pub mod script;
pub mod shape;
pub mod sigmoid;
pub mod stage;
pub mod step;
pub mod tables;
pub mod trig;
pub mod wire;
