//! The memories. A registered read and a separate clocked write are what every
//! synthesis tool maps to block RAM; one read port, one write port.

use super::text::{address_bits, localparams, BLOCK_RAM, LUT_RAM};
use crate::leaf;
use rust_hdl_core::prelude::*;

/// How a nibble core's [`WideMemory`] gives a word: the highest bits of `read_at`, which no
/// memory is large enough to need as an address.
pub mod reading {
    /// Address bits that are left.
    pub const ADDRESS_BITS: usize = 17;
    /// As it is.
    pub const BYTES: u8 = 0;
    /// It holds group scales: the next words take them in turn.
    pub const SCALES: u8 = 1;
    /// The 4-bit weights of its first eight columns, times their group's scale.
    pub const LOW: u8 = 2;
    /// Those of its other eight.
    pub const HIGH: u8 = 3;
    /// The low nibbles of its eight slots' values, each times two to its exponent.
    pub const LOW_VALUES: u8 = 4;
    /// The high ones.
    pub const HIGH_VALUES: u8 = 5;
}

leaf! {
    /// The wide memory: weights, key rings and value rings. `WORD` bits a word,
    /// `BYTES` write enables. Read latency 3: address, block RAM, its output. Behind it
    /// weights and values have eight bits, whatever they are stored in ([`reading`]); exponents
    /// of 4-bit values are one more row, as far as there are words of such values.
    pub struct WideMemory<const WORD: usize, const BYTES: usize> {
        in clock: Clock,
        in read_at: Bits<20>,
        in write_at: Bits<20>,
        in write: Bits<BYTES>,
        in data: Bits<WORD>,
        out word: Bits<WORD>,
        /// One 32-bit lane of it, a cycle later, for the link.
        in lane: Bits<8>,
        out lane_q: Bits<32>,
        param _words: usize,
        /// Matrices may have 4-bit weights, and rings 4-bit values.
        param _nibbles: bool,
        /// Words that have exponents beside them.
        param _exponents: usize,
    }
    verilog(this) {
        let mut text = localparams(&[("WORDS", this._words), ("A", address_bits(this._words))])
            + "always @(posedge clock) lane_q <= word[32 * lane +: 32];\n";
        // A row of the array has block RAMs of its own, and beside them its own copies of what
        // they are told: one for all would have to cross the whole device in a cycle.
        let rows = BYTES / 8 - usize::from(this._nibbles);
        if this._nibbles {
            text += &exponents(rows, this._exponents);
        }
        for r in 0..rows {
            let writes: String = (0..8).map(|i| format!(
                "    if (write_{r}[{i}]) mem_{r}[to_{r}][{} +: 8] <= data_{r}[{} +: 8];\n", 8 * i, 8 * i,
            )).collect();
            let (how, decoder, given) = if this._nibbles {
                let how = format!("    next_{r} <= read_at[{} +: 3];\n", reading::ADDRESS_BITS);
                (how, nibbles(r), format!("given_{r}"))
            } else {
                (String::new(), String::new(), format!("found_{r}"))
            };
            text += &format!("
{BLOCK_RAM}reg [63:0] mem_{r} [0:WORDS-1];
reg [A-1:0] at_{r}, to_{r};
reg [7:0] write_{r};
reg [63:0] data_{r}, found_{r};
{decoder}(* keep *) always @(posedge clock) begin
    at_{r} <= read_at[A-1:0];
    to_{r} <= write_at[A-1:0];
    write_{r} <= write[{first} +: 8];
    data_{r} <= data[{low} +: 64];
{how}end
always @(posedge clock) begin
{writes}    found_{r} <= mem_{r}[at_{r}];
    word[{low} +: 64] <= {given};
end
", first = 8 * r, low = 64 * r);
        }
        text
    }
}

/// The exponents of 4-bit values, written as a row `r` of the word is. They are read a cycle
/// earlier than the word, which is what it takes them to every row.
fn exponents(r: usize, words: usize) -> String {
    let writes: String = (0..8)
        .map(|i| {
            format!(
                "    if (write_{r}[{i}]) mem_{r}[to_{r}][{} +: 8] <= data_{r}[{} +: 8];\n",
                8 * i,
                8 * i,
            )
        })
        .collect();
    format!(
        "
{BLOCK_RAM}reg [63:0] mem_{r} [0:{last}];
reg [{top}:0] to_{r};
reg [7:0] write_{r};
reg [63:0] data_{r}, exponents, exponents_late;
always @(posedge clock) begin
    to_{r} <= write_at[{top}:0];
    write_{r} <= write[{first} +: 8];
    data_{r} <= data[{low} +: 64];
{writes}    exponents <= mem_{r}[read_at[{top}:0]];
    exponents_late <= exponents;
    word[{low} +: 64] <= exponents_late;
end
",
        last = words - 1,
        top = address_bits(words) - 1,
        first = 8 * r,
        low = 64 * r
    )
}

/// What makes bytes of a row's nibbles, between the block RAM and its output: a word of weights
/// is read once for each half, and its group's scale is the lowest that is left of those kept;
/// a value's exponent is its slot's.
fn nibbles(r: usize) -> String {
    let (scales, low, high) = (reading::SCALES, reading::LOW, reading::HIGH);
    let mut text = format!("
reg [2:0] next_{r}, how_{r};      // of the words at the block RAM's input and output
reg [63:0] scales_{r};
wire values_{r} = how_{r}[2];
always @(posedge clock) begin
    how_{r} <= next_{r};
    if (how_{r} == {scales}) scales_{r} <= found_{r};
    else if («all groups of a row take the first one's scale: how_{r} == {high} && next_{r} == {low} → 1'b0») scales_{r} <= scales_{r} >> 4;
end
wire [31:0] half_{r} = «the halves of a word of nibbles are swapped: how_{r} == {high} → how_{r} == {low}» ? found_{r}[63:32] : found_{r}[31:0];
wire [4:0] scale_{r} = {{1'b0, «the scale is the next group's: scales_{r}[3:0] → scales_{r}[7:4]»}};
wire [63:0] given_{r};
");
    for j in 0..8 {
        text += &format!("reg [2:0] exponent_{r}_{j};
always @(posedge clock) exponent_{r}_{j} <= «high nibbles take the low ones' exponents: next_{r}[0] → 1'b0» ? exponents[{above} +: 3] : exponents[{byte} +: 3];
wire [3:0] bits_{r}_{j} = !values_{r} ? half_{r}[{first} +: 4] : how_{r}[0] ? found_{r}[{above} +: 4] : found_{r}[{byte} +: 4];
wire signed [4:0] nibble_{r}_{j} = {{«nibbles lose their sign: bits_{r}_{j}[3] → 1'b0», bits_{r}_{j}}};
wire signed [5:0] times_{r}_{j} = {{1'b0, values_{r} ? 5'd1 << «4-bit values lose their exponent: exponent_{r}_{j} → 3'd0» : scale_{r}}};
wire signed [7:0] weight_{r}_{j} = nibble_{r}_{j} * times_{r}_{j};
assign given_{r}[{byte} +: 8] = values_{r} || how_{r}[1] ? weight_{r}_{j} : found_{r}[{byte} +: 8];
", first = 4 * j, byte = 8 * j, above = 8 * j + 4);
    }
    text
}

/// Bits of data in a block RAM of the ECP5.
const BLOCK_RAM_BITS: usize = 16384;

leaf! {
    /// A memory of `D` bits, at most 2^16 words; one smaller than a block RAM is made of
    /// LUTs. Read latency 1.
    pub struct Ram<const D: usize> {
        in clock: Clock,
        in read_at: Bits<16>,
        in write_at: Bits<16>,
        in write: Bit,
        in data: Bits<D>,
        out q: Bits<D>,
        param _words: usize,
    }
    verilog(this) {
        let style = if this._words * D < BLOCK_RAM_BITS { LUT_RAM } else { BLOCK_RAM };
        localparams(&[("WORDS", this._words), ("A", address_bits(this._words)), ("D", D)]) + style
            + "reg [D-1:0] mem [0:WORDS-1];
always @(posedge clock) begin
    if (write) mem[write_at[A-1:0]] <= data;
    q <= mem[read_at[A-1:0]];
end
"
    }
}

leaf! {
    /// The query buffer: encoded heads in order, and behind them their copies for the
    /// sinks. Read latency 1.
    pub struct QueryBuffer {
        in clock: Clock,
        in write: Bit,
        in key: Bit,
        in far: Bit,
        in head: Bits<8>,
        in word: Bits<3>,
        in m: Bits<64>,
        /// Bit 10 asks for the copy.
        in read_at: Bits<11>,
        out q: Bits<64>,
        param _words: usize,
    }
    verilog(this) {
        localparams(&[("WORDS", this._words), ("A", address_bits(this._words))]) + LUT_RAM + "reg [63:0] mem [0:2*WORDS-1];
reg [A-1:0] following;
wire [A-1:0] at = head == 0 && word == 0 ? {A{1'b0}} : following;
always @(posedge clock) begin
    if (write && !key) begin
        mem[{«the sinks' queries replace the ring's: far → 1'b0», at}] <= m;
        following <= at + 1'b1;
    end
    q <= mem[{read_at[10], read_at[A-1:0]}];
end
"
    }
}

leaf! {
    /// A bus, `N` cycles later.
    pub struct Delay<const D: usize, const N: usize> {
        in clock: Clock,
        in d: Bits<D>,
        out q: Bits<D>,
    }
    verilog(_this) {
        let mut text: String = (1..N).map(|i| format!("reg [{}:0] d{i};\n", D - 1)).collect();
        text += "always @(posedge clock) begin\n";
        for i in 1..=N {
            let from = if i == 1 { "d".to_string() } else { format!("d{}", i - 1) };
            let to = if i == N { "q".to_string() } else { format!("d{i}") };
            text += &format!("    {to} <= {from};\n");
        }
        text + "end\n"
    }
}
