//! The Annulus core, generated with rust-hdl.

pub mod block;
pub mod boards;
pub mod cells;
pub mod core;
pub mod faults;
pub mod folded;
pub mod link;
pub mod units;

use annulus_contract::regs::feature;
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

/// What `$make` makes of `$wide`, a core bare or behind a link, with as many rows as the shape
/// asks for (and one of exponents for 4-bit values); `$single` where that is one, and `None`
/// where no preset has it.
macro_rules! preset {
    ($make:ident($($wide:ident)::+($shape:ident $(, $more:expr)*)), $single:expr) => {
        match ($shape.rows, $shape.has(feature::NARROW_VALUES)) {
            (1, _) => $single,
            (2, false) => Some($make($($wide)::+::<2, 32, 64, 128, 16>::new($shape $(, $more)*))),
            (2, true) => Some($make($($wide)::+::<2, 32, 64, 192, 24>::new($shape $(, $more)*))),
            (6, false) => Some($make($($wide)::+::<6, 96, 192, 384, 48>::new($shape $(, $more)*))),
            (6, true) => Some($make($($wide)::+::<6, 96, 192, 448, 56>::new($shape $(, $more)*))),
            (8, false) => Some($make($($wide)::+::<8, 128, 256, 512, 64>::new($shape $(, $more)*))),
            (8, true) => Some($make($($wide)::+::<8, 128, 256, 576, 72>::new($shape $(, $more)*))),
            (16, false) => Some($make($($wide)::+::<16, 256, 512, 1024, 128>::new($shape $(, $more)*))),
            (16, true) => Some($make($($wide)::+::<16, 256, 512, 1088, 136>::new($shape $(, $more)*))),
            _ => None,
        }
    };
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
    preset!(
        verilog(link::SpiCore(shape)),
        Some(verilog(link::SpiFoldedCore::new(shape)))
    )
}

/// The Verilog of such a core behind a UART, for a clock of so many hertz.
pub fn uart_core_verilog(shape: &CoreShape, hertz: u32) -> Option<String> {
    preset!(
        verilog(link::UartCore(shape, hertz)),
        Some(verilog(link::UartFoldedCore::new(shape, hertz)))
    )
}

fn core_text(shape: &CoreShape) -> Option<String> {
    preset!(
        text(core::Core(shape)),
        Some(text(folded::FoldedCore::new(shape)))
    )
}

fn text<B: Block>(mut top: B) -> String {
    top.connect_all();
    generate_verilog_unchecked(&top)
}
