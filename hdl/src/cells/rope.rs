use super::fragments::round_sat;
use crate::leaf;
use annulus_contract::rope::Rotation;
use rust_hdl_core::prelude::*;

leaf! {
    /// Turns a pair by an angle whose sine and cosine are given. Stages:
    /// operands; four products; two sums; rounding and saturation.
    pub struct Rope {
        in clock: Clock,
        in a: Bits<16>,
        in b: Bits<16>,
        /// Units of 2^-14.
        in sin: Bits<16>,
        /// Units of 2^-14.
        in cos: Bits<16>,
        /// `a cos - b sin`.
        out ra: Bits<16>,
        /// `a sin + b cos`.
        out rb: Bits<16>,
    }
    verilog(_this) { round_sat(19, 16) + TEXT }
}

const TEXT: &str = "reg signed [15:0] a1, b1, sin1, cos1;
reg signed [31:0] a_cos, b_sin, a_sin, b_cos;
reg signed [32:0] first, second;
always @(posedge clock) begin
    a1 <= a;
    b1 <= b;
    sin1 <= sin;
    cos1 <= cos;
    a_cos <= a1 * cos1;
    b_sin <= b1 * sin1;
    a_sin <= a1 * sin1;
    b_cos <= b1 * cos1;
    first <= a_cos - b_sin;
    second <= a_sin + b_cos;
    ra <= round_sat(first[32:13]);
    rb <= round_sat(second[32:13]);
end
";

impl Rope {
    /// Clock edges from input to output.
    pub const LATENCY: usize = 4;

    /// The rotated pair.
    pub fn model(a: i16, b: i16, rotation: Rotation) -> (i16, i16) {
        let (ra, rb) = rotation.apply(a as i32, b as i32);
        (ra as i16, rb as i16)
    }
}
