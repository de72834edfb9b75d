use crate::leaf;
use annulus_contract::crc::{Crc32, POLYNOMIAL};
use rust_hdl_core::prelude::*;

leaf! {
    /// CRC-32 of a stream of 24-bit values, up to two a clock. Wants a `clear`
    /// before the first one. Stages: what the values change; the register, moved on by as
    /// many bits, with that change.
    pub struct Crc24 {
        in clock: Clock,
        /// Forget everything before this clock's values.
        in clear: bool,
        in valid0: bool,
        in d0: Bits<24>,
        /// Only with `valid0`.
        in valid1: bool,
        /// Comes after `d0`.
        in d1: Bits<24>,
        /// Checksum of all values so far, in its final form.
        out crc: Bits<32>,
    }
    verilog(_this) { moved("once", 24) + &moved("twice", 48) + TEXT }
}

/// A function `name`: the register after so many zero bits.
///
/// A CRC is linear, so each bit is the parity of some bits before, and what a value changes
/// is the value itself, moved on by its own bits and those that follow.
fn moved(name: &str, bits: usize) -> String {
    let after = |bit: usize| {
        (0..bits).fold(1u32 << bit, |crc, _| {
            crc >> 1 ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 }
        })
    };
    let mut text = format!("function [31:0] {name}(input [31:0] old);\n    begin\n");
    for out in 0..32 {
        let mask: u32 = (0..32).map(|bit| (after(bit) >> out & 1) << bit).sum();
        text += &format!("        {name}[{out}] = ^(old & 32'h{mask:08x});\n");
    }
    text + "    end\nendfunction\n"
}

const TEXT: &str = "reg fresh, one, two;
reg [31:0] change;
wire [31:0] kept = fresh ? 32'hffffffff : ~crc;
always @(posedge clock) begin
    fresh <= clear;
    one <= valid0 && !valid1;
    two <= valid1;
    change <= valid1 ? twice({8'd0, d0}) ^ once({8'd0, d1}) : once({8'd0, d0});
    if (two) crc <= ~(twice(kept) ^ change);
    else if (one) crc <= ~(once(kept) ^ change);
    else crc <= ~kept;
end
";

impl Crc24 {
    /// Clock edges from input to output.
    pub const LATENCY: usize = 2;

    /// The checksum with `values` appended.
    pub fn model(mut crc: Crc32, values: &[i32]) -> Crc32 {
        crc.update_logits(values);
        crc
    }
}
