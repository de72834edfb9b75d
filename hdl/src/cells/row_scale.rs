use super::fragments::times_mu;
use crate::leaf;
use annulus_contract::stage::{is_legal_shift, m16};
use rust_hdl_core::prelude::*;

leaf! {
    /// Multiplier and shift of a matvec row, for [`Requantize`](super::Requantize).
    /// Two adders in a row each.
    pub struct RowScale {
        in clock: Clock,
        /// The norm's reciprocal root, unsigned, at most 32,768.
        in r: Bits<17>,
        /// The row's `mu - 5`, unsigned.
        in mu: Bits<2>,
        /// The row's exponent.
        in s: Bits<6>,
        /// The norm's `k`, unsigned.
        in k: Bits<5>,
        /// The input vector's exponent, unsigned.
        in e: Bits<5>,
        /// `15 - F_out + F_x`.
        in base: Bits<8>,
        /// `M16`, 0 to 32,768.
        out m: Bits<17>,
        /// `base + k + s - e`, unsigned.
        out sh: Bits<5>,
        /// `sh` lies outside 0 to 31; what stands at `sh` is its low bits.
        out illegal: bool,
    }
    verilog(_this) { times_mu(18) + TEXT }
}

const TEXT: &str = "reg [20:0] product;
reg [8:0] fixed;
reg [5:0] varying;
wire [8:0] sum = fixed + {{3{varying[5]}}, varying};
always @(posedge clock) begin
    product <= times_mu({1'b0, r}, mu);
    fixed <= {base[7], base} + {{3{s[5]}}, s};
    varying <= {1'b0, k} - {1'b0, e};
    m <= product[19:3] + {16'd0, «the multiplier of a row is not rounded: product[2] → 1'b0»};
    sh <= sum[4:0];
    illegal <= |sum[8:5];
end
";

impl RowScale {
    /// Clock edges from input to output.
    pub const LATENCY: usize = 2;

    /// `(m, sh, illegal)`; `mu` is 5 to 8.
    pub fn model(r: u16, mu: u8, s: i8, k: u8, e: u8, base: i8) -> (u16, u8, bool) {
        let sh = base as i32 + k as i32 + s as i32 - e as i32;
        (m16(r, mu), (sh & 31) as u8, !is_legal_shift(sh))
    }
}
