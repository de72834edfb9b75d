//! The sum of a head's probabilities, and its reciprocal.

use super::tag::{self, WORD_TAG, WORD_TAG_BITS};
use super::text::kinds;
use crate::cells::{Recip, SumP8};
use crate::leaf;
use rust_hdl_core::prelude::*;

leaf! {
    /// Adds up the probabilities of a head's first pass over its value ring (a head of
    /// many elements takes several). `tag` is in step with the cell's sum.
    pub struct Mixer {
        in clock: Clock,
        in tag: Bits<WORD_TAG_BITS>,
        in p: Bits<64>,
        out reciprocal: Bits<17>,
        out reciprocal_shift: Bits<5>,
        cell sum: SumP8,
        cell recip: Recip,
    }
    verilog(_this) {
        kinds() + &tag::unpack(WORD_TAG, "tag", &["valid", "kind", "first", "last", "group_first"]) + "
reg [17:0] partial, total;
wire mine = tag_valid && tag_kind == KIND_MIX && tag_group_first;
wire [17:0] so_far = (tag_first ? 18'd0 : partial) + {7'd0, sum$sum};
always @(posedge clock) begin
    if (mine) partial <= so_far;
    if (mine && tag_last) total <= so_far;
end
always @(*) sum$clock = clock;
always @(*) sum$p = p;
always @(*) recip$clock = clock;
always @(*) recip$z_in = total;
always @(*) reciprocal = recip$r;
always @(*) reciprocal_shift = recip$z;
"
    }
}
