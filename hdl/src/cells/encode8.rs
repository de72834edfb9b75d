use super::fragments::round_sat;
use crate::leaf;
use annulus_contract::block::{mantissa, Scale, MANTISSA_BITS};
use rust_hdl_core::prelude::*;

leaf! {
    /// Eight values of a head as mantissas in its scale. The multiplier `RC`
    /// (205, 171, 146, 128) is made of three adders:
    ///
    /// 205x = 256x - 17 (3x), 171x = 256x - 17 (5x), 146x = 128x + 2 (9x).
    ///
    /// The adders have a stage each. Then the shift by fours, keeping a bit below the point; the shift by ones,
    /// round and clamp.
    pub struct Encode8 {
        in clock: Clock,
        /// Eight numbers of 22 bits, the first in the low bits.
        in x: Bits<176>,
        /// 0 to 14, unsigned. With `mu` it is the scale of a vector that holds
        /// these values, so that only rounding leaves int8.
        in e: Bits<5>,
        /// `mu - 5`, unsigned.
        in mu: Bits<2>,
        /// Eight int8.
        out m: Bits<64>,
    }
    verilog(_this) { round_sat(8, 8) + TEXT }
}

const TEXT: &str = "reg [1:0] code;
reg [3:0] e1, e2, e3;
reg minus;
reg [1:0] ones;
always @(posedge clock) begin
    code <= mu;
    minus <= ~code[1];
    e1 <= e[3:0];
    e2 <= e1;
    e3 <= e2;
    ones <= e3[1:0];
end
genvar i;
generate
    for (i = 0; i < 8; i = i + 1) begin : lane
        wire [25:0] wide = {{4{x[22*i+21]}}, x[22*i +: 22]};
        wire [25:0] multiple = mu[1] ? wide << 3 : mu[0] ? wide << 2 : wide << 1;
        reg [25:0] odd;
        reg [21:0] x1;
        wire [29:0] long = {{4{odd[25]}}, odd};
        reg [29:0] part, most;
        // The column below the point makes the carry of a subtraction.
        wire [30:0] sum = {most, 1'b1} + {part ^ {30{minus}}, minus};
        reg [29:0] product;
        wire [23:0] whole = $signed(product[29:6]) >>> {e3[3:2], 2'd0};
        reg [11:0] coarse;
        wire [11:0] fine = $signed(coarse) >>> ones;
        always @(posedge clock) begin
            x1 <= x[22*i +: 22];
            odd <= mu == 2'd3 ? 26'd0 : wide + multiple;
            part <= long + (code[1] ? long : long << 4);
            most <= code[1] ? {x1[21], x1, 7'd0} : {x1, 8'd0};
            product <= sum[30:1];
            coarse <= whole[11:0];
            m[8*i +: 8] <= round_sat(fine[8:0]);
        end
    end
endgenerate
";

impl Encode8 {
    /// Clock edges from input to output.
    pub const LATENCY: usize = 5;

    /// The mantissas, of eight bits.
    pub fn model(x: [i32; 8], scale: Scale) -> [i8; 8] {
        x.map(|x| mantissa(x, scale, MANTISSA_BITS))
    }
}
