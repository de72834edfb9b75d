//! What goes into the wide memory: keys and values into their rings, and
//! whatever the link writes while the core is idle.

use super::tag::{self, PAIR_TAG, PAIR_TAG_BITS};
use super::text::{kinds, localparams, step_fields, STEP_BITS};
use crate::cells::VCode;
use crate::leaf;
use rust_hdl_core::prelude::*;

leaf! {
    /// One write port: values come before keys within a layer, the link only between
    /// tokens. `pair_tag` comes in step with `y0`, `y1`; the step with its strobe `go`.
    pub struct Rings<const WORD: usize, const BYTES: usize> {
        in clock: Clock,
        in go: Bit,
        in step: Bits<STEP_BITS>,
        in head_size: Bits<8>,
        in key_groups: Bits<16>,
        in key_group: Bits<16>,
        in key_row: Bits<8>,
        in value_group: Bits<16>,
        in value_column: Bits<8>,
        /// Value results.
        in pair_tag: Bits<PAIR_TAG_BITS>,
        in y0: Bits<24>,
        in y1: Bits<24>,
        /// Encoded keys.
        in key_valid: Bit,
        in key_m: Bits<64>,
        in key_word: Bits<3>,
        in key_last: Bit,
        /// From the link: one 32-bit lane.
        in link_write: Bit,
        in link_at: Bits<20>,
        in link_lane: Bits<8>,
        in link_data: Bits<32>,
        out write_at: Bits<20>,
        out write: Bits<BYTES>,
        out data: Bits<WORD>,
        /// Entry and row of the key's scale, to be written with `key_last`.
        out key_scale_at: Bits<16>,
        out retire_value: Bit,
        cell code0: VCode,
        cell code1: VCode,
    }
    verilog(_this) {
        let p = WORD / 64;
        let mut text = kinds() + &localparams(&[("P", p)])
            + &step_fields("step", &["kind", "ring", "ring_stride", "ring_scale"])
            + &tag::unpack(PAIR_TAG, "pair_tag", &["valid", "kind", "last"]) + "
reg [7:0] head_words;
reg [19:0] key_offset;
reg [19:0] key_at, value_head, value_at;
reg [15:0] key_stride, value_stride, row_stride;
reg [15:0] key_entry;
reg [4:0] value_row, value_row_late;
reg [7:0] element;
reg value_valid;
reg [19:0] value_at_late;
wire value_now = pair_tag_valid && pair_tag_kind == KIND_VALUE;
reg value;
reg [15:0] v0, v1;
always @(*) retire_value = value_now && pair_tag_last;
wire [19:0] next_head = value_head + {4'd0, value_stride};
always @(posedge clock) begin
    head_words <= (head_size + 8'd7) >> 3;
    key_offset <= key_group * «groups of long keys overlap: head_words → 8'd1»;
    if (key_valid && key_last) begin
        key_at <= key_at + {4'd0, «key heads lie a word too close: key_stride → key_stride - 16'd1»};
        key_entry <= key_entry + «scales of key heads overlap: key_groups → 16'd1»;
    end
    value <= value_now;
    v0 <= «a value wraps where it should saturate: y0[23:15] == {9{y0[23]}} → 1'b1» ? y0[15:0] : {y0[23], {15{~y0[23]}}};
    v1 <= y1[23:15] == {9{y1[23]}} ? y1[15:0] : {y1[23], {15{~y1[23]}}};
    value_valid <= value;
    value_at_late <= value_at;
    value_row_late <= value_row;
    if (value) begin
        if (element + 8'd2 == head_size) begin
            element <= 0;
            value_row <= 0;
            value_head <= next_head;
            value_at <= next_head;
        end else begin
            element <= element + 8'd2;
            value_row <= value_row + 5'd2 == P ? 5'd0 : value_row + 5'd2;
            if (value_row + 5'd2 == P) value_at <= value_at + {4'd0, «a long head's later values are written to the wrong words: row_stride → 16'd1»};
        end
    end
    if (go && step_kind == KIND_KEY) begin
        key_stride <= step_ring_stride;
        key_at <= step_ring + key_offset;
        key_entry <= step_ring_scale + key_group;
    end
    if (go && step_kind == KIND_VALUE) begin
        value_stride <= step_ring_stride;
        row_stride <= step_ring_scale;
        value_head <= step_ring + {4'd0, value_group};
        value_at <= step_ring + {4'd0, value_group};
        value_row <= 0;
        element <= 0;
    end
end
always @(*) key_scale_at = key_entry;
always @(*) code0$clock = clock;
always @(*) code1$clock = clock;
always @(*) code0$v = v0;
always @(*) code1$v = v1;
always @(posedge clock) begin
    write_at <= link_write ? link_at : value_valid ? value_at_late : key_at + {17'd0, key_word};
end
";
        text += "
wire writes = link_write || value_valid || key_valid;
always @(posedge clock)
    if (!writes) write <= 0;
    else begin
";
        for r in 0..p {
            let code = if r % 2 == 0 { "code0" } else { "code1" };
            text += &format!("        data[{low} +: 64] <= link_write ? {{link_data, link_data}} : value_valid ? {{8{{{code}$m}}}} : key_m;
        write[{byte} +: 8] <=
            link_write ? {{{{4{{link_lane == 8'd{odd_lane}}}}}, {{4{{link_lane == 8'd{even_lane}}}}}}} :
            value_valid ? {{7'd0, value_row_late == 5'd{pair_row}}} << «all values go to one column: value_column[2:0] → 3'd0» :
            {{8{{«keys go to the next row: key_row == 8'd{r} → key_row + 8'd1 == 8'd{r}»}}}};
", low = 64 * r, byte = 8 * r, odd_lane = 2 * r + 1, even_lane = 2 * r, pair_row = r / 2 * 2);
        }
        text += "    end\n";
        text
    }
}
