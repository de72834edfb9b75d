use crate::leaf;
use annulus_contract::block::value_mantissa;
use rust_hdl_core::prelude::*;

leaf! {
    /// The byte that the value ring holds for a value: only rounding up to 128
    /// can leave its range.
    pub struct VCode {
        in clock: Clock,
        in v: Bits<16>,
        out m: Bits<8>,
    }
    verilog(_this) { TEXT.into() }
}

const TEXT: &str = "wire clamp = v[15:7] == 9'h0ff;
always @(posedge clock) m <= v[15:8] + {7'd0, v[7] & «a large value rounds up to a negative one: ~clamp → 1'b1»};
";

impl VCode {
    /// Clock edges from input to output.
    pub const LATENCY: usize = 1;

    /// `sat(rshr(v, 8), 8)`.
    pub fn model(v: i16) -> i8 {
        value_mantissa(v as i32)
    }
}
