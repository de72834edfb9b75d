//! From bits to accesses of the register bus.

use crate::folded::bus;
use crate::leaf;
use crate::units::registers;
use crate::units::text::localparams;
use annulus_contract::link::{MARKER, OPS, OP_MEMORY, OP_WRITE};
use annulus_contract::regs::{self, status};
use rust_hdl_core::prelude::*;

/// Cycles that a word takes at least, for each bit needs SCK low and SCK high.
const WORD_CYCLES: usize = 2 * 32;
/// A word is read before it is sent, and a reset over before the next header is; so `ready`
/// needs no looking at, however SCK runs.
const _: () = assert!(
    registers::READ_CYCLES + 2 < WORD_CYCLES
        && bus::READ_CYCLES + 2 < WORD_CYCLES
        && registers::RESET_CYCLES < WORD_CYCLES
);

leaf! {
    /// Takes a frame bit by bit ([`annulus_contract::link`]) and answers it.
    ///
    /// `open` frames it, `strobe` marks its bits: `value` is the one received, `miso` the one
    /// being sent, both until the next strobe. One register holds the word that comes in, that
    /// is written to the bus, or that goes out; another holds the CRC of either direction.
    /// While a CRC passes, that register is shifted out and all ones follow, with which the
    /// next CRC begins.
    pub struct Frames {
        in clock: Clock,
        in open: Bit,
        in strobe: Bit,
        in value: Bit,
        out miso: Bit,
        // the bus; `q` holds the last word read
        out write: Bit,
        out read: Bit,
        out address: Bits<8>,
        out data: Bits<32>,
        in q: Bits<32>,
        in busy: Bit,
        in chosen: Bit,
    }
    verilog(_this) {
        let bytes = [
            ("MARKER", MARKER), ("OPS", OPS), ("OP_BITS", OP_WRITE | OP_MEMORY),
            ("R_MEM_ADDRESS", regs::MEM_ADDRESS), ("R_MEM_DATA", regs::MEM_DATA),
            ("S_BUSY", status::BUSY as u8), ("S_OUTPUT", status::OUTPUT as u8),
        ];
        let bytes = bytes.map(|(name, value)| format!("localparam [7:0] {name} = 8'd{value};\n")).concat();
        localparams(&[
            ("OP_WRITE", OP_WRITE.trailing_zeros() as usize), ("OP_MEMORY", OP_MEMORY.trailing_zeros() as usize),
        ]) + &bytes + "
// the part of the frame: bit 3, it is sent; bit 2, it is a CRC
localparam [3:0] COMMAND = 0, ARGUMENT = 1, PAYLOAD = 2, OVER = 3, HEADER_CRC = 4, PAYLOAD_CRC = 5,
    STATUS = 8, ANSWER = 9, ANSWER_CRC = 12;
reg [3:0] part;
reg [4:0] place;                // bits of the part's word that have passed
reg [31:0] word, crc;
reg [7:0] op, number, register_at, left;    // the command; left: words still to come or go
reg [7:0] executed;             // number of the last register access
reg wrong;                      // the header or the payload
reg accept, store, fetch, turn; // for a cycle: the header is good; a word is to be written; read; the answer begins
wire sending = part[3];
wire checking = part[2];
wire writing = op[OP_WRITE];
wire memory = op[OP_MEMORY];
wire more = left != 8'd0;
wire again = «a repeated frame is executed again: number == executed → 1'b0»;
wire [31:0] received = {word[30:0], value};
wire last_bit = strobe && place == 5'd31;
wire bad_bit = value == crc[31];
wire good = «a header with a wrong checksum is taken: !wrong && !bad_bit → 1'b1»;
wire [7:0] flags = (busy ? S_BUSY : 8'd0) | (chosen ? S_OUTPUT : 8'd0);

always @(posedge clock) begin
    accept <= last_bit && part == HEADER_CRC && good;
    store <= last_bit && part == PAYLOAD;
    // the first word once its address has been written, the next as one begins to leave
    fetch <= memory && !writing && (accept ? more : last_bit && (part == STATUS || part == ANSWER) && left > 8'd1);
    turn <= 0;
    if (accept && !memory) executed <= number;
    if (strobe) begin
        place <= place + 5'd1;
        crc <= checking ? {crc[30:0], 1'b1}
            : {crc[30:0], 1'b0} ^ (crc[31] ^ (sending ? word[31] : value) ? 32'h04c11db7 : 32'd0);
        if (!checking) word <= received;
        if (checking && bad_bit) wrong <= 1;
    end
    // the argument is on the bus before this
    if (turn) word <= {MARKER, 8'd0, memory ? executed : number, flags};
    if (last_bit) case (part)
        COMMAND: begin
            part <= ARGUMENT;
            {op, number, register_at, left} <= received;
            wrong <= «an unknown operation is executed: (received[31:24] & ~OP_BITS) != OPS → 1'b0»;
        end
        ARGUMENT: part <= HEADER_CRC;
        HEADER_CRC, PAYLOAD, PAYLOAD_CRC: begin
            if (checking && !good) part <= OVER;
            else if (memory && writing && part != PAYLOAD_CRC) begin
                part <= more ? PAYLOAD : PAYLOAD_CRC;
                if (more) left <= left - «a payload never ends: 8'd1 → 8'd0»;
            end else begin
                part <= STATUS;
                turn <= 1;
            end
        end
        STATUS, ANSWER: begin
            part <= more ? ANSWER : ANSWER_CRC;
            word <= q;
            if (more) left <= left - 8'd1;
        end
        default: part <= OVER;
    endcase
    if (!open) begin
        part <= «the end of a frame does not begin the next: COMMAND → part»;
        place <= 0;
        crc <= 32'hffffffff;
        wrong <= 0;
    end
end

// low until the status has been loaded: its first bit is low too
always @(*) miso = sending && !turn && (checking ? !crc[31] : word[31]);
always @(*) write = store || (accept && (memory || (writing && !again)));
always @(*) read = fetch || (accept && !memory && !writing && !again);
always @(*) address = !memory ? register_at : accept ? R_MEM_ADDRESS : R_MEM_DATA;
always @(*) data = word;
"
    }
}
