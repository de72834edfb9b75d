//! The boards that bitstreams are built for.

use crate::BitstreamError;
use annulus_contract::shape::{self, CoreShape};

/// A board.
#[derive(Clone, Copy, Debug)]
pub struct Board {
    /// Its name, and that of its core's shape.
    pub name: &'static str,
    /// The chip.
    pub device: &'static str,
    /// Clock that the top runs at.
    pub megahertz: f64,
    /// Where that clock comes from.
    pub clock_source: &'static str,
    /// Megahertz that placement strives for.
    pub goal: f64,
    /// Of placement.
    pub seed: u32,
}

/// All of them.
pub const BOARDS: [Board; 1] = [Board {
    name: "pico-ice",
    device: "iCE40UP5K-SG48",
    megahertz: 31.25,
    clock_source: "RP2040: system clock of 125 MHz / 4, from GP24 to pin 35",
    goal: 40.0,
    seed: 1,
}];

/// Their names, in words.
pub fn names() -> String {
    BOARDS.map(|board| board.name).join(", ")
}

/// The board of this name.
///
/// # Errors
/// If there is none.
pub fn named(name: &str) -> Result<Board, BitstreamError> {
    let found = BOARDS.into_iter().find(|board| board.name == name);
    found.ok_or_else(|| BitstreamError::Board(name.into()))
}

impl Board {
    /// The core's shape.
    pub fn shape(&self) -> CoreShape {
        let shape = shape::of_board(self.name);
        shape.unwrap_or_else(|| unreachable!("{} has a shape", self.name))
    }

    /// The top's Verilog.
    pub fn verilog(&self) -> String {
        let verilog = annulus_hdl::boards::verilog(self.name);
        verilog.unwrap_or_else(|| unreachable!("{} has a top", self.name))
    }

    /// Name of the bitstream's file.
    pub fn bitstream(&self) -> String {
        format!("{}.bin", self.name)
    }
}
