// The sequencer's pipeline of steps: fetched, found, waiting, gone. None is skipped or run
// twice, none changes while it waits, none goes before the scan is ready and what it needs is there.
reg live = 0;
always @(posedge clock) begin
    live <= 1;
    if (!live) assume (reset);
    // the conductor's promise: no token starts within another
    assume (!(start && running));
    // the list ends before the step memory does
    assume (!(running && fetch && pc == {A{1'b1}}));
end

reg [A-1:0] gone;       // steps that went to the scan or were skipped, of this token
always @(posedge clock) if (start) gone <= 0; else if (take) gone <= gone + 1'b1;

reg held;
reg [255:0] step_before;
reg skip_before;
always @(posedge clock) begin
    held <= live && running && step_valid && !take && !start && !reset;
    step_before <= step;
    skip_before <= skip;
    if (live && running) assert (pc == gone + {{A-1{1'b0}}, found_valid} + {{A-1{1'b0}}, step_valid});
    if (live && held && running) assert (step_valid && step == step_before && skip == skip_before);
    if (live && go) assert (scan_ready && running && step_valid && !skip && !finish);
    if (live && go && step_wait == 2'd1) assert (in_flight == 0);
    if (live && go && step_wait == 2'd2) assert (heads >= step_wait_count);
    if (live && go && step_wait == 2'd3) assert (scores >= step_wait_count);
    // a token ends once, when everything it began has been written, and after the cycle that began it
    if (live && done) assert (!running && !step_valid);
    if (live && !running) assert (!step_valid && !found_valid);
    if (live && start) assert (!go);
end

reg began;
always @(posedge clock) begin
    began <= start && live && !reset;
    if (live && began) assert (!done);
end

reg ended;
reg [4:0] left;
always @(posedge clock) begin
    left <= in_flight;
    ended <= live && !reset;
    if (live && ended && done) assert (left == 0);
end
