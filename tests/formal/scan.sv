// The scan: a step is taken only when the last word of the one before has gone, and the last
// word of a row group only when the tail has taken the sums of the group before.
reg live = 0;
always @(posedge clock) begin
    live <= 1;
    if (!live) assume (reset);
    assume (!go || ready);      // the sequencer's promise
    assume (!active || left != 0 || scores);     // the compiler's: rows for every group
end

wire group_ends_now = issue && last;
reg any_sums;                   // a group's sums have gone to the tail since the reset
reg [4:0] since;                // cycles since they went
reg [3:0] needed;               // cycles that they need
always @(posedge clock) begin
    if (since != 5'd31) since <= since + 5'd1;
    if (group_ends_now) begin
        any_sums <= 1;
        since <= 5'd1;
        needed <= scores ? 4'd0 : pairs;
    end
    if (reset) any_sums <= 0;

    if (live) begin
        if (any_sums && since < {1'b0, needed}) assert (gap >= needed - since[3:0]);
        assert (waiting == (gap != 0));
        if (group_ends_now && any_sums) assert (since >= {1'b0, needed});
        if (active) assert (occupied);
        if (prepare != 0) assert (occupied && !active);
        // the word that a new step displaces has gone
        if (go && active) assert (issue && final_word);
        if (go) assert (prepare == 0);
    end
end
