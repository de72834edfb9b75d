// The folded core's array: a row's sum stands until it is taken, once, and the last word of the
// next row waits for that; so no sum is lost, doubled or changed.
reg live = 0;
wire taken = take || tail_take;
always @(posedge clock) begin
    live <= 1;
    if (!live) assume (reset);
    // the microprogram's: a row has words, and its length does not change within a pass
    assume (words != 0 && !(set_words && active));
    // the takers': only what is there
    if (taken) assume (valid && !(take && tail_take));
end

// Last words on their way, of rows whose sum nobody has taken.
wire [5:1] ends = {tag_5[0] && tag_5[1], tag_4[0] && tag_4[1], tag_3[0] && tag_3[1], tag_2[0] && tag_2[1], tag_1[0] && tag_1[1]};
reg stands;                         // a sum was there and was not taken
reg [31:0] sum_before;
always @(posedge clock) begin
    stands <= live && valid && !taken && !go && !reset;
    sum_before <= sum;
    if (live) begin
        assert ((ends & (ends - 5'd1)) == 0 && !(ends != 0 && valid));
        assert (waiting == (ends != 0 || valid));
        if (stands) assert (valid && sum == sum_before);
    end
end
