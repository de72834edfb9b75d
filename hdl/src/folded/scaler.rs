//! The multiplier and the rounding shift: every product of the arithmetic.

use crate::leaf;
use rust_hdl_core::prelude::*;

leaf! {
    /// `P = x * y`, or `P += x * y`, then `P` shifted right by `n`.
    ///
    /// A product may start each cycle and stands in `P` three cycles later; a `shift`
    /// waits for it and takes two cycles more. Two 16x16 multipliers take the halves of `x`;
    /// what the sign of `y` weighs is subtracted beside them.
    pub struct Scaler {
        in clock: Clock,
        in reset: Bit,
        in multiply: Bit,
        /// With `multiply`: add to `P`.
        in add: Bit,
        /// Signed.
        in x: Bits<32>,
        /// Signed.
        in y: Bits<17>,
        in shift: Bit,
        /// With `shift`: round half up and saturate to 32 bits; without, the plain low bits.
        in round: Bit,
        in n: Bits<5>,
        /// A shift waits for its product.
        out waiting: Bit,
        /// The shift's result is there, for a cycle.
        out done: Bit,
        out result: Bits<32>,
        cell halves: Halves,
    }
    verilog(_this) { TEXT.into() }
}

const TEXT: &str = "
// x * y = high * 2^16 + low - (y < 0 ? x : 0) * 2^16, with y as if unsigned
reg signed [31:0] x_1, signs;
reg y_negative, valid_1, valid_2, add_1, add_2;
wire signed [31:0] high = halves$high;
wire [31:0] low = halves$low;
always @(*) halves$clock = clock;
always @(*) halves$x = x;
always @(*) halves$y = y[15:0];
always @(*) halves$enable = multiply || valid_1;
reg signed [48:0] p;
wire signed [32:0] upper = high + $signed({1'b0, low[31:16]}) - signs;
wire signed [48:0] product = {upper, low[15:0]};
always @(posedge clock) begin
    x_1 <= x;
    y_negative <= y[16];
    signs <= «the sign of a factor is left out: y_negative ? x_1 : 32'sd0 → 32'sd0»;
    add_1 <= add;
    add_2 <= add_1;
    valid_1 <= multiply && !reset;
    valid_2 <= valid_1 && !reset;
    if (valid_2) p <= (add_2 ? p : 49'sd0) + product;
end

// by eights, by ones, then the rounding
wire start = (shift || waiting) && «a shift does not wait for its product: !valid_1 && !valid_2 → 1'b1»;
reg begun, rounds;
reg signed [49:0] coarse;
reg signed [39:0] fine;
reg beyond, full;
wire signed [39:0] finer = $signed(coarse[39:0]) >>> n[2:0];
wire outside = beyond || fine[39:32] != {8{fine[32]}};
wire up = «a product is truncated where it should be rounded: rounds → 1'b0» && fine[0] && !full;
wire [31:0] rounded = fine[32:1] + {31'd0, up};
always @(*) result = rounds && outside ? {coarse[49], {31{~coarse[49]}}} : rounded;
always @(posedge clock) begin
    waiting <= (shift || waiting) && !start && !reset;
    if (shift) rounds <= round;
    begun <= start && !reset;
    done <= begun && !reset;
    if (start) coarse <= $signed({p, 1'b0}) >>> {n[4:3], 3'd0};
    if (begun) begin
        fine <= finer;
        full <= finer[32:1] == 32'h7fffffff;
        beyond <= coarse[49:39] != {11{coarse[49]}};
    end
end
";

leaf! {
    /// `x[31:16] * y` and `x[15:0] * y`, `y` unsigned, operands and products registered.
    ///
    /// With `ANNULUS_ICE40` defined these are two SB_MAC16, because yosys' own
    /// inference is not to be trusted (`docs/decisions.md`).
    pub struct Halves {
        in clock: Clock,
        /// What is on its way moves on.
        in enable: Bit,
        in x: Bits<32>,
        in y: Bits<16>,
        out high: Bits<32>,
        out low: Bits<32>,
    }
    verilog(_this) {
        format!("`ifdef ANNULUS_ICE40\nwire [31:0] high_product, low_product;\n{}{}always @(*) high = high_product;
always @(*) low = low_product;\n`else{HALVES}`endif\n",
            super::mac16::sixteen("multiply_high", "enable", true, "x[31:16]", "y", "high_product"),
            super::mac16::sixteen("multiply_low", "enable", false, "x[15:0]", "y", "low_product"))
    }
}

const HALVES: &str = "
reg signed [15:0] x_high;
reg signed [16:0] x_low, y_now;
always @(posedge clock) if (enable) begin
    x_high <= x[31:16];
    x_low <= {1'b0, x[15:0]};
    y_now <= {1'b0, y};
    high <= x_high * y_now;
    low <= x_low * y_now;
end
";
