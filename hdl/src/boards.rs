//! The top modules of boards: a core, its link, and the wires of one board.

pub mod pico_ice;
pub mod tang_nano_20k;
pub mod ulx3s;

use annulus_contract::shape;

/// The Verilog of what a board's bitstream is made of; `None` for a board without a top.
pub fn verilog(board: &str) -> Option<String> {
    let shape = shape::of_board(board)?;
    Some(match board {
        shape::PICO_ICE => crate::verilog(pico_ice::PicoIce::new(&shape)),
        shape::TANG_NANO_20K => crate::verilog(tang_nano_20k::TangNano20k::new(&shape)),
        shape::ULX3S => crate::verilog(ulx3s::Ulx3s::new(&shape)),
        _ => return None,
    })
}
