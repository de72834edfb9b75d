//! The boards that bitstreams are built for.

use crate::flow::{Device, ECP5_85F, GW2AR_18, ICE40UP5K};
use crate::BitstreamError;
use annulus_contract::shape::{self, CoreShape};
use annulus_hdl::boards::ulx3s;

/// A board.
#[derive(Clone, Copy, Debug)]
pub struct Board {
    /// Its name, and that of its core's shape.
    pub name: &'static str,
    /// The chip.
    pub device: &'static Device,
    /// Where that clock comes from.
    pub clock_source: &'static str,
    /// Megahertz that placement strives for.
    pub goal: f64,
    /// Of placement.
    pub seed: u32,
}

/// All of them.
pub const BOARDS: [Board; 3] = [
    Board {
        name: shape::PICO_ICE,
        device: &ICE40UP5K,
        clock_source: "RP2040: system clock of 125 MHz / 4, from GP24 to pin 35",
        goal: 40.0,
        seed: 7,
    },
    Board {
        name: shape::ULX3S,
        device: &ECP5_85F,
        clock_source: "PLL from the board's oscillator of 25 MHz",
        goal: 66.0,
        seed: 1,
    },
    Board {
        name: shape::TANG_NANO_20K,
        device: &GW2AR_18,
        clock_source: "the board's oscillator of 27 MHz, at pin 4",
        goal: 27.0,
        seed: 1,
    },
];

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

    /// Clock that the top runs at.
    pub fn megahertz(&self) -> f64 {
        let clock = shape::clock_of_board(self.name);
        clock.map_or_else(|| unreachable!("{} has a clock", self.name), f64::from) / 1e6
    }

    /// The top's Verilog.
    pub fn verilog(&self) -> String {
        let verilog = annulus_hdl::boards::verilog(self.name);
        verilog.unwrap_or_else(|| unreachable!("{} has a top", self.name))
    }

    /// Memories of the top that are given a place.
    pub fn places(&self) -> Vec<(String, String)> {
        match self.name {
            shape::ULX3S => ulx3s::floorplan(&self.shape()),
            _ => vec![],
        }
    }

    /// Name of the bitstream's file.
    pub fn bitstream(&self) -> String {
        format!("{}.{}", self.name, self.device.bitstream)
    }
}
