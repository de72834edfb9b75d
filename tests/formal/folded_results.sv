// The folded core's tail: every sum or element that it asks for becomes one result, in its order,
// which stands until it is taken.
reg live = 0;
always @(posedge clock) begin
    live <= 1;
    if (!live) assume (reset);
    if (take) assume (valid);       // the machine's
end

wire [3:0] inside = held + valid_1 + valid_2 + valid_3 + valid_4 + valid_5 + valid_6 + valid;
reg [3:0] owed;                     // asked for and not taken
reg stands;
reg [23:0] result_before;
always @(posedge clock) begin
    owed <= go || reset ? 4'd0 : owed + ask - take;
    stands <= live && valid && !take && !go && !reset;
    result_before <= result;
    if (live) begin
        assert (owed == inside + asked);
        assert (!(asked && held));
        if (stands) assert (valid && result == result_before);
    end
end
