//! The Annulus core, generated with rust-hdl.

pub mod block;
pub mod boards;
pub mod cells;
pub mod core;
pub mod faults;
pub mod folded;
pub mod link;
pub mod units;

use annulus_contract::shape::CoreShape;
use faults::Fault;
use rust_hdl_core::prelude::*;

/// The Verilog of a block and everything in it; the top module is named `top`.
pub fn verilog<B: Block>(top: B) -> String {
    faults::none(&text(top))
}

/// The Verilog of a block with every planted fault, to be chosen with the input
/// [`faults::INPUT`], and the list of them.
pub fn faulty_verilog<B: Block>(top: B) -> (String, Vec<Fault>) {
    faults::all(&text(top))
}

/// The Verilog of a core of this shape; `None` where no preset has its number of rows.
pub fn core_verilog(shape: &CoreShape) -> Option<String> {
    Some(faults::none(&core_text(shape)?))
}

/// The Verilog of such a core with every planted fault; see [`faulty_verilog`].
pub fn faulty_core_verilog(shape: &CoreShape) -> Option<(String, Vec<Fault>)> {
    Some(faults::all(&core_text(shape)?))
}

/// The Verilog of such a core behind an SPI slave.
pub fn spi_core_verilog(shape: &CoreShape) -> Option<String> {
    Some(match shape.rows {
        1 => verilog(link::SpiFoldedCore::new(shape)),
        2 => verilog(link::SpiCore::<2, 32, 64, 128, 16>::new(shape)),
        6 => verilog(link::SpiCore::<6, 96, 192, 384, 48>::new(shape)),
        8 => verilog(link::SpiCore::<8, 128, 256, 512, 64>::new(shape)),
        16 => verilog(link::SpiCore::<16, 256, 512, 1024, 128>::new(shape)),
        _ => return None,
    })
}

fn core_text(shape: &CoreShape) -> Option<String> {
    Some(match shape.rows {
        1 => text(folded::FoldedCore::new(shape)),
        2 => text(core::Core::<2, 32, 64, 128, 16>::new(shape)),
        6 => text(core::Core::<6, 96, 192, 384, 48>::new(shape)),
        8 => text(core::Core::<8, 128, 256, 512, 64>::new(shape)),
        16 => text(core::Core::<16, 256, 512, 1024, 128>::new(shape)),
        _ => return None,
    })
}

fn text<B: Block>(mut top: B) -> String {
    top.connect_all();
    generate_verilog_unchecked(&top)
}
