// The conductor's queues: at most sixteen tokens in each, out in the order in which they came
// in, none lost, none doubled; and no token is chosen for which there is no room.
reg live = 0;
always @(posedge clock) begin
    live <= 1;
    if (!live) assume (reset);
end

(* anyconst *) reg [4:0] watched;   // any place in the order of either queue
reg [16:0] went_in;                 // what was put there last
reg [15:0] went_out;
wire [4:0] in_count = in_put - in_got;
wire [4:0] out_count = out_put - out_got;
wire [4:0] in_ahead = watched - in_got;
wire [4:0] out_ahead = watched - out_got;
wire queued = write && address == R_TOKEN_IN;

always @(posedge clock) begin
    if (queued && !input_full && in_put == watched) went_in <= {data[31], data[15:0]};
    if (chose && out_put == watched) went_out <= choice;

    if (live) begin
        assert (in_count <= 5'd16);
        assert (input_full == (in_count == 5'd16));
        assert (in_any == (in_count != 0));
        if (in_ahead < in_count) assert (inputs[watched[3:0]] == went_in);
        if (begin_token && in_any && in_got == watched) assert (oldest == went_in);

        assert (out_count <= 5'd16);
        assert (output_any == (out_count != 0));
        if (out_ahead < out_count) assert (outputs[watched[3:0]] == went_out);
        if (output_any && out_got == watched) assert (output_token == went_out);
        if (busy && !prefill) assert (out_count < 5'd16);

        // What the core feeds itself is paid from the budget, and only its newest choice.
        if (begin_token && !in_any) assert (pending && budget != 0 && !stopped);
        if (pending) assert (!busy);
    end
end

// A queued token that finds no room is reported, and changes nothing.
reg lost = 0;
reg [4:0] in_put_before;
always @(posedge clock) begin
    lost <= live && queued && input_full && !reset;
    in_put_before <= in_put;
    if (lost) assert (overflow && in_put == in_put_before);
end
