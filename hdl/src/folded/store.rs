//! The small memories of the folded core and the operand that is read from them.

use super::assembler::space;
use super::layout::Layout;
use crate::leaf;
use crate::units::text::{address_bits, localparams, step_fields};
use annulus_contract::regs;
use annulus_contract::shape::CoreShape;
use rust_hdl_core::prelude::*;

leaf! {
    /// Registers, vectors, tables, scales, steps and logits: each a block RAM with one
    /// read and one write port. Addresses come two cycles before `operand`, `space` and
    /// `source` one. The [`Tail`](super::tail::Tail) has an address of its own for scales, and
    /// that of the vectors while nobody else wants it. The machine writes its accumulator, the link (between tokens) `link_data`.
    pub struct Store {
        in clock: Clock,
        in reset: Bit,
        in clear_counters: Bit,
        // reading
        in register_at: Bits<16>,
        in at: Bits<16>,
        in step_at: Bits<16>,
        in space: Bits<4>,
        in sum: Bits<32>,
        in magnitudes: Bits<15>,
        in cycles: Bits<24>,
        in source: Bits<3>,
        in wide: Bits<32>,
        in result: Bits<24>,
        in state: Bits<32>,
        in invert: Bit,
        out operand: Bits<32>,
        /// The step's matrix has 4-bit weights.
        out nibbles: Bit,
        // for the tail
        in reading: Bit,
        in points: Bit,
        in scale_at: Bits<16>,
        in vector_at: Bits<16>,
        out row_scale_byte: Bits<8>,
        out key_scale: Bits<7>,
        out element: Bits<16>,
        /// A stream begins; its phases have moved on from zero.
        in restart: Bit,
        in phases_moved: Bit,
        in link_writes: Bit,
        // writing
        in write_register: Bit,
        in write_register_at: Bits<16>,
        in register_data: Bits<32>,
        in write_vector: Bit,
        in write_key_scale: Bit,
        in write_logit: Bit,
        in write_at: Bits<16>,
        in data: Bits<32>,
        in narrow: Bits<16>,
        in narrow_at: Bits<16>,
        in link_gains: Bit,
        in link_key_scales: Bit,
        in link_steps: Bit,
        in link_scales: Bit,
        in link_at: Bits<20>,
        in link_lane: Bits<8>,
        in link_data: Bits<32>,
        param _shape: Option<CoreShape>,
    }
    verilog(this) {
        let Some(shape) = this._shape else { unreachable!("a store without a shape") };
        let layout = Layout::new(&shape);
        let bits = |words: u32| address_bits(words as usize);
        let mut text = localparams(&[
            ("RW", layout.registers as usize), ("RA", bits(layout.registers)),
            ("VW", layout.vectors as usize / 2), ("VA", bits(layout.vectors / 2)),
            ("TW", layout.tables.len().next_power_of_two()), ("TA", address_bits(layout.tables.len())),
            ("KW", shape.key_scales as usize), ("KA", bits(shape.key_scales)),
            ("CW", shape.scales as usize), ("CA", bits(shape.scales)),
            ("SW", 8 * shape.steps as usize), ("SA", bits(8 * shape.steps)),
            ("LW", shape.vocab as usize), ("LA", bits(shape.vocab)),
            ("PHASES", layout.phase as usize), ("PAIRS", layout.pairs as usize),
            ("S_STEP", space::STEP as usize), ("S_SOURCE", space::SOURCE as usize),
            ("S_VECTOR", space::VECTOR as usize), ("S_TABLE", space::TABLE as usize),
            ("S_LOGIT", space::LOGIT as usize), ("S_MEASURED", space::MEASURED as usize),
            ("S_LANE", space::LANE as usize), ("S_PAIR", space::PAIR as usize),
            ("S_ROW_ENTRY", space::ROW_ENTRY as usize), ("S_KEY_ENTRY", space::KEY_ENTRY as usize),
        ]) + "
(* no_rw_check *) reg [31:0] registers [0:RW-1];
(* no_rw_check *) reg [15:0] even [0:VW-1];
(* no_rw_check *) reg [15:0] odd [0:VW-1];
reg [15:0] table_words [0:TW-1];
(* no_rw_check *) reg [6:0] key_scales [0:KW-1];
(* no_rw_check *) reg [15:0] row_scales [0:CW-1];
(* no_rw_check *) reg [31:0] steps [0:SW-1];
(* no_rw_check *) reg [23:0] logits [0:LW-1];
integer i;
initial begin
    for (i = 0; i < RW; i = i + 1) registers[i] = 32'd0;
    for (i = 0; i < TW; i = i + 1) table_words[i] = 16'd0;
";
        for (at, value) in &layout.initial {
            text += &format!("    registers[{at}] = 32'h{value:x};\n");
        }
        for (at, value) in layout.tables.iter().enumerate() {
            text += &format!("    table_words[{at}] = 16'h{value:x};\n");
        }
        text += "end
reg [31:0] found, step;
reg [15:0] found_even, found_odd, entry, row_scale;
reg [23:0] logit;
reg odd_found, odd_scale;
wire [15:0] element_at = reading || points ? at : vector_at;
wire [15:0] scale_read_at = reading ? at : scale_at;
wire [VA-1:0] vector_write_at = link_gains ? link_at[VA-1:0] : narrow_at[VA:1];
wire [KA-1:0] key_write_at = link_key_scales ? link_at[KA-1:0] : write_at[KA-1:0];
always @(posedge clock) entry <= table_words[at[TA-1:0]];
";
        for memory in [
            Memory { name: "registers", q: "found", write: "write_register", write_at: "write_register_at[RA-1:0]",
                data: "register_data", read_at: "register_at[RA-1:0]" },
            Memory { name: "even", q: "found_even", write: "(link_gains || (write_vector && !narrow_at[0]))", write_at: "vector_write_at",
                data: "link_gains ? link_data[15:0] : narrow", read_at: "element_at[VA:1]" },
            Memory { name: "odd", q: "found_odd", write: "(link_gains || (write_vector && narrow_at[0]))", write_at: "vector_write_at",
                data: "link_gains ? link_data[31:16] : narrow", read_at: "element_at[VA:1]" },
            Memory { name: "key_scales", q: "key_scale", write: "(link_key_scales || write_key_scale)", write_at: "key_write_at",
                data: "link_key_scales ? link_data[6:0] : data[6:0]", read_at: "scale_read_at[KA-1:0]" },
            Memory { name: "row_scales", q: "row_scale", write: "link_scales", write_at: "link_at[CA-1:0]",
                data: "link_data[15:0]", read_at: "scale_read_at[CA:1]" },
            Memory { name: "steps", q: "step", write: "link_steps", write_at: "{link_at[SA-4:0], link_lane[2:0]}",
                data: "link_data", read_at: "step_at[SA-1:0]" },
            Memory { name: "logits", q: "logit", write: "write_logit", write_at: "write_at[LA-1:0]",
                data: "data[23:0]", read_at: "at[LA-1:0]" },
        ] {
            text += &memory.verilog();
        }
        text += "
always @(posedge clock) odd_found <= element_at[0];
always @(posedge clock) odd_scale <= scale_read_at[0];

// Registers that an order of the bus has set to zero, until they are written.
";
        let of_reset = [regs::BUDGET, regs::SAMPLES];
        let of_restart = [regs::POSITION, regs::POSITION_HIGH, regs::RING_STATE, regs::KEY_AT, regs::VALUE_AT];
        let of_clear = [regs::CYCLES, regs::CYCLES_HIGH, regs::BUSY, regs::BUSY_HIGH, regs::TOKENS];
        let all: Vec<_> = of_reset.iter().map(|r| (r, "reset"))
            .chain(of_restart.iter().map(|r| (r, "reset || restart")))
            .chain(of_clear.iter().map(|r| (r, "clear_counters"))).collect();
        for (i, (address, order)) in all.iter().enumerate() {
            text += &format!("reg stale_{i};
always @(posedge clock) stale_{i} <= {order} || (stale_{i} && !(write_register && write_register_at == 16'd{address}));
");
        }
        let zero: Vec<_> = all.iter().enumerate()
            .map(|(i, (address, _))| {
                text += &format!("reg read_{i};\nalways @(posedge clock) read_{i} <= register_at == 16'd{address};\n");
                format!("(stale_{i} && read_{i})")
            })
            .collect();
        text += &step_fields("step", &["nibbles"]);
        text + &format!("
reg phases_read;
wire phases_written = link_writes && write_register_at / PAIRS == PHASES / PAIRS;
reg stale_phases;
wire zero = (stale_phases && phases_read) || {};
always @(posedge clock) begin
    stale_phases <= reset || «a restart keeps the phases: restart → 1'b0» || (stale_phases && !phases_moved && «restored phases are forgotten: !phases_written → 1'b1»);
    phases_read <= register_at / PAIRS == PHASES / PAIRS;
end
", zero.join(" || ")) + "
always @(*) element = odd_found ? found_odd : found_even;
always @(*) row_scale_byte = odd_scale ? row_scale[15:8] : row_scale[7:0];
reg [31:0] chosen;
always @(*) case (space)
    S_STEP: case (source[1:0])
        2'd0: chosen = step;
        2'd1: chosen = {16'd0, step[15:0]};
        2'd2: chosen = {16'd0, step[31:16]};
        default: chosen = {22'd0, step[9:0]};
    endcase
    S_SOURCE: case (source)
        3'd0: chosen = sum;
        3'd1: chosen = {17'd0, magnitudes};
        3'd2: chosen = {8'd0, cycles};
        3'd3: chosen = {{8{result[23]}}, result};
        3'd4: chosen = {{26{row_scale_byte[5]}}, row_scale_byte[5:0]};
        3'd5: chosen = {30'd0, row_scale_byte[7:6]};
        default: chosen = state;
    endcase
    S_VECTOR, S_MEASURED: chosen = {{16{element[15]}}, element};
    S_TABLE: chosen = {16'd0, entry};
    S_ROW_ENTRY: chosen = {16'd0, row_scale};
    S_KEY_ENTRY: chosen = {25'd0, key_scale};
    S_LOGIT: chosen = {{8{logit[23]}}, logit};
    S_LANE: chosen = wide;
    S_PAIR: chosen = {found_odd, found_even};
    default: chosen = zero ? 32'd0 : found;
endcase
always @(posedge clock) operand <= invert ? ~chosen : chosen;
// Each step begins with a look at its first word.
reg first_word;
always @(posedge clock) begin
    first_word <= step_at[2:0] == 0 && !reading;
    if (first_word && space == S_STEP) nibbles <= «4-bit weights are taken for bytes: step_nibbles → 1'b0»;
end
"
    }
}

/// A block RAM: what is read of a word while it is written is nobody's, in hardware and here.
struct Memory {
    name: &'static str,
    q: &'static str,
    write: &'static str,
    write_at: &'static str,
    data: &'static str,
    read_at: &'static str,
}

impl Memory {
    fn verilog(&self) -> String {
        let Self {
            name,
            q,
            write,
            write_at,
            data,
            read_at,
        } = self;
        format!(
            "always @(posedge clock) begin
    if ({write}) {name}[{write_at}] <= {data};
    {q} <= {name}[{read_at}];
`ifndef SYNTHESIS
    if ({write} && {write_at} == {read_at}) {q} <= ~{name}[{read_at}];
`endif
end
"
        )
    }
}
