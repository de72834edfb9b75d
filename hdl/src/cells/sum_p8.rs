use crate::leaf;
use rust_hdl_core::prelude::*;

leaf! {
    /// Sum of eight probabilities: of pairs, then of all.
    pub struct SumP8 {
        in clock: Clock,
        /// Eight bytes, unsigned.
        in p: Bits<64>,
        /// Unsigned.
        out sum: Bits<11>,
    }
    verilog(_this) { TEXT.into() }
}

const TEXT: &str = "reg [8:0] pair [0:3];
genvar i;
generate
    for (i = 0; i < 4; i = i + 1) begin : by_pairs
        always @(posedge clock) pair[i] <= {1'b0, p[16*i +: 8]} + {1'b0, p[16*i+8 +: 8]};
    end
endgenerate
wire [9:0] low = {1'b0, pair[0]} + {1'b0, pair[1]};
wire [9:0] high = {1'b0, pair[2]} + {1'b0, pair[3]};
always @(posedge clock) sum <= {1'b0, low} + {1'b0, high};
";

impl SumP8 {
    /// Clock edges from input to output.
    pub const LATENCY: usize = 2;

    /// The sum.
    pub fn model(p: [u8; 8]) -> u16 {
        p.map(u16::from).iter().sum()
    }
}
