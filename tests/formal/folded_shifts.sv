// The folded core's scaler: every shift that is ordered is done once, after the products that were
// ordered before it, and soon.
reg live = 0;
reg [2:0] owed;                     // shifts that were ordered and are not done
reg [2:0] age;                      // cycles since the last was ordered
wire [2:0] inside = waiting + begun + done;
always @(posedge clock) begin
    live <= 1;
    if (!live) assume (reset);
    // the machine's: nothing more while a shift is under way
    if (inside != 0 && !done) assume (!shift && !multiply);
    assume (!(shift && multiply));

    owed <= reset ? 3'd0 : owed + shift - done;
    age <= reset || shift ? 3'd1 : age == 3'd7 ? 3'd7 : age + 3'd1;
    if (live) begin
        assert (owed == inside && owed <= 3'd1);
        if (inside != 0) assert (age <= 3'd4);
        if (start) assert (!valid_1 && !valid_2);
        if (waiting) assert (!valid_1 && age <= 3'd2 - valid_2);
        if (begun) assert (age <= 3'd3);
    end
end
