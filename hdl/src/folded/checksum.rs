//! The CRC-32 of the logits, a bit a cycle.

use crate::leaf;
use annulus_contract::crc::POLYNOMIAL;
use rust_hdl_core::prelude::*;

leaf! {
    /// Takes 24 bits with `valid` when it is not `busy`; they count as three bytes,
    /// the lowest first.
    pub struct Checksum {
        in clock: Clock,
        in clear: Bit,
        in valid: Bit,
        in data: Bits<24>,
        out busy: Bit,
        /// Checksum of all values so far, in its final form.
        out crc: Bits<32>,
    }
    verilog(_this) {
        format!("localparam [31:0] POLYNOMIAL = 32'h{POLYNOMIAL:x};") + "
reg [31:0] inverted;            // of the checksum in its raw form
reg [23:0] rest;
reg [4:0] left;
always @(*) busy = left != 0;
always @(*) crc = inverted;
wire [31:0] raw = ~inverted;
wire [31:0] next = {1'b0, raw[31:1]} ^ (raw[0] ^ rest[0] ? POLYNOMIAL : 32'd0);
always @(posedge clock) begin
    if (left != 0) begin
        inverted <= ~next;
        rest <= rest >> 1;
        left <= left - 5'd1;
    end
    if (valid) begin
        rest <= data;
        left <= «the checksum lacks the last bit of each logit: 5'd24 → 5'd23»;
    end
    if (clear) begin
        inverted <= 0;
        left <= 0;
    end
end
"
    }
}
