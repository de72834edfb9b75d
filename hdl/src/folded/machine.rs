//! The machine that runs the [microprogram](super::assembler): one accumulator,
//! four pointers, a loop counter, three return addresses.
//!
//! Five stages: an instruction is fetched (`iw`), waits (`ir`), reads a memory (`ir` to
//! `ix`), has its operand chosen (`ix` to `iy`), and executes (`iy`). It is decoded on the
//! way from stage to stage, so that each begins with registers. What saturates is stored a
//! cycle later. All waiting is done in the second stage: for a result that an instruction
//! ahead has yet to write, for the array, the tail or the scaler. What has left it goes
//! through, so a memory's output is used in the one cycle in which it is there, and the bus
//! may have the read port whenever it wants.
//!
//! Jumps, calls, returns and loops act as soon as they are fetched, and cost one cycle or,
//! while the instruction ahead waits, none. Other branches are decided in the last stage, and
//! cost four more when they are taken.

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
        /// What is chosen now is to be inverted.
        out invert: Bit,
        /// A cycle after it was chosen.
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
        /// Of key scales and logits.
        out write_at: Bits<16>,
        /// The accumulator, saturated to the 16 bits of a vector or the 8 of a mantissa, and
        /// where it goes: a cycle later than the rest.
        out narrow: Bits<16>,
        out narrow_at: Bits<16>,
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

// ---- fetch, and jumps
// Nothing runs before the first reset: just after configuration a block RAM may not answer yet.
reg on;
reg [PC-1:0] pc;
reg [15:0] iw, ir, ix, iy;
reg iw_valid, ir_valid, ix_valid, iy_valid;
wire taken;
wire runs = ix_valid && !reset && «an instruction behind a taken branch acts: !taken → 1'b1»;
wire [3:0] iw_op = iw[15:12];
wire [3:0] iw_space = iw[11:8];
wire jumps = iw[15:12] == 4'b1100;              // jump, loop, call, ret
wire loops = jumps && iw[11:10] == IF_LOOP[1:0];
wire calls = jumps && iw[11:10] == IF_CALL[1:0];
wire rets = jumps && iw[11:10] == IF_RET[1:0];
reg [LOOPS-1:0] count;
reg last_round;
reg [PC-1:0] return_0, return_1, return_2;
reg branches, shifts, counts, returns, starts, steps;   // what is in the second stage
reg x_branches, x_shifts, x_counts, x_returns, x_starts, x_steps;
reg branching, shifting_on, counting, returning, starting, stepping;     // in the two behind it
// A jump waits for a branch ahead and for what it needs of the instructions ahead.
wire jump_waits = branching || (ir_valid && branches)
    || (loops && (counting || (ir_valid && counts))) || (rets && (returning || (ir_valid && returns)));
wire jump = iw_valid && jumps && !jump_waits;
wire [PC-1:0] to = rets ? return_0 : iw[PC-1:0];
wire hold;
wire move = ir_valid && !hold && «the machine does not stop while the bus reads: !reading → 1'b1»;      // or is dropped, behind a branch that is taken
wire free = move || !ir_valid;
wire fetch = taken || jump || !iw_valid || (!jumps && free);
wire [PC-1:0] fetch_at = taken ? iy[PC-1:0] : iw_valid && jumps && !(loops && last_round) ? to : pc;
always @(posedge clock) if (fetch) iw <= program_words[fetch_at];
always @(posedge clock) begin
    if (fetch) begin
        pc <= fetch_at + 1'b1;
        iw_valid <= on;
    end
    if (free) begin
        ir <= iw;
        ir_valid <= iw_valid && !jumps;
    end
    ix <= ir;
    iy <= ix;
    ix_valid <= move && !taken;
    iy_valid <= runs;
    if (taken) ir_valid <= 0;
    if (reset) begin
        on <= 1;
        pc <= 0;
        iw_valid <= 0;
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
always @(posedge clock) if (free) points <= iw_op <= STORE && ((iw_space >= S_INDIRECT && iw_space <= S_KEY_SCALE)
    || iw_space == S_MANTISSA || iw_space == S_LOGIT || iw_space == S_MEASURED);
wire [POINTER-1:0] moved = chosen + 1'b1;
wire advance = move && points && ir[2];
reg [7:0] step;
wire [3:0] ir_space = ir[11:8];
reg reads_indirect, reads_queue;
always @(*) begin
    register_at = reading ? link_register
        : reads_queue ? {8'd0, INPUTS[3:0], input_at}
        : reads_indirect ? {{(16-POINTER){1'b0}}, chosen}
        : {8'd0, ir[7:0]};
    at = reading ? link_read_at : {{(16-POINTER){1'b0}}, chosen};
    step_at = reading ? link_read_at : {5'd0, step, ir[2:0]};
end

// ---- choose
// The bus' address stands for what is chosen a cycle later, so the instruction that
// meets the bus still has its own.
always @(posedge clock) begin
    space <= reading ? link_space : ir_space;
    source <= reading ? 3'd0 : ir_space == S_STEP ? {1'b0, ir[4:3]} : ir[2:0];
    invert <= !reading && (ir[15:12] == 4'd2 || ir[15:12] == 4'd3 || ir[15:12] == 4'd7);
end

// ---- execute
// What acts, a bit each; nothing behind a branch that is taken.
wire [3:0] x_op = ix[15:12];
wire [3:0] x_where = ix[11:8];
wire [3:0] x_detail = ix[3:0];
reg [15:0] operates, stores, does, sets, orders, ifs;
reg registers, to_vector, loads, sums, logical, budget;
reg [1:0] logic_kind;
reg [15:0] y_register_at;
always @(posedge clock) begin
    operates <= runs && x_op < STORE ? 16'd1 << x_op : 16'd0;
    stores <= runs && x_op == STORE ? 16'd1 << x_where : 16'd0;
    does <= runs && x_op == OTHER ? 16'd1 << x_where : 16'd0;
    sets <= runs && x_op == OTHER && x_where == DO_SET ? 16'd1 << x_detail : 16'd0;
    orders <= runs && x_op == OTHER && x_where == DO_ORDER ? 16'd1 << x_detail : 16'd0;
    ifs <= runs && ix[15:14] == 2'b11 ? 16'd1 << ix[13:10] : 16'd0;
    registers <= runs && x_op == STORE && (x_where == S_REGISTER || x_where == S_INDIRECT || x_where == S_QUEUE);
    to_vector <= x_where == S_VECTOR || x_where == S_MEASURED;
    loads <= runs && (x_op < 4'd7 || (x_op == OTHER && x_where == DO_CHANGE));
    sums <= runs && (x_op == 4'd1 || x_op == 4'd2 || x_op == 4'd3);
    logical <= runs && (x_op == 4'd0 || x_op == 4'd4 || x_op == 4'd5 || x_op == 4'd7);
    logic_kind <= {x_op == 4'd5 || x_op == 4'd7, x_op == 4'd4 || x_op == 4'd7};
    budget <= x_where == S_REGISTER && ix[7:0] == BUDGET;
    y_register_at <= x_where == S_QUEUE ? {8'd0, OUTPUTS[3:0], output_at}
        : x_where == S_INDIRECT ? {{(16-POINTER){1'b0}}, at_x} : {8'd0, ix[7:0]};
end

// What an instruction needs and does, decoded as it comes to wait.
reg reads_register, reads_vector, reads_source, reads_step, from_sum, from_tail;
reg stores_vector, stores_register, stores_indirect, sets_pointer, checksums, rests;
wire iw_reads = iw_op < STORE;
wire iw_stores = iw_op == STORE;
wire iw_other = iw_op == OTHER;
wire iw_sets = iw_other && iw_space == DO_SET;
wire iw_orders = iw_other && iw_space == DO_ORDER;
always @(posedge clock) if (free) begin
    reads_register <= iw_reads && iw_space == S_REGISTER;
    reads_indirect <= iw_reads && iw_space == S_INDIRECT;
    reads_queue <= iw_reads && iw_space == S_QUEUE;
    reads_vector <= iw_reads && (iw_space == S_VECTOR || iw_space == S_MEASURED);
    reads_source <= iw_reads && iw_space == S_SOURCE;
    reads_step <= iw_reads && iw_space == S_STEP;
    from_sum <= iw_reads && iw_space == S_SOURCE && iw[2:0] == FROM_SUM;
    from_tail <= iw_reads && iw_space == S_SOURCE && iw[2:0] == FROM_TAIL;
    stores_vector <= iw_stores && (iw_space == S_VECTOR || iw_space == S_MEASURED);
    stores_register <= iw_stores && iw_space == S_REGISTER;
    stores_indirect <= iw_stores && iw_space == S_INDIRECT;
    sets_pointer <= iw_other && iw_space == DO_POINT;
    checksums <= iw_orders && iw[3:0] == ORDER_CRC;
    rests <= iw_orders && iw[3:0] == ORDER_REST;
    branches <= iw[15:14] == 2'b11;
    shifts <= iw_other && (iw_space == DO_RSHR || iw_space == DO_SHR);
    counts <= iw_sets && iw[3:0] == SET_COUNT;
    returns <= iw_sets && iw[3:0] == SET_TARGET;
    starts <= iw_sets && iw[3:0] == SET_GO;
    steps <= iw_orders && (iw[3:0] == ORDER_FIRST || iw[3:0] == ORDER_NEXT);
end

// What has left the second stage and has not acted yet. What moves a pointer or takes a
// result waits for a branch ahead; the rest is dropped if that is taken.
reg x_vector, x_register, x_indirect, x_sum, x_tail;
reg storing, y_register, indirect;      // `storing` to a vector
reg [3:0] x_points, pointing;
wire [3:0] points_now = {4{move && sets_pointer}} & (4'd1 << ir[1:0]);
always @(posedge clock) begin
    x_branches <= move && branches;
    x_shifts <= move && shifts;
    x_counts <= move && counts;
    x_returns <= move && returns;
    x_starts <= move && starts;
    x_steps <= move && steps;
    x_vector <= move && stores_vector;
    x_register <= move && stores_register;
    x_indirect <= move && stores_indirect;
    x_points <= points_now;
    x_sum <= move && from_sum;
    x_tail <= move && from_tail;
    // in either stage
    branching <= (move && branches) || x_branches;
    shifting_on <= (move && shifts) || x_shifts;
    counting <= (move && counts) || x_counts;
    returning <= (move && returns) || x_returns;
    starting <= (move && starts) || x_starts;
    stepping <= (move && steps) || x_steps;
    storing <= (move && stores_vector) || x_vector;
    indirect <= (move && stores_indirect) || x_indirect;
    pointing <= points_now | x_points;
    y_register <= x_register;
end
always @(*) take = ix_valid && x_sum;
always @(*) take_result = ix_valid && x_tail;

// Registers that are equal in three bits are taken for one. A vector's elements are stored
// a cycle later, even and odd ones to memories of their own.
wire same_x = ix[2:0] == ir[2:0];
wire same_y = iy[2:0] == ir[2:0];
wire unwritten = (reads_vector && (storing || (write_vector && narrow_at[0] == chosen[0])))
    || (reads_register && ((x_register && same_x) || (y_register && same_y) || indirect))
    || ((reads_indirect || reads_queue) && (x_register || y_register || indirect));
assign hold = shifting_on || shifting
    || (branching && points && ir[2])
    // No jump is a pause: it may act while the instruction ahead of it still waits for the bus.
    || (reads_source && (ix_valid || iy_valid || measured))
    || (points && pointing[ir[1:0]])
    || «a word is read before it is written: unwritten → 1'b0»
    || (reads_step && stepping)
    || (from_sum && (!sum_valid || x_sum || starting))
    || (from_tail && (!result_valid || x_tail || starting))
    || (checksums && crc_busy)
    || (rests && (!awake || ix_valid || iy_valid));

// Accumulator. `operand` comes inverted for what subtracts: a - b is a + ~b + 1, and
// b - a is ~(a + ~b).
wire [32:0] sum = {1'b0, a} + {1'b0, operand} + {32'd0, operates[2]};
reg carry;
reg [31:0] noise;               // the other half of the random generator's state
wire [31:0] mixed = ({a[7:0], a[31:8]} + noise) ^ operand;
reg [5:0] length;
reg [31:0] changed;
always @(*) case (iy[3:0])
    CHANGE_MAGNITUDE: changed = a ^ {32{a[31]}};
    CHANGE_LEN: changed = {26'd0, length};
    CHANGE_ROL3: changed = {a[28:0], a[31:29]};
    CHANGE_HIGH: changed = {16'd0, a[31:16]};
    default: changed = {a[31], a[31:1]};
endcase
reg [31:0] combined;
always @(*) case (logic_kind)
    2'd0: combined = operand;
    2'd1: combined = a & operand;
    2'd2: combined = a ^ operand;
    default: combined = ~operand;   // max: of a that is not larger
endcase
wire to_a = shifted || loads || (operates[7] && sum[31]);

// The length of A two cycles ago, which an assembler's nops make that of A: by the
// highest nibble that is not zero.
reg [7:0] any;
reg [15:0] top;
reg [3:0] nibble;
reg [1:0] high_bit;
integer i;
always @(posedge clock) begin
    for (i = 0; i < 8; i = i + 1) begin
        any[i] <= |a[4*i +: 4];
        top[2*i +: 2] <= a[4*i+3] ? 2'd3 : a[4*i+2] ? 2'd2 : a[4*i+1] ? 2'd1 : 2'd0;
    end
    length <= any == 0 ? 6'd0 : {nibble, high_bit} + 6'd1;
end
always @(*) begin
    nibble = any[7] ? 4'd7 : any[6] ? 4'd6 : any[5] ? 4'd5 : any[4] ? 4'd4 : any[3] ? 4'd3 : any[2] ? 4'd2 : {3'd0, any[1]};
    high_bit = top[{nibble[2:0], 1'b0} +: 2];
end
wire fits8 = a[31:7] == {25{a[31]}};
wire fits16 = a[31:15] == {17{a[31]}};
wire [14:0] limit = {15{~a[31]}};
always @(posedge clock) begin
    if (to_a) a <= ({32{sums}} & (sum[31:0] ^ {32{operates[3]}})) | ({32{shifted}} & result)
        | ({32{does[DO_CHANGE]}} & changed) | ({32{operates[6]}} & mixed) | ({32{logical}} & combined);
    if (operates[1]) carry <= sum[32];
    if (operates[6]) noise <= «the random state is not rotated: {noise[28:0], noise[31:29]} → noise» ^ mixed;
    if (sets[SET_NOISE]) noise <= a;
    if (does[DO_SETN] || does[DO_SETN5] || does[DO_N])
        n <= does[DO_SETN] ? a[4:0] : does[DO_SETN5] ? a[9:5] : iy[4:0];
    if (sets[SET_WIDE]) byte_at <= a[23:0];
end
// loops and calls
wire target = sets[SET_TARGET];
always @(posedge clock) begin
    if (sets[SET_COUNT]) begin
        count <= a[LOOPS-1:0];
        last_round <= a[LOOPS-1:0] == 1;
    end else if (jump && loops) begin
        count <= count - 1'b1;
        last_round <= «a loop runs once too often: count == 2 → count == 1»;
    end
    if (target || (jump && calls)) begin
        return_0 <= target ? a[PC-1:0] : pc;
        return_1 <= «a call forgets its caller's caller: return_0 → return_1»;
        return_2 <= return_1;
    end else if (jump && rets) begin
        return_0 <= return_1;
        return_1 <= return_2;
    end
end

always @(*) state = noise;

// pointers
wire point = does[DO_POINT];
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
assign taken = (ifs[IF_JZ] && zero) || (ifs[IF_JNZ] && !zero) || (ifs[IF_JN] && a[31])
    || (ifs[IF_JP] && !a[31]) || (ifs[IF_JCARRY] && carry) || (ifs[IF_JINPUT] && input_any)
    || (ifs[IF_JFULL] && output_full) || (ifs[IF_JSTOPPED] && stopped);

// stores
always @(*) begin
    // The bus waits while a register is read. A budget that it writes meanwhile is not
    // overwritten with what was left of the old one.
    bus_accepted = bus_write && !registers && !(ir_valid && (reads_register || reads_indirect || reads_queue));
    write_register = registers ? !(budget && budget_written) : bus_accepted;
    write_register_at = registers ? y_register_at : bus_write_at;
    register_data = registers ? a : bus_data;
    write_key_scale = stores[S_KEY_SCALE];
    write_logit = stores[S_LOGIT];
    write_at = {{(16-POINTER){1'b0}}, at_y};
    push = stores[S_QUEUE];
end
reg budget_written;             // since it was read
reg measured;
always @(posedge clock) begin
    budget_written <= (bus_accepted && bus_write_at == BUDGET)
        || (budget_written && !(move && reads_register && ir[7:0] == BUDGET));
    narrow <= to_vector ? («an element wraps where it should saturate: fits16 → 1'b1» ? a[15:0] : {a[31], limit[14:0]})
        : {8'd0, «a mantissa wraps where it should saturate: fits8 → 1'b1» ? a[7:0] : {a[31], limit[6:0]}};
    narrow_at <= write_at;
    write_vector <= stores[S_VECTOR] || stores[S_MEASURED];
    measured <= stores[S_MEASURED];
    write_mantissa <= stores[S_MANTISSA];
    write_byte <= stores[S_WIDE];
    if (measured) magnitudes <= magnitudes | (narrow[14:0] ^ {15{narrow[15]}});
    if (orders[ORDER_CLEAR]) magnitudes <= 0;
end

// orders
always @(*) begin
    multiply = operates[8] || operates[9];
    add = operates[9];
    shift = does[DO_RSHR] || does[DO_SHR];
    round = does[DO_RSHR];
    set_from = sets[SET_FROM];
    set_with = sets[SET_WITH];
    set_words = sets[SET_WORDS];
    set_skip = sets[SET_SKIP];
    go = sets[SET_GO];
    set_factor = sets[SET_FACTOR];
    set_bias = sets[SET_BIAS];
    set_scales = sets[SET_SCALES];
    set_source = sets[SET_SOURCE];
    woken = ir_valid && rests && move;
    pop = orders[ORDER_POP];
    stop = orders[ORDER_STOP];
    bad_step = orders[ORDER_BAD];
    restart = orders[ORDER_RESTART];
    phases_moved = orders[ORDER_MOVED];
    crc = orders[ORDER_CRC];
    illegal = does[DO_SETN] && a[31:5] != 0;
    busy = on && (awake || !(ir_valid && rests && !ix_valid && !iy_valid));
end
always @(posedge clock) begin
    if (processing) cycles <= cycles + 24'd1;
    if (orders[ORDER_START]) begin
        processing <= 1;
        cycles <= 0;
    end
    if (orders[ORDER_FINISH]) processing <= 0;
    if (orders[ORDER_FIRST]) step <= 0;
    if (orders[ORDER_NEXT]) step <= step + 8'd1;
    if (reset) processing <= 0;
end
";
