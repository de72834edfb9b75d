//! A board without hardware, for tests: the firmware's dispatcher as it runs on every board, a
//! core behind its SPI slave (verilated, or interpreted where the wires do not matter), and
//! lines to a host that can be as bad as a test wants them.

mod bench;
mod board;
mod noise;
mod pty;
mod slave;
mod spi;

pub use bench::{Bench, Cable};
pub use board::{Flash, Fpga, State, TestBoard};
pub use noise::Noise;
pub use pty::Plugged;
pub use slave::Slave;
pub use spi::{Gate, Spi};
