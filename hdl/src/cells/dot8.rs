use crate::leaf;
use rust_hdl_core::prelude::*;

leaf! {
    /// Sum of eight signed byte products: operands, products, then a tree of
    /// three levels, each with its register. Eight multipliers, each with operands of
    /// its own: rows share theirs, and one register for all would lie far from most.
    pub struct Dot8 {
        in clock: Clock,
        /// Eight int8, the first in the low byte.
        in x: Bits<64>,
        /// Eight int8.
        in w: Bits<64>,
        out s: Bits<19>,
    }
    verilog(_this) { TEXT.into() }
}

const TEXT: &str = "wire signed [15:0] p [0:7];
reg signed [16:0] pair [0:3];
reg signed [17:0] half [0:1];
genvar i;
generate
    for (i = 0; i < 8; i = i + 1) begin : lane
        reg signed [7:0] rx, rw;
        reg signed [15:0] rp;
        (* keep *) always @(posedge clock) begin
            rx <= x[8*i +: 8];
            rw <= w[8*i +: 8];
            rp <= rx * rw;
        end
        assign p[i] = rp;
    end
    for (i = 0; i < 4; i = i + 1) begin : by_pairs
        always @(posedge clock) pair[i] <= p[2*i] + p[2*i+1];
    end
    for (i = 0; i < 2; i = i + 1) begin : by_halves
        always @(posedge clock) half[i] <= pair[2*i] + pair[2*i+1];
    end
endgenerate
always @(posedge clock) s <= half[0] + half[1];
";

impl Dot8 {
    /// Clock edges from operands to sum.
    pub const LATENCY: usize = 5;

    /// The sum of the products.
    pub fn model(x: [i8; 8], w: [i8; 8]) -> i32 {
        x.iter().zip(w).map(|(&x, w)| x as i32 * w as i32).sum()
    }
}
