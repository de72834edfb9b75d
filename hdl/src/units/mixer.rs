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
        cell adder: SumP8,
        cell recip: Recip,
    }
    verilog(_this) {
        kinds() + &tag::unpack(WORD_TAG, "tag", &["valid", "kind", "first", "last", "group_first"]) + "
reg [17:0] partial, total;
wire mine = tag_valid && tag_kind == KIND_MIX && tag_group_first;
wire [17:0] so_far = («probabilities of the head before are added: tag_first → 1'b0» ? 18'd0 : partial) + {7'd0, adder$sum};
always @(posedge clock) begin
    if (mine) partial <= so_far;
    if (mine && tag_last) total <= «the sum of probabilities lacks its last word: so_far → partial»;
end
always @(*) adder$clock = clock;
always @(*) adder$p = p;
always @(*) recip$clock = clock;
always @(*) recip$z_in = total;
always @(*) reciprocal = recip$r;
always @(*) reciprocal_shift = recip$z;
"
    }
}
