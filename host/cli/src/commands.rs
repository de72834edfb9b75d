//! One module a command.

pub mod bench;
pub mod devices;
pub mod eval;
pub mod fetch;
pub mod flash;
pub mod generate;
pub mod inspect;
pub mod quantize;
pub mod selftest;
pub mod twin;
pub mod verify;
pub mod verilog;
