//! Scores: query times key, scaled, kept for the mix with their maximum.

use super::tag::{self, WORD_TAG, WORD_TAG_BITS};
use super::text::{address_bits, kinds, localparams, BLOCK_RAM, LUT_RAM};
use crate::cells::{Score, ScoreMax};
use crate::leaf;
use rust_hdl_core::prelude::*;

leaf! {
    /// One score a row of the array and cycle. Scores lie in banks, slot mod 8 (or 16),
    /// so that any number of rows can write and eight slots be read at once. Queries and
    /// keys leave their scales here. `tag_6` is early, for the scales; sums come with
    /// [`super::timing::SUMS`].
    pub struct Scores<const SUMS: usize, const P: usize, const P16: usize> {
        in clock: Clock,
        in tag_6: Bits<WORD_TAG_BITS>,
        in tag_7: Bits<WORD_TAG_BITS>,
        in sums: Bits<SUMS>,
        /// Encoded query words: to the query buffer.
        in head_valid: Bit,
        in head_key: Bit,
        in head_far: Bit,
        in head_last: Bit,
        in head: Bits<8>,
        in e: Bits<5>,
        in mu: Bits<2>,
        /// Where the key's scale goes: entry and row.
        in key_scale_at: Bits<16>,
        in key_row: Bits<8>,
        in link_write: Bit,
        in link_at: Bits<16>,
        in link_lane: Bits<8>,
        in link_data: Bits<32>,
        in idle: Bit,
        out link_q: Bits<32>,
        /// Eight scores, one cycle after `read_at`; the maximum of the buffer in `tag_1` at once.
        in read_at: Bits<11>,
        in tag_1: Bits<WORD_TAG_BITS>,
        out word: Bits<128>,
        out max: Bits<16>,
        out done: Bit,
        out retire: Bit,
        out illegal: Bit,
        cell lanes: Vec<Score>,
        cell largest: ScoreMax<P, P16>,
        param _key_entries: usize,
        param _words: usize,
        param _heads: usize,
    }
    verilog(this) {
        let banks = P.max(8);
        let per_word = banks / 8;
        let tag_top = WORD_TAG_BITS - 1;
        let mut text = kinds() + &localparams(&[
            ("P", P), ("ENTRIES", this._key_entries), ("A", address_bits(this._key_entries)),
            ("WORDS", this._words / per_word), ("W", address_bits(this._words / per_word)),
            ("HEADS", this._heads), ("H", address_bits(this._heads)),
        ]) + &format!("reg [{tag_top}:0] tag_8, tag_9, tag_10, tag_11, tag_12, tag_13, tag_14, tag_15, tag_16, tag_17;\n")
            + "always @(posedge clock) begin\n    tag_8 <= tag_7;\n"
            + &(9..=17).map(|i| format!("    tag_{i} <= tag_{};\n", i - 1)).collect::<String>() + "end\n"
            + &tag::unpack(WORD_TAG, "tag_1", &["id"])
            + &tag::unpack(WORD_TAG, "tag_6", &["scale", "head", "far"])
            + &tag::unpack(WORD_TAG, "tag_7", &["shift"])
            + &tag::unpack(WORD_TAG, "tag_14", &["valid", "kind", "last", "slot", "limit", "group_last"])
            + &tag::unpack(WORD_TAG, "tag_17", &["valid", "kind", "last", "id", "group_first"]) + "
// scales of keys (by ring entry and row) and of queries (by head)
" + BLOCK_RAM + "reg [7*P-1:0] key_scales [0:ENTRIES-1];
reg [6:0] query_scales [0:2*HEADS-1];
wire key_write = head_valid && head_key && head_last;
wire [A-1:0] scale_write_at = link_write ? link_at[A-1:0] : key_scale_at[A-1:0];
wire [A-1:0] scale_at = idle ? link_at[A-1:0] : tag_6_scale[A-1:0];
wire [7:0] scale_row = link_write ? link_lane : key_row;
wire [6:0] scale_data = link_write ? link_data[6:0] : {mu, e};
reg [7*P-1:0] key_scale;
reg [6:0] query_scale;
always @(posedge clock) begin
";
        for r in 0..P {
            text += &format!("    if ((link_write || key_write) && scale_row == 8'd{r}) key_scales[scale_write_at][{} +: 7] <= scale_data;\n", 7 * r);
        }
        text += "    key_scale <= key_scales[scale_at];
    if (head_valid && !head_key && head_last) query_scales[{«the sinks' query scale replaces the ring's: head_far → 1'b0», head[H-1:0]}] <= {mu, e};
    query_scale <= query_scales[{tag_6_far, «all heads take the first head's query scale: tag_6_head[H-1:0] → {H{1'b0}}»}];
end
always @(*) link_q = {25'd0, key_scale[7 * «every key scale is read as the first: link_lane → 8'd0» +: 7]};
reg signed [7:0] shift_8;
reg [1:0] muq_8;
always @(posedge clock) begin
    shift_8 <= $signed(tag_7_shift) - $signed({3'd0, query_scale[4:0]});
    muq_8 <= query_scale[6:5];
end

wire mine = tag_14_valid && tag_14_kind == KIND_SCORES && tag_14_last;
always @(*) done = mine && tag_14_group_last;
always @(*) retire = done;
wire [P-1:0] written;
reg any_illegal;
always @(posedge clock) illegal <= mine && any_illegal;

// the running maximum of each buffer
reg signed [15:0] maxima [0:7];
wire signed [15:0] newest = largest$max;
always @(posedge clock)
    if (tag_17_valid && tag_17_kind == KIND_SCORES && tag_17_last)
        maxima[tag_17_id] <= «the maximum of the head before stays: tag_17_group_first → 1'b0» || newest > maxima[tag_17_id] ? newest : maxima[tag_17_id];
always @(*) max = maxima[tag_1_id];
always @(*) largest$clock = clock;
always @(*) largest$valid = written;
";
        let mut any = vec![];
        for r in 0..P {
            text += &format!("
reg [4:0] ek_8_{r};
reg signed [7:0] shift_9_{r};
reg [1:0] muk_8_{r}, muk_9_{r}, muq_9_{r};
(* keep *) always @(posedge clock) begin
    muq_9_{r} <= muq_8;
    ek_8_{r} <= key_scale[{e} +: 5];
    muk_8_{r} <= key_scale[{mu} +: 2];
    shift_9_{r} <= shift_8 - $signed({{3'd0, ek_8_{r}}});
    muk_9_{r} <= muk_8_{r};
end
assign written[{r}] = «empty slots take part in the maximum: tag_14_limit > 5'd{r} → 1'b1»;
always @(*) lanes${r}$clock = clock;
always @(*) lanes${r}$d = sums[{low} +: 24];
always @(*) lanes${r}$muq = muq_9_{r};
always @(*) lanes${r}$muk = muk_9_{r};
always @(*) lanes${r}$sh = shift_9_{r}[6:0];
always @(*) largest$s[{s} +: 16] = lanes${r}$s;
", e = 7 * r, mu = 7 * r + 5, low = 32 * r, s = 16 * r);
            any.push(format!("(written[{r}] && lanes${r}$illegal)"));
        }
        text += &format!("always @(*) any_illegal = {};\n", any.join(" || "));
        // Bank b takes the row r with (first slot + r) mod BANKS == b.
        let all: Vec<_> = (0..P).rev().map(|r| format!("lanes${r}$s")).collect();
        text += &format!("wire [{}:0] row_scores = {{{}}};\n", 16 * P - 1, all.join(", "));
        let low = banks.trailing_zeros();
        for b in 0..banks {
            let taken = if P < banks { format!(" && row_{b} < {low}'d{P}") } else { String::new() };
            text += &format!("
{LUT_RAM}reg [15:0] bank_{b} [0:WORDS-1];
reg [15:0] found_{b};
wire [{top}:0] row_{b} = {low}'d{b} - tag_14_slot[{top}:0];
wire [12:0] slot_{b} = tag_14_slot + {{{pad}'d0, row_{b}}};
always @(posedge clock) begin
    if (mine{taken}) bank_{b}[slot_{b}[{low} +: W]] <= row_scores[16 * row_{b} +: 16];
    found_{b} <= bank_{b}[read_at[{half} +: W]];
end
", top = low - 1, pad = 13 - low, half = per_word.trailing_zeros());
        }
        if per_word == 1 {
            for b in 0..8 {
                text += &format!("always @(*) word[{} +: 16] = found_{b};\n", 16 * b);
            }
        } else {
            text += "reg upper;\nalways @(posedge clock) upper <= read_at[0];\n";
            for b in 0..8 {
                text += &format!("always @(*) word[{} +: 16] = upper ? found_{} : found_{b};\n", 16 * b, b + 8);
            }
        }
        text
    }
}

impl<const SUMS: usize, const P: usize, const P16: usize> Scores<SUMS, P, P16> {
    /// With a lane a row.
    pub fn new() -> Self {
        Self {
            lanes: (0..P).map(|_| Score::default()).collect(),
            ..Default::default()
        }
    }
}
