use crate::leaf;
use annulus_contract::sample::scaled_logit;
use rust_hdl_core::prelude::*;

leaf! {
    /// A logit (12 fraction bits) over the temperature: operands, two products
    /// with two registers, their sum with rounding.
    pub struct Temperature {
        in clock: Clock,
        in logit: Bits<24>,
        /// `round(1024 log2(e) / T)`, unsigned.
        in it: Bits<16>,
        /// 11 fraction bits.
        out z: Bits<30>,
    }
    verilog(_this) { TEXT.into() }
}

/// The bit below the point, added to a one beside it, is the carry that rounds.
const TEXT: &str = "reg signed [7:0] high;
reg signed [16:0] low, factor;
reg signed [24:0] high_product, high_late;
reg signed [33:0] low_product, low_late;
reg [30:0] sum;
always @(posedge clock) begin
    high <= logit[23:16];
    low <= {1'b0, logit[15:0]};
    factor <= {1'b0, it};
    high_product <= high * factor;
    low_product <= low * factor;
    high_late <= high_product;
    low_late <= low_product;
    sum <= {high_late, 6'd1} + {9'd0, low_late[31:10]};
    z <= sum[30:1];
end
";

impl Temperature {
    /// Clock edges from input to output.
    pub const LATENCY: usize = 5;
    /// Fraction bits of the logits (`LF`).
    pub const LOGIT_BITS: u32 = 12;

    /// `rshr(logit * it, 11)`.
    pub fn model(logit: i32, it: u16) -> i32 {
        scaled_logit(logit, it, Self::LOGIT_BITS)
    }
}
