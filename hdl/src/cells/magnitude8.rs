use crate::leaf;
use annulus_contract::block::max_magnitude;
use rust_hdl_core::prelude::*;

leaf! {
    /// The largest one's complement magnitude of up to eight values: of pairs,
    /// then of all.
    pub struct Magnitude8 {
        in clock: Clock,
        /// Eight numbers of 22 bits, the first in the low bits.
        in x: Bits<176>,
        /// A bit a value.
        in valid: Bits<8>,
        /// Unsigned; 0 for no value.
        out max: Bits<21>,
    }
    verilog(_this) { TEXT.into() }
}

const TEXT: &str = "function [20:0] larger(input [20:0] a, input [20:0] b);
    larger = a > b ? a : b;
endfunction
wire [20:0] size [0:7];
reg [20:0] pair [0:3];
genvar i;
generate
    for (i = 0; i < 8; i = i + 1) begin : lane
        assign size[i] = (x[22*i +: 21] ^ «a negative element has the wrong size: {21{x[22*i+21]}} → 21'd0») & {21{valid[i]}};
    end
    for (i = 0; i < 4; i = i + 1) begin : by_pairs
        always @(posedge clock) pair[i] <= larger(size[2*i], size[2*i+1]);
    end
endgenerate
always @(posedge clock) max <= larger(larger(pair[0], pair[1]), larger(pair[2], pair[3]));
";

impl Magnitude8 {
    /// Clock edges from input to output.
    pub const LATENCY: usize = 2;

    /// The largest magnitude.
    pub fn model(x: &[i32]) -> u32 {
        max_magnitude(x)
    }
}
