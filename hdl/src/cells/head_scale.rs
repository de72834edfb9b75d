use super::fragments::left_justify;
use crate::leaf;
use annulus_contract::block::{bfp_scale, Scale, MANTISSA_BITS};
use rust_hdl_core::prelude::*;

leaf! {
    /// Scale of a query or key head from its largest magnitude `M`: the
    /// exponent, then the finest `mu` that holds `M`, by comparing
    /// `(8M - 1) >> e` with `127 mu`.
    pub struct HeadScale {
        in clock: Clock,
        /// Unsigned.
        in max: Bits<21>,
        /// 0 to 14, unsigned.
        out e: Bits<5>,
        /// `mu - 5`, unsigned.
        out mu: Bits<2>,
    }
    // The appended one ends the search where e is 0.
    verilog(_this) { left_justify("{max[20:7], 1'b1}", "justified", "zeros", 15, &[8, 4, 2, 1]) + TEXT }
}

const TEXT: &str = "reg [3:0] exponent;
reg [20:0] less;
wire [23:0] scaled = {less, 3'd7} >> exponent;
always @(posedge clock) begin
    exponent <= 4'd14 - zeros;
    less <= max - 21'd1;
    e <= {1'b0, exponent};
    if (exponent == 4'd0) mu <= 2'd3;
    else if (scaled[9:0] < 10'd635) mu <= 2'd0;
    else if (scaled[9:0] < 10'd762) mu <= 2'd1;
    else if (scaled[9:0] < 10'd889) mu <= 2'd2;
    else mu <= 2'd3;
end
";

impl HeadScale {
    /// Clock edges from input to output.
    pub const LATENCY: usize = 2;

    /// The scale for mantissas of eight bits.
    pub fn model(max: u32) -> Scale {
        bfp_scale(max, MANTISSA_BITS)
    }
}
