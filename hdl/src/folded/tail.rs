//! The tail: what every result of a matrix, every score and every mantissa goes through.

use super::layout::Layout;
use super::mode;
use super::scaler::Halves;
use crate::leaf;
use crate::units::text::{address_bits, localparams};
use annulus_contract::shape::CoreShape;
use rust_hdl_core::prelude::*;

leaf! {
    /// `rshr(x * rshr(factor * mu, 3), bias + s)`, saturated to 24 bits (or 16), for one element after
    /// another: `x` is a sum or an element, `mu` and `s` are its scale's (8 and 0
    /// without one; a key's exponent counts negative).
    ///
    /// After `go` with a [`mode`] elements are fetched, at most one in three cycles, and go
    /// through seven stages that move while the last result has been taken. It goes on
    /// until the next `go`; what it fetches too far is never taken.
    pub struct Tail {
        in clock: Clock,
        in reset: Bit,
        // the machine's orders
        in go: Bit,
        in set_factor: Bit,
        in set_bias: Bit,
        in set_scales: Bit,
        in set_source: Bit,
        in data: Bits<32>,
        // elements; the bus and the machine have the ports of the memories before
        in reading: Bit,
        in points: Bit,
        in sum: Bits<32>,
        in sum_valid: Bit,
        out take_sum: Bit,
        out scale_at: Bits<16>,
        in row_scale: Bits<8>,
        in key_scale: Bits<7>,
        out vector_at: Bits<16>,
        in element: Bits<16>,
        // results
        out result: Bits<24>,
        out valid: Bit,
        in take: Bit,
        /// A result that was taken had a shift outside 0 to 31.
        out illegal: Bit,
        cell halves: Halves,
        param _shape: Option<CoreShape>,
    }
    verilog(this) {
        let Some(shape) = this._shape else { unreachable!("a tail without a shape") };
        localparams(&[
            ("ROWS", mode::ROWS as usize), ("KEYS", mode::KEYS as usize), ("VECTOR", mode::VECTOR as usize),
            ("SA", address_bits(shape.key_scales.max(2 * shape.scales) as usize)),
            ("VA", address_bits(Layout::new(&shape).vectors as usize)),
        ]) + TEXT
    }
}

const TEXT: &str = "
reg [2:0] mode;
reg short;
reg [15:0] factor;
reg [17:0] factor_3;
reg signed [7:0] bias;
reg [SA-1:0] scale;
reg [VA-1:0] source;
always @(*) scale_at = {{(16-SA){1'b0}}, scale};
always @(*) vector_at = {{(16-VA){1'b0}}, source};

// fetch: a memory's address stands for what comes a cycle later
reg asked, held;
wire vector = mode == VECTOR;
// What was fetched too far may not move a pointer that is set for the next pass.
reg paused;
wire aims = set_scales || set_source;
wire ask = mode != 0 && !paused && !aims && !asked && !held && !reading && (vector ? !points : sum_valid);
always @(*) take_sum = asked && !vector;
reg [31:0] x;
reg [1:0] mu;                   // less 5
reg signed [7:0] s;
wire move = «a result is overwritten before it is taken: !valid || take → 1'b1»;

// the multiplier, the shift
reg [17:0] above_4;
always @(*) case (mu)
    2'd0: above_4 = {2'd0, factor};
    2'd1: above_4 = {1'd0, factor, 1'd0};
    2'd2: above_4 = «a multiplier of 7 counts as 6: factor_3 → {1'd0, factor, 1'd0}»;
    default: above_4 = {factor, 2'd0};
endcase
wire [18:0] scaled = {1'd0, factor, 2'd0} + {1'd0, above_4} + «the multiplier of a row is not rounded: 19'd4 → 19'd0»;
wire signed [7:0] shift = «the exponent of a scale is left out: bias + s → bias»;

// multiply: operands, products, their sum
reg [5:0] n_1, n_2, n_3, n_4;   // with a flag: illegal
reg bad_5, bad_6, bad;
reg valid_1, valid_2, valid_3, valid_4, valid_5, valid_6;
always @(*) halves$clock = clock;
always @(*) halves$enable = move;
always @(*) halves$x = x;
always @(*) halves$y = scaled[18:3];
wire signed [31:0] high = halves$high;
wire [31:0] low = halves$low;
reg signed [47:0] p;
wire signed [31:0] upper = high + $signed({16'd0, low[31:16]});

// shift: by eights, by ones; rounding; saturation
reg signed [48:0] coarse;
reg signed [39:0] fine;
reg signed [25:0] rounded;
reg beyond, sign_5, far, sign;
wire fits = !far && (short ? rounded[25:15] == {11{rounded[25]}} : rounded[25:23] == {3{rounded[25]}});
always @(*) illegal = take && «an illegal shift is not reported: bad → 1'b0»;
always @(posedge clock) begin
    factor_3 <= {2'd0, factor} + {1'd0, factor, 1'd0};
    if (set_factor) factor <= data[15:0];
    if (set_bias) bias <= data[7:0];
    asked <= ask;
    if (go || reset) paused <= 0;
    else if (aims) paused <= 1;
    if (asked) begin
        x <= vector ? {{16{element[15]}}, element} : sum;
        mu <= mode == ROWS ? row_scale[7:6] : mode == KEYS ? key_scale[6:5] : 2'd3;
        s <= mode == ROWS ? {{2{row_scale[5]}}, row_scale[5:0]} : mode == KEYS ? «the exponent of a key has the wrong sign: -{3'd0, key_scale[4:0]} → {3'd0, key_scale[4:0]}» : 8'd0;
        held <= 1;
    end else if (move) held <= 0;
    if (set_scales) scale <= data[SA-1:0];
    else if («all rows take the first row's scale: asked → 1'b0») scale <= scale + 1'b1;
    if (set_source) source <= data[VA-1:0];
    else if (asked) source <= source + 1'b1;

    if (move) begin
        n_1 <= {shift[7:5] != 0, shift[4:0]};
        n_2 <= n_1;
        p <= {upper, low[15:0]};
        n_3 <= n_2;
        coarse <= $signed({p, 1'b0}) >>> {n_3[4:3], 3'd0};
        n_4 <= n_3;
        fine <= $signed(coarse[39:0]) >>> n_4[2:0];
        beyond <= coarse[48:39] != {10{coarse[48]}};
        bad_5 <= n_4[5];
        sign_5 <= coarse[48];
        rounded <= {fine[25], fine[25:1]} + {25'd0, «a result is truncated where it should be rounded: fine[0] → 1'b0»};
        far <= beyond || fine[39:25] != {15{sign_5}};
        sign <= sign_5;
        bad_6 <= bad_5;
        result <= «a result wraps where it should saturate: fits → 1'b1» ? rounded[23:0]
            : short ? {{9{sign}}, {15{~sign}}} : {sign, {23{~sign}}};
        bad <= bad_6;
        valid_1 <= held;
        valid_2 <= valid_1;
        valid_3 <= valid_2;
        valid_4 <= valid_3;
        valid_5 <= valid_4;
        valid_6 <= valid_5;
        valid <= valid_6;
    end
    if (go) {short, mode} <= data[3:0];
    if (go || reset) begin
        asked <= 0;
        held <= 0;
        valid_1 <= 0;
        valid_2 <= 0;
        valid_3 <= 0;
        valid_4 <= 0;
        valid_5 <= 0;
        valid_6 <= 0;
        valid <= 0;
    end
    if (reset) mode <= 0;
end
";
