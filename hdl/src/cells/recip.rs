use super::fragments::{left_justify, rom};
use crate::leaf;
use annulus_contract::recip::recip;
use annulus_contract::tables::RECIP;
use rust_hdl_core::prelude::*;

leaf! {
    /// Reciprocal, `1 / Z ~ r * 2^-(16 + z)`. Stages: leading zeros go, 16 to
    /// 4; 2 and 1, and the table; product; interpolation.
    pub struct Recip {
        in clock: Clock,
        /// Unsigned, not 0.
        in z_in: Bits<18>,
        /// 32,768 to 65,536, unsigned.
        out r: Bits<17>,
        /// 0 to 17, unsigned.
        out z: Bits<5>,
    }
    verilog(_this) {
        let segments = RECIP.windows(2).map(|s| (s[0] as u64) << 11 | (s[0] - s[1]) as u64);
        rom("inverse", 28, segments)
            + &left_justify("z_in", "z_by_4", "fours", 18, &[16, 8, 4])
            + "reg [17:0] roughly;\n"
            + &left_justify("roughly", "u", "ones", 18, &[2, 1])
            + TEXT
    }
}

/// `here - ((p + 512) >> 10)` is `(1024 here + 511 - p) >> 10`: one adder.
const TEXT: &str = "reg [2:0] fours_late;
reg [4:0] zeros, zeros2;
reg [16:0] here, base;
reg [10:0] slope;
reg [9:0] fraction;
reg [20:0] step;
wire [26:0] sum = {base, «the reciprocal is not rounded: 10'd511 → 10'd0»} - {6'd0, step};
always @(posedge clock) begin
    roughly <= z_by_4;
    fours_late <= fours;
    {here, slope} <= inverse[u[16:12]];
    fraction <= u[11:2];
    zeros <= {fours_late, ones};
    step <= slope * fraction;
    base <= here;
    zeros2 <= zeros;
    r <= sum[26:10];
    z <= 5'd17 - zeros2;
end
";

impl Recip {
    /// Clock edges from input to output.
    pub const LATENCY: usize = 4;

    /// The reciprocal's mantissa and exponent.
    pub fn model(sum: u32) -> annulus_contract::recip::Recip {
        recip(sum)
    }
}
