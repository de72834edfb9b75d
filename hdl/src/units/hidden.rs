//! The other vector: attention output, then the feed-forward's hidden vector.

use super::tag::{self, PAIR_TAG, PAIR_TAG_BITS};
use super::text::{address_bits, kinds, localparams, step_fields, LUT_RAM, STEP_BITS};
use crate::cells::SwiGlu;
use crate::leaf;
use rust_hdl_core::prelude::*;

leaf! {
    /// `pair_tag` comes one cycle before its results `y0`, `y1`. Attention output and
    /// ReLU are written a pair at a time, SwiGLU makes one element of a pair.
    pub struct Hidden {
        in clock: Clock,
        in go: Bit,
        in step: Bits<STEP_BITS>,
        in pair_tag: Bits<PAIR_TAG_BITS>,
        in y0: Bits<24>,
        in y1: Bits<24>,
        in read_at: Bits<11>,
        out word: Bits<128>,
        out e: Bits<4>,
        out retire: Bit,
        cell swiglu: SwiGlu,
        param _words: usize,
    }
    verilog(this) {
        let late = 2 + SwiGlu::LATENCY;
        let mut text = kinds() + &localparams(&[("WORDS", this._words), ("A", address_bits(this._words))])
            + &step_fields("step", &["kind", "gate_bits", "hidden_shift"])
            + &(1..late).map(|i| format!("reg [{}:0] tag_{i};\n", PAIR_TAG_BITS - 1)).collect::<String>()
            + "always @(posedge clock) begin\n    tag_1 <= pair_tag;\n"
            + &(2..late).map(|i| format!("    tag_{i} <= tag_{};\n", i - 1)).collect::<String>()
            + "end\n"
            + &tag::unpack(PAIR_TAG, "pair_tag", &["valid", "kind", "last"])
            + &tag::unpack(PAIR_TAG, "tag_1", &["valid", "kind", "first", "index", "pair"])
            + &tag::unpack(PAIR_TAG, &format!("tag_{}", late - 2), &["valid", "kind", "last"])
            + &tag::unpack(PAIR_TAG, &format!("tag_{}", late - 1), &["valid", "kind", "first", "index"])
            + &"
// what is written, and where; two results beside tag 2, one gated a SwiGLU later
reg pairs, gated;
reg [12:0] pair_at, element_at;
reg pair_opens, element_opens;
wire opening = gated ? element_opens : pair_opens;
always @(posedge clock) begin
    pairs <= tag_1_valid && (tag_1_kind == KIND_MIX || tag_1_kind == KIND_RELU);
    pair_at <= tag_1_kind == KIND_MIX ? «all heads write to the first head's place: {3'd0, tag_1_pair} + tag_1_index → tag_1_index» : tag_1_index;
    pair_opens <= tag_1_first && (tag_1_kind != KIND_MIX || «the attention output takes its last head's exponent: tag_1_pair == 0 → 1'b1»);
    gated <= tag_NEAR_valid && tag_NEAR_kind == KIND_GATE_UP;
    element_at <= tag_NEAR_index;
    element_opens <= tag_NEAR_first;
end
always @(*) retire = (pair_tag_valid && pair_tag_last && (pair_tag_kind == KIND_MIX || pair_tag_kind == KIND_RELU))
    || (tag_SOON_valid && tag_SOON_last && tag_SOON_kind == KIND_GATE_UP);

reg signed [15:0] a, b;
reg [3:0] gate_bits;
reg [4:0] hidden_shift;
wire [15:0] sat0 = y0[23:15] == {9{y0[23]}} ? y0[15:0] : {y0[23], {15{~y0[23]}}};
wire [15:0] sat1 = «a hidden element wraps where it should saturate: y1[23:15] == {9{y1[23]}} → 1'b1» ? y1[15:0] : {y1[23], {15{~y1[23]}}};
wire relu = tag_1_kind == KIND_RELU;
wire [14:0] magnitude_a = a[15] ? ~a[14:0] : a[14:0];
wire [14:0] magnitude_b = b[15] ? ~b[14:0] : b[14:0];
wire signed [15:0] h = swiglu$h;
wire [14:0] magnitude_h = h[15] ? ~h[14:0] : h[14:0];
reg [14:0] magnitudes;
integer i;
always @(posedge clock) begin
    if (go && step_kind == KIND_GATE_UP) begin
        gate_bits <= step_gate_bits;
        hidden_shift <= step_hidden_shift;
    end
    a <= relu && «ReLU lets negative numbers through: sat0[15] → 1'b0» ? 16'd0 : sat0;
    b <= relu && sat1[15] ? 16'd0 : sat1;
    if (pairs || gated)
        magnitudes <= (opening ? 15'd0 : magnitudes) | (gated ? magnitude_h : magnitude_a | magnitude_b);
    e <= 0;
    for (i = 7; i < 15; i = i + 1) if (magnitudes[i]) e <= i[3:0] - 4'd6;
end
always @(*) swiglu$clock = clock;
always @(*) {swiglu$g, swiglu$u} = «gate and up are swapped: {a, b} → {b, a}»;
always @(*) swiglu$fg = gate_bits;
always @(*) swiglu$shift = hidden_shift;
".replace("NEAR", &(late - 1).to_string()).replace("SOON", &(late - 2).to_string());
        for lane in 0..8 {
            let (pair, value) = (lane / 2, if lane % 2 == 0 { "a" } else { "b" });
            text += &format!("
{LUT_RAM}reg [15:0] mem_{lane} [0:WORDS-1];
always @(posedge clock) begin
    if (gated && element_at[2:0] == 3'd{lane}) mem_{lane}[element_at[A+2:3]] <= h;
    else if (pairs && pair_at[1:0] == 2'd{pair}) mem_{lane}[pair_at[A+1:2]] <= {value};
    word[{low} +: 16] <= mem_{lane}[read_at[A-1:0]];
end
", low = 16 * lane);
        }
        text
    }
}
