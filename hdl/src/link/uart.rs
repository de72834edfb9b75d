//! From the two wires of a UART to bits in the FPGA's clock, as
//! [`annulus_contract::link::uart`] says.
//!
//! There is no reset: configuration leaves an idle line, and the first flag begins a frame.

use crate::leaf;
use crate::units::text::LUT_RAM;
use annulus_contract::link::uart::{BAUD, ESCAPE, FLAG, TOGGLE};
use rust_hdl_core::prelude::*;

/// Bits of a bit's phase.
const PHASE_BITS: u32 = 16;

/// How far a bit's phase moves in a cycle: its overflow is the end of the bit, at any ratio of
/// the clocks.
fn phase_step(hertz: u32) -> u64 {
    let (baud, hertz) = (u64::from(BAUD), u64::from(hertz));
    ((baud << PHASE_BITS) + hertz / 2) / hertz
}

leaf! {
    /// Bytes of a line: `strobe` marks one that has come, which stands at `data` until the next
    /// begins. Each bit is taken in its middle; a byte whose stop bit is low is left out.
    pub struct UartReceiver {
        in clock: Clock,
        in rx: Bit,
        out strobe: Bit,
        out data: Bits<8>,
        param _hertz: u32,
    }
    verilog(this) {
        let step = phase_step(this._hertz);
        format!("
reg [1:0] low;              // of the line, two registers ago
reg receiving;
reg [15:0] phase;
reg [3:0] place;            // bits that have passed: the start bit, eight, the stop bit
wire [16:0] moved = phase + 17'd{step};
wire middle = moved[16];
always @(posedge clock) begin
    low <= {{low[0], !rx}};
    strobe <= 0;
    if (!receiving) begin
        receiving <= low[1];
        phase <= 16'h8000;
        place <= 0;
    end else begin
        phase <= moved[15:0];
        if (middle) begin
            place <= place + 4'd1;
            if (place == 4'd0 && !low[1]) receiving <= 0;
            if (place == 4'd9) begin
                receiving <= 0;
                strobe <= !low[1];
            end else data <= {{!low[1], data[7:1]}};
        end
    end
end
")
    }
}

leaf! {
    /// Bytes to a line: takes `data` where `start` and `ready` meet. Byte follows byte without
    /// a pause.
    pub struct UartTransmitter {
        in clock: Clock,
        in start: Bit,
        in data: Bits<8>,
        out ready: Bit,
        out tx: Bit,
        param _hertz: u32,
    }
    verilog(this) {
        let step = phase_step(this._hertz);
        format!("
reg [9:0] bits;             // still to be sent, inverted
reg [3:0] left;
reg [15:0] phase;
wire [16:0] moved = phase + 17'd{step};
wire over = moved[16];
initial begin
    bits = 0;               // or synthesis may begin with a start bit
    left = 0;
end
always @(posedge clock) begin
    phase <= left == 4'd0 ? 16'd0 : moved[15:0];
    if (over) begin
        bits <= bits >> 1;
        left <= left - 4'd1;
    end
    if (ready && start) begin
        bits <= {{1'b0, ~data, 1'b1}};
        left <= 4'd10;
    end
end
always @(*) ready = left == 4'd0 || (over && left == 4'd1);
always @(*) tx = !bits[0];
")
    }
}

leaf! {
    /// Frames of a UART: `open` frames one, `strobe` marks its bits, every second cycle. `value`
    /// is the one received; the one being sent, `miso`, is taken meanwhile, and eight of them
    /// answer a byte.
    pub struct UartPins {
        in clock: Clock,
        in rx: Bit,
        out tx: Bit,
        out open: Bit,
        out strobe: Bit,
        out value: Bit,
        in miso: Bit,
        cell receiver: UartReceiver,
        cell transmitter: UartTransmitter,
    }
    verilog(_this) {
        format!("
localparam [7:0] FLAG = 8'd{FLAG}, ESCAPE = 8'd{ESCAPE}, TOGGLE = 8'd{TOGGLE};
always @(*) receiver$clock = clock;
always @(*) receiver$rx = rx;
always @(*) transmitter$clock = clock;
always @(*) tx = transmitter$tx;

// ---- what comes
wire [7:0] line = receiver$data;
wire flag = receiver$strobe && line == FLAG;
wire symbol = receiver$strobe && line != FLAG && line != ESCAPE;
reg escaped, begun;             // begun: the number comes
reg [7:0] exchanged;            // bits that came give way to those that answer them
reg [4:0] left;                 // two for each bit
wire [7:0] plain = escaped ? line ^ TOGGLE : line;
always @(posedge clock) begin
    if (receiver$strobe) escaped <= line == ESCAPE;
    if (flag) begin
        begun <= 1;
        open <= 0;
    end else if (symbol) begin
        begun <= 0;
        open <= open || begun;
    end
    if (symbol && open) begin
        exchanged <= plain;
        left <= 5'd16;
    end else if (left != 5'd0) begin
        left <= left - 5'd1;
        if (strobe) exchanged <= {{exchanged[6:0], miso}};
    end
end
always @(*) strobe = left[0];
always @(*) value = exchanged[7];

// ---- what goes, with room for what a line that is slower than the host's falls behind
reg answered;                   // a byte's bits have been exchanged
{LUT_RAM}reg [8:0] waiting [0:15];     // bit 8: a flag
reg [3:0] put_at, take_at;
reg half;                       // its escape has been sent
wire put = flag || (symbol && begun) || answered;
wire [8:0] first = waiting[take_at];
wire special = !first[8] && (first[7:0] == FLAG || first[7:0] == ESCAPE);
wire filled = take_at != put_at;
always @(posedge clock) begin
    answered <= left == 5'd1;
    if (put) begin
        waiting[put_at] <= {{flag, answered ? exchanged : plain}};
        put_at <= put_at + 4'd1;
    end
    if (filled && transmitter$ready) begin
        half <= special && !half;
        if (!special || half) take_at <= take_at + 4'd1;
    end
end
always @(*) transmitter$start = filled;
always @(*) transmitter$data = first[8] ? FLAG : half ? first[7:0] ^ TOGGLE : special ? ESCAPE : first[7:0];
")
    }
}

impl UartReceiver {
    /// For a clock of so many hertz.
    pub fn new(hertz: u32) -> Self {
        Self {
            _hertz: hertz,
            ..Self::default()
        }
    }
}

impl UartTransmitter {
    /// For a clock of so many hertz.
    pub fn new(hertz: u32) -> Self {
        Self {
            _hertz: hertz,
            ..Self::default()
        }
    }
}

impl UartPins {
    /// For a clock of so many hertz.
    pub fn new(hertz: u32) -> Self {
        Self {
            receiver: UartReceiver::new(hertz),
            transmitter: UartTransmitter::new(hertz),
            ..Self::default()
        }
    }
}
