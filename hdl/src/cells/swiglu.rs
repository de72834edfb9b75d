use super::fragments::{delay, rom, round_shift};
use crate::leaf;
use annulus_contract::feed_forward::{swiglu, SwigluFormat};
use annulus_contract::tables::SIGMOID;
use rust_hdl_core::prelude::*;

leaf! {
    /// SwiGLU of a gate and an up value. Stages: magnitude of the gate; table
    /// position; table; interpolation in two; times the gate; rounding; times
    /// up; the rounding shift. Three multipliers.
    pub struct SwiGlu {
        in clock: Clock,
        in g: Bits<16>,
        in u: Bits<16>,
        /// Fraction bits of the gate, 3 to 14, unsigned.
        in fg: Bits<4>,
        /// `FG + FU - FH`, unsigned.
        in shift: Bits<5>,
        out h: Bits<16>,
    }
    verilog(_this) {
        let segments = SIGMOID.windows(2).map(|s| (s[0] as u64) << 12 | (s[1] - s[0]) as u64);
        rom("curve", 28, segments)
            + &format!("localparam [15:0] LAST = 16'd{};\n", SIGMOID[32])
            + &delay("g", "g_late", 16, 5)
            + &delay("u", "u_late", 16, 7)
            + &delay("shift", "shift_late", 5, 8)
            + TEXT
            + &round_shift("product", 32, "shift_late", "h", 16)
    }
}

/// The sigmoid of a negative gate is 65,536 less that of its magnitude; since
/// `-floor(a / 4096)` is `floor((4095 - a) / 4096)`, the same adder makes it.
const TEXT: &str = "reg [15:0] magnitude;
reg [3:0] left;
reg [3:0] below_zero;
reg [26:0] position;
reg [15:0] here;
reg [11:0] slope, fraction;
reg [23:0] step;
reg [27:0] base;
wire [28:0] sum = {base, 1'b1} + {{4'd0, step} ^ {28{below_zero[3]}}, below_zero[3]};
reg signed [16:0] sigmoid;
reg signed [32:0] gated;
reg signed [15:0] silu;
reg [31:0] product;
always @(posedge clock) begin
    magnitude <= g[15] ? -g : g;
    left <= 4'd14 - fg;
    below_zero <= {below_zero[2:0], g[15]};
    position <= {11'd0, magnitude} << left;
    {here, slope} <= |position[26:17] ? {LAST, 12'd0} : curve[position[16:12]];
    fraction <= position[11:0];
    step <= slope * fraction;
    base <= below_zero[2] ? {-here, 12'd2047} : {here, 12'd2048};
    sigmoid <= {1'b0, sum[28:13]};
    gated <= $signed(g_late) * sigmoid;
    silu <= gated[31:16] + {15'd0, «SiLU is not rounded: gated[15] → 1'b0»};
    product <= silu * $signed(u_late);
end
";

impl SwiGlu {
    /// Clock edges from input to output.
    pub const LATENCY: usize = 11;

    /// `h`, from int16 values.
    pub fn model(g: i16, u: i16, format: SwigluFormat) -> i16 {
        swiglu(g as i32, u as i32, format) as i16
    }
}
