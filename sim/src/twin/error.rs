//! What can go wrong with a twin.

use crate::verilated::SimError;
use std::io;
use std::path::PathBuf;

/// Why a twin does not start, or has ended.
#[derive(Debug, thiserror::Error)]
pub enum TwinError {
    /// No Node anywhere.
    #[error("the twin's microcontroller is emulated in Node, which was not found: install Node 18 or later, or name its executable in ANNULUS_NODE")]
    NodeMissing,
    /// Node is there and does not start.
    #[error("{} does not start: {reason}", .node.display())]
    Node {
        /// Its executable.
        node: PathBuf,
        /// The reason.
        reason: io::Error,
    },
    /// The package that emulates the microcontroller is not installed.
    #[error("rp2040js, the emulated microcontroller of the twin, is not installed: run `./x tools firmware` in the repository")]
    EmulatorMissing,
    /// Nobody has built the firmware.
    #[error("there is no firmware for the twin: run `./x firmware` in the repository, or name an ELF file with --firmware")]
    FirmwareMissing,
    /// The file is not firmware for an RP2040.
    #[error("{} is not firmware for an RP2040: {reason}", .file.display())]
    Firmware {
        /// The file.
        file: PathBuf,
        /// The reason.
        reason: String,
    },
    /// No pseudo-terminal.
    #[error("the twin has no pseudo-terminal: {0}")]
    Terminal(io::Error),
    /// The core could not be built.
    #[error(transparent)]
    Sim(#[from] SimError),
    /// The emulation ended; its own words.
    #[error("the emulated microcontroller stopped: {0}")]
    Emulator(String),
    /// The firmware never enumerates.
    #[error("the twin's firmware has brought up no serial port in {0} seconds")]
    NoPort(u64),
}
