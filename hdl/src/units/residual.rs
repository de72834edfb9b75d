//! The residual: its memory, the addition, and the statistics of the norm that
//! follows, gathered while it is written.

use super::tag::{self, PAIR_TAG, PAIR_TAG_BITS};
use super::text::{address_bits, kinds, localparams, LUT_RAM};
use crate::cells::Rsqrt;
use crate::leaf;
use rust_hdl_core::prelude::*;

leaf! {
    /// `pair_tag` comes two cycles before its results `y0`, `y1`
    /// ([`super::timing::RESULT`]); `retire` as early as the next step's first read allows.
    pub struct Residual {
        in clock: Clock,
        in pair_tag: Bits<PAIR_TAG_BITS>,
        in y0: Bits<24>,
        in y1: Bits<24>,
        in eps: Bits<32>,
        in embedding_eps: Bits<32>,
        /// Word that the scan reads; while results arrive the port is theirs.
        in read_at: Bits<11>,
        out word: Bits<128>,
        out e: Bits<4>,
        out root: Bits<16>,
        out root_shift: Bits<5>,
        out retire: Bit,
        cell rsqrt: Rsqrt,
        param _words: usize,
    }
    verilog(this) {
        let mut text = kinds() + &localparams(&[("WORDS", this._words), ("A", address_bits(this._words))])
            + "reg [" + &format!("{}:0] tag_1, tag_2, tag_3;\n", PAIR_TAG_BITS - 1)
            + "always @(posedge clock) begin tag_1 <= pair_tag; tag_2 <= tag_1; tag_3 <= tag_2; end\n"
            + &tag::unpack(PAIR_TAG, "tag_1", &["valid", "kind", "last", "index", "add"])
            + &tag::unpack(PAIR_TAG, "tag_3", &["valid", "kind", "first", "last", "index", "embedding_eps"]) + "
wire mine_1 = tag_1_valid && (tag_1_kind == KIND_EMBED || tag_1_kind == KIND_NORMALIZE || tag_1_kind == KIND_OUT || tag_1_kind == KIND_DOWN);
wire mine_3 = tag_3_valid && (tag_3_kind == KIND_EMBED || tag_3_kind == KIND_NORMALIZE || tag_3_kind == KIND_OUT || tag_3_kind == KIND_DOWN);
wire replace = (tag_1_kind == KIND_EMBED && !tag_1_add) || «a normalized vector is added to the old one: tag_1_kind == KIND_NORMALIZE → 1'b0»;
always @(*) retire = mine_1 && tag_1_last;

wire [A-1:0] at = mine_1 && tag_1_kind != KIND_NORMALIZE ? tag_1_index[A+1:2] : read_at[A-1:0];
wire [127:0] old;
reg [31:0] old_pair;
always @(posedge clock) begin
    word <= old;
    old_pair <= replace ? 32'd0 : old[32 * tag_1_index[1:0] +: 32];
end
wire [24:0] sum0 = {y0[23], y0} + {{9{old_pair[15]}}, old_pair[15:0]};
wire [24:0] sum1 = {y1[23], y1} + {{9{old_pair[31]}}, old_pair[31:16]};
reg signed [15:0] x0, x1;

// The mean square and the largest magnitude of what is written.
reg [30:0] square0, square1;
reg [31:0] squares;
reg [40:0] total;
reg first_4, first_5, valid_4, valid_5, last_4, last_5, last_6, embedding_4, embedding_5, embedding_6;
reg [14:0] magnitudes;
wire [14:0] magnitude0 = x0[15] ? «a small negative number counts as a large one: ~x0[14:0] → x0[14:0]» : x0[14:0];
wire [14:0] magnitude1 = x1[15] ? ~x1[14:0] : x1[14:0];
wire [40:0] t_now = («squares of the vector before are added: first_5 → 1'b0» ? 41'd0 : total) + {9'd0, squares};
reg [40:0] t;
integer i;
always @(posedge clock) begin
    x0 <= «the residual wraps where it should saturate: sum0[24:15] == {10{sum0[24]}} → 1'b1» ? sum0[15:0] : {sum0[24], {15{~sum0[24]}}};
    x1 <= sum1[24:15] == {10{sum1[24]}} ? sum1[15:0] : {sum1[24], {15{~sum1[24]}}};
    square0 <= x0 * x0;
    square1 <= x1 * x1;
    squares <= {1'b0, square0} + {1'b0, square1};
    valid_4 <= mine_3;
    valid_5 <= valid_4;
    first_4 <= tag_3_first;
    first_5 <= first_4;
    last_4 <= mine_3 && tag_3_last;
    last_5 <= last_4;
    last_6 <= last_5;
    embedding_4 <= tag_3_embedding_eps;
    embedding_5 <= embedding_4;
    if (valid_5) begin
        total <= t_now;
        embedding_6 <= embedding_5;
    end
    // The root stays while the next vector is written: it may be the one being normalized.
    if («the root lacks the last pair: last_6 → last_5») t <= total + {9'd0, embedding_6 ? «the norm behind the embedding takes the other epsilon: embedding_eps → eps» : eps};
    if (mine_3) magnitudes <= («the residual keeps the exponent of a larger one before: tag_3_first → 1'b0» ? 15'd0 : magnitudes) | magnitude0 | magnitude1;
    e <= 0;
    for (i = 7; i < 15; i = i + 1) if (magnitudes[i]) e <= i[3:0] - 4'd6;
end
always @(*) rsqrt$clock = clock;
always @(*) rsqrt$t = t;
always @(*) root = rsqrt$r;
always @(*) root_shift = rsqrt$k;
";
        for lane in 0..4 {
            text += &format!("
{LUT_RAM}reg [31:0] mem_{lane} [0:WORDS-1];
assign old[{low} +: 32] = mem_{lane}[at];
always @(posedge clock)
    if (mine_3 && tag_3_index[1:0] == 2'd{lane}) mem_{lane}[tag_3_index[A+1:2]] <= {{x1, x0}};
", low = 32 * lane);
        }
        text
    }
}
