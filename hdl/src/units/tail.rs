//! The tail: two results a cycle, each a sum times a multiplier, shifted,
//! rounded and saturated. What the multiplier is depends on the step.

use super::tag::{self, PAIR_TAG, PAIR_TAG_BITS};
use super::text::kinds;
use crate::cells::{Requantize, RowScale};
use crate::leaf;
use rust_hdl_core::prelude::*;

leaf! {
    /// | step | sum | multiplier | shift |
    /// | --- | --- | --- | --- |
    /// | matvec | accumulator | `rshr(R mu, 3)` | `shift + k + s - e` |
    /// | mix | accumulator | `rshr(1 / sum, 1)` | `z + 7` |
    /// | embed | weight times mu | gain, or 256 | `shift + s` |
    /// | normalize | residual | `R` | `shift + k` |
    pub struct Tail {
        in clock: Clock,
        /// From the drain, one cycle after it saw the group; row scales with it.
        in pair_tag: Bits<PAIR_TAG_BITS>,
        in shift: Bits<8>,
        in normed: Bit,
        in gains: Bit,
        in odd_row: Bit,
        in scales: Bits<16>,
        /// Two sums, [`super::timing::SUMS`]; two elements in the same cycle.
        in sums: Bits<64>,
        in elements: Bits<32>,
        /// Gains of the pair, [`super::timing::TAIL`].
        in gain_pair: Bits<32>,
        /// The norm's reciprocal root and the exponents of residual and hidden vector.
        in root: Bits<16>,
        in root_shift: Bits<5>,
        in residual_e: Bits<4>,
        in hidden_e: Bits<4>,
        /// Reciprocal of the probabilities' sum.
        in reciprocal: Bits<17>,
        in reciprocal_shift: Bits<5>,
        out gain_at: Bits<16>,
        out y0: Bits<24>,
        out y1: Bits<24>,
        out illegal: Bit,
        cell scale0: RowScale,
        cell scale1: RowScale,
        cell lane0: Requantize,
        cell lane1: Requantize,
    }
    verilog(_this) {
        let mut text = kinds() + &tag::unpack(PAIR_TAG, "pair_tag", &["valid", "kind", "index"]) + "
// row scales, with the norm
reg [3:0] kind_a, kind_b, kind_c;
reg valid_a, valid_b, valid_c;
reg [7:0] even, odd, shift_a;
reg normed_a, gains_a, gains_b, gains_c;
reg [11:0] index_a;
wire plain_a = kind_a == KIND_EMBED || kind_a == KIND_NORMALIZE;
wire other_a = kind_a == KIND_OUT || kind_a == KIND_DOWN;
wire [15:0] root_a = «a plain vector is normalized: normed_a → 1'b1» ? root : 16'd32768;
wire [4:0] k_a = normed_a || kind_a == KIND_NORMALIZE ? root_shift : 5'd0;
wire [4:0] e_a = plain_a ? 5'd0 : {1'b0, other_a ? «results are shifted by the other vector's exponent: hidden_e → residual_e» : residual_e};
always @(posedge clock) begin
    kind_a <= pair_tag_kind;
    valid_a <= pair_tag_valid;
    shift_a <= shift;
    normed_a <= normed;
    gains_a <= gains;
    even <= pair_tag_kind == KIND_NORMALIZE ? 8'd0 : pair_tag_kind == KIND_EMBED && odd_row ? scales[15:8] : scales[7:0];
    odd <= pair_tag_kind == KIND_NORMALIZE ? 8'd0 : pair_tag_kind == KIND_EMBED && !odd_row ? scales[7:0] : scales[15:8];
    index_a <= pair_tag_index[11:0];
    gain_at <= {4'd0, index_a};
end

// the pair of sums, the rows' scale of an embedded element
reg [1:0] mu_b;
reg [31:0] sum0, sum1;
reg [15:0] root_c;
wire signed [15:0] element0 = elements[15:0];
wire signed [15:0] element1 = elements[31:16];
wire signed [4:0] mu_embed = {3'd0, mu_b} + 5'sd5;
wire signed [20:0] scaled0 = element0 * mu_embed;
wire signed [20:0] scaled1 = element1 * mu_embed;
always @(posedge clock) begin
    kind_b <= kind_a;
    valid_b <= valid_a;
    gains_b <= gains_a;
    mu_b <= even[7:6];
    kind_c <= kind_b;
    valid_c <= valid_b;
    gains_c <= gains_b;
    case (kind_b)
        KIND_EMBED: begin
            sum0 <= {{11{scaled0[20]}}, scaled0};
            sum1 <= {{11{scaled1[20]}}, scaled1};
        end
        KIND_NORMALIZE: begin
            sum0 <= {{16{element0[15]}}, element0};
            sum1 <= {{16{element1[15]}}, element1};
        end
        default: begin
            sum0 <= sums[31:0];
            sum1 <= sums[63:32];
        end
    endcase
    root_c <= root;
end

wire [17:0] mixed = {1'b0, reciprocal} + «the reciprocal is truncated where it should be rounded: 18'd1 → 18'd0»;
reg [16:0] m0, m1;
reg [4:0] sh0, sh1;
always @(*) begin
    sh0 = scale0$sh;
    sh1 = scale1$sh;
    case (kind_c)
        KIND_MIX: begin
            m0 = mixed[17:1];
            m1 = mixed[17:1];
            sh0 = «the shift of the even mixed value is one short: reciprocal_shift + 5'd7 → reciprocal_shift + 5'd6»;
            sh1 = reciprocal_shift + 5'd7;
        end
        KIND_EMBED: begin
            m0 = gains_c ? «even elements take the odd gain: {gain_pair[15], gain_pair[15:0]} → {gain_pair[31], gain_pair[31:16]}» : 17'd256;
            m1 = gains_c ? {gain_pair[31], gain_pair[31:16]} : 17'd256;
        end
        KIND_NORMALIZE: begin
            m0 = {1'b0, root_c};
            m1 = {1'b0, root_c};
        end
        default: begin
            m0 = scale0$m;
            m1 = scale1$m;
        end
    endcase
end
always @(*) y0 = lane0$y;
always @(*) y1 = lane1$y;
always @(posedge clock) illegal <= valid_c && kind_c != KIND_MIX && «an illegal shift is not reported: (scale0$illegal || scale1$illegal) → 1'b0»;
";
        for (lane, row) in [(0, "even"), (1, "odd")] {
            text += &format!("
always @(*) scale{lane}$clock = clock;
always @(*) scale{lane}$r = {{1'b0, root_a}};
always @(*) scale{lane}$mu = {row}[7:6];
always @(*) scale{lane}$s = {row}[5:0];
always @(*) scale{lane}$k = k_a;
always @(*) scale{lane}$e = e_a;
always @(*) scale{lane}$base = shift_a;
always @(*) lane{lane}$clock = clock;
always @(*) lane{lane}$acc = sum{lane};
always @(*) lane{lane}$m = m{lane};
always @(*) lane{lane}$sh = sh{lane};
");
        }
        text
    }
}
