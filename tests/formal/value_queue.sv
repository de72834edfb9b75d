// The queue of a ring of 4-bit values: a head waits in it until its largest value is known. Every
// value comes out once, in its order and with its own head's exponent, and the last of them is
// written before the first key needs the memory's one port.
reg live = 0;
always @(posedge clock) live <= 1;

// The driver's: heads of 2 to 64 elements, pairs of them.
(* anyconst *) reg [5:0] pairs;     // of a head
always @(posedge clock) assume (pairs >= 1 && pairs <= 32 && head_size == {1'b0, pairs, 1'b0});

// The sequencer's: a value step begins when the values of the one before have been written.
reg [6:0] since;                    // cycles since the last value came from the tail
wire begins = go && step_kind == KIND_VALUE;
always @(posedge clock) begin
    since <= value_now ? 7'd1 : since == 7'd127 ? 7'd127 : since + 7'd1;
    if (!live) assume (begins && !sending && !value);
    if (begins) assume (!value_now && (!live || (since > 7'd5 + {1'b0, pairs} && come == 0)));
    // The head stage's, proven in head_queues.sv.
    if (key_valid) assume (since >= 7'd5 + {1'b0, pairs});
end

wire [5:0] waiting = put - got;
wire [5:0] come = counted[6:1], gone = sent[6:1];
always @(posedge clock) if (live) begin
    assert (!counted[7] && !counted[0] && come < pairs && !sent[7] && !sent[0] && gone < pairs);
    assert (waiting == come + (complete ? pairs : 6'd0) + (sending ? pairs - gone : 6'd0));
    // a head leaves as fast as the next can come
    if (sending) assert (come <= gone + 6'd1);
    if (!sending) assert (gone == 0);
    if (complete) assert (come == 0 && (!sending || gone + 6'd1 == pairs));
    if (sending) assert (waiting != 0);
    assert (waiting + {5'd0, came} <= 6'd63);

    if (came) assert (since == 7'd1);
    if (complete) assert (since <= 7'd2);
    if (sending) assert (since <= 7'd3 + {1'b0, gone});
    if (value) assert (since <= 7'd3 + {1'b0, pairs});
    if (value_valid) assert (since <= 7'd4 + {1'b0, pairs});
    assert (!(value_valid && key_valid));
end

// One pair, any, on its way through the queue: what it is, and the smallest exponent e under which every
// value v of its head fits, -2^(11+e) <= v < 2^(11+e).
function [2:0] needs(input signed [15:0] v);
    needs = v >= -2048 && v < 2048 ? 3'd0 : v >= -4096 && v < 4096 ? 3'd1 : v >= -8192 && v < 8192 ? 3'd2
        : v >= -16384 && v < 16384 ? 3'd3 : 3'd4;
endfunction
function [2:0] larger(input [2:0] a, input [2:0] b);
    larger = a > b ? a : b;
endfunction
(* anyconst *) reg [5:0] watched;
reg [31:0] pair;
reg held, whole, left;              // it waits; all of its head has come; it has left just now
reg [2:0] most, wanted;             // what the head that comes needs so far, and the watched one
wire [2:0] most_now = larger(come == 0 ? 3'd0 : most, larger(needs(came_0), needs(came_1)));
wire comes = came && put == watched;
wire leaves = sending && got == watched;
always @(posedge clock) begin
    if (comes) pair <= {came_1, came_0};
    if (came) most <= most_now;
    if (comes || (came && held && !whole)) wanted <= most_now;
    held <= !begins && (comes || (held && !leaves));
    whole <= !begins && !leaves && (whole || (came && came_last && (comes || held)));
    left <= !begins && leaves;
end

wire [5:0] ahead = watched - got;
wire [5:0] in_front = sending ? pairs - gone : 6'd0;   // of the head that leaves
wire [2:0] reached = reach[3] ? 3'd4 : reach[2] ? 3'd3 : reach[1] ? 3'd2 : {2'd0, reach[0]};
always @(posedge clock) if (live) begin
    assert (held == (ahead < waiting));
    assert (whole == (ahead < waiting - come));
    if (held) assert (queue[watched] == pair);
    if (come != 0 || complete) assert (most == reached);
    if (held && !whole) assert (wanted == most);
    if (whole) assert (wanted == (ahead < in_front ? exponent : reached));
    if (left) assert (value && {v1, v0} == pair && exponent_now == wanted);
end
