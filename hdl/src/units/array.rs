//! The dot array: rows of eight multipliers that share one vector, an
//! accumulator a row, and the sums held while the tail takes them.

use super::tag::{self, WORD_TAG, WORD_TAG_BITS};
use crate::cells::Dot8;
use crate::leaf;
use rust_hdl_core::prelude::*;

leaf! {
    /// `P` rows (`WORD = 64 P` or more, `SUMS = 32 P`). A word and its eight mantissas go in
    /// together; their tag arrives with the products. One cycle after the last word of a
    /// row group all sums stand in `sums`; each cycle after that they move down by two rows.
    pub struct DotArray<const WORD: usize, const SUMS: usize> {
        in clock: Clock,
        in word: Bits<WORD>,
        in x: Bits<64>,
        /// The word's tag, [`super::timing::PRODUCTS`].
        in tag: Bits<WORD_TAG_BITS>,
        out sums: Bits<SUMS>,
        /// The lowest two.
        out pair: Bits<64>,
        cell rows: Vec<Dot8>,
    }
    verilog(this) {
        let rows = this.rows.len();
        let mut text = tag::unpack(WORD_TAG, "tag", &["valid", "first", "last"]);
        for r in 0..rows {
            text += &format!("always @(*) rows${r}$clock = clock;
always @(*) rows${r}$x = x;
always @(*) rows${r}$w = word[{low} +: 64];
reg [31:0] acc_{r};
wire [31:0] total_{r} = («sums go on from the row group before: tag_first → 1'b0» ? 32'd0 : acc_{r}) + {{{{13{{rows${r}$s[18]}}}}, rows${r}$s}};
always @(posedge clock) if (tag_valid) acc_{r} <= total_{r};
", low = 64 * r);
        }
        let totals: Vec<_> = (0..rows).rev().map(|r| format!("total_{r}")).collect();
        let down = if rows > 2 { format!("{{64'd0, sums[{}:64]}}", 32 * rows - 1) } else { "64'd0".into() };
        text + &format!("always @(posedge clock) sums <= tag_valid && tag_last ? {{{}}} : {down};\n", totals.join(", "))
            + "always @(*) pair = «the two rows of a pair are swapped: sums[63:0] → {sums[31:0], sums[63:32]}»;\n"
    }
}

impl<const WORD: usize, const SUMS: usize> DotArray<WORD, SUMS> {
    /// An array of `SUMS / 32` rows.
    pub fn new() -> Self {
        assert!(SUMS.is_multiple_of(32) && SUMS <= WORD / 2);
        Self {
            rows: (0..SUMS / 32).map(|_| Dot8::default()).collect(),
            ..Default::default()
        }
    }
}
