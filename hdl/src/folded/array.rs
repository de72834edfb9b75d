//! The dot array of one row, with the wide memory in front of it.

use super::layout::Layout;
use crate::leaf;
use crate::units::text::{address_bits, localparams};
use annulus_contract::shape::CoreShape;
use annulus_contract::step::{COLUMNS, GROUP, SCALES_A_WORD};
use rust_hdl_core::prelude::*;

leaf! {
    /// Rows of `words` words each from the wide memory, against as many words of
    /// mantissas, the same for every row. After `go` the array takes a word a cycle and
    /// keeps one sum for the machine: it holds back a row's last word until the sum
    /// before has been taken. `skip` words lie between rows. It goes on until the next
    /// `go`; what it reads too far is never taken.
    ///
    /// Words of 4-bit weights are read twice, once for each half; those of group scales come
    /// between them and make no product. A sum of nibbles is multiplied by its group's scale.
    ///
    /// The wide memory has one port: a write takes the array's cycle.
    pub struct Array {
        in clock: Clock,
        in reset: Bit,
        // the machine's orders
        in set_from: Bit,
        in set_with: Bit,
        in set_words: Bit,
        in set_skip: Bit,
        in go: Bit,
        in data: Bits<32>,
        /// The machine's data as a byte.
        in narrow: Bits<8>,
        /// The step's matrix has 4-bit weights.
        in nibbles: Bit,
        out sum: Bits<32>,
        out valid: Bit,
        /// The machine, or the tail, takes it.
        in take: Bit,
        in tail_take: Bit,
        // a mantissa; a byte of the wide memory
        in write_mantissa: Bit,
        in mantissa_at: Bits<16>,
        in write_byte: Bit,
        in byte_at: Bits<24>,
        // the link, between tokens
        in processing: Bit,
        in link_write: Bit,
        in link_at: Bits<20>,
        in link_lane: Bits<8>,
        in link_data: Bits<32>,
        out link_found: Bits<32>,
        cell memory: SinglePort,
        cell products: Products,
        param _shape: Option<CoreShape>,
    }
    verilog(this) {
        let Some(shape) = this._shape else { unreachable!("an array without a shape") };
        let layout = Layout::new(&shape);
        let mut text = localparams(&[
            ("XW", layout.mantissas as usize), ("XA", address_bits(layout.mantissas as usize)),
            ("A", address_bits(shape.memory as usize)),
            ("LAST_OF_A_WORD", SCALES_A_WORD * GROUP / COLUMNS - 1),
        ]) + "
(* no_rw_check *) reg [63:0] mantissas [0:XW-1];
integer i;
initial begin
";
        for word in 0..32 {
            let (mu, place) = (5 + word / 8, word % 8);
            text += &format!("    mantissas[{}] = 64'h{:x};\n", layout.ones + word, u64::from(mu) << (8 * place));
        }
        text + TEXT
    }
}

impl Array {
    /// For a core of this shape.
    pub fn new(shape: &CoreShape) -> Self {
        let mut array = Self {
            _shape: Some(*shape),
            ..Self::default()
        };
        array.memory._words = shape.memory as usize;
        array
    }
}

const TEXT: &str = "end
reg [A-1:0] at;
reg [15:0] skip;
reg [XA-1:0] first_with, with_at;
reg [9:0] words, left;
reg active, waiting;
reg scales_due;
reg [4:0] column;               // words of mantissas since the last group scales
wire first = left == words;
wire last = left == 1;
wire free = active && !write_byte;
wire issue = free && !scales_due && !(last && «a sum is overwritten before it is taken: waiting → 1'b0»);
wire fetch = free && scales_due;
// words: {first, last, valid} on their way through the array
reg [2:0] tag_1, tag_2, tag_3, tag_4, tag_5;
reg [3:0] scale_2, scale_3, scale_4;
reg [31:0] total;
wire signed [18:0] dot = products$sum;
reg signed [18:0] scaled;
wire [31:0] total_now = («sums go on from the row before: tag_5[2] → 1'b0» ? 32'd0 : total) + {{13{scaled[18]}}, scaled};
always @(posedge clock) begin
    if (issue) begin
        if (!nibbles || column[0] || «a row of nibbles ends with a half word: last → 1'b0»)
            at <= at + («rows of values follow each other without their gap: last → 1'b0» ? skip[A-1:0] : {A{1'b0}}) + 1'b1;
        column <= last ? 5'd0 : column + 5'd1;
        scales_due <= nibbles && (last || «a long row has one word of group scales: column == LAST_OF_A_WORD → 1'b0»);
        with_at <= last ? first_with : with_at + 1'b1;
        left <= last ? words : left - 10'd1;
    end
    if (fetch) begin
        at <= at + 1'b1;
        scales_due <= 0;
    end
    tag_1 <= {first, last, issue};
    tag_2 <= tag_1;
    tag_3 <= tag_2;
    tag_4 <= tag_3;
    tag_5 <= tag_4;
    if (tag_5[0]) total <= total_now;
    if (tag_5[0] && tag_5[1]) begin
        sum <= total_now;
        valid <= 1;
    end
    if (issue && last) waiting <= 1;
    if (take || tail_take) begin
        valid <= 0;
        waiting <= 0;
    end
    if (set_from) at <= data[A-1:0];
    if (set_with) first_with <= data[XA-1:0];
    if (set_words) words <= data[9:0];
    if (set_skip) skip <= data[15:0];
    if (go) begin
        active <= 1;
        left <= words;
        with_at <= first_with;
        column <= 0;
        scales_due <= nibbles;
    end
    if (go || reset) begin
        valid <= 0;
        waiting <= 0;
        tag_1 <= 0;
        tag_2 <= 0;
        tag_3 <= 0;
        tag_4 <= 0;
        tag_5 <= 0;
    end
    if (set_from || reset) active <= 0;
end

reg [63:0] x;
always @(posedge clock) begin
    for (i = 0; i < 8; i = i + 1)
        if (write_mantissa && mantissa_at[2:0] == i) mantissas[mantissa_at[XA+2:3]][8*i +: 8] <= narrow;
    x <= mantissas[with_at];
`ifndef SYNTHESIS
    if (write_mantissa && mantissa_at[XA+2:3] == with_at) x <= ~mantissas[with_at];
`endif
end

// What the memory gives is group scales, the low or the high half of a word of nibbles, or bytes.
reg fetched, high;
reg [63:0] scales;
wire [3:0] scale = «the scale is the next group's: scales[3:0] → scales[7:4]»;
wire [31:0] half = «the halves of a word of nibbles are swapped: high → !high» ? memory$word[63:32] : memory$word[31:0];
wire [63:0] weights;
genvar j;
generate
    for (j = 0; j < 8; j = j + 1) begin : column_of
        assign weights[8*j +: 8] = nibbles ? {{4{«nibbles lose their sign: half[4*j+3] → 1'b0»}}, half[4*j +: 4]} : memory$word[8*j +: 8];
    end
endgenerate
always @(posedge clock) begin
    fetched <= fetch;
    high <= column[0];
    if (fetched) scales <= memory$word;
    else if (tag_1[0] && «all groups of a row take the first one's scale: high → 1'b0») scales <= scales >> 4;
    scale_2 <= nibbles ? scale : 4'd1;
    scale_3 <= scale_2;
    scale_4 <= scale_3;
    scaled <= dot * $signed({1'b0, scale_4});
end

reg link_upper;
always @(posedge clock) link_upper <= link_lane[0];
always @(*) memory$clock = clock;
always @(*) memory$at = write_byte ? byte_at[22:3] : processing ? {{(20-A){1'b0}}, at} : link_at;
always @(*) memory$data = write_byte ? {8{narrow}} : {2{link_data}};
always @(*) memory$write = write_byte ? 8'd1 << byte_at[2:0] : link_write ? {{4{link_lane[0]}}, {4{~link_lane[0]}}} : 8'd0;
always @(*) link_found = link_upper ? memory$word[63:32] : memory$word[31:0];
always @(*) products$clock = clock;
always @(*) products$x = x;
always @(*) products$w = weights;
";

leaf! {
    /// The wide memory: one port, a write enable a byte. On an iCE40UP5K its four
    /// SPRAMs.
    pub struct SinglePort {
        in clock: Clock,
        in at: Bits<20>,
        in write: Bits<8>,
        in data: Bits<64>,
        out word: Bits<64>,
        param _words: usize,
    }
    verilog(this) {
        localparams(&[("WORDS", this._words), ("A", address_bits(this._words))]) + "
reg [63:0] mem [0:WORDS-1];
integer i;
always @(posedge clock) begin
    for (i = 0; i < 8; i = i + 1)
        if (write[i]) mem[at[A-1:0]][8*i +: 8] <= data[8*i +: 8];
    if (write == 0) word <= mem[at[A-1:0]];
end
"
    }
}

leaf! {
    /// The sum of eight signed byte products, three edges later: operands, products, and
    /// their sum. With `ANNULUS_ICE40` defined, four
    /// SB_MAC16 of two products each.
    pub struct Products {
        in clock: Clock,
        in x: Bits<64>,
        in w: Bits<64>,
        out sum: Bits<19>,
    }
    verilog(_this) {
        let blocks: String = (0..4)
            .map(|i| {
                let part = |bus: &str| format!("{bus}[{} +: 16]", 16 * i);
                super::mac16::eights(&format!("multiply_{i}"), &part("x"), &part("w"), &format!("p[{} +: 32]", 32 * i))
            })
            .collect();
        format!("wire [127:0] p;\n`ifdef ANNULUS_ICE40\n{blocks}`else{PRODUCTS}`endif{TREE}")
    }
}

const PRODUCTS: &str = "
genvar i;
generate
    for (i = 0; i < 8; i = i + 1) begin : lane
        reg signed [7:0] rx, rw;
        reg signed [15:0] rp;
        always @(posedge clock) begin
            rx <= x[8*i +: 8];
            rw <= w[8*i +: 8];
            rp <= rx * rw;
        end
        assign p[16*i +: 16] = rp;
    end
endgenerate
";

const TREE: &str = "
wire signed [16:0] pair_0 = $signed(p[0 +: 16]) + $signed(p[16 +: 16]);
wire signed [16:0] pair_1 = $signed(p[32 +: 16]) + $signed(p[48 +: 16]);
wire signed [16:0] pair_2 = $signed(p[64 +: 16]) + $signed(p[80 +: 16]);
wire signed [16:0] pair_3 = $signed(p[96 +: 16]) + $signed(p[112 +: 16]);
wire signed [17:0] half_0 = pair_0 + pair_1;
wire signed [17:0] half_1 = pair_2 + pair_3;
always @(posedge clock) sum <= «half of the products are left out: half_0 + half_1 → half_0»;
";
