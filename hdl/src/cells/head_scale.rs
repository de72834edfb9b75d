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
    verilog(_this) { TEXT.into() }
}

/// The exponent is the place of the highest one: the group of four that holds it, its place
/// there. The appended one ends the search where e is 0.
const TEXT: &str = "function [1:0] highest(input [3:0] four);
    highest = {|four[3:2], four[3] || (four[1] && !four[2])};
endfunction
wire [15:0] v = {1'b0, max[20:7], 1'b1};
wire [1:0] group = |v[15:12] ? 2'd3 : |v[11:8] ? 2'd2 : {1'b0, |v[7:4]};
reg [1:0] ones_place;
always @(*) case (group)
    2'd3: ones_place = highest(v[15:12]);
    2'd2: ones_place = highest(v[11:8]);
    2'd1: ones_place = highest(v[7:4]);
    2'd0: ones_place = highest(v[3:0]);
endcase
reg [3:0] exponent;
reg [20:0] less;
wire [23:0] scaled = {less, 3'd7} >> exponent;
always @(posedge clock) begin
    exponent <= {group, ones_place};
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
