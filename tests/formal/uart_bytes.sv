// The UART's transmitter: a byte that is taken goes out whole, a start bit, its eight bits, a stop bit,
// and the next is not taken before.
reg live = 0;
reg any = 0;                        // a byte was taken
reg [7:0] byte_taken;
wire takes = ready && start;
wire [9:0] frame = {1'b1, byte_taken, 1'b0};
wire [3:0] sent = 4'd10 - left;
wire [9:0] rest = {10'h3ff, frame} >> sent;
wire passes = over && left != 0;    // from a bit to the next
reg [3:0] bits_out;                 // of that byte
always @(posedge clock) begin
    live <= 1;
    if (!live) assume (phase == 0);     // configuration clears registers
    if (takes) byte_taken <= data;
    any <= any || takes;
    bits_out <= takes ? 4'd0 : bits_out + passes;

    assert (left <= 4'd10);
    assert (tx == (left == 0 || frame[sent]));
    assert (any ? ~bits == rest && bits_out + left == 4'd10 : left == 0 && bits == 0);
    if (takes) assert (left == 0 || (left == 4'd1 && passes));
    // between bytes the phase rests, so that the start bit has its length
    if (left == 0) assert (!over);
end
