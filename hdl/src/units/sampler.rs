//! The choice of the next token, in the logits' tail: largest logit, or largest
//! logit plus Gumbel noise.

use super::tag::{self, PAIR_TAG, PAIR_TAG_BITS};
use super::text::{address_bits, kinds, localparams, LUT_RAM};
use crate::cells::{Crc24, Gumbel, Temperature};
use crate::leaf;
use rust_hdl_core::prelude::*;

leaf! {
    /// `early_tag` comes [`Gumbel::LATENCY`] minus [`Temperature::LATENCY`] cycles before
    /// the logits: the noise depends on the index alone. `pair_tag` comes with them.
    pub struct Sampler {
        in clock: Clock,
        in early_tag: Bits<PAIR_TAG_BITS>,
        in pair_tag: Bits<PAIR_TAG_BITS>,
        in y0: Bits<24>,
        in y1: Bits<24>,
        /// `IT`, 0 for greedy.
        in temperature: Bits<16>,
        in key0: Bits<32>,
        in key1: Bits<32>,
        in samples: Bits<32>,
        in clear_crc: Bit,
        out crc: Bits<32>,
        out choice: Bits<16>,
        out retire: Bit,
        in link_at: Bits<16>,
        out link_q: Bits<32>,
        cell noise0: Gumbel,
        cell noise1: Gumbel,
        cell scaled0: Temperature,
        cell scaled1: Temperature,
        cell checksum: Crc24,
        param _vocab: usize,
    }
    verilog(this) {
        let mut text = kinds() + &localparams(&[("PAIRS", this._vocab / 2), ("A", address_bits(this._vocab) - 1)])
            + &tag::unpack(PAIR_TAG, "early_tag", &["index"])
            + &tag::unpack(PAIR_TAG, "pair_tag", &["valid", "kind", "first", "last", "odd", "index"]) + "
wire mine = pair_tag_valid && pair_tag_kind == KIND_LOGITS;
// mark: {valid, first, last, odd, index}
wire [16:0] mark = {mine, pair_tag_first, pair_tag_last, pair_tag_odd, pair_tag_index};
reg [16:0] mark_1, mark_2, mark_3, mark_4, mark_5, mark_6, mark_7;
reg signed [23:0] plain0_1, plain0_2, plain0_3, plain0_4, plain0_5, plain1_1, plain1_2, plain1_3, plain1_4, plain1_5;
always @(posedge clock) begin
    mark_1 <= mark;
    mark_2 <= mark_1;
    mark_3 <= mark_2;
    mark_4 <= mark_3;
    mark_5 <= mark_4;
    mark_6 <= mark_5;
    mark_7 <= mark_6;
    plain0_1 <= y0;
    plain0_2 <= plain0_1;
    plain0_3 <= plain0_2;
    plain0_4 <= plain0_3;
    plain0_5 <= plain0_4;
    plain1_1 <= y1;
    plain1_2 <= plain1_1;
    plain1_3 <= plain1_2;
    plain1_4 <= plain1_3;
    plain1_5 <= plain1_4;
end

wire greedy = temperature == 0;
wire [30:0] noisy0 = {scaled0$z[29], scaled0$z} + {{13{noise0$noise[17]}}, noise0$noise};
wire [30:0] noisy1 = {scaled1$z[29], scaled1$z} + {{13{noise1$noise[17]}}, noise1$noise};
reg signed [30:0] z0, z1, better, best;
reg better_odd;
reg [13:0] best_index;
wire improves = «the best of the token before stays: mark_7[15] → 1'b0» || «the last of equal logits wins: better > best → better >= best»;
always @(posedge clock) begin
    z0 <= «a greedy choice is left to the noise: greedy → 1'b0» ? {{7{plain0_5[23]}}, plain0_5} : noisy0;
    z1 <= greedy ? {{7{plain1_5[23]}}, plain1_5} : noisy1;
    better <= !mark_6[13] && z1 > z0 ? z1 : z0;
    better_odd <= !mark_6[13] && «the odd one of two equal logits wins: z1 > z0 → z1 >= z0»;
    if (mark_7[16] && improves) begin
        best <= better;
        best_index <= {mark_7[12:0], better_odd};
    end
end
always @(*) choice = {2'd0, best_index};
always @(*) retire = mark_6[16] && mark_6[14];

always @(*) checksum$clock = clock;
always @(*) checksum$clear = clear_crc;
always @(*) checksum$valid0 = mark_1[16];
always @(*) checksum$d0 = plain0_1;
always @(*) checksum$valid1 = mark_1[16] && «the checksum counts a symbol too many: !mark_1[13] → 1'b1»;
always @(*) checksum$d1 = plain1_1;
always @(*) crc = checksum$crc;

" + LUT_RAM + "reg [47:0] logits [0:PAIRS-1];
reg [47:0] found;
reg upper;
always @(posedge clock) begin
    if (mine) logits[pair_tag_index[A-1:0]] <= {y1, y0};
    found <= logits[link_at[A:1]];
    upper <= link_at[0];
end
always @(*) link_q = «logits are read in the wrong order: upper → !upper» ? {{8{found[47]}}, found[47:24]} : {{8{found[23]}}, found[23:0]};
";
        for lane in 0..2 {
            text += &format!("
always @(*) noise{lane}$clock = clock;
always @(*) noise{lane}$k0 = key0;
always @(*) noise{lane}$k1 = key1;
always @(*) noise{lane}$step = samples;
always @(*) noise{lane}$i = {{18'd0, early_tag_index, «both symbols of a pair have the same noise: 1'b{lane} → 1'b0»}};
always @(*) scaled{lane}$clock = clock;
always @(*) scaled{lane}$logit = y{lane};
always @(*) scaled{lane}$it = temperature;
");
        }
        text
    }
}
