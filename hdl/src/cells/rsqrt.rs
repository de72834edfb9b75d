use super::fragments::{left_justify, rom};
use crate::leaf;
use annulus_contract::rsqrt::rsqrt;
use annulus_contract::tables::RSQRT;
use rust_hdl_core::prelude::*;

leaf! {
    /// Reciprocal square root, `1 / sqrt(t) ~ r * 2^-(15 + k)`. Stages: leading
    /// zeros go in pairs, 32 to 8; 4 and 2; table; product; interpolation.
    pub struct Rsqrt {
        in clock: Clock,
        /// Unsigned, not 0.
        in t: Bits<41>,
        /// 16,384 to 32,768, unsigned.
        out r: Bits<16>,
        /// 0 to 20, unsigned.
        out k: Bits<5>,
    }
    verilog(_this) {
        let segment = |i: usize| (RSQRT[i] as u64) << 10 | (RSQRT[i] - RSQRT[i + 1]) as u64;
        // Where 16 entries are never read, the first ones are repeated.
        rom("root", 26, (0..64).map(|i| segment(if i < 16 { i + 16 } else { i })))
            + &left_justify("{1'b0, t}", "t_by_8", "eights", 42, &[32, 16, 8])
            + "reg [41:0] roughly;\n"
            + &left_justify("roughly", "t_by_2", "twos", 42, &[4, 2])
            + TEXT
    }
}

/// `here - ((p + 512) >> 10)` is `(1024 here + 511 - p) >> 10`: one adder.
const TEXT: &str = "reg [2:0] eights_late;
reg [4:0] zeros, zeros2, zeros3;
reg [15:0] u;
reg [15:0] here, base;
reg [9:0] slope, fraction;
reg [19:0] step;
wire [25:0] sum = {base, «the root is not rounded: 10'd511 → 10'd0»} - {6'd0, step};
always @(posedge clock) begin
    roughly <= t_by_8;
    eights_late <= eights;
    u <= t_by_2[41:26];
    zeros <= {eights_late, twos};
    {here, slope} <= root[u[15:10]];
    fraction <= u[9:0];
    zeros2 <= zeros;
    step <= slope * fraction;
    base <= here;
    zeros3 <= zeros2;
    r <= sum[25:10];
    k <= 5'd20 - zeros3;
end
";

impl Rsqrt {
    /// Clock edges from input to output.
    pub const LATENCY: usize = 5;

    /// The root's mantissa and exponent.
    pub fn model(t: u64) -> annulus_contract::rsqrt::Rsqrt {
        rsqrt(t)
    }
}
