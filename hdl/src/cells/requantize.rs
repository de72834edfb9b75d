use super::fragments::{delay, round_shift};
use crate::leaf;
use annulus_contract::fixed::sat;
use annulus_contract::stage::requantize;
use rust_hdl_core::prelude::*;

leaf! {
    /// The output stage of every matvec and of attention: a sum times a
    /// multiplier, shifted with rounding and saturated to 24 bits. Operands,
    /// two products of half the sum each, their sum, then the rounding shift.
    pub struct Requantize {
        in clock: Clock,
        in acc: Bits<32>,
        /// 0 to 32,768 where it is `M16`; any value is multiplied exactly.
        in m: Bits<17>,
        /// Unsigned.
        in sh: Bits<5>,
        out y: Bits<24>,
    }
    verilog(_this) {
        TEXT.to_owned() + &delay("sh", "sh_late", 5, 3) + &round_shift("product", 49, "sh_late", "y", 24)
    }
}

const TEXT: &str = "reg signed [15:0] high;
reg signed [16:0] low, factor;
reg signed [32:0] high_product;
reg signed [33:0] low_product;
reg [48:0] product;
always @(posedge clock) begin
    high <= acc[31:16];
    low <= {1'b0, acc[15:0]};
    factor <= m;
    high_product <= high * factor;
    low_product <= low * factor;
    product <= {high_product + {{15{low_product[33]}}, low_product[33:16]}, low_product[15:0]};
end
";

impl Requantize {
    /// Clock edges from input to output.
    pub const LATENCY: usize = 6;

    /// `sat(rshr(acc * m, sh), 24)`.
    pub fn model(acc: i32, m: u16, sh: u8) -> i32 {
        sat(requantize(acc, m, sh as i32), 24) as i32
    }
}
