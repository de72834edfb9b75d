//! The head stage: query and key heads are rotated by their position, turned by
//! the Hadamard matrix, scaled to int8 and sent to the query buffer or the ring.

use super::tag::{self, PAIR_TAG, PAIR_TAG_BITS};
use super::text::{kinds, LUT_RAM};
use crate::cells::{Encode8, HeadScale, Magnitude8, Rope};
use crate::leaf;
use rust_hdl_core::prelude::*;

leaf! {
    /// `pair_tag` comes two cycles before its results. A head's pairs are added into all
    /// of its rotated elements as they come (with Hadamard; without, they are stored), so
    /// that the head is complete with its last pair. Then it leaves in words of eight:
    /// once past the magnitude, waiting in a queue, and once, scaled, to `m`.
    pub struct Heads {
        in clock: Clock,
        in reset: Bit,
        in pair_tag: Bits<PAIR_TAG_BITS>,
        in y0: Bits<24>,
        in y1: Bits<24>,
        in head_size: Bits<8>,
        in hadamard: Bit,
        /// Angle of the pair: asked for at `angle_at`, there one cycle later.
        out angle_at: Bits<5>,
        out angle_far: Bit,
        in sin: Bits<16>,
        in cos: Bits<16>,
        /// Eight mantissas: word `word` of head `head`.
        out valid: Bit,
        out m: Bits<64>,
        out word: Bits<3>,
        out head: Bits<8>,
        out key: Bit,
        out far: Bit,
        out e: Bits<5>,
        out mu: Bits<2>,
        /// The head's last word, and its step's.
        out last: Bit,
        out retire: Bit,
        /// One more query head is in the query buffer (copies for the sinks do not count).
        out done: Bit,
        /// `valid`, of a key.
        out key_valid: Bit,
        cell rope: Rope,
        cell magnitude: Magnitude8,
        cell scale: HeadScale,
        cell encode: Encode8,
        param _largest: usize,
    }
    verilog(this) {
        let n = this._largest;
        let mut text = kinds() + &format!("reg [{}:0] tag_1;\nalways @(posedge clock) tag_1 <= pair_tag;\n", PAIR_TAG_BITS - 1)
            + &tag::unpack(PAIR_TAG, "tag_1", &["valid", "kind", "first", "last", "far"]) + "
// which head, which pair of it
wire mine = tag_1_valid && (tag_1_kind == KIND_QUERY || tag_1_kind == KIND_KEY);
reg [4:0] next_pair;
reg [7:0] next_head;
wire [4:0] pair = tag_1_first ? 5'd0 : next_pair;
wire [7:0] head_now = tag_1_first ? 8'd0 : next_head;
reg [4:0] pair_late;
always @(posedge clock) pair_late <= head_size[5:1] - 5'd1;
wire pair_last = pair == pair_late;
always @(*) angle_at = pair;
always @(*) angle_far = tag_1_far;
always @(posedge clock) if (mine) begin
    next_pair <= pair_last ? 5'd0 : pair + 5'd1;
    next_head <= pair_last ? head_now + 8'd1 : head_now;
end

// mark: {valid, first pair, last pair, pair, head, key, far, last of the step}
wire [18:0] mark_1 = {mine, pair == 0, pair_last, pair, head_now, tag_1_kind == KIND_KEY, tag_1_far, tag_1_last};
reg [18:0] mark_2, mark_3, mark_4, mark_5, mark_6, mark_7, mark_8;
always @(posedge clock) begin
    mark_2 <= mark_1;
    mark_3 <= mark_2;
    mark_4 <= mark_3;
    mark_5 <= mark_4;
    mark_6 <= mark_5;
    mark_7 <= mark_6;
    mark_8 <= mark_7;
end
always @(*) rope$clock = clock;
always @(*) rope$a = «a query wraps where it should saturate: y0[23:15] == {9{y0[23]}} → 1'b1» ? y0[15:0] : {y0[23], {15{~y0[23]}}};
always @(*) rope$b = y1[23:15] == {9{y1[23]}} ? y1[15:0] : {y1[23], {15{~y1[23]}}};
always @(*) rope$sin = sin;
always @(*) rope$cos = cos;

// What a pair adds to even and to odd elements: with Hadamard its sum and its
// difference, to every one of them with its sign; without, itself, in its place.
wire signed [15:0] ra = rope$ra, rb = rope$rb;
wire [16:0] total = {ra[15], ra} + {rb[15], rb};
wire [16:0] difference = «the Hadamard difference has the wrong sign: {ra[15], ra} - {rb[15], rb} → {rb[15], rb} - {ra[15], ra}»;
reg [16:0] even, odd;
always @(posedge clock) begin
    even <= hadamard ? total : {ra[15], ra};
    odd <= hadamard ? difference : {rb[15], rb};
end
wire [4:0] at = mark_6[15:11];
wire complete = mark_8[18] && mark_8[16];
wire opening = «a head is added to the head before: mark_7[17] → 1'b0»;
";
        for half in 0..n / 2 {
            text += &format!("
reg take_{half}, minus_{half};
always @(posedge clock) if (mark_6[18]) begin
    take_{half} <= hadamard || at == 5'd{half};
    minus_{half} <= hadamard && ({signs});
end
", signs = address_terms(half));
        }
        for i in 0..n {
            let half = i / 2;
            let value = if i % 2 == 0 { "even" } else { "odd" };
            // The column below the point makes the carry of a subtraction.
            text += &format!("
reg [21:0] h_{i}, kept_{i};
wire [21:0] base_{i} = opening ? 22'd0 : h_{i};
wire [21:0] change_{i} = take_{half} ? {{{{5{{{value}[16]}}}}, {value}}} ^ {{22{{minus_{half}}}}} : 22'd0;
wire [22:0] sum_{i} = {{base_{i}, 1'b1}} + {{change_{i}, minus_{half}}};
always @(posedge clock) if (mark_7[18]) h_{i} <= sum_{i}[22:1];
reg within_{i};
always @(posedge clock) begin
    within_{i} <= «the padding of a short head is not cleared: head_size > 8'd{i} → 1'b1»;
    kept_{i} <= complete ? h_{i} & {{22{{within_{i}}}}} : {following};
end
", following = if i + 8 < n { format!("kept_{}", i + 8) } else { "22'd0".into() });
        }
        text += "
wire [6:0] rounded_up = head_size[6:0] + 7'd7;
wire [3:0] head_words = «a head's last short word is lost: rounded_up[6:3] → head_size[6:3]»;

// a word a cycle, always the first eight, past its magnitude and into the queue
reg sending;
reg [2:0] sent;
reg [10:0] sent_head;       // {head, key, far, last of the step}
wire sent_last = {1'b0, sent} + 4'd1 == head_words;
always @(posedge clock) begin
    if (sending) begin
        sent <= sent + 3'd1;
        if (sent_last) sending <= 0;
    end
    if (complete) begin
        sending <= 1;
        sent <= 0;
        sent_head <= mark_8[10:0];
    end
    if (reset) sending <= 0;
end
";
        let first: Vec<_> = (0..8).rev().map(|i| format!("kept_{i}")).collect();
        text += &format!("wire [175:0] word_out = {{{}}};\n{LUT_RAM}reg [175:0] queue [0:15];\n", first.join(", "));
        text += "reg [3:0] put, got;
reg [175:0] queued;
always @(posedge clock) if (sending) queue[put] <= word_out;
always @(*) magnitude$clock = clock;
always @(*) magnitude$x = word_out;
always @(*) magnitude$valid = {8{sending}};

// the largest of the head, then its scale
reg [1:0] seen, seen_first, seen_last;
reg [10:0] seen_head_0, seen_head_1;
reg [20:0] largest;
reg [2:0] whole;
reg [10:0] whole_0, whole_1, whole_2;
always @(posedge clock) begin
    seen <= {seen[0], sending};
    seen_first <= {seen_first[0], sent == 0};
    seen_last <= {seen_last[0], sent_last};
    seen_head_0 <= sent_head;
    seen_head_1 <= seen_head_0;
    if (seen[1]) largest <= «a head takes the scale of a larger one before: seen_first[1] → 1'b0» || magnitude$max > largest ? magnitude$max : largest;
    whole <= {whole[1:0], seen[1] && seen_last[1]};
    whole_0 <= seen_head_1;
    whole_1 <= whole_0;
    whole_2 <= whole_1;
    if (reset) begin
        seen <= 0;
        whole <= 0;
    end
end
always @(*) scale$clock = clock;
always @(*) scale$max = largest;

// heads whose scale is known, waiting to be encoded
reg [17:0] known [0:7];     // {e, mu, head}
reg [2:0] known_put, known_got;
wire known_any = known_put != known_got;
wire [17:0] now = known[known_got];
reg [2:0] taken;
wire taken_last = {1'b0, taken} + 4'd1 == head_words;
reg [22:0] info [0:5];      // {valid, last, word, e, mu, head, key, far, last of the step}
integer i;
always @(posedge clock) begin
    if (sending) put <= put + 4'd1;
    if (whole[2]) begin
        known[known_put] <= {scale$e, scale$mu, whole_2};
        known_put <= known_put + 3'd1;
    end
    info[0] <= {known_any, taken_last, taken, now};
    for (i = 1; i < 6; i = i + 1) info[i] <= info[i-1];
    if (known_any) begin
        queued <= queue[got];
        got <= got + 4'd1;
        taken <= taken_last ? 3'd0 : taken + 3'd1;
        if (taken_last) known_got <= known_got + 3'd1;
    end
    if (reset) begin
        put <= 0;
        got <= 0;
        taken <= 0;
        known_put <= 0;
        known_got <= 0;
        for (i = 0; i < 6; i = i + 1) info[i] <= 0;
    end
end
always @(*) encode$clock = clock;
always @(*) encode$x = queued;
always @(*) encode$e = info[0][17:13];
always @(*) encode$mu = info[0][12:11];
always @(*) m = encode$m;
always @(*) valid = info[5][22];
always @(*) last = info[5][21];
always @(*) word = info[5][20:18];
always @(*) e = info[5][17:13];
always @(*) mu = info[5][12:11];
always @(*) head = info[5][10:3];
always @(*) key = info[5][2];
always @(*) far = info[5][1];
always @(*) key_valid = info[5][22] && info[5][2];
always @(*) done = info[5][22] && info[5][21] && !info[5][2] && «copies for the sinks count as query heads: !info[5][1] → 1'b1»;
always @(*) retire = info[5][22] && info[5][21] && info[5][0];
";
        text
    }
}

/// Whether element `2 half` or `2 half + 1` takes the pair at `at` with a minus
/// sign: the parity of the bits that `half` and `at` share.
fn address_terms(half: usize) -> String {
    let bits: Vec<_> = (0..5)
        .filter(|bit| half >> bit & 1 == 1)
        .map(|bit| format!("at[{bit}]"))
        .collect();
    if bits.is_empty() {
        "1'b0".into()
    } else {
        bits.join(" ^ ")
    }
}
