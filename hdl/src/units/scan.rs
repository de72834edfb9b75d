//! The scan: turns a step into a stream of memory words, one a cycle.

use super::memory::reading;
use super::tag::{self, WORD_TAG, WORD_TAG_BITS};
use super::text::{kinds, localparams, step_fields, STEP_BITS};
use crate::leaf;
use rust_hdl_core::prelude::*;

leaf! {
    /// Takes a step with `go` (when `ready`), sends its words from the second cycle on.
    ///
    /// A row group's sums wait in the array while the tail takes them, two a cycle; the
    /// scan holds back the last word of the next group until they are gone.
    ///
    /// A matrix of 4-bit weights has a word of group scales before each sixteen words of
    /// weights, for which a cycle passes without products; a word of weights goes out twice. So
    /// do words of 4-bit values, once for each of the two row groups that they hold.
    pub struct Scan {
        in clock: Clock,
        in reset: Bit,
        in go: Bit,
        in step_in: Bits<STEP_BITS>,
        /// Input token and position row (`pos mod npos`).
        in token: Bits<16>,
        in position_row: Bits<16>,
        /// Sinks are in use and the position has passed the window.
        in far: Bit,
        in full: Bit,
        in head_size: Bits<8>,
        /// Groups of the key ring, of its sinks; slots in their last; current group and row.
        in key_groups: Bits<16>,
        in key_sink_groups: Bits<16>,
        in key_last: Bits<8>,
        in key_sink_last: Bits<8>,
        in key_group: Bits<16>,
        in key_row: Bits<8>,
        /// The same for the value ring, in groups of eight slots.
        in value_groups: Bits<16>,
        in value_sink_groups: Bits<16>,
        in value_last: Bits<8>,
        in value_sink_last: Bits<8>,
        in value_group: Bits<16>,
        in value_column: Bits<8>,
        out ready: Bit,
        out read_at: Bits<20>,
        /// Word of the vector, of the query buffer or of the score buffer.
        out operand_at: Bits<11>,
        out tag: Bits<WORD_TAG_BITS>,
        /// The step being run, and a strobe when it is new.
        out step: Bits<STEP_BITS>,
        out began: Bit,
        param _rows: usize,
        /// Matrices may have 4-bit weights, and rings 4-bit values.
        param _nibbles: bool,
    }
    verilog(this) {
        let p = this._rows;
        let n = if this._nibbles { Nibbles::some() } else { Nibbles::none() };
        let divide = match p {
            6 => "wire [33:0] product = index * 18'd43691;\nwire [15:0] quotient = product[33:18];\n".to_string(),
            p if p.is_power_of_two() => format!("wire [15:0] quotient = index >> {};\n", p.trailing_zeros()),
            p => unreachable!("no core has {p} rows"),
        };
        kinds() + &localparams(&[("P", p)]) + &step_fields("step", &[
            "kind", "normed", "embedding_eps", "add", "gains", "address", "cols", "scale", "shift", "score", "score_id", "head", "pair", "far_only",
        ]) + &step_fields("step_in", &[
            "kind", "by_position", "address", "rows", "score", "cols", "groups", "stride",
        ]) + &n.fields + "
reg active;
reg occupied;               // by a step whose last word has not been sent
reg [1:0] prepare;          // embed: cycles until the row's address is known
reg [15:0] index;           // embed: which row
reg [4:0] row;              // embed: its place in the word
reg [25:0] offset;
reg [19:0] group_at;        // first word of the current row group
reg [9:0] col;
reg [12:0] group;
reg [13:0] left;            // rows not yet issued
reg [12:0] slot;            // scores: place of the group's first slot in the score buffers
reg [3:0] gap;              // cycles until the sums of the last group are gone
" + n.state + &divide + "
wire [15:0] in_word = index - quotient * P[15:0];
reg elementwise, scores, mix;

// What ends a step is known before it: the last key group and value group that
// were written, the last word of a head; they stand still while a token runs.
reg [12:0] key_end;
reg [9:0] value_end;
reg [7:0] head_words, head_end;
reg [9:0] col_late;         // the last column but one, the last group but one
reg [12:0] group_late;
reg one_col, col_last, group_last, last, final_word;
reg [15:0] advance;         // words from one row group to the next
reg waiting;                // for the sums of the last group to be gone
wire elementwise_in = step_in_kind == KIND_EMBED || step_in_kind == KIND_NORMALIZE;
wire scores_in = step_in_kind == KIND_SCORES;
wire mix_in = step_in_kind == KIND_MIX;
wire col_ends = one_col || (!col_last && col == col_late);
wire group_ends = col_last ? group == group_late : group_last;
wire col_begins = scores_in ? head_words == 8'd1 : mix_in ? value_end == 10'd0 : step_in_cols == 10'd1;
wire group_begins = scores_in ? key_end == 13'd0 : step_in_groups == 13'd1;
wire issue = active" + n.not_due + " && !(last && «sums are overwritten before the tail has them: waiting → 1'b0»);
always @(posedge clock) begin
    key_end <= full ? key_groups[12:0] - 13'd1 : «key groups never written are read: key_group[12:0] → key_groups[12:0] - 13'd1»;
    value_end <= full ? value_groups[9:0] - 10'd1 : «the value group that fills is not read: value_group[9:0] → value_group[9:0] - 10'd1»;
    head_words <= (head_size + 8'd7) >> 3;
    head_end <= head_words - 8'd1;
    if (issue) begin
        col_last <= col_ends;
        group_last <= group_ends;
        last <= elementwise || col_ends;
        final_word <= col_ends && group_ends;
    end
    if (go) begin
        col_late <= scores_in ? {2'd0, head_end} - 10'd1 : mix_in ? value_end - 10'd1 : step_in_cols - 10'd2;
        one_col <= col_begins;
        col_last <= col_begins;
        group_late <= scores_in ? key_end - 13'd1 : step_in_groups - 13'd2;
        group_last <= group_begins;
        last <= elementwise_in || col_begins;
        final_word <= col_begins && group_begins;
        advance <= scores_in ? {8'd0, head_words} : mix_in ? «a long head's later values are read from the wrong words: step_in_stride → {6'd0, value_end}» : " + n.stride + "{6'd0, step_in_cols};
    end
end
always @(*) ready = !occupied || (active" + n.not_due + " && final_word && !waiting);

// Rows of a group that have been written: all, but in the current group while
// the ring fills, and in the last group of sinks and of ring.
wire [4:0] key_limit =
    !full && group[12:0] == key_group[12:0] ? «a slot too many is seen while the key ring fills: key_row[4:0] + 5'd1 → key_row[4:0] + 5'd2» :
    group + 13'd1 == key_sink_groups[12:0] ? key_sink_last[4:0] :
    group + 13'd1 == key_groups[12:0] ? «all rows of the last key group count: key_last[4:0] → P» : P;
wire [4:0] value_limit =
    !full && col == value_group[9:0] ? «a token does not see its own value: value_column[4:0] + 5'd1 → value_column[4:0]» :
    {6'd0, col} + 16'd1 == value_sink_groups ? value_sink_last[4:0] :
    {6'd0, col} + 16'd1 == value_groups ? «all columns of the last value group count: value_last[4:0] → 5'd8» : 5'd8;
wire in_sinks = «sinks are read with the query of the ring: far → 1'b0» && {3'd0, group} < key_sink_groups;

wire [13:0] width = elementwise ? 14'd8 : P;
wire [13:0] taken = left < width ? left : width;
wire [13:0] taken_up = taken + 14'd1;
wire [3:0] pairs = taken_up[4:1];

" + n.count + "always @(posedge clock) begin
    gap <= gap == 0 ? 4'd0 : gap - 4'd1;
    waiting <= gap > 4'd1;
    if (prepare != 0) begin
        prepare <= prepare - 2'd1;
        offset <= quotient * step_cols;
        row <= «the first row of its word is embedded: in_word[4:0] → 5'd0»;
        if (prepare == 1) begin
            active <= 1;
            group_at <= step_address + offset[19:0];
        end
    end
    if (issue) begin
        col <= col_last ? 10'd0 : col + 10'd1;
        if (last) begin
            left <= «a short last row group counts as full: left - taken → left»;
            gap <= scores ? 4'd0 : pairs - 4'd1;
            waiting <= !scores && pairs > 4'd1;
        end
        if (col_last) begin
            group <= group + 13'd1;
            slot <= group + 13'd1 == key_sink_groups[12:0] ? {step_score, 3'd0} + {value_sink_groups[9:0], 3'd0} : slot + P;
            group_at <= group_at + " + n.advance + ";
        end
        if (final_word) begin
            active <= 0;
            occupied <= 0;
        end
    end
    began <= go;
    if (go) begin
        step <= step_in;
        elementwise <= elementwise_in;
        scores <= scores_in;
        mix <= mix_in;
        index <= step_in_by_position ? position_row : token;
        active <= step_in_kind != KIND_EMBED;
        occupied <= 1;
        prepare <= step_in_kind == KIND_EMBED ? 2'd3 : 2'd0;
        group_at <= step_in_address;
        left <= step_in_rows;
        slot <= {step_in_score, 3'd0};
        col <= 0;
        group <= 0;
    end
    if (reset) begin
        active <= 0;
        occupied <= 0;
        prepare <= 0;
        gap <= 0;
        waiting <= 0;
    end
end

wire t_valid = issue;
wire [3:0] t_kind = step_kind;
wire t_first = col == 0;
wire t_last = last;
wire t_group_first = elementwise ? col == 0 : group == 0;
wire t_group_last = group_last && (!elementwise || col_last);
wire [3:0] t_pairs = pairs;
wire t_odd = taken[0];
wire [7:0] t_shift = step_shift;
wire [15:0] t_scale = step_scale + (scores ? «all keys take the scales of the first group: {3'd0, group} → 16'd0» : elementwise ? {1'b0, index[15:1]} : 16'd0);
wire [9:0] t_pair = step_pair;
wire t_normed = step_normed;
wire t_gains = step_gains;
wire t_add = step_add;
wire t_embedding_eps = step_embedding_eps;
wire t_far = scores ? in_sinks : step_far_only;
wire [4:0] t_limit = mix ? value_limit : key_limit;
wire [12:0] t_slot = slot;
wire [2:0] t_id = «all heads share one maximum: step_score_id → 3'd0»;
wire [7:0] t_head = step_head;
wire [4:0] t_row = row;
wire t_odd_row = «an odd row is embedded with the even row's scale: index[0] → 1'b0»;

always @(posedge clock) begin
    " + &n.read_at + "
    if (issue) operand_at <= mix ? {1'b0, «all value groups take the first group's scores: step_score + col → step_score»} : scores ? {in_sinks, «all words of a key meet the query's first: step_pair + col → step_pair»} : {1'b0, col};
    tag <= " + &tag::pack(WORD_TAG, "t_") + ";
end
"
    }
}

/// What 4-bit weights and values add to the scan's text.
struct Nibbles {
    fields: String,
    state: &'static str,
    advance: &'static str,
    not_due: &'static str,
    stride: &'static str,
    count: &'static str,
    read_at: String,
}

impl Nibbles {
    fn none() -> Self {
        Nibbles {
            fields: String::new(),
            state: "",
            advance: "{4'd0, advance}",
            not_due: "",
            stride: "",
            count: "",
            read_at: "if (issue) read_at <= group_at + {10'd0, col};".into(),
        }
    }

    fn some() -> Self {
        Nibbles {
            fields: step_fields("step_in", &["nibbles", "narrow", "high"]),
            state: "reg nibbles;                // of the current step's matrix
reg due;                    // group scales are read next
reg [9:0] word;             // place of the next word in its row group
reg narrow, high;           // of the current step's values; this row group's
",
            advance: "(narrow && «4-bit values are a word for each row group: !high → 1'b0» ? 20'd0 : {4'd0, advance})",
            not_due: " && !due",
            stride: "step_in_nibbles ? step_in_stride : ",
            count: "wire scales_read = active && due;
always @(posedge clock) begin
    if (scales_read) due <= 0;
    if (scales_read || (issue && (!nibbles || col[0]))) word <= word + 10'd1;
    if (issue && nibbles && «a long row has one word of group scales: col[4:0] == 5'd31 → 1'b0») due <= 1;
    if (issue && col_last) begin
        due <= nibbles;
        word <= 0;
        high <= !high;
    end
    if (go) begin
        nibbles <= step_in_nibbles;
        due <= step_in_nibbles;
        word <= 0;
        narrow <= mix_in && step_in_narrow;
        high <= «every head's values begin in low nibbles: step_in_high → 1'b0»;
    end
    if (reset) due <= 0;
end

",
            read_at: format!(
                "if (issue || scales_read) begin
        read_at[16:0] <= group_at[16:0] + {{7'd0, word}};
        read_at[19:17] <= narrow ? (high ? 3'd{high_values} : 3'd{low_values}) :
            !nibbles ? 3'd{bytes} : scales_read ? 3'd{scales} : col[0] ? 3'd{high} : 3'd{low};
    end",
                bytes = reading::BYTES,
                scales = reading::SCALES,
                low = reading::LOW,
                high = reading::HIGH,
                low_values = reading::LOW_VALUES,
                high_values = reading::HIGH_VALUES,
            ),
        }
    }
}
