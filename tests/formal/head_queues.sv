// The head stage's queues: words that wait for their head's scale, and heads whose scale is known.
// Neither overflows, whatever the heads' size and pace; a word leaves with its own head's scale;
// and no key is so early that it meets the last values at the rings' one write port.
reg live = 0;
integer k, j, stage;                // a process of its own needs a variable of its own

// The driver's: heads of 2 to 64 elements, pairs of them.
(* anyconst *) reg [7:0] pairs;     // of a head
wire [7:0] words = {4'd0, head_words};
always @(posedge clock) begin
    live <= 1;
    if (!live) assume (reset);
    assume (pairs >= 1 && pairs <= 32 && head_size == {pairs[6:0], 1'b0});
end

// What is on its way, by the stages that it has passed: pairs (a head's last; a key's), then words
// past their magnitude (a head's last; a key's), then encoded ones.
`define MARKS(bit) {mark_8[18] && mark_8[bit], mark_7[18] && mark_7[bit], mark_6[18] && mark_6[bit], mark_5[18] && mark_5[bit], \
    mark_4[18] && mark_4[bit], mark_3[18] && mark_3[bit], mark_2[18] && mark_2[bit]}
`define INFO(bit) {info[5][22] && info[5][bit], info[4][22] && info[4][bit], info[3][22] && info[3][bit], \
    info[2][22] && info[2][bit], info[1][22] && info[1][bit], info[0][22] && info[0][bit]}
wire [8:2] marks = `MARKS(18), mark_ends = `MARKS(16), mark_keys = `MARKS(2);
wire [39:5] mark_pairs = {mark_8[15:11], mark_7[15:11], mark_6[15:11], mark_5[15:11], mark_4[15:11], mark_3[15:11], mark_2[15:11]};
wire [5:1] sent_ends = {whole, seen & seen_last};
wire [5:1] sent_keys = {whole, seen} & {whole_2[2], whole_1[2], whole_0[2], seen_head_1[2], seen_head_0[2]};
wire [5:0] info_keys = `INFO(2);
wire [7:0] next = {3'd0, next_pair};
wire [7:0] heads_known = {5'd0, known_put - known_got};
reg key_head;                       // the head of which pairs have come
wire complete_key = (sending && sent_head[2]) || sent_keys != 0 || (heads_known != 0 && now[2]) || info_keys != 0;
wire any_key = (next != 0 && key_head) || mark_keys != 0 || complete_key;

// The scan's: a step is whole heads, all queries or all keys. The compiler's: the next layer's
// values come when this one's keys have left. And a reset meets an empty drain.
wire key_1 = tag_1_kind == KIND_KEY;
wire value_1 = tag_1_valid && tag_1_kind == KIND_VALUE;
always @(posedge clock) begin
    if (mine) key_head <= key_1;
    if (mine && tag_1_first) assume (next == 0);
    if (mine && next != 0) assume (key_1 == key_head);
    if (value_1) assume (next == 0 && !any_key);
    if (reset) assume (!mine && marks == 0 && next == 0);
end

// Cycles since a head's last pair came, it was complete, its last word was sent, its scale was known;
// and since a value came.
reg [7:0] since_end, since_complete, since_sent, since_known, since_value;
function [7:0] later(input [7:0] since, input now);
    later = now ? 8'd1 : since >= 8'd127 ? 8'd127 : since + 8'd1;
endfunction
always @(posedge clock) begin
    since_end <= reset ? 8'd127 : later(since_end, mine && pair_last);
    since_complete <= reset ? 8'd127 : later(since_complete, complete);
    since_sent <= reset ? 8'd127 : later(since_sent, sending && sent_last);
    since_known <= reset ? 8'd127 : later(since_known, whole[2]);
    since_value <= later(since_value, value_1);
end

// Heads are as far apart on their whole way as their pairs make them.
always @(posedge clock) if (live) begin
    assert ({3'd0, pair_late} + 8'd1 == pairs && next < pairs && next < since_end);
    assert (since_complete + 8'd7 >= since_end || since_complete == 8'd127);
    for (k = 2; k <= 8; k = k + 1) begin
        if (mark_ends[k]) begin
            assert (since_end < k && since_complete + 8 - k >= pairs);
            assert (mark_pairs[5*k-5 +: 5] + 8'd1 == pairs);
        end
        for (j = k + 1; j <= 8; j = j + 1) if (mark_ends[k] && mark_ends[j]) assert (j - k >= pairs);
    end
    // a head's words are sent at once
    assert (sending == (since_complete <= words));
    if (sending) assert ({5'd0, sent} + 8'd1 == since_complete && since_sent + words >= pairs + since_complete);
    else assert (since_sent + words >= since_complete || since_sent == 8'd127);
    assert (since_known + 8'd5 >= since_sent || since_known == 8'd127);
    for (k = 1; k <= 5; k = k + 1) begin
        if (sent_ends[k]) assert (since_sent <= k && since_known + 5 - k >= pairs);
        for (j = k + 1; j <= 5; j = j + 1) if (sent_ends[k] && sent_ends[j]) assert (j - k >= pairs);
    end
    // and taken as soon as its scale is known
    assert (heads_known == (since_known <= words ? 8'd1 : 8'd0));
    assert ({5'd0, taken} == (heads_known != 0 ? since_known - 8'd1 : 8'd0));
end

// The words that wait are those of the heads between, so the oldest is of the oldest head.
reg [7:0] waiting;
wire [7:0] heads_sent = sent_ends[1] + sent_ends[2] + sent_ends[3] + sent_ends[4] + sent_ends[5];
always @(posedge clock) begin
    waiting <= reset ? 8'd0 : waiting + sending - known_any;
    if (live) begin
        assert (waiting == words * (heads_sent + heads_known) + (sending ? {5'd0, sent} : 8'd0) - {5'd0, taken});
        assert (waiting[3:0] == put - got && waiting <= 8'd16);
    end
end

// A key comes later than the pairs of its head, and the way here.
always @(posedge clock) if (live) begin
    assert (since_value != 0 && (next == 0 || !key_head || since_value > next));
    for (stage = 2; stage <= 8; stage = stage + 1)
        if (mark_keys[stage]) assert (since_value >= mark_pairs[5*stage-5 +: 5] + stage);
    if (complete_key) assert (since_value >= pairs + 8'd7);
    // value_queue.sv counts from a value's result, which comes a cycle after its tag_1.
    if (key_valid) assert (since_value - 8'd1 >= pairs + 8'd5);
end
