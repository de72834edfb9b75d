use crate::leaf;
use annulus_contract::crc::{crc32, Crc32};
use rust_hdl_core::prelude::*;

leaf! {
    /// CRC-32 of a stream of 24-bit values, up to two a clock. Wants a `clear`
    /// before the first one.
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
    verilog(_this) { append() + TEXT }
}

/// A function `append`: the checksum `old` after one more value.
///
/// A CRC is linear: 24 bits of the register meet the value and leave it, and
/// what each of them leaves behind is what it changes in any checksum.
fn append() -> String {
    let change = |bit: usize| crc32(&(1u32 << bit).to_le_bytes()[..3]) ^ crc32(&[0; 3]);
    let mut text = "function [31:0] append(input [31:0] old, input [23:0] d);
    reg [23:0] met;
    begin
        met = ~old[23:0] ^ d;
        append[31:8] = 24'hffffff;
        append[7:0] = old[31:24];
"
    .to_owned();
    for out in 0..32 {
        let mask: u32 = (0..24).map(|bit| (change(bit) >> out & 1) << bit).sum();
        text += &format!("        append[{out}] = append[{out}] ^ ^(met & 24'h{mask:06x});\n");
    }
    text + "    end\nendfunction\n"
}

const TEXT: &str = "wire [31:0] kept = clear ? 32'd0 : crc;
always @(posedge clock) begin
    if (valid1) crc <= append(append(kept, d0), d1);
    else if (valid0) crc <= append(kept, d0);
    else crc <= kept;
end
";

impl Crc24 {
    /// Clock edges from input to output.
    pub const LATENCY: usize = 1;

    /// The checksum with `values` appended.
    pub fn model(mut crc: Crc32, values: &[i32]) -> Crc32 {
        crc.update_logits(values);
        crc
    }
}
