//! The register bus: configuration, counters, and the window to the memories.

use super::text::localparams;
use crate::leaf;
use annulus_contract::regs::{self, feature, region};
use annulus_contract::shape::CoreShape;
use annulus_contract::{error, step::Kind};
use rust_hdl_core::prelude::*;
use std::collections::BTreeMap;

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
            ("READ_CYCLES", READ_CYCLES),
            ("RESET_CYCLES", if shape.has(feature::NARROW_VALUES) { NARROW_RESET_CYCLES } else { RESET_CYCLES }),
        ]);
        let read_only = [
            (regs::ID, regs::ID_VALUE), (regs::SHAPE, shape.shape_register()), (regs::CAP_MEMORY, shape.memory),
            (regs::CAP_SCALES, shape.scales), (regs::CAP_STEPS, shape.steps), (regs::CAP_KEY_SCALES, shape.key_scales),
            (regs::CAP_SCORES, shape.score_words), (regs::CAP_VECTOR, shape.vector_register()),
            (regs::CAP_VOCAB, shape.vocab),
        ].map(|(address, value)| (address, format!("32'd{value}")));
        let readable = [
            (regs::STATUS, "{27'd0, errors != 0, output_any, input_full, stopped, busy}"),
            (regs::ERROR, "errors"),
            (regs::TOKEN_OUT, "output_any ? {1'b1, 15'd0, output_token} : 32'd0"),
            (regs::BUDGET, "budget"),
            (regs::STOP, "stop"),
            (regs::RESTART, "restart_token"),
            (regs::TEMPERATURE, "{16'd0, temperature}"),
            (regs::KEY0, "key0"),
            (regs::KEY1, "key1"),
            (regs::SAMPLES, "samples"),
            (regs::POSITION, "position[31:0]"),
            (regs::POSITION_HIGH, "position[63:32]"),
            (regs::KEY_GROUPS, "{key_sink_groups, key_groups}"),
            (regs::KEY_LAST, "{16'd0, key_sink_last, key_last}"),
            (regs::VALUE_GROUPS, "{value_sink_groups, value_groups}"),
            (regs::VALUE_LAST, "{16'd0, value_sink_last, value_last}"),
            (regs::RING_STATE, "{31'd0, full}"),
            (regs::KEY_AT, "{8'd0, key_row, key_group}"),
            (regs::VALUE_AT, "{8'd0, value_column, value_group}"),
            (regs::EPS, "eps"),
            (regs::EMBEDDING_EPS, "embedding_eps"),
            (regs::POSITION_MASK, "{16'd0, position_mask}"),
            (regs::HEAD, "{22'd0, rotary, hadamard, head_size}"),
            (regs::MEM_ADDRESS, "{region, lane, at}"),
            (regs::MEM_DATA, "found_memory"),
            (regs::LOGITS_CRC, "crc"),
            (regs::CHOICE, "{16'd0, choice}"),
            (regs::CYCLES, "cycles[31:0]"),
            (regs::CYCLES_HIGH, "cycles[63:32]"),
            (regs::BUSY, "array_cycles[31:0]"),
            (regs::BUSY_HIGH, "array_cycles[63:32]"),
            (regs::TOKENS, "tokens"),
        ].map(|(address, value)| (address, value.to_string()));
        let rows = read_rows(read_only.into_iter().chain(readable));
        let exponents = if shape.has(feature::NARROW_VALUES) { Exponents::some() } else { Exponents::none() };
        values.extend(exponents.values);
        let counters = if shape.has(feature::KIND_COUNTERS) {
            format!("reg [31:0] kind_cycles [0:15];
reg [31:0] kind_found;
reg [3:0] kind_now;
integer k;
always @(posedge clock) begin
    kind_now <= kind;
    kind_found <= kind_cycles[address_held[3:0]];
    for (k = 1; k < {kinds}; k = k + 1) begin
        if (kind_now == k[3:0]) kind_cycles[k] <= kind_cycles[k] + 32'd1;
        if (clear_counters) kind_cycles[k] <= 0;
    end
end
", kinds = Kind::ALL.len())
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
reg [31:0] steps_lane, residual_lane, key_scales_lane;
reg [15:0] scales_entry;
" + &counters + "
wire access = (write || (wait_left == 1)) && (write ? address : address_held) == R_MEM_DATA;
reg [7:0] lanes;
wire [3:0] new_region = data[31:28];
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
    link_lane <= " + exponents.lane + ";
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
            region <= new_region;
            lanes <= " + exponents.lanes + "new_region == WIDE ? LANES_WIDE : new_region == STEPS ? LANES_STEPS : new_region == KEY_SCALES ? LANES_KEY_SCALES : 8'd1;
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

always @(*) write_wide = write_memory && " + exponents.wide + ";
always @(*) write_scales = write_memory && region_held == SCALES;
always @(*) write_steps = write_memory && region_held == STEPS ? 8'd1 << link_lane : 8'd0;
always @(*) write_gains = write_memory && region_held == GAINS;
always @(*) write_increment = write_memory && region_held == INCREMENT;
always @(*) write_phase = write_memory && region_held == PHASE;
always @(*) write_far = write_memory && region_held == FAR;
always @(*) write_key_scales = write_memory && region_held == KEY_SCALES;

always @(posedge clock) begin
    scales_entry <= q_scales;
    steps_lane <= q_steps[32 * link_lane[2:0] +: 32];
    key_scales_lane <= q_key_scales;
    residual_lane <= q_residual[32 * link_at[1:0] +: 32];
end
always @(posedge clock) case (region)
    WIDE: found_memory <= q_wide;
    SCALES: found_memory <= {16'd0, scales_entry};
    STEPS: found_memory <= steps_lane;
    GAINS: found_memory <= q_gains;
    INCREMENT: found_memory <= q_increment;
    PHASE: found_memory <= q_phase;
    FAR: found_memory <= q_far;
    KEY_SCALES: found_memory <= key_scales_lane;
    LOGITS: found_memory <= q_logits;
    RESIDUAL: found_memory <= residual_lane;
" + exponents.found + "    default: found_memory <= 32'd0;
endcase

" + &rows
    }
}

/// What exponents of 4-bit values add to the text: they are lanes of the wide memory's words,
/// behind those of the rows.
struct Exponents {
    values: Vec<(&'static str, usize)>,
    lane: &'static str,
    lanes: &'static str,
    wide: &'static str,
    found: &'static str,
}

impl Exponents {
    fn none() -> Self {
        Exponents {
            values: vec![],
            lane: "lane",
            lanes: "",
            wide: "region_held == WIDE",
            found: "",
        }
    }

    fn some() -> Self {
        Exponents {
            values: vec![("EXPONENTS", region::EXPONENTS as usize)],
            lane: "region == EXPONENTS ? LANES_WIDE[7:0] + lane : lane",
            lanes: "new_region == EXPONENTS ? 8'd2 : ",
            wide: "(region_held == WIDE || region_held == EXPONENTS)",
            found: "    EXPONENTS: found_memory <= q_wide;\n",
        }
    }
}

/// A register `row_<n>` for each sixteen addresses, and `found`, the one that is asked for:
/// one multiplexer for all would take longer than a cycle.
fn read_rows(readable: impl Iterator<Item = (u8, String)>) -> String {
    let mut rows = BTreeMap::<u8, String>::new();
    for (address, value) in readable {
        *rows.entry(address >> 4).or_default() += &format!(
            "    4'd{}: row_{} <= {value};\n",
            address & 15,
            address >> 4
        );
    }
    let mut found = "always @(*) case (address_held[7:4])\n".to_string();
    let mut text = String::new();
    for (row, cases) in rows {
        text += &format!(
            "reg [31:0] row_{row};
always @(posedge clock) case (address_held[3:0])
{cases}    default: row_{row} <= 32'd0;
endcase
"
        );
        found += &format!("    4'd{row}: found = row_{row};\n");
    }
    text + &found
        + "    R_KIND_CYCLES[7:4]: found = kind_found;\n    default: found = 32'd0;\nendcase\n"
}

/// Cycles from a read's strobe until its word stands at `q`: the slowest memory's latency.
pub const READ_CYCLES: usize = 10;

/// Cycles that a reset lasts: what is in the pipeline runs out meanwhile.
pub const RESET_CYCLES: usize = 40;

/// The same in a core for 4-bit values: a whole head may still be on its way out of the queue.
/// A serial link's word takes longer, and a counter of six bits holds it.
pub const NARROW_RESET_CYCLES: usize = RESET_CYCLES + 20;
const _: () = assert!(NARROW_RESET_CYCLES < 64);
