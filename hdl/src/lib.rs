//! The Annulus core, generated with rust-hdl.

pub mod block;
pub mod cells;
pub mod core;
pub mod units;

use annulus_contract::shape::CoreShape;
use rust_hdl_core::prelude::*;

/// The Verilog of a block and everything in it; the top module is named `top`.
pub fn verilog<B: Block>(mut top: B) -> String {
    top.connect_all();
    settle(&generate_verilog_unchecked(&top), None)
}

/// Chooses between the two texts of each planted fault `«n: right | wrong»`.
fn settle(text: &str, mutant: Option<&str>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('«') {
        let (fault, after) = after.split_once('»').unwrap_or((after, ""));
        let (number, texts) = fault.split_once(':').unwrap_or(("", fault));
        let (right, wrong) = texts.split_once('|').unwrap_or((texts, texts));
        out += before;
        out += &match mutant {
            None => format!("({})", right.trim()),
            Some(signal) => format!("({signal} == {number} ? ({}) : ({}))", wrong.trim(), right.trim()),
        };
        rest = after;
    }
    out + rest
}

/// The Verilog of a core of this shape; `None` where no preset has its number of rows.
pub fn core_verilog(shape: &CoreShape) -> Option<String> {
    Some(match shape.rows {
        2 => verilog(core::Core::<2, 32, 64, 128, 16>::new(shape)),
        6 => verilog(core::Core::<6, 96, 192, 384, 48>::new(shape)),
        8 => verilog(core::Core::<8, 128, 256, 512, 64>::new(shape)),
        16 => verilog(core::Core::<16, 256, 512, 1024, 128>::new(shape)),
        _ => return None,
    })
}
