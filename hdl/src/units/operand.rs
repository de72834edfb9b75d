//! The eight int8 numbers that all rows of the array share in a cycle.

use super::tag::{self, WORD_TAG, WORD_TAG_BITS};
use super::text::kinds;
use crate::cells::{Exp2, ReadBlock};
use crate::leaf;
use rust_hdl_core::prelude::*;

leaf! {
    /// Words of the vector buffers, one cycle after the scan, become mantissas at
    /// [`super::timing::OPERAND`]: residual and hidden vector by a rounding shift,
    /// queries as they are, scores through `exp2`.
    pub struct Operand {
        in clock: Clock,
        in tag_1: Bits<WORD_TAG_BITS>,
        in tag_3: Bits<WORD_TAG_BITS>,
        in residual: Bits<128>,
        in residual_e: Bits<4>,
        in hidden: Bits<128>,
        in hidden_e: Bits<4>,
        in query: Bits<64>,
        in scores: Bits<128>,
        in score_max: Bits<16>,
        out x: Bits<64>,
        /// The probabilities alone, for their sum.
        out p: Bits<64>,
        cell block: ReadBlock,
        cell exp: Vec<Exp2>,
    }
    verilog(this) {
        let mut text = kinds() + &tag::unpack(WORD_TAG, "tag_1", &["kind", "limit"])
            + &tag::unpack(WORD_TAG, "tag_3", &["kind"]) + "
wire other = tag_1_kind == KIND_OUT || tag_1_kind == KIND_DOWN;
reg [63:0] query_2, query_3;
always @(posedge clock) begin
    query_2 <= query;
    query_3 <= query_2;
end
always @(*) block$clock = clock;
always @(*) block$x = other ? hidden : residual;
always @(*) block$e = other ? «the hidden vector is read with the residual's exponent: hidden_e → residual_e» : residual_e;
always @(*) x = tag_3_kind == KIND_SCORES ? query_3 : tag_3_kind == KIND_MIX ? p : block$m;
";
        for i in 0..this.exp.len() {
            text += &format!("
always @(*) exp${i}$clock = clock;
always @(*) exp${i}$m = score_max;
always @(*) exp${i}$s = scores[{low} +: 16];
always @(*) exp${i}$valid = «probabilities of empty slots are not masked: tag_1_limit > 5'd{i} → 1'b1»;
always @(*) p[{byte} +: 8] = exp${i}$p;
", low = 16 * i, byte = 8 * i);
        }
        text
    }
}

impl Operand {
    /// With its eight exponentials.
    pub fn new() -> Self {
        Self {
            exp: (0..8).map(|_| Exp2::default()).collect(),
            ..Default::default()
        }
    }
}
