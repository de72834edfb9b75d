//! The machine that runs the [microprogram](super::assembler): one accumulator,
//! four pointers, a loop counter, three return addresses.
//!
//! Three stages: an instruction is fetched from its block RAM, reads its operand
//! from another, and executes. A branch is decided in the last stage and costs
//! one cycle more when it is taken.

use super::assembler::{space, BRANCHES, CHANGES, ORDERS, OTHER, OTHERS, SETS, STORE};
use super::layout::Layout;
use crate::leaf;
use crate::units::text::{address_bits, localparams};
use annulus_contract::shape::CoreShape;
use rust_hdl_core::prelude::*;

leaf! {
    /// Addresses leave one cycle before `operand` comes; what is written leaves with
    /// the accumulator at `a`.
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
        out source: Bits<2>,
        in operand: Bits<32>,
        in mu: Bits<2>,
        // the write ports
        out a: Bits<32>,
        out write_register: Bit,
        out write_register_at: Bits<16>,
        /// The bus writes a register in this cycle; the machine's waits.
        in bus_write: Bit,
        in bus_write_at: Bits<16>,
        in bus_data: Bits<32>,
        out register_data: Bits<32>,
        out write_vector: Bit,
        out write_key_scale: Bit,
        out write_logit: Bit,
        out write_mantissa: Bit,
        out write_byte: Bit,
        out write_at: Bits<16>,
        out byte_at: Bits<24>,
        out magnitudes: Bits<15>,
        out cycles: Bits<24>,
        // products
        out multiply: Bit,
        out add: Bit,
        out shift: Bit,
        out round: Bit,
        out n: Bits<5>,
        in shifted: Bit,
        in result: Bits<32>,
        // the array
        out set_from: Bit,
        out set_with: Bit,
        out set_words: Bit,
        out set_skip: Bit,
        out go: Bit,
        out take: Bit,
        in sum_valid: Bit,
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
        let pointer = [layout.vectors, 8 * layout.mantissas, shape.key_scales, 2 * shape.scales, shape.vocab, layout.registers];
        let widest = pointer.into_iter().max().unwrap_or(1) as usize;
        let codes = |prefix: &str, names: &[&str]| -> String {
            let line = |(i, name): (usize, &&str)| format!("localparam [3:0] {prefix}_{} = {i};\n", name.to_uppercase());
            names.iter().enumerate().map(line).collect()
        };
        let mut text = localparams(&[
            ("WORDS", program.len()), ("PC", address_bits(program.len())),
            ("POINTER", address_bits(widest)),
            ("LOOPS", address_bits(layout.vectors.max(shape.key_scales).max(2 * shape.scales) as usize)),
            ("INPUTS", layout.inputs as usize >> 4), ("OUTPUTS", layout.outputs as usize >> 4),
            ("BUDGET", annulus_contract::regs::BUDGET as usize),
            ("STORE", STORE.into()), ("OTHER", OTHER.into()),
            ("S_REGISTER", space::REGISTER.into()), ("S_BY_MU", space::BY_MU.into()),
            ("S_STEP", space::STEP.into()), ("S_SOURCE", space::SOURCE.into()), ("S_INDIRECT", space::INDIRECT.into()),
            ("S_VECTOR", space::VECTOR.into()), ("S_KEY_SCALE", space::KEY_SCALE.into()),
            ("S_ROW_SCALE", space::ROW_SCALE.into()), ("S_QUEUE", space::QUEUE.into()),
            ("S_MANTISSA", space::MANTISSA.into()), ("S_LOGIT", space::LOGIT.into()),
            ("S_WIDE", space::WIDE.into()), ("S_MEASURED", space::MEASURED.into()),
        ]);
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

// ---- fetch, read, execute
reg [PC-1:0] pc, read_pc;
reg [15:0] ir, ix;
reg ir_valid, ix_valid;
wire executed;
wire taken;
reg [PC-1:0] target;
wire free = !ix_valid || executed;
wire move = free && !reading && ir_valid && !taken;
wire fetch = taken || move || !ir_valid;
wire [PC-1:0] fetch_at = taken ? target : pc;
always @(posedge clock) if (fetch) ir <= program_words[fetch_at];
always @(posedge clock) begin
    if (fetch) begin
        pc <= fetch_at + 1'b1;
        read_pc <= fetch_at;
        ir_valid <= 1;
    end
    if (free) begin
        ix <= ir;
        ix_valid <= move;
    end
    if (reset) begin
        pc <= 0;
        ir_valid <= 0;
        ix_valid <= 0;
    end
end

// ---- read: addresses, pointers that move on
reg [POINTER-1:0] pointer_0, pointer_1, pointer_2, pointer_3;
reg [POINTER-1:0] chosen;
always @(*) case (ir[1:0])
    2'd0: chosen = pointer_0;
    2'd1: chosen = pointer_1;
    2'd2: chosen = pointer_2;
    default: chosen = pointer_3;
endcase
wire [3:0] ir_op = ir[15:12];
wire [3:0] ir_space = ir[11:8];
wire points = ir_op <= STORE && ((ir_space >= S_INDIRECT && ir_space <= S_ROW_SCALE)
    || ir_space == S_MANTISSA || ir_space == S_LOGIT || ir_space == S_MEASURED);
wire [POINTER-1:0] moved = chosen + 1'b1;
wire advance = move && points && ir[2];
reg [1:0] mu_now;
reg [7:0] step;
always @(*) begin
    register_at = {8'd0, ir[7:0]};
    case (ir_space)
        S_BY_MU: register_at = {8'd0, ir[7:2], mu_now};
        S_INDIRECT: register_at = {{(16-POINTER){1'b0}}, chosen};
        S_QUEUE: register_at = {8'd0, INPUTS[3:0], input_at};
        default: ;
    endcase
    if (reading) register_at = link_register;
    at = reading ? link_read_at : {{(16-POINTER){1'b0}}, chosen};
    step_at = reading ? link_read_at : {5'd0, step, ir[2:0]};
end

// ---- execute
wire [3:0] op = ix[15:12];
wire branch = ix[15:14] == 2'b11;
wire [3:0] where = ix[11:8];
wire [3:0] detail = ix[3:0];
reg [POINTER-1:0] at_x;
// The bus' address stands for the operand of the next cycle, so the instruction that
// meets the bus still has its own.
reg lent;
always @(posedge clock) lent <= reading;
always @(*) space = lent ? link_space : where;
always @(*) source = lent ? 2'd0 : where == S_STEP ? ix[4:3] : ix[1:0];
wire storing = ix_valid && op == STORE;
wire other = ix_valid && op == OTHER;
wire operates = ix_valid && op < STORE;
wire waits_for_sum = operates && where == S_SOURCE && ix[1:0] == 0;
wire registers = storing && (where == S_REGISTER || where == S_BY_MU || where == S_INDIRECT || where == S_QUEUE);
wire shifts = other && (where == DO_RSHR || where == DO_SHR);
wire ordered = other && where == DO_ORDER;
wire rests = ordered && detail == ORDER_REST;
wire sums_up = ordered && detail == ORDER_CRC;
assign executed = waits_for_sum ? sum_valid && !lent
    : registers ? !bus_write
    : shifts ? shifted
    : rests ? awake
    : sums_up ? !crc_busy : 1'b1;

// accumulator
wire subtract = op == 4'd2 || op == 4'd7;
wire reverse = op == 4'd3;
wire [32:0] sum = {1'b0, reverse ? ~a : a} + {1'b0, subtract ? ~operand : operand} + {32'd0, subtract || reverse};
reg carry;
reg [31:0] changed;
reg [5:0] length;
integer i;
wire fits8 = a[31:7] == {25{a[31]}};
wire fits16 = a[31:15] == {17{a[31]}};
wire fits24 = a[31:23] == {9{a[31]}};
wire [15:0] limit = {16{~a[31]}};
always @(*) begin
    length = 6'd0;
    for (i = 0; i < 32; i = i + 1) if (a[i]) length = i[5:0] + 6'd1;
    case (detail)
        CHANGE_SAT8: changed = fits8 ? a : {{25{a[31]}}, limit[6:0]};
        CHANGE_SAT16: changed = fits16 ? a : {{17{a[31]}}, limit[14:0]};
        CHANGE_SAT24: changed = fits24 ? a : {{9{a[31]}}, limit[6:0], limit};
        CHANGE_MAGNITUDE: changed = a ^ {32{a[31]}};
        CHANGE_LEN: changed = {26'd0, length};
        CHANGE_ROR8: changed = {a[7:0], a[31:8]};
        CHANGE_ROL3: changed = {a[28:0], a[31:29]};
        CHANGE_HIGH: changed = {16'd0, a[31:16]};
        default: changed = {a[31], a[31:1]};
    endcase
end
reg [31:0] a_next;
always @(*) case (op)
    4'd0: a_next = operand;
    4'd1, 4'd2, 4'd3: a_next = sum[31:0];
    4'd4: a_next = a & operand;
    4'd5: a_next = a ^ operand;
    4'd6: a_next = a | operand;
    4'd7: a_next = sum[31] ? operand : a;
    4'd11: a_next = where == DO_CHANGE ? changed : result;
    default: a_next = a;
endcase
wire to_a = (operates && op < 4'd8) || (other && (where == DO_CHANGE || shifts));
reg [LOOPS-1:0] count;
reg [PC-1:0] return_0, return_1, return_2;
always @(posedge clock) if (ix_valid && executed) begin
    if (to_a) a <= a_next;
    if (op == 4'd1) carry <= sum[32];
    if (operates && (where == S_KEY_SCALE || where == S_ROW_SCALE)) mu_now <= mu;
    if (other && (where == DO_SETN || where == DO_SETN5 || where == DO_N))
        n <= where == DO_SETN ? a[4:0] : where == DO_SETN5 ? a[9:5] : ix[4:0];
    if (other && where == DO_SET && detail == SET_COUNT) count <= a[LOOPS-1:0];
    if (branch && ix[13:10] == IF_LOOP) count <= count - 1'b1;
    if (other && where == DO_SET && detail == SET_WIDE) byte_at <= a[23:0];
    if (branch && ix[13:10] == IF_RET) begin
        return_0 <= return_1;
        return_1 <= return_2;
    end
    if (branch && ix[13:10] == IF_CALL) begin
        return_0 <= read_pc;
        return_1 <= return_0;
        return_2 <= return_1;
    end
    if (other && where == DO_SET && detail == SET_TARGET) begin
        return_0 <= a[PC-1:0];
        return_1 <= return_0;
        return_2 <= return_1;
    end
end

// pointers
wire point = other && where == DO_POINT;
wire [POINTER-1:0] pointed = ix[2] ? {{(POINTER-5){1'b0}}, a[4:0]} : a[POINTER-1:0];
always @(posedge clock) begin
    if (free) at_x <= chosen;
    if (point && ix[1:0] == 0) pointer_0 <= pointed;
    else if (advance && ir[1:0] == 0) pointer_0 <= moved;
    if (point && ix[1:0] == 1) pointer_1 <= pointed;
    else if (advance && ir[1:0] == 1) pointer_1 <= moved;
    if (point && ix[1:0] == 2) pointer_2 <= pointed;
    else if (advance && ir[1:0] == 2) pointer_2 <= moved;
    if (point && ix[1:0] == 3) pointer_3 <= pointed;
    else if (advance && ir[1:0] == 3) pointer_3 <= moved;
end

// branches
wire zero = a == 0;
reg met;
always @(*) case (ix[13:10])
    IF_JUMP, IF_CALL, IF_RET: met = 1;
    IF_LOOP: met = count != 1;
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
assign taken = ix_valid && branch && met;
always @(*) target = ix[13:10] == IF_RET ? return_0 : ix[PC-1:0];

// stores
always @(*) begin
    // A budget that the bus writes meanwhile is not overwritten with what was left of the old one.
    write_register = bus_write || (registers && !(where == S_REGISTER && ix[7:0] == BUDGET && budget_written != 0));
    write_register_at = bus_write ? bus_write_at
        : where == S_QUEUE ? {8'd0, OUTPUTS[3:0], output_at}
        : where == S_INDIRECT ? {{(16-POINTER){1'b0}}, at_x} : {8'd0, ix[7:0]};
    register_data = bus_write ? bus_data : a;
    write_vector = storing && (where == S_VECTOR || where == S_MEASURED);
    write_key_scale = storing && where == S_KEY_SCALE;
    write_logit = storing && where == S_LOGIT;
    write_mantissa = storing && where == S_MANTISSA;
    write_byte = storing && where == S_WIDE;
    write_at = {{(16-POINTER){1'b0}}, at_x};
    push = storing && where == S_QUEUE && executed;
end
reg [2:0] budget_written;
always @(posedge clock) begin
    budget_written <= {budget_written[1:0], bus_write && bus_write_at == BUDGET};
    if (storing && where == S_MEASURED) magnitudes <= magnitudes | (a[14:0] ^ {15{a[15]}});
    if (ordered && detail == ORDER_CLEAR) magnitudes <= 0;
end

// orders
always @(*) begin
    multiply = ix_valid && (op == 4'd8 || op == 4'd9);
    add = op == 4'd9;
    shift = shifts;
    round = where == DO_RSHR;
    set_from = other && where == DO_SET && detail == SET_FROM;
    set_with = other && where == DO_SET && detail == SET_WITH;
    set_words = other && where == DO_SET && detail == SET_WORDS;
    set_skip = other && where == DO_SET && detail == SET_SKIP;
    go = other && where == DO_SET && detail == SET_GO;
    take = waits_for_sum && executed;
    woken = rests && awake;
    pop = ordered && detail == ORDER_POP;
    stop = ordered && detail == ORDER_STOP;
    bad_step = ordered && detail == ORDER_BAD;
    restart = ordered && detail == ORDER_RESTART;
    phases_moved = ordered && detail == ORDER_MOVED;
    crc = sums_up && executed;
    illegal = other && where == DO_SETN && a[31:5] != 0;
    busy = awake || !rests;
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
