use super::fragments::rom;
use crate::leaf;
use annulus_contract::tables::SIN;
use annulus_contract::trig::sin;
use rust_hdl_core::prelude::*;

leaf! {
    /// Sine of a phase (2^32 = one turn), units of 2^-14. The cosine is that of
    /// a phase a quarter turn on. Stages: position in the quarter; table;
    /// product; interpolation.
    pub struct Sin {
        in clock: Clock,
        /// Unsigned.
        in phase: Bits<32>,
        /// -16,384 to 16,384.
        out y: Bits<16>,
    }
    verilog(_this) {
        let segments = SIN.windows(2).map(|s| (s[0] as u64) << 9 | (s[1] - s[0]) as u64);
        rom("quarter", 24, segments) + &format!("localparam [14:0] CREST = 15'd{};\n", SIN[64]) + TEXT
    }
}

/// `-floor(a / 256)` is `floor((255 - a) / 256)`: the lower half turn takes the
/// same adder.
const TEXT: &str = "reg [14:0] x;
reg [2:0] negative;
reg [14:0] here;
reg [8:0] slope;
reg [7:0] fraction;
reg [16:0] step;
reg [23:0] base;
wire [24:0] sum = {base, 1'b1} + {{7'd0, step} ^ {24{negative[2]}}, negative[2]};
always @(posedge clock) begin
    x <= {1'b0, phase[29:16] ^ {14{phase[30]}}} + {14'd0, phase[30] & ~|phase[15:0]};
    negative <= {negative[1:0], phase[31]};
    {here, slope} <= x[14] ? {CREST, 9'd0} : quarter[x[13:8]];
    fraction <= x[7:0];
    step <= slope * fraction;
    base <= negative[1] ? {-{1'b0, here}, 8'd127} : {1'b0, here, «the sine is not rounded: 8'd128 → 8'd0»};
    y <= sum[24:9];
end
";

impl Sin {
    /// Clock edges from input to output.
    pub const LATENCY: usize = 4;

    /// The sine.
    pub fn model(phase: u32) -> i16 {
        sin(phase) as i16
    }
}
