use super::fragments::{delay, round_shift, times_mu};
use crate::leaf;
use annulus_contract::block::Scale;
use annulus_contract::stage::{is_legal_shift, score};
use rust_hdl_core::prelude::*;

leaf! {
    /// A score from the dot product of a query and a key: times both `mu`, an
    /// adder each, then the rounding shift. No multiplier.
    pub struct Score {
        in clock: Clock,
        in d: Bits<24>,
        /// The query's `mu - 5`, unsigned.
        in muq: Bits<2>,
        /// The key's `mu - 5`, unsigned.
        in muk: Bits<2>,
        in sh: Bits<7>,
        out s: Bits<16>,
        /// `sh` lies outside 0 to 31; then nothing is promised of `s`.
        out illegal: bool,
    }
    verilog(_this) {
        times_mu(27) + &delay("sh", "sh_late", 7, 2) + TEXT + &round_shift("both", 30, "sh_late", "s", 16)
    }
}

const TEXT: &str = "reg [26:0] once;
reg [29:0] both;
reg [1:0] muk_late, bad;
wire [29:0] by_query = times_mu({{3{d[23]}}, d}, muq);
always @(posedge clock) begin
    once <= by_query[26:0];
    muk_late <= muk;
    both <= times_mu(once, «the key's multiplier comes a cycle early: muk_late → muk»);
    {illegal, bad} <= {bad, |sh_late[6:5]};
end
";

impl Score {
    /// Clock edges from input to output.
    pub const LATENCY: usize = 5;

    /// The score at a legal shift, else `None`; both `mu` are 5 to 8.
    pub fn model(d: i32, muq: u8, muk: u8, sh: i8) -> Option<i16> {
        let scale = |mu| Scale { e: 0, mu };
        is_legal_shift(sh as i32).then(|| score(d, scale(muq), scale(muk), sh as i32) as i16)
    }
}
