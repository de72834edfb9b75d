use super::fragments::round_sat;
use crate::leaf;
use annulus_contract::block::{mantissa, Scale, MANTISSA_BITS};
use rust_hdl_core::prelude::*;

leaf! {
    /// Reads eight values of a vector as mantissas of its block exponent: shift
    /// by fours, keeping a bit below the point; shift by ones, round and clamp.
    pub struct ReadBlock {
        in clock: Clock,
        /// Eight int16, the first in the low bits.
        in x: Bits<128>,
        /// Unsigned; at least the block's, so that only rounding leaves int8.
        in e: Bits<4>,
        /// Eight int8.
        out m: Bits<64>,
    }
    verilog(_this) { round_sat(8, 8) + TEXT }
}

const TEXT: &str = "reg [1:0] ones;
always @(posedge clock) ones <= e[1:0];
genvar i;
generate
    for (i = 0; i < 8; i = i + 1) begin : lane
        wire [16:0] whole = $signed({x[16*i +: 16], 1'b0}) >>> {e[3:2], 2'd0};
        reg [11:0] coarse;
        wire [11:0] fine = $signed(coarse) >>> ones;
        always @(posedge clock) begin
            coarse <= whole[11:0];
            m[8*i +: 8] <= round_sat(fine[8:0]);
        end
    end
endgenerate
";

impl ReadBlock {
    /// Clock edges from input to output.
    pub const LATENCY: usize = 2;

    /// `clamp(rshr(x, e), -128, 127)` of each.
    pub fn model(x: [i16; 8], e: u8) -> [i8; 8] {
        x.map(|x| mantissa(x as i32, Scale { e, mu: 8 }, MANTISSA_BITS))
    }
}
