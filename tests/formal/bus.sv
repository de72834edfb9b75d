// The register bus: every strobe is answered once, a read in READ_CYCLES, a reset in
// RESET_CYCLES, and a token is taken from the queue only by a read that returns it.
reg live = 0;
reg open = 0;                   // a strobe waits for its answer
reg [6:0] age;                  // cycles since it came
reg reading, resetting_now;
always @(posedge clock) begin
    live <= 1;
    // who drives the bus: a strobe at a time, the next after the answer
    assume (!(read && write));
    if (open && !ready) assume (!read && !write);
    if (!live) assume (!read && !write);
end

initial begin
    assume (wait_left == 0 && reset_left == 0 && !ready);
end

always @(posedge clock) begin
    if (read || write) begin
        open <= 1;
        age <= 1;
        reading <= read;
        resetting_now <= resets;
    end else begin
        if (ready) open <= 0;
        if (age != 7'd127) age <= age + 7'd1;
    end
    // answers only what was asked, and in time
    if (ready) assert (open);
    assert (!(wait_left != 0 && reset_left != 0));
    if (open && reading) assert (age <= READ_CYCLES + 1 && {3'd0, wait_left} + age == READ_CYCLES + 1);
    if (open && resetting_now) assert (age <= RESET_CYCLES + 1 && {1'd0, reset_left} + age == RESET_CYCLES + 1);
    if (open && !reading && !resetting_now) assert (age == 1 && ready);
    if (open && reading) assert (ready == (age == READ_CYCLES + 1));
    if (open && resetting_now) assert (ready == (age == RESET_CYCLES + 1));
    if (!open) assert (wait_left == 0 && reset_left == 0 && !ready);
    if (!(open && reading)) assert (wait_left == 0);
    if (!(open && resetting_now)) assert (reset_left == 0);
end

// The token that leaves the queue is the one in the answer.
always @(posedge clock) begin
    if (live && take_output) assert (open && reading && ready && address_held == R_TOKEN_OUT && q[31]);
end
