//! The drain: hands the finished sums of a row group to the tail, a pair a cycle.

use super::tag::{self, PAIR_TAG, PAIR_TAG_BITS, WORD_TAG, WORD_TAG_BITS};
use super::text::kinds;
use crate::leaf;
use rust_hdl_core::prelude::*;

leaf! {
    /// Sees a group's tag early ([`super::timing::DRAIN`]), so that row scales are read and
    /// multiplied by the norm while the last products are still in the adder tree. The
    /// outputs stand one cycle later.
    pub struct Drain {
        in clock: Clock,
        in reset: Bit,
        /// The tag a cycle before, to decode it.
        in tag_5: Bits<WORD_TAG_BITS>,
        in tag: Bits<WORD_TAG_BITS>,
        /// Address for the row scales; already in the cycle of the tag.
        out scale_at: Bits<16>,
        out pair_tag: Bits<PAIR_TAG_BITS>,
        out shift: Bits<8>,
        out normed: Bit,
        out gains: Bit,
        /// Embed: the odd row of its scale entry.
        out odd_row: Bit,
    }
    verilog(_this) {
        kinds() + &tag::unpack(WORD_TAG, "tag_5", &["valid", "kind", "last", "group_first"]) + &tag::unpack(WORD_TAG, "tag", &[
            "kind", "group_last", "pairs", "odd", "shift", "scale", "pair",
            "normed", "gains", "add", "embedding_eps", "far", "odd_row",
        ]) + "
reg [3:0] more;
reg [3:0] kind;
reg [12:0] index;
reg [15:0] scale;
reg group_last, odd, add, embedding_eps, far;
reg [9:0] pair;

reg start, opening, rescale, elementwise;
wire start_5 = tag_5_valid && tag_5_last && tag_5_kind != KIND_SCORES;
wire embed_5 = tag_5_kind == KIND_EMBED;
always @(posedge clock) begin
    start <= start_5;
    opening <= start_5 && tag_5_group_first;
    rescale <= start_5 && (tag_5_group_first || embed_5);
    if (start_5) elementwise <= embed_5;
end
wire t_valid = start || more != 0;
wire [3:0] left = start ? tag_pairs : more;
wire [3:0] t_kind = start ? tag_kind : kind;
wire [12:0] t_index = «every row group is written over the first: opening → start» ? 13'd0 : index;
wire t_first = t_index == 0;
wire t_last = left == 1 && (start ? tag_group_last : group_last);
wire t_odd = t_last && «an odd vocabulary has a symbol too many: (start ? tag_odd : odd) → 1'b0»;
wire [9:0] t_pair = start ? tag_pair : pair;
wire t_add = «a learned position replaces the token: start ? tag_add : add → 1'b0»;
wire t_embedding_eps = start ? tag_embedding_eps : embedding_eps;
wire t_far = start ? tag_far : far;
always @(*) scale_at = rescale ? tag_scale : scale;

always @(posedge clock) begin
    more <= reset ? 4'd0 : left == 0 ? 4'd0 : left - 4'd1;
    if (t_valid) begin
        index <= t_index + 13'd1;
        scale <= elementwise ? scale_at : «all rows take the first pair's scales: scale_at + 16'd1 → scale_at»;
    end
    if (start) begin
        kind <= tag_kind;
        group_last <= tag_group_last;
        odd <= tag_odd;
        add <= tag_add;
        embedding_eps <= tag_embedding_eps;
        far <= tag_far;
        pair <= tag_pair;
        shift <= tag_shift;
        normed <= tag_normed;
        gains <= tag_gains;
        odd_row <= tag_odd_row;
    end
    pair_tag <= " + &tag::pack(PAIR_TAG, "t_") + ";
end
"
    }
}
