//! The elements of an embedded row, or of a residual to be normalized, one
//! pair a cycle in step with the drain.

use super::tag::{self, WORD_TAG, WORD_TAG_BITS};
use super::text::kinds;
use crate::leaf;
use rust_hdl_core::prelude::*;

leaf! {
    /// `tag_3` and `tag_7` are the word's tag 3 and 7 cycles after the scan.
    pub struct Elements<const WORD: usize> {
        in clock: Clock,
        in tag_3: Bits<WORD_TAG_BITS>,
        in tag_7: Bits<WORD_TAG_BITS>,
        in word: Bits<WORD>,
        /// Eight elements of the residual; stable for three cycles.
        in residual: Bits<128>,
        /// Two int16, [`super::timing::SUMS`].
        out pair: Bits<32>,
    }
    verilog(_this) {
        let pairs = WORD / 128;
        kinds() + &tag::unpack(WORD_TAG, "tag_3", &["valid", "kind", "row"])
            + &tag::unpack(WORD_TAG, "tag_7", &["valid", "kind"]) + "
// the row, in two stages: of each two, then of all
reg embed;
reg [3:0] row_pair;
reg [" + &format!("{}:0] halves;\nwire [63:0] row = halves[64 * row_pair", 64 * pairs - 1) + " +: 64];
reg [127:0] chosen, held;
integer i;
always @(posedge clock) begin
    embed <= tag_3_valid && tag_3_kind == KIND_EMBED;
    row_pair <= tag_3_row[4:1];
    for (i = 0; i < " + &pairs.to_string() + "; i = i + 1) halves[64*i +: 64] <= tag_3_row[0] ? word[128*i + 64 +: 64] : word[128*i +: 64];
    if (tag_3_valid && tag_3_kind == KIND_NORMALIZE) chosen <= residual;
    if (embed)
        for (i = 0; i < 8; i = i + 1) chosen[16*i +: 16] <= {«embedded weights lose their sign: {8{row[8*i+7]}} → 8'd0», row[8*i +: 8]};
    held <= tag_7_valid && (tag_7_kind == KIND_EMBED || tag_7_kind == KIND_NORMALIZE)
        ? chosen : {32'd0, held[127:32]};
    pair <= held[31:0];
end
"
    }
}
