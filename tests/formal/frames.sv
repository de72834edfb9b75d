// The link's framing: nothing is done before a whole header with its right CRC has come, a frame
// that is repeated is not executed again, and whatever happened, the end of the frame begins anew.
reg live = 0;
always @(posedge clock) begin
    live <= 1;
    if (!live) assume (!open);
    // a strobe lies within a frame; the wires give one in four cycles at most
    if (strobe) assume (open);
end
// registers of an FPGA begin as zeros
initial assume (!accept && !store && !fetch);
reg [1:0] rest;
always @(posedge clock) begin
    rest <= strobe ? 2'd3 : rest == 0 ? 2'd0 : rest - 2'd1;
    if (rest != 0) assume (!strobe);
end

// What was received of the header, and a CRC of its own over it. The wire carries it inverted.
reg [31:0] command, expected;
reg [6:0] bits;                 // of the header, up to 96
reg intact;                     // so far
reg accepted;                   // the header of this frame
reg [8:0] stored;               // words of its payload
reg [7:0] latest;               // number of the last register access, once there was one
reg any_latest = 0;
wire [31:0] stepped = {expected[30:0], 1'b0} ^ (expected[31] ^ value ? 32'h04c11db7 : 32'd0);
wire known = (command[31:24] & ~OP_BITS) == OPS;
wire on_memory = command[24 + OP_MEMORY];
wire writes = command[24 + OP_WRITE];
wire in_header = part == COMMAND || part == ARGUMENT || part == HEADER_CRC;
always @(posedge clock) begin
    if (!open) begin
        expected <= 32'hffffffff;
        bits <= 0;
        intact <= 1;
        accepted <= 0;
        stored <= 0;
    end else if (strobe) begin
        if (bits < 7'd96) bits <= bits + 7'd1;
        if (bits < 7'd32) command <= {command[30:0], value};
        if (bits < 7'd64) expected <= stepped;
        else if (bits < 7'd96) begin
            expected <= {expected[30:0], 1'b1};
            if (value == expected[31]) intact <= 0;
        end
        if (last_bit && part == PAYLOAD) stored <= stored + 9'd1;
    end
    if (accept && open) accepted <= 1;
    if (accept && !on_memory) begin
        latest <= command[23:16];
        any_latest <= 1;
    end
end

reg closed;
always @(posedge clock) begin
    closed <= live && !open;
    if (live && closed) assert (part == COMMAND && place == 0 && crc == 32'hffffffff && !wrong && bits == 0);
end

always @(posedge clock) if (live) begin
    assert (part == COMMAND || part == ARGUMENT || part == PAYLOAD || part == OVER || part == HEADER_CRC
        || part == PAYLOAD_CRC || part == STATUS || part == ANSWER || part == ANSWER_CRC);
    // the parts keep step with the bits
    if (part == COMMAND) assert (bits == {2'd0, place} && ((word ^ command) & ((32'd1 << place) - 32'd1)) == 0);
    if (turn) assert (place == 0);
    if (part == ARGUMENT) assert (bits == 7'd32 + {2'd0, place});
    if (part == HEADER_CRC) assert (bits == 7'd64 + {2'd0, place});
    if (in_header) assert (crc == expected && stored == 0 && !accepted);
    else assert (bits == 7'd96);
    if (part == COMMAND) assert (!wrong && intact);
    if (part == ARGUMENT) assert (intact);
    if (part == ARGUMENT || part == HEADER_CRC)
        assert ({op, number, register_at, left} == command && wrong == !(intact && known));

    // A whole, sound header comes before anything is done, and is taken once.
    if (accept) assert (bits == 7'd96 && intact && known && !accepted && {op, number, register_at} == command[31:8]);
    // A frame that is cut off there may still read one word of the memories, which takes nothing away.
    if (write || (read && !closed)) assert (intact && known && bits == 7'd96 && (accept || accepted));
    if (accept || accepted || store || fetch) assert (known && {op, number, register_at} == command[31:8]);
    if (accept || accepted) assert (intact && bits == 7'd96);
    if (store || fetch) assert (on_memory && (accepted || (fetch && closed)));
    if (part == PAYLOAD || part == PAYLOAD_CRC) assert (on_memory && writes);
    if (part == PAYLOAD || part == PAYLOAD_CRC || part == STATUS || part == ANSWER || part == ANSWER_CRC)
        assert (accept || accepted);
    assert (!(read && write));

    // A register frame that was executed is not executed again.
    if (any_latest) assert (executed == latest);
    if ((read || write) && !on_memory) assert (accept && !(any_latest && latest == command[23:16]));
    if (write && !on_memory) assert (writes && address == command[15:8]);

    // Memory frames write the address and then as many words as the header says, at most.
    if (write && on_memory) assert (accept ? address == R_MEM_ADDRESS : address == R_MEM_DATA && writes);
    if (part == PAYLOAD) assert ({1'b0, left} + stored + 9'd1 == {1'b0, command[7:0]});
    if (part == PAYLOAD_CRC) assert (stored == {1'b0, command[7:0]});
    assert (stored <= {1'b0, command[7:0]} || in_header);
    // Nothing is said but in answer to a sound frame.
    if (miso) assert (part[3] && (accept || accepted));
end
