//! What goes into the wide memory: keys and values into their rings, and
//! whatever the link writes while the core is idle.

use super::tag::{self, PAIR_TAG, PAIR_TAG_BITS};
use super::text::{kinds, localparams, step_fields, LUT_RAM, STEP_BITS};
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
        /// The ring may have 4-bit values: a row more, their exponents.
        param _nibbles: bool,
    }
    verilog(this) {
        let p = WORD / 64 - usize::from(this._nibbles);
        let n = if this._nibbles { Narrow::some() } else { Narrow::none() };
        let mut text = kinds() + &localparams(&[("P", p)])
            + &step_fields("step", &["kind", "ring", "ring_stride", "ring_scale"]) + &n.fields
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
" + &n.buffer + "always @(posedge clock) begin
    head_words <= (head_size + 8'd7) >> 3;
    key_offset <= key_group * «groups of long keys overlap: head_words → 8'd1»;
    if (key_valid && key_last) begin
        key_at <= key_at + {4'd0, «key heads lie a word too close: key_stride → key_stride - 16'd1»};
        key_entry <= key_entry + «scales of key heads overlap: key_groups → 16'd1»;
    end
    " + n.values[0] + " <= value_now;
    " + n.values[1] + " <= «a value wraps where it should saturate: y0[23:15] == {9{y0[23]}} → 1'b1» ? y0[15:0] : {y0[23], {15{~y0[23]}}};
    " + n.values[2] + " <= y1[23:15] == {9{y1[23]}} ? y1[15:0] : {y1[23], {15{~y1[23]}}};
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
" + n.place + "    if (go && step_kind == KIND_KEY) begin
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
" + n.begin + "    end
end
always @(*) key_scale_at = key_entry;
always @(*) code0$clock = clock;
always @(*) code1$clock = clock;
always @(*) code0$v = v0;
always @(*) code1$v = v1;
" + n.code + "always @(posedge clock) begin
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
            let value = n.bytes[r % 2];
            text += &format!("        data[{low} +: 64] <= link_write ? {{link_data, link_data}} : value_valid ? {{8{{{value}}}}} : key_m;
        write[{byte} +: 8] <=
            link_write ? {{{{4{{link_lane == 8'd{odd_lane}}}}}, {{4{{link_lane == 8'd{even_lane}}}}}}} :
            value_valid ? {{7'd0, value_row_late == 5'd{pair_row}}} << «all values go to one column: value_column[2:0] → 3'd0» :
            {{8{{«keys go to the next row: key_row == 8'd{r} → key_row + 8'd1 == 8'd{r}»}}}};
", low = 64 * r, byte = 8 * r, odd_lane = 2 * r + 1, even_lane = 2 * r, pair_row = r / 2 * 2);
        }
        if this._nibbles {
            text += &format!("        data[{low} +: 64] <= link_write ? {{link_data, link_data}} : {{8{{1'b0, exponent_high, 1'b0, exponent_low}}}};
        write[{byte} +: 8] <=
            link_write ? {{{{4{{link_lane == 8'd{odd_lane}}}}}, {{4{{link_lane == 8'd{even_lane}}}}}}} :
            value_valid && narrow ? 8'd1 << «all exponents go to one column: value_column[2:0] → 3'd0» : 8'd0;
", low = 64 * p, byte = 8 * p, odd_lane = 2 * p + 1, even_lane = 2 * p);
        }
        text += "    end\n";
        text
    }
}

/// What 4-bit values add to the text.
struct Narrow {
    fields: String,
    /// The names of a result's strobe and of its two values.
    values: [&'static str; 3],
    buffer: String,
    place: &'static str,
    begin: &'static str,
    code: &'static str,
    /// What an even and an odd row's value is written as.
    bytes: [&'static str; 2],
}

impl Narrow {
    fn none() -> Self {
        Narrow {
            fields: String::new(),
            values: ["value", "v0", "v1"],
            buffer: String::new(),
            place: "",
            begin: "",
            code: "",
            bytes: ["code0$m", "code1$m"],
        }
    }

    /// A head's values wait until the largest is known; the last head's are still written before
    /// the first key, which takes its way through the head stage as well. Two row groups share a word, so a group
    /// of low nibbles is written with nothing above it and kept; the next brings it along.
    fn some() -> Self {
        Narrow {
            fields: step_fields("step", &["narrow"]),
            values: ["came", "came_0", "came_1"],
            buffer: "
reg narrow, high;           // of this ring's values; this row group's
reg came;
reg [15:0] came_0, came_1;
".to_owned() + LUT_RAM + "reg [31:0] queue [0:63];
reg [5:0] put, got;
reg [7:0] counted, sent;    // elements of the head that came, and that went on
reg [3:0] reach;            // whether a magnitude needs 15, 14, 13, 12 bits
reg complete, sending;
reg [2:0] exponent, exponent_now;
wire [3:0] reach_now = («a head's 4-bit values take the exponent of larger ones before: counted == 0 → 1'b0» ? 4'd0 : reach)
    | (came_0[14:11] ^ {4{came_0[15]}}) | (came_1[14:11] ^ {4{«negative values do not count for the exponent: came_1[15] → 1'b0»}});
wire came_last = counted + 8'd2 == head_size;
wire sent_last = sent + 8'd2 == head_size;
always @(posedge clock) begin
    if (came) begin
        queue[put] <= {came_1, came_0};
        put <= put + 6'd1;
        counted <= came_last ? 8'd0 : counted + 8'd2;
        reach <= reach_now;
    end
    complete <= came && came_last;
    if (sending) begin
        got <= got + 6'd1;
        sent <= sent_last ? 8'd0 : sent + 8'd2;
        if (sent_last) sending <= 0;
    end
    if (complete) begin
        sending <= 1;
        exponent <= reach[3] ? 3'd4 : reach[2] ? 3'd3 : reach[1] ? 3'd2 : {2'd0, reach[0]};
    end
    value <= sending;
    {v1, v0} <= queue[got];
    exponent_now <= exponent;
    if (go && step_kind == KIND_VALUE) begin
        put <= 0;
        got <= 0;
        counted <= 0;
        sent <= 0;
        complete <= 0;
        sending <= 0;
    end
end
",
            place: "    if (value && narrow) begin
        value_at <= value_at;
        if (element + 8'd2 == head_size || value_row + 5'd2 == P) begin
            high <= !high;
            if («each row group of 4-bit values has words of its own: high → 1'b1») value_at <= value_at + {4'd0, row_stride};
        end
    end
",
            begin: "        narrow <= step_narrow;
        high <= 0;
",
            code: "
wire signed [15:0] down_0 = $signed(v0) >>> (4'd7 + {1'b0, exponent_now});
wire signed [15:0] down_1 = $signed(v1) >>> (4'd7 + {1'b0, exponent_now});
wire [4:0] up_0 = down_0[4:0] + {4'd0, «a large 4-bit value rounds up to a negative one: down_0[4:0] != 5'd15 → 1'b1»};
wire [4:0] up_1 = down_1[4:0] + {4'd0, down_1[4:0] != 5'd15};
reg [7:0] nibbles;          // of the two values
reg high_late;
reg [2:0] exponent_late, exponent_kept;
reg [7:0] kept [0:7];       // low nibbles, by pair of rows
wire [7:0] low_nibbles = kept[value_row_late[3:1]];
wire [7:0] byte_0 = !narrow ? code0$m : high_late ? {nibbles[3:0], «low nibbles are lost: low_nibbles[3:0] → 4'd0»} : {4'd0, nibbles[3:0]};
wire [7:0] byte_1 = !narrow ? code1$m : high_late ? {nibbles[7:4], low_nibbles[7:4]} : {4'd0, nibbles[7:4]};
wire [2:0] exponent_low = high_late ? «low nibbles take the next row group's exponent: exponent_kept → exponent_late» : exponent_late;
wire [2:0] exponent_high = high_late ? exponent_late : 3'd0;
always @(posedge clock) begin
    nibbles <= {up_1[4:1], up_0[4:1]};
    high_late <= high;
    exponent_late <= exponent_now;
    if (value_valid && !high_late) begin
        kept[value_row_late[3:1]] <= nibbles;
        exponent_kept <= exponent_late;
    end
end
",
            bytes: ["byte_0", "byte_1"],
        }
    }
}
