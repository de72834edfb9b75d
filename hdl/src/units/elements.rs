//! The elements of an embedded row, or of a residual to be normalized, one
//! pair a cycle in step with the drain.

use super::tag::{self, WORD_TAG, WORD_TAG_BITS};
use super::text::{kinds, localparams};
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
        kinds() + &localparams(&[("P", WORD / 64)])
            + &tag::unpack(WORD_TAG, "tag_3", &["valid", "kind", "row"])
            + &tag::unpack(WORD_TAG, "tag_7", &["valid", "kind"]) + "
wire [63:0] row = word[64 * tag_3_row +: 64];
reg [127:0] chosen, held;
integer i;
always @(posedge clock) begin
    if (tag_3_valid && tag_3_kind == KIND_NORMALIZE) chosen <= residual;
    if (tag_3_valid && tag_3_kind == KIND_EMBED)
        for (i = 0; i < 8; i = i + 1) chosen[16*i +: 16] <= {«embedded weights lose their sign: {8{row[8*i+7]}} → 8'd0», row[8*i +: 8]};
    held <= tag_7_valid && (tag_7_kind == KIND_EMBED || tag_7_kind == KIND_NORMALIZE)
        ? chosen : {32'd0, held[127:32]};
    pair <= held[31:0];
end
"
    }
}
