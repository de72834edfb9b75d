//! The register bus of the folded core. Most registers are words of the
//! [`Store`](super::store::Store)'s register memory, where the microprogram
//! finds them; here are the window to the memories, the queues' pointers, the
//! sticky errors and what must act at once.

use super::assembler::space;
use super::layout::Layout;
use crate::leaf;
use crate::units::text::localparams;
use annulus_contract::error;
use annulus_contract::regs::{self, region};
use annulus_contract::shape::CoreShape;
use rust_hdl_core::prelude::*;

leaf! {
    /// A bus of 32-bit registers: `write` and `read` are strobes, `ready` answers
    /// each (two cycles or a few later, or [`READ_CYCLES`] for a read), and only then may the
    /// next come. For the time of a read the bus has the memories' read port.
    pub struct Bus {
        in clock: Clock,
        in write: Bit,
        in read: Bit,
        in address: Bits<8>,
        in data: Bits<32>,
        out q: Bits<32>,
        out ready: Bit,
        // orders of one cycle
        out reset: Bit,
        out clear_counters: Bit,
        out clear_crc: Bit,
        // the read port: held by the bus, from which memory, where
        out reading: Bit,
        out space: Bits<4>,
        out register: Bits<16>,
        out read_at: Bits<16>,
        in found: Bits<32>,
        // the write port
        out write_register: Bit,
        /// The register is written in this cycle.
        in accepted: Bit,
        out write_at: Bits<16>,
        out link_data: Bits<32>,
        out link_at: Bits<20>,
        out link_lane: Bits<8>,
        out write_wide: Bit,
        out write_scales: Bit,
        out write_steps: Bit,
        out write_gains: Bit,
        out write_key_scales: Bit,
        // queues
        in pop: Bit,
        in push: Bit,
        out input_any: Bit,
        out output_full: Bit,
        out output_any: Bit,
        out input_at: Bits<4>,
        out output_at: Bits<4>,
        /// Something happened that the machine should look at.
        out awake: Bit,
        in woken: Bit,
        // state and events
        in crc: Bits<32>,
        in busy: Bit,
        in processing: Bit,
        in stop: Bit,
        out stopped: Bit,
        in illegal: Bit,
        in bad_step: Bit,
        param _shape: Option<CoreShape>,
    }
    verilog(this) {
        let Some(shape) = this._shape else { unreachable!("a bus without a shape") };
        let layout = Layout::new(&shape);
        let names: Vec<_> = regs::ALL.iter().map(|(name, address)| (format!("R_{name}"), *address as usize)).collect();
        let mut values: Vec<_> = names.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        values.extend([
            ("WIDE", region::WIDE as usize), ("SCALES", region::SCALES as usize),
            ("STEPS", region::STEPS as usize), ("GAINS", region::GAINS as usize),
            ("INCREMENT", region::INCREMENT as usize), ("PHASE", region::PHASE as usize),
            ("KEY_SCALES", region::KEY_SCALES as usize), ("LOGITS", region::LOGITS as usize),
            ("RESIDUAL", region::RESIDUAL as usize),
            ("INPUTS", layout.inputs as usize >> 4), ("OUTPUTS", layout.outputs as usize >> 4),
            ("PHASES", layout.phase as usize), ("INCREMENTS", layout.increment as usize),
            ("PAIRS", layout.pairs as usize),
            ("READ_CYCLES", READ_CYCLES),
            ("S_REGISTER", space::REGISTER as usize), ("S_STEP", space::STEP as usize),
            ("S_PAIR", space::PAIR as usize), ("S_KEY_ENTRY", space::KEY_ENTRY as usize),
            ("S_ROW_ENTRY", space::ROW_ENTRY as usize), ("S_LOGIT", space::LOGIT as usize),
            ("S_LANE", space::LANE as usize),
            ("RESIDUAL_AT", layout.residual as usize),
            ("E_SHIFT", error::ILLEGAL_SHIFT.trailing_zeros() as usize),
            ("E_STEP", error::BAD_STEP.trailing_zeros() as usize),
            ("E_OVERFLOW", error::INPUT_OVERFLOW.trailing_zeros() as usize),
            ("E_ACCESS", error::BUSY_ACCESS.trailing_zeros() as usize),
        ]);
        localparams(&values) + "
reg [3:0] region, region_held;
reg [7:0] lane, held;
reg [19:0] at;
reg [3:0] errors;
reg ordered;
reg token_waits, budget_waits;
wire queued = token_waits && accepted;
reg [2:0] wait_left;
reg write_memory;
reg [4:0] in_put, in_got, out_put, out_got;
wire input_full = in_put == {~in_got[4], in_got[3:0]};
reg written;                    // a write is carried out, whose register is held
wire answer = wait_left == 1;
reg window;                     // the register is the window to the memories
wire access = (written || answer) && window;
wire lane_last = region == WIDE ? lane[0] : region == STEPS ? &lane[2:0] : 1'b1;
wire queue = written && held == R_TOKEN_IN;
wire take = answer && held == R_TOKEN_OUT && output_any;
always @(*) input_any = in_put != in_got;
always @(*) output_any = out_put != out_got;
always @(*) output_full = «a full output queue takes more tokens: out_put == {~out_got[4], out_got[3:0]} → 1'b0»;
always @(*) input_at = in_got[3:0];
always @(*) output_at = out_put[3:0];

// the register in which a read finds its answer
wire [15:0] pair_at = {11'd0, at[4:0] & (PAIRS - 1)};
reg [15:0] register_now, read_now;
reg [3:0] space_now;
always @(posedge clock) begin
    register <= register_now;
    read_at <= read_now;
    space <= space_now;
end
always @(*) begin
    register_now = {8'd0, held};
    space_now = S_REGISTER;
    read_now = at[15:0];
    if (held == R_TOKEN_OUT) register_now = {8'd0, OUTPUTS[3:0], out_got[3:0]};
    if (window) case (region)
        WIDE: space_now = S_LANE;
        SCALES: begin
            space_now = S_ROW_ENTRY;
            read_now = {at[14:0], 1'b0};
        end
        STEPS: begin
            space_now = S_STEP;
            read_now = {at[12:0], lane[2:0]};
        end
        GAINS: begin
            space_now = S_PAIR;
            read_now = {at[14:0], 1'b0};
        end
        RESIDUAL: begin
            space_now = S_PAIR;
            read_now = {at[14:0], 1'b0} + RESIDUAL_AT;
        end
        INCREMENT: register_now = INCREMENTS + pair_at;
        PHASE: register_now = PHASES + pair_at;
        KEY_SCALES: space_now = S_KEY_ENTRY;
        LOGITS: space_now = S_LOGIT;
        default: register_now = R_TOKENS + 1;     // never written: 0
    endcase
end
wire into_register = (written && held >= R_BUDGET && held <= R_HEAD) || (queue && !input_full)
    || (written && window && !processing && (region == INCREMENT || region == PHASE));
reg [31:0] answered;
always @(*) case (held)
    R_STATUS: answered = {27'd0, errors != 0, output_any, input_full, stopped, busy};
    R_ERROR: answered = {28'd0, errors};
    R_TOKEN_OUT: answered = output_any ? {1'b1, 15'd0, found[15:0]} : 32'd0;
    R_MEM_ADDRESS: answered = {region, lane, at};
    R_LOGITS_CRC: answered = crc;
    default: answered = held < R_KIND_CYCLES ? found : 32'd0;
endcase

always @(posedge clock) begin
    // An order is carried out before the next access.
    ordered <= written && held == R_CONTROL;
    ready <= (written && held != R_CONTROL && !into_register) || ordered || accepted || answer;
    written <= write;
    if (write || read) begin
        held <= address;
        window <= address == R_MEM_DATA;
    end
    if (write) link_data <= data;
    if (read) wait_left <= READ_CYCLES;
    else if (wait_left != 0) wait_left <= wait_left - 3'd1;
    if (read) reading <= 1;
    else if (answer) reading <= 0;
    if (answer) q <= answered;

    reset <= written && held == R_CONTROL && link_data[0];
    clear_counters <= written && held == R_CONTROL && link_data[1];
    clear_crc <= written && held == R_CONTROL && link_data[2];

    // the window to the memories
    write_memory <= written && window && «a busy core lets its memory be written: !processing → 1'b1»;
    region_held <= region;
    link_at <= at;
    link_lane <= lane;
    if (access) begin
        lane <= lane_last ? 8'd0 : lane + 8'd1;
        if (lane_last) at <= at + 20'd1;
    end
    if (written && held == R_MEM_ADDRESS) {region, lane, at} <= link_data;

    // registers that are memory, input tokens among them
    write_register <= into_register || (write_register && !accepted);
    if (written) write_at <= held == R_TOKEN_IN ? {8'd0, INPUTS[3:0], in_put[3:0]}
        : !window ? {8'd0, held}
        : region == PHASE ? PHASES + pair_at : INCREMENTS + pair_at;

    // The machine hears of a token or a budget once it can read it, not before.
    token_waits <= (queue && !input_full) || (token_waits && !accepted);
    budget_waits <= (written && held == R_BUDGET) || (budget_waits && !accepted);
    if (queued) in_put <= in_put + 5'd1;
    if (pop) in_got <= in_got + 5'd1;
    if (push) out_put <= out_put + 5'd1;
    if (take) out_got <= out_got + 5'd1;
    awake <= (awake && !woken) || queued || take || (budget_waits && accepted);
    stopped <= («the stop token is ignored: stopped || stop → 1'b0») && !queued;

    errors[E_SHIFT] <= errors[E_SHIFT] || illegal;
    errors[E_STEP] <= errors[E_STEP] || bad_step;
    errors[E_OVERFLOW] <= errors[E_OVERFLOW] || (queue && input_full);
    errors[E_ACCESS] <= errors[E_ACCESS] || («an access to a busy core is not reported: access && processing → 1'b0»);
    if (reset) begin
        errors <= 0;
        in_put <= 0;
        in_got <= 0;
        out_put <= 0;
        out_got <= 0;
        awake <= 0;
        stopped <= 0;
    end
end
always @(*) write_wide = write_memory && region_held == WIDE;
always @(*) write_scales = write_memory && region_held == SCALES;
always @(*) write_steps = write_memory && region_held == STEPS;
always @(*) write_gains = write_memory && region_held == GAINS;
always @(*) write_key_scales = write_memory && region_held == KEY_SCALES;
"
    }
}

/// Cycles from a read's strobe until its word stands at `q`: the slowest memory's latency.
pub const READ_CYCLES: usize = 5;
