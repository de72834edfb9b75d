// The folded core's bus: pointers of its two queues, and its answers. The tokens themselves lie in
// the machine's registers.
wire [4:0] in_count = in_put - in_got;
wire [4:0] out_count = out_put - out_got;
reg live = 0;
reg open = 0;                   // a strobe waits for its answer
always @(posedge clock) begin
    live <= 1;
    // who drives the bus: a strobe at a time, the next after the answer
    assume (!(read && write));
    if (open && !ready) assume (!read && !write);
    if (!live) assume (reset && !read && !write);
    // the machine: takes what is there, gives where there is room, writes what is to be written
    if (pop) assume (input_any);
    if (push) assume (!output_full);
    if (accepted) assume (write_register);
    if (reset) assume (!push && !pop);
end
initial begin
    assume (wait_left == 0 && !ready && !written && !ordered && !write_register && !token_waits && !budget_waits);
end

reg is_read;
always @(posedge clock) begin
    if (read || write) begin
        open <= 1;
        is_read <= read;
    end else if (ready) open <= 0;

    if (ready) assert (open);
    if (!open) assert (wait_left == 0 && !written && !ordered && !write_register && !ready);
    assert (wait_left <= READ_CYCLES);
    if (wait_left != 0) assert (open && is_read && !ready && !written && !ordered && !write_register);
    if (written) assert (open && !is_read && !ready && !ordered && !write_register);
    if (ordered || write_register) assert (open && !is_read && !ready && !(ordered && write_register));
    // an open strobe is always on its way to an answer
    if (open) assert (ready || written || ordered || write_register || wait_left != 0);
    if (token_waits || budget_waits) assert (write_register && !(token_waits && budget_waits));

    if (live) begin
        assert (in_count <= 5'd16 && out_count <= 5'd16);
        if (token_waits) assert (in_count < 5'd16);
        assert (input_any == (in_count != 0) && output_any == (out_count != 0) && output_full == (out_count == 5'd16));
    end
end
