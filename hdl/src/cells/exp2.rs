use super::fragments::rom;
use crate::leaf;
use annulus_contract::exp2::{exp2p, DEPTH};
use rust_hdl_core::prelude::*;

leaf! {
    /// Probability of a score `s` below the largest score `m`: their distance,
    /// then a table.
    pub struct Exp2 {
        in clock: Clock,
        in m: Bits<16>,
        /// At most `m` where `valid`.
        in s: Bits<16>,
        in valid: bool,
        /// 0 to 127, and 0 where not `valid`.
        out p: Bits<8>,
    }
    verilog(_this) { rom("table_of_p", 7, (0..DEPTH as usize).map(|d| exp2p(d as u32) as u64)) + TEXT }
}

const TEXT: &str = "wire [16:0] distance = {m[15], m} - {s[15], s};
reg [7:0] d;
reg nonzero;
always @(posedge clock) begin
    d <= distance[7:0];
    nonzero <= valid & «a score far below the maximum counts as a near one: ~|distance[16:8] → 1'b1»;
    p <= nonzero ? {1'b0, table_of_p[d]} : 8'd0;
end
";

impl Exp2 {
    /// Clock edges from input to output.
    pub const LATENCY: usize = 2;

    /// The probability of score `s`, and 0 where there is none.
    pub fn model(m: i16, s: Option<i16>) -> u8 {
        s.map_or(0, |s| exp2p((m as i32 - s as i32) as u32) as u8)
    }
}
