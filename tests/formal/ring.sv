// The ring pointers: for every window and every number of sinks, the places of keys and
// values are those of the slot that annulus_contract::ring gives to the token.
reg live = 0;
always @(posedge clock) begin
    live <= 1;
    if (!live) assume (reset);
end

// Ring::registers, for any window and sinks. Twelve bits hold every count of slots.
(* anyconst *) reg [11:0] window, sinks;
(* anyconst *) reg [11:0] value_groups;
(* anyconst *) reg [7:0] value_last, value_sink_last;
localparam [11:0] ROWS = P, COLUMNS = 8;
localparam [11:0] MOST = 1024 / ROWS + 1, MOST_VALUE = 1024 / COLUMNS + 1;
wire [11:0] ring_groups = key_groups[11:0] - key_sink_groups[11:0];
wire [11:0] value_ring_groups = value_groups - value_sink_groups[11:0];
always @(posedge clock) begin
    assume (window >= 1 && window <= 1024 && sinks < window);
    assume (key_groups <= 2 * MOST && key_sink_groups <= MOST && key_groups > key_sink_groups && ring_groups <= MOST);
    assume (value_groups <= 2 * MOST_VALUE && value_sink_groups <= MOST_VALUE && value_groups > value_sink_groups
        && value_ring_groups <= MOST_VALUE);
    assume (sinks == 0 ? key_sink_groups == 0 && value_sink_groups == 0
        : key_sink_groups != 0 && value_sink_groups != 0
        && key_sink_last >= 1 && key_sink_last <= P && value_sink_last >= 1 && value_sink_last <= 8
        && (key_sink_groups[11:0] - 12'd1) * ROWS + {4'd0, key_sink_last} == sinks
        && (value_sink_groups[11:0] - 12'd1) * COLUMNS + {4'd0, value_sink_last} == sinks);
    assume (key_last >= 1 && key_last <= P && value_last >= 1 && value_last <= 8);
    assume ((ring_groups - 12'd1) * ROWS + {4'd0, key_last} == window - sinks);
    assume ((value_ring_groups - 12'd1) * COLUMNS + {4'd0, value_last} == window - sinks);
    assume ($stable({key_groups, key_sink_groups, key_last, key_sink_last, value_sink_groups}) || !live);
    // the sequencer's promise: a token takes more than the cycle in which it starts
    assume (!(done && start));
    // restoring a saved ring is the driver's business, between tokens
    assume (!(write && (address == R_POSITION || address == R_POSITION_HIGH || address == R_RING_STATE
        || address == R_KEY_AT || address == R_VALUE_AT)));
end

// Ring::slot, token by token.
reg [11:0] slot;
reg wrapped;
always @(posedge clock) begin
    if (finished) begin
        slot <= slot + 12'd1 == window ? sinks : slot + 12'd1;
        if (slot + 12'd1 == window) wrapped <= 1;
    end
    if (restart || reset) begin
        slot <= 0;
        wrapped <= 0;
    end
end

wire in_sinks = slot < sinks;
wire [11:0] place = in_sinks ? slot : slot - sinks;
wire [15:0] key_first = in_sinks ? 16'd0 : key_sink_groups;
wire [15:0] value_first = in_sinks ? 16'd0 : value_sink_groups;
wire [11:0] key_groups_on = key_group[11:0] - key_first[11:0];
wire [11:0] value_groups_on = value_group[11:0] - value_first[11:0];
always @(posedge clock) if (live) begin
    assert (slot < window);
    assert (key_group >= key_first && key_group < key_groups && key_row < P);
    assert (key_groups_on * ROWS + {4'd0, key_row} == place);
    assert (value_group >= value_first && value_group < {4'd0, value_groups} && value_column < 8);
    assert (value_groups_on * COLUMNS + {4'd0, value_column} == place);
    if (in_sinks) assert (key_group < key_sink_groups && value_group < value_sink_groups);
    assert (full == wrapped);
    // what ends a slot is known before the token ends
    if (busy && !start) assert (sinks_end == sinks_end_now && ring_end == ring_end_now
        && row_end == row_end_now && column_end == column_end_now);
    assert (!(restart && busy));
    if (start) assert (busy);
end
