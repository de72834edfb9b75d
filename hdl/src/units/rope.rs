//! Rotary positions: one phase accumulator a frequency, exact for ever.

use crate::cells::Sin;
use crate::leaf;
use rust_hdl_core::prelude::*;

leaf! {
    /// At `start` computes sine and cosine of every frequency's phase, two cycles each,
    /// and moves the phase on; a reader gets them one cycle after `read_at`. `restart`
    /// makes the next start begin at phase zero.
    pub struct RopePhase {
        in clock: Clock,
        in reset: Bit,
        in start: Bit,
        in restart: Bit,
        /// Half the head size; 0 where the model has no rotary positions.
        in pairs: Bits<6>,
        in rotary: Bit,
        in read_at: Bits<5>,
        /// The angles of position `W - 1` instead.
        in read_far: Bit,
        out sin: Bits<16>,
        out cos: Bits<16>,
        in write_increment: Bit,
        in write_phase: Bit,
        in write_far: Bit,
        in write_at: Bits<5>,
        in data: Bits<32>,
        in link_at: Bits<5>,
        out link_increment: Bits<32>,
        out link_phase: Bits<32>,
        out link_far: Bits<32>,
        cell sine: Sin,
    }
    verilog(_this) {
        let depth = Sin::LATENCY;
        let mut text = String::from("
reg [31:0] increment [0:31];
reg [31:0] phase [0:31];
reg [31:0] angles [0:31];       // {cosine, sine}
reg [31:0] far_angles [0:31];
reg running, half, fresh;
reg [4:0] at;
reg [15:0] sine_first;
reg [31:0] found, found_far;
reg rotary_found, far_found;
wire [31:0] now = fresh ? 32'd0 : phase[at];
wire [31:0] moved = «the phase stands still: now + increment[at] → now»;
");
        text += &format!("reg [5:0] mark [1:{depth}];\nreg [{}:0] sent;\n", depth - 1);
        text += &format!("
always @(*) sine$clock = clock;
always @(*) sine$phase = {{now[31:30] + «the cosine has the wrong sign: {{1'b0, half}} → {{half, half}}», now[29:0]}};
integer i;
always @(posedge clock) begin
    mark[1] <= {{half, at}};
    for (i = 2; i <= {depth}; i = i + 1) mark[i] <= mark[i-1];
    sent <= {{sent[{top}:0], running}};
    half <= running && !half;
    if (running && half) begin
        at <= at + 5'd1;
        running <= {{1'b0, at}} + 6'd1 != pairs;
        if ({{1'b0, at}} + 6'd1 == pairs) fresh <= 0;
    end
    if (running && half) phase[at] <= moved;
    else if (write_phase) phase[write_at] <= data;
    if (write_increment) increment[write_at] <= data;
    if (write_far) far_angles[write_at] <= data;
    if (sent[{last}] && !mark[{depth}][5]) sine_first <= sine$y;
    if (sent[{last}] && mark[{depth}][5]) angles[mark[{depth}][4:0]] <= {{sine$y, sine_first}};
    found <= angles[read_at];
    found_far <= far_angles[read_at];
    far_found <= read_far;
    rotary_found <= rotary;
    link_increment <= increment[link_at];
    link_phase <= fresh ? 32'd0 : phase[link_at];
    link_far <= far_angles[link_at];
    if (start && rotary) begin
        running <= 1;
        half <= 0;
        at <= 0;
    end
    if (restart) fresh <= «a restart keeps the phases: 1 → fresh»;
    if (write_phase) fresh <= «restored phases are forgotten: 0 → fresh»;
    if (reset) begin
        running <= 0;
        sent <= 0;
        fresh <= 1;
    end
end
wire [31:0] pair = far_found ? «sinks are read at the query's own angle: found_far → found» : «the ring is read at the sinks' angle: found → found_far»;
always @(*) sin = rotary_found ? pair[15:0] : 16'd0;
always @(*) cos = rotary_found ? pair[31:16] : «heads without positions shrink: 16'd16384 → 16'd16383»;
", top = depth - 2, last = depth - 1);
        text
    }
}
