//! The register bus: configuration, counters, and the window to the memories.

use super::text::localparams;
use crate::leaf;
use annulus_contract::regs::{self, region};
use annulus_contract::shape::CoreShape;
use annulus_contract::{error, step::Kind};
use rust_hdl_core::prelude::*;

leaf! {
    /// A bus of 32-bit registers. `write` and `read` are strobes; `ready` answers each
    /// (one cycle later, [`READ_CYCLES`] for a read, [`RESET_CYCLES`] for a reset), and only
    /// then may the next come.
    pub struct Registers {
        in clock: Clock,
        in write: Bit,
        in read: Bit,
        in address: Bits<8>,
        in data: Bits<32>,
        out q: Bits<32>,
        out ready: Bit,
        // one-cycle orders
        out reset: Bit,
        out clear_counters: Bit,
        out clear_crc: Bit,
        out take_output: Bit,
        // configuration
        out stop: Bits<32>,
        out restart_token: Bits<32>,
        out temperature: Bits<16>,
        out key0: Bits<32>,
        out key1: Bits<32>,
        out position_mask: Bits<16>,
        out key_groups: Bits<16>,
        out key_sink_groups: Bits<16>,
        out key_last: Bits<8>,
        out key_sink_last: Bits<8>,
        out value_groups: Bits<16>,
        out value_sink_groups: Bits<16>,
        out value_last: Bits<8>,
        out value_sink_last: Bits<8>,
        out eps: Bits<32>,
        out embedding_eps: Bits<32>,
        out head_size: Bits<8>,
        out head_pairs: Bits<6>,
        out hadamard: Bit,
        out rotary: Bit,
        // window to the memories
        out link_at: Bits<20>,
        out link_lane: Bits<8>,
        out link_data: Bits<32>,
        out write_wide: Bit,
        out write_scales: Bit,
        out write_steps: Bits<8>,
        out write_gains: Bit,
        out write_increment: Bit,
        out write_phase: Bit,
        out write_far: Bit,
        out write_key_scales: Bit,
        in q_wide: Bits<32>,
        in q_scales: Bits<16>,
        in q_steps: Bits<256>,
        in q_gains: Bits<32>,
        in q_increment: Bits<32>,
        in q_phase: Bits<32>,
        in q_far: Bits<32>,
        in q_key_scales: Bits<32>,
        in q_logits: Bits<32>,
        in q_residual: Bits<128>,
        // state to be read
        in busy: Bit,
        in stopped: Bit,
        in input_full: Bit,
        in output_any: Bit,
        in output_token: Bits<16>,
        in budget: Bits<32>,
        in samples: Bits<32>,
        in position: Bits<64>,
        in full: Bit,
        in key_group: Bits<16>,
        in key_row: Bits<8>,
        in value_group: Bits<16>,
        in value_column: Bits<8>,
        in tokens: Bits<32>,
        in crc: Bits<32>,
        in choice: Bits<16>,
        // events to be counted or kept
        in word: Bit,
        in kind: Bits<4>,
        in illegal: Bit,
        in bad_step: Bit,
        in overflow: Bit,
        param _shape: Option<CoreShape>,
    }
    verilog(this) {
        let Some(shape) = this._shape else { unreachable!("registers without a shape") };
        let names = regs::ALL.iter().map(|(name, address)| (format!("R_{name}"), *address as usize));
        let names: Vec<_> = names.collect();
        let mut values: Vec<_> = names.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        values.extend([
            ("LANES_WIDE", region::lanes(region::WIDE, shape.rows) as usize),
            ("LANES_KEY_SCALES", region::lanes(region::KEY_SCALES, shape.rows) as usize),
            ("LANES_STEPS", region::lanes(region::STEPS, shape.rows) as usize),
            ("WIDE", region::WIDE as usize), ("SCALES", region::SCALES as usize),
            ("STEPS", region::STEPS as usize), ("GAINS", region::GAINS as usize),
            ("INCREMENT", region::INCREMENT as usize), ("PHASE", region::PHASE as usize),
            ("FAR", region::FAR as usize), ("KEY_SCALES", region::KEY_SCALES as usize),
            ("LOGITS", region::LOGITS as usize), ("RESIDUAL", region::RESIDUAL as usize),
            ("READ_CYCLES", READ_CYCLES), ("RESET_CYCLES", RESET_CYCLES),
        ]);
        let read_only: String = [
            (regs::ID, regs::ID_VALUE), (regs::SHAPE, shape.shape_register()), (regs::CAP_MEMORY, shape.memory),
            (regs::CAP_SCALES, shape.scales), (regs::CAP_STEPS, shape.steps), (regs::CAP_KEY_SCALES, shape.key_scales),
            (regs::CAP_SCORES, shape.score_words), (regs::CAP_VECTOR, shape.vector_register()),
            (regs::CAP_VOCAB, shape.vocab),
        ].iter().map(|(address, value)| format!("        8'd{address}: found = 32'd{value};\n")).collect();
        let counters = if shape.has(regs::feature::KIND_COUNTERS) {
            format!("reg [31:0] kind_cycles [0:15];
reg [31:0] kind_found;
integer k;
always @(posedge clock) begin
    kind_found <= kind_cycles[address_held[3:0]];
    if (kind != 0) kind_cycles[kind] <= kind_cycles[kind] + 32'd1;
    if (clear_counters) for (k = 0; k < {}; k = k + 1) kind_cycles[k] <= 0;
end
", Kind::ALL.len())
        } else {
            "wire [31:0] kind_found = 32'd0;\n".into()
        };
        localparams(&values) + &format!("localparam [31:0] E_SHIFT = {}, E_STEP = {}, E_OVERFLOW = {}, E_ACCESS = {};\n",
            error::ILLEGAL_SHIFT, error::BAD_STEP, error::INPUT_OVERFLOW, error::BUSY_ACCESS) + "
reg [3:0] region;
reg [7:0] address_held;
reg [31:0] errors;
reg [63:0] cycles, array_cycles;
reg [3:0] wait_left;
reg [5:0] reset_left;
reg [31:0] found, settled, found_memory;
" + &counters + "
wire access = (write || (wait_left == 1)) && (write ? address : address_held) == R_MEM_DATA;
wire [7:0] lanes = region == WIDE ? LANES_WIDE : region == STEPS ? LANES_STEPS : region == KEY_SCALES ? LANES_KEY_SCALES : 8'd1;
reg write_memory;
reg [3:0] region_held;
reg [19:0] at;
reg [7:0] lane;
wire resets = write && address == R_CONTROL && data[0];
wire resetting = «a reset ends before the pipeline is empty: reset_left > 6'd1 → 1'b0»;
always @(posedge clock) begin
    ready <= (write && !resets) || wait_left == 1 || reset_left == 1;
    if (resets) reset_left <= RESET_CYCLES[5:0];
    else if (reset_left != 0) reset_left <= reset_left - 6'd1;
    if (read) begin
        wait_left <= READ_CYCLES;
        address_held <= address;
    end else if (wait_left != 0) wait_left <= wait_left - 4'd1;
    settled <= found;
    if (wait_left == 1) q <= settled;
    // Only a token that was seen is taken: one may have come since.
    take_output <= wait_left == 1 && address_held == R_TOKEN_OUT && settled[31];

    reset <= resets || resetting;
    clear_counters <= write && address == R_CONTROL && data[1];
    clear_crc <= (write && address == R_CONTROL && data[2]) || (clear_crc && resetting);

    write_memory <= write && address == R_MEM_DATA && «a busy core lets its memory be written: !busy → 1'b1»;
    region_held <= region;
    link_data <= data;
    link_at <= at;
    link_lane <= lane;
    if (access) begin
        lane <= lane + 8'd1 == lanes ? 8'd0 : lane + 8'd1;
        if (lane + 8'd1 == lanes) at <= at + 20'd1;
    end
    if (write) case (address)
        R_STOP: stop <= data;
        R_RESTART: restart_token <= data;
        R_TEMPERATURE: temperature <= data[15:0];
        R_KEY0: key0 <= data;
        R_KEY1: key1 <= data;
        R_POSITION_MASK: position_mask <= data[15:0];
        R_KEY_GROUPS: {key_sink_groups, key_groups} <= data;
        R_KEY_LAST: {key_sink_last, key_last} <= data[15:0];
        R_VALUE_GROUPS: {value_sink_groups, value_groups} <= data;
        R_VALUE_LAST: {value_sink_last, value_last} <= data[15:0];
        R_EPS: eps <= data;
        R_EMBEDDING_EPS: embedding_eps <= data;
        R_HEAD: begin
            head_size <= data[7:0];
            head_pairs <= data[6:1];
            hadamard <= data[8];
            rotary <= data[9];
        end
        R_MEM_ADDRESS: begin
            region <= data[31:28];
            lane <= data[27:20];
            at <= data[19:0];
        end
        default: ;
    endcase

    if (busy) cycles <= cycles + 64'd1;
    if (word) array_cycles <= array_cycles + 64'd1;
    if (clear_counters) begin
        cycles <= 0;
        array_cycles <= 0;
    end
    errors <= reset ? 32'd0 : errors | (illegal ? E_SHIFT : 32'd0) | (bad_step ? E_STEP : 32'd0)
        | (overflow ? E_OVERFLOW : 32'd0) | (access && «an access to a busy core is not reported: busy → 1'b0» ? E_ACCESS : 32'd0);
end

always @(*) write_wide = write_memory && region_held == WIDE;
always @(*) write_scales = write_memory && region_held == SCALES;
always @(*) write_steps = write_memory && region_held == STEPS ? 8'd1 << link_lane : 8'd0;
always @(*) write_gains = write_memory && region_held == GAINS;
always @(*) write_increment = write_memory && region_held == INCREMENT;
always @(*) write_phase = write_memory && region_held == PHASE;
always @(*) write_far = write_memory && region_held == FAR;
always @(*) write_key_scales = write_memory && region_held == KEY_SCALES;

always @(posedge clock) case (region)
    WIDE: found_memory <= q_wide;
    SCALES: found_memory <= {16'd0, q_scales};
    STEPS: found_memory <= q_steps[32 * link_lane[2:0] +: 32];
    GAINS: found_memory <= q_gains;
    INCREMENT: found_memory <= q_increment;
    PHASE: found_memory <= q_phase;
    FAR: found_memory <= q_far;
    KEY_SCALES: found_memory <= q_key_scales;
    LOGITS: found_memory <= q_logits;
    RESIDUAL: found_memory <= q_residual[32 * link_at[1:0] +: 32];
    default: found_memory <= 32'd0;
endcase

always @(*) begin
    found = 32'd0;
    case (address_held)
" + &read_only + "
        R_STATUS: found = {27'd0, errors != 0, output_any, input_full, stopped, busy};
        R_ERROR: found = errors;
        R_TOKEN_OUT: found = output_any ? {1'b1, 15'd0, output_token} : 32'd0;
        R_BUDGET: found = budget;
        R_STOP: found = stop;
        R_RESTART: found = restart_token;
        R_TEMPERATURE: found = {16'd0, temperature};
        R_KEY0: found = key0;
        R_KEY1: found = key1;
        R_SAMPLES: found = samples;
        R_POSITION: found = position[31:0];
        R_POSITION_HIGH: found = position[63:32];
        R_KEY_GROUPS: found = {key_sink_groups, key_groups};
        R_KEY_LAST: found = {16'd0, key_sink_last, key_last};
        R_VALUE_GROUPS: found = {value_sink_groups, value_groups};
        R_VALUE_LAST: found = {16'd0, value_sink_last, value_last};
        R_RING_STATE: found = {31'd0, full};
        R_KEY_AT: found = {8'd0, key_row, key_group};
        R_VALUE_AT: found = {8'd0, value_column, value_group};
        R_EPS: found = eps;
        R_EMBEDDING_EPS: found = embedding_eps;
        R_POSITION_MASK: found = {16'd0, position_mask};
        R_HEAD: found = {22'd0, rotary, hadamard, head_size};
        R_MEM_ADDRESS: found = {region, lane, at};
        R_MEM_DATA: found = found_memory;
        R_LOGITS_CRC: found = crc;
        R_CHOICE: found = {16'd0, choice};
        R_CYCLES: found = cycles[31:0];
        R_CYCLES_HIGH: found = cycles[63:32];
        R_BUSY: found = array_cycles[31:0];
        R_BUSY_HIGH: found = array_cycles[63:32];
        R_TOKENS: found = tokens;
        default: if (address_held[7:4] == R_KIND_CYCLES[7:4]) found = kind_found;
    endcase
end
"
    }
}

/// Cycles from a read's strobe until its word stands at `q`: the slowest memory's latency.
pub const READ_CYCLES: usize = 8;

/// Cycles that a reset lasts: what is in the pipeline runs out meanwhile.
pub const RESET_CYCLES: usize = 40;
