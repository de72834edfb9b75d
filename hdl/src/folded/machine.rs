//! The machine that runs the [microprogram](super::assembler): one accumulator,
//! four pointers, a loop counter, three return addresses.
//!
//! Four stages: an instruction is fetched (`ir`), reads a memory (`ir` to `ix`), has
//! its operand chosen (`ix` to `iy`), and executes (`iy`). All waiting is done in
//! the first stage: for a result that an instruction ahead has yet to write, for the
//! array, the tail or the scaler. What has left it goes through, so a memory's
//! output is used in the one cycle in which it is there, and the bus may have the
//! read port whenever it wants.
//!
//! Jumps, calls, returns and loops act in the first stage and cost one cycle. Other
//! branches are decided in the last, and cost three more when they are taken.

use super::assembler::{space, BRANCHES, CHANGES, ORDERS, OTHER, OTHERS, SETS, SOURCES, STORE};
use super::layout::Layout;
use crate::leaf;
use crate::units::text::{address_bits, localparams};
use annulus_contract::shape::CoreShape;
use rust_hdl_core::prelude::*;

/// The code of a source.
fn source(name: &str) -> usize {
    SOURCES
        .iter()
        .position(|source| *source == name)
        .unwrap_or_default()
}

leaf! {
    /// Addresses leave two cycles before `operand` comes, `space` and `source` one; what is
    /// written leaves with the accumulator at `a`.
    pub struct Machine {
        in clock: Clock,
        in reset: Bit,
        // the read port, which the bus may take
        in reading: Bit,
        in link_space: Bits<4>,
        in link_register: Bits<16>,
        in link_read_at: Bits<16>,
        out register_at: Bits<16>,
        out at: Bits<16>,
        out step_at: Bits<16>,
        out space: Bits<4>,
        /// Which source, or which part of a step's word.
        out source: Bits<3>,
        /// The pointer at `at` is needed by the instruction that reads now.
        out points: Bit,
        /// One cycle after what `space` and `source` choose.
        /// What is chosen now is to be inverted.
        out invert: Bit,
        in operand: Bits<32>,
        // the write ports
        out a: Bits<32>,
        out write_register: Bit,
        out write_register_at: Bits<16>,
        /// The bus has a register to write, and writes it once `bus_accepted`.
        in bus_write: Bit,
        out bus_accepted: Bit,
        in bus_write_at: Bits<16>,
        in bus_data: Bits<32>,
        out register_data: Bits<32>,
        out write_vector: Bit,
        out write_key_scale: Bit,
        out write_logit: Bit,
        out write_mantissa: Bit,
        out write_byte: Bit,
        out write_at: Bits<16>,
        /// The accumulator, saturated to the 16 bits of a vector or the 8 of a mantissa.
        out narrow: Bits<16>,
        out byte_at: Bits<24>,
        out magnitudes: Bits<15>,
        out cycles: Bits<24>,
        // products
        out multiply: Bit,
        out add: Bit,
        out shift: Bit,
        out round: Bit,
        out n: Bits<5>,
        /// A shift has not begun.
        in shifting: Bit,
        in shifted: Bit,
        in result: Bits<32>,
        out state: Bits<32>,
        // the array
        out set_from: Bit,
        out set_with: Bit,
        out set_words: Bit,
        out set_skip: Bit,
        out go: Bit,
        out take: Bit,
        in sum_valid: Bit,
        // the tail
        out set_factor: Bit,
        out set_bias: Bit,
        out set_scales: Bit,
        out set_source: Bit,
        out take_result: Bit,
        in result_valid: Bit,
        // the stream
        in input_any: Bit,
        in output_full: Bit,
        in input_at: Bits<4>,
        in output_at: Bits<4>,
        in stopped: Bit,
        in awake: Bit,
        out woken: Bit,
        out pop: Bit,
        out push: Bit,
        out stop: Bit,
        out illegal: Bit,
        out bad_step: Bit,
        out restart: Bit,
        out phases_moved: Bit,
        out busy: Bit,
        out processing: Bit,
        in crc_busy: Bit,
        out crc: Bit,
        param _shape: Option<CoreShape>,
    }
    verilog(this) {
        let Some(shape) = this._shape else { unreachable!("a machine without a shape") };
        let layout = Layout::new(&shape);
        let program = &layout.program;
        let pointer = [layout.vectors, 8 * layout.mantissas, shape.key_scales, shape.vocab, layout.registers];
        let widest = pointer.into_iter().max().unwrap_or(1) as usize;
        let codes = |prefix: &str, names: &[&str]| -> String {
            let line = |(i, name): (usize, &&str)| format!("localparam [3:0] {prefix}_{} = {i};\n", name.to_uppercase());
            names.iter().enumerate().map(line).collect()
        };
        let mut text = localparams(&[
            ("WORDS", program.len()), ("PC", address_bits(program.len())),
            ("POINTER", address_bits(widest)),
            ("LOOPS", address_bits(layout.vectors.max(shape.key_scales) as usize)),
            ("INPUTS", layout.inputs as usize >> 4), ("OUTPUTS", layout.outputs as usize >> 4),
            ("BUDGET", annulus_contract::regs::BUDGET as usize),
            ("STORE", STORE.into()), ("OTHER", OTHER.into()),
            ("S_REGISTER", space::REGISTER.into()),
            ("S_STEP", space::STEP.into()), ("S_SOURCE", space::SOURCE.into()), ("S_INDIRECT", space::INDIRECT.into()),
            ("S_VECTOR", space::VECTOR.into()), ("S_KEY_SCALE", space::KEY_SCALE.into()),
            ("S_TABLE", space::TABLE.into()), ("S_QUEUE", space::QUEUE.into()),
            ("S_MANTISSA", space::MANTISSA.into()), ("S_LOGIT", space::LOGIT.into()),
            ("S_WIDE", space::WIDE.into()), ("S_MEASURED", space::MEASURED.into()),
        ]);
        text += &format!("localparam [2:0] FROM_SUM = {}, FROM_TAIL = {};\n", source("sum"), source("tail"));
        text += &codes("DO", &OTHERS);
        text += &codes("CHANGE", &CHANGES);
        text += &codes("SET", &SETS);
        text += &codes("ORDER", &ORDERS);
        text += &codes("IF", &BRANCHES);
        text += "reg [15:0] program_words [0:WORDS-1];\ninitial begin\n";
        for (at, word) in program.iter().enumerate() {
            text += &format!("    program_words[{at}] = 16'h{word:x};\n");
        }
        text + TEXT
    }
}

const TEXT: &str = "end

// ---- fetch: jumps, and all waiting
// Nothing runs before the first reset: just after configuration a block RAM may not answer yet.
reg on;
reg [PC-1:0] pc;
reg [15:0] ir, ix, iy;
reg ir_valid, ix_valid, iy_valid;
wire taken;
wire [3:0] ir_op = ir[15:12];
wire [3:0] ir_space = ir[11:8];
wire ir_branch = ir[15:14] == 2'b11;
wire ir_jumps = ir_branch && ir[13:12] == 0;    // jump, loop, call, ret
reg [LOOPS-1:0] count;
reg last_round;
reg [PC-1:0] return_0, return_1, return_2;
wire leaves = ir_jumps && !(ir[13:10] == IF_LOOP && last_round);
wire [PC-1:0] to = ir[13:10] == IF_RET ? return_0 : ir[PC-1:0];
wire hold;
wire move = ir_valid && !hold && !reading;      // or is dropped, behind a branch that is taken
wire fetch = taken || move || !ir_valid;
wire [PC-1:0] fetch_at = taken ? iy[PC-1:0] : ir_valid && leaves ? to : pc;
always @(posedge clock) if (fetch) ir <= program_words[fetch_at];
always @(posedge clock) begin
    if (fetch) begin
        pc <= fetch_at + 1'b1;
        ir_valid <= on;
    end
    ix <= ir;
    iy <= ix;
    ix_valid <= move && !ir_jumps && !taken;
    iy_valid <= ix_valid && «an instruction behind a taken branch acts: !taken → 1'b1»;
    if (reset) begin
        on <= 1;
        pc <= 0;
        ir_valid <= 0;
        ix_valid <= 0;
        iy_valid <= 0;
    end
end

// ---- read: addresses, pointers that move on
reg [POINTER-1:0] pointer_0, pointer_1, pointer_2, pointer_3;
reg [POINTER-1:0] chosen, at_x, at_y;
always @(*) case (ir[1:0])
    2'd0: chosen = pointer_0;
    2'd1: chosen = pointer_1;
    2'd2: chosen = pointer_2;
    default: chosen = pointer_3;
endcase
always @(*) points = ir_op <= STORE && ((ir_space >= S_INDIRECT && ir_space <= S_KEY_SCALE)
    || ir_space == S_MANTISSA || ir_space == S_LOGIT || ir_space == S_MEASURED);
wire [POINTER-1:0] moved = chosen + 1'b1;
wire advance = move && points && ir[2];
reg [7:0] step;
always @(*) begin
    register_at = {8'd0, ir[7:0]};
    case (ir_space)
        S_INDIRECT: register_at = {{(16-POINTER){1'b0}}, chosen};
        S_QUEUE: register_at = {8'd0, INPUTS[3:0], input_at};
        default: ;
    endcase
    if (reading) register_at = link_register;
    at = reading ? link_read_at : {{(16-POINTER){1'b0}}, chosen};
    step_at = reading ? link_read_at : {5'd0, step, ir[2:0]};
end

// ---- choose
// The bus' address stands for what is chosen a cycle later, so the instruction that
// meets the bus still has its own.
reg lent;
always @(posedge clock) lent <= reading;
always @(*) space = «a bus that reads takes the operand of a running instruction: lent → reading» ? link_space : ix[11:8];
always @(*) source = lent ? 3'd0 : ix[11:8] == S_STEP ? {1'b0, ix[4:3]} : ix[2:0];
always @(*) invert = !lent && (ix[15:12] == 4'd2 || ix[15:12] == 4'd3 || ix[15:12] == 4'd7);
wire from = ix_valid && ix[15:12] < STORE && ix[11:8] == S_SOURCE;
always @(*) take = from && ix[2:0] == FROM_SUM;
always @(*) take_result = from && ix[2:0] == FROM_TAIL;

// ---- execute
wire [3:0] op = iy[15:12];
wire [3:0] where = iy[11:8];
wire [3:0] detail = iy[3:0];
wire storing = iy_valid && op == STORE;
wire other = iy_valid && op == OTHER;
wire operates = iy_valid && op < STORE;
wire y_writes = storing && (where == S_VECTOR || where == S_MEASURED);
wire registers = storing && (where == S_REGISTER || where == S_INDIRECT || where == S_QUEUE);
wire shifts = other && (where == DO_RSHR || where == DO_SHR);
wire ordered = other && where == DO_ORDER;
wire setting = other && where == DO_SET;

// What has left the first stage and has not acted yet, decoded as it leaves. What moves a
// pointer, takes a result or jumps waits for a branch ahead; the rest is dropped if that is taken.
reg x_branches, x_shifts, x_counts, x_returns, x_starts, x_steps, x_vector, x_register, x_indirect;
reg y_branches, y_counts, y_returns, y_starts, y_steps, y_vector, y_register, y_indirect;
reg [3:0] x_points, y_points;
reg x_sum, x_tail;
wire ir_reads = ir_op < STORE;
wire ir_other = ir_op == OTHER;
wire ir_stores = ir_op == STORE;
wire ir_sets = ir_other && ir_space == DO_SET;
wire ir_orders = ir_other && ir_space == DO_ORDER;
always @(posedge clock) begin
    x_branches <= move && ir_branch && !ir_jumps;
    x_shifts <= move && ir_other && (ir_space == DO_RSHR || ir_space == DO_SHR);
    x_counts <= move && ir_sets && ir[3:0] == SET_COUNT;
    x_returns <= move && ir_sets && ir[3:0] == SET_TARGET;
    x_starts <= move && ir_sets && ir[3:0] == SET_GO;
    x_steps <= move && ir_orders && (ir[3:0] == ORDER_FIRST || ir[3:0] == ORDER_NEXT);
    x_vector <= move && ir_stores && (ir_space == S_VECTOR || ir_space == S_MEASURED);
    x_register <= move && ir_stores && ir_space == S_REGISTER;
    x_indirect <= move && ir_stores && ir_space == S_INDIRECT;
    x_points <= {4{move && ir_other && ir_space == DO_POINT}} & (4'd1 << ir[1:0]);
    x_sum <= move && ir_reads && ir_space == S_SOURCE && ir[2:0] == FROM_SUM;
    x_tail <= move && ir_reads && ir_space == S_SOURCE && ir[2:0] == FROM_TAIL;
    y_branches <= x_branches;
    y_counts <= x_counts;
    y_returns <= x_returns;
    y_starts <= x_starts;
    y_steps <= x_steps;
    y_vector <= x_vector;
    y_register <= x_register;
    y_indirect <= x_indirect;
    y_points <= x_points;
end
wire reads_register = ir_reads && ir_space == S_REGISTER;
wire reads_indirect = ir_reads && (ir_space == S_INDIRECT || ir_space == S_QUEUE);
wire reads_vector = ir_reads && (ir_space == S_VECTOR || ir_space == S_MEASURED);
wire reads_source = ir_reads && ir_space == S_SOURCE;
// Registers that are equal in three bits are taken for one.
wire same_x = ix[2:0] == ir[2:0];
wire same_y = iy[2:0] == ir[2:0];
wire unwritten = (reads_vector && (x_vector || y_vector))
    || (reads_register && ((x_register && same_x) || (y_register && same_y) || x_indirect || y_indirect))
    || (reads_indirect && (x_register || y_register || x_indirect || y_indirect));
wire ir_rests = ir_orders && ir[3:0] == ORDER_REST;
assign hold = x_shifts || shifts || shifting
    || ((x_branches || y_branches) && (ir_jumps || reads_source || (points && ir[2])))
    || (points && (x_points[ir[1:0]] || y_points[ir[1:0]]))
    || (ir_jumps && ir[13:10] == IF_LOOP && (x_counts || y_counts))
    || (ir_jumps && ir[13:10] == IF_RET && (x_returns || y_returns))
    || «a word is read before it is written: unwritten → 1'b0»
    || (ir_reads && ir_space == S_STEP && (x_steps || y_steps))
    || (reads_source && ir[2:0] == FROM_SUM && (!sum_valid || x_sum || x_starts || y_starts))
    || (reads_source && ir[2:0] == FROM_TAIL && (!result_valid || x_tail || x_starts || y_starts))
    || (ir_orders && ir[3:0] == ORDER_CRC && crc_busy)
    || (ir_rests && (!awake || ix_valid || iy_valid));

// Accumulator. `operand` comes inverted for what subtracts: a - b is a + ~b + 1, and
// b - a is ~(a + ~b).
wire [32:0] sum = {1'b0, a} + {1'b0, operand} + {32'd0, op == 4'd2};
reg carry;
reg [31:0] noise;               // the other half of the random generator's state
wire [31:0] mixed = ({a[7:0], a[31:8]} + noise) ^ operand;
reg [31:0] changed;
always @(*) case (detail)
    CHANGE_MAGNITUDE: changed = a ^ {32{a[31]}};
    CHANGE_LEN: changed = {26'd0, length};
    CHANGE_ROL3: changed = {a[28:0], a[31:29]};
    CHANGE_HIGH: changed = {16'd0, a[31:16]};
    default: changed = {a[31], a[31:1]};
endcase
reg [31:0] plain;
always @(*) if (shifted) plain = result;
else case (op)
    4'd4: plain = a & operand;
    4'd5: plain = a ^ operand;
    4'd6: plain = mixed;
    4'd7: plain = ~operand;     // max: of a that is not larger
    4'd11: plain = changed;
    default: plain = operand;
endcase
reg summed;                     // add, sub, rsb
wire to_a = shifted || (operates && op < 4'd7) || (operates && op == 4'd7 && sum[31]) || (other && where == DO_CHANGE);

// The length of A as it was a cycle before, which an assembler's nop makes that of A: by the
// highest nibble that is not zero.
reg [7:0] any;
reg [15:0] top;
reg [3:0] nibble;
reg [1:0] high_bit;
integer i;
always @(posedge clock) for (i = 0; i < 8; i = i + 1) begin
    any[i] <= |a[4*i +: 4];
    top[2*i +: 2] <= a[4*i+3] ? 2'd3 : a[4*i+2] ? 2'd2 : a[4*i+1] ? 2'd1 : 2'd0;
end
always @(*) begin
    nibble = any[7] ? 4'd7 : any[6] ? 4'd6 : any[5] ? 4'd5 : any[4] ? 4'd4 : any[3] ? 4'd3 : any[2] ? 4'd2 : {3'd0, any[1]};
    high_bit = top[{nibble[2:0], 1'b0} +: 2];
end
wire [5:0] length = any == 0 ? 6'd0 : {nibble, high_bit} + 6'd1;
wire fits8 = a[31:7] == {25{a[31]}};
wire fits16 = a[31:15] == {17{a[31]}};
wire [14:0] limit = {15{~a[31]}};
always @(posedge clock) begin
    summed <= ix_valid && (ix[15:12] == 4'd1 || ix[15:12] == 4'd2 || ix[15:12] == 4'd3);
    if (to_a) a <= summed ? sum[31:0] ^ {32{op == 4'd3}} : plain;
    if (iy_valid && op == 4'd1) carry <= sum[32];
    if (iy_valid && op == 4'd6) noise <= «the random state is not rotated: {noise[28:0], noise[31:29]} → noise» ^ mixed;
    if (setting && detail == SET_NOISE) noise <= a;
    if (other && (where == DO_SETN || where == DO_SETN5 || where == DO_N))
        n <= where == DO_SETN ? a[4:0] : where == DO_SETN5 ? a[9:5] : iy[4:0];
    if (setting && detail == SET_WIDE) byte_at <= a[23:0];
end
// loops and calls
wire returns = setting && detail == SET_TARGET;
always @(posedge clock) begin
    if (setting && detail == SET_COUNT) begin
        count <= a[LOOPS-1:0];
        last_round <= a[LOOPS-1:0] == 1;
    end else if (move && ir_jumps && ir[13:10] == IF_LOOP) begin
        count <= count - 1'b1;
        last_round <= «a loop runs once too often: count == 2 → count == 1»;
    end
    if (returns || (move && ir_jumps && ir[13:10] == IF_CALL)) begin
        return_0 <= returns ? a[PC-1:0] : pc;
        return_1 <= «a call forgets its caller's caller: return_0 → return_1»;
        return_2 <= return_1;
    end else if (move && ir_jumps && ir[13:10] == IF_RET) begin
        return_0 <= return_1;
        return_1 <= return_2;
    end
end

always @(*) state = noise;

// pointers
wire point = other && where == DO_POINT;
wire [POINTER-1:0] pointed = iy[2] ? {{(POINTER-5){1'b0}}, a[4:0]} : a[POINTER-1:0];
always @(posedge clock) begin
    at_x <= chosen;
    at_y <= at_x;
    if (point && iy[1:0] == 0) pointer_0 <= pointed;
    else if (advance && ir[1:0] == 0) pointer_0 <= moved;
    if (point && iy[1:0] == 1) pointer_1 <= pointed;
    else if (advance && ir[1:0] == 1) pointer_1 <= moved;
    if (point && iy[1:0] == 2) pointer_2 <= pointed;
    else if (advance && ir[1:0] == 2) pointer_2 <= moved;
    if (point && iy[1:0] == 3) pointer_3 <= pointed;
    else if (advance && ir[1:0] == 3) pointer_3 <= moved;
end

// branches
wire zero = any == 0;          // the assembler's nop again
reg met;
always @(*) case (iy[13:10])
    IF_JZ: met = zero;
    IF_JNZ: met = !zero;
    IF_JN: met = a[31];
    IF_JP: met = !a[31];
    IF_JCARRY: met = carry;
    IF_JINPUT: met = input_any;
    IF_JFULL: met = output_full;
    IF_JSTOPPED: met = stopped;
    default: met = 0;
endcase
assign taken = iy_valid && iy[15:14] == 2'b11 && met;

// stores
always @(*) begin
    // A budget that the bus writes meanwhile is not overwritten with what was left of the old one.
    write_register = registers ? !(where == S_REGISTER && iy[7:0] == BUDGET && budget_written) : bus_write;
    bus_accepted = bus_write && !registers;
    write_register_at = !registers ? bus_write_at
        : where == S_QUEUE ? {8'd0, OUTPUTS[3:0], output_at}
        : where == S_INDIRECT ? {{(16-POINTER){1'b0}}, at_y} : {8'd0, iy[7:0]};
    register_data = registers ? a : bus_data;
    write_vector = y_writes;
    write_key_scale = storing && where == S_KEY_SCALE;
    write_logit = storing && where == S_LOGIT;
    write_mantissa = storing && where == S_MANTISSA;
    write_byte = storing && where == S_WIDE;
    write_at = {{(16-POINTER){1'b0}}, at_y};
    narrow = y_writes ? («an element wraps where it should saturate: fits16 → 1'b1» ? a[15:0] : {a[31], limit[14:0]}) : {8'd0, «a mantissa wraps where it should saturate: fits8 → 1'b1» ? a[7:0] : {a[31], limit[6:0]}};
    push = storing && where == S_QUEUE;
end
reg budget_written;             // since it was read
always @(posedge clock) begin
    budget_written <= (bus_accepted && bus_write_at == BUDGET)
        || (budget_written && !(move && reads_register && ir[7:0] == BUDGET));
    if (storing && where == S_MEASURED) magnitudes <= magnitudes | (narrow[14:0] ^ {15{narrow[15]}});
    if (ordered && detail == ORDER_CLEAR) magnitudes <= 0;
end

// orders
always @(*) begin
    multiply = iy_valid && (op == 4'd8 || op == 4'd9);
    add = op == 4'd9;
    shift = shifts;
    round = where == DO_RSHR;
    set_from = setting && detail == SET_FROM;
    set_with = setting && detail == SET_WITH;
    set_words = setting && detail == SET_WORDS;
    set_skip = setting && detail == SET_SKIP;
    go = setting && detail == SET_GO;
    set_factor = setting && detail == SET_FACTOR;
    set_bias = setting && detail == SET_BIAS;
    set_scales = setting && detail == SET_SCALES;
    set_source = setting && detail == SET_SOURCE;
    woken = ir_valid && ir_rests && move;
    pop = ordered && detail == ORDER_POP;
    stop = ordered && detail == ORDER_STOP;
    bad_step = ordered && detail == ORDER_BAD;
    restart = ordered && detail == ORDER_RESTART;
    phases_moved = ordered && detail == ORDER_MOVED;
    crc = ordered && detail == ORDER_CRC;
    illegal = other && where == DO_SETN && a[31:5] != 0;
    busy = on && (awake || !(ir_valid && ir_rests && !ix_valid && !iy_valid));
end
always @(posedge clock) begin
    if (processing) cycles <= cycles + 24'd1;
    if (ordered && detail == ORDER_START) begin
        processing <= 1;
        cycles <= 0;
    end
    if (ordered && detail == ORDER_FINISH) processing <= 0;
    if (ordered && detail == ORDER_FIRST) step <= 0;
    if (ordered && detail == ORDER_NEXT) step <= step + 8'd1;
    if (reset) processing <= 0;
end
";
