use super::fragments::{left_justify, rom};
use crate::leaf;
use annulus_contract::sample::{noise, Key};
use annulus_contract::tables::GUMBEL;
use rust_hdl_core::prelude::*;

leaf! {
    /// Gumbel noise of symbol `i` at a step. Stages: eight rounds of the
    /// generator; leading zeros go, 16 and 8; 4 and 2; 1; table; product;
    /// interpolation. One multiplier.
    pub struct Gumbel {
        in clock: Clock,
        /// Low half of the key.
        in k0: Bits<32>,
        /// High half of the key.
        in k1: Bits<32>,
        in step: Bits<32>,
        in i: Bits<32>,
        /// 11 fraction bits.
        out noise: Bits<18>,
    }
    verilog(_this) {
        let segments = GUMBEL.windows(2).map(|s| (s[0] as u16 as u64) << 12 | (s[1] - s[0]) as u64 & 0xfff);
        // The second step of one is for r = 0, whose 32 zeros the others cannot all take.
        rounds()
            + &rom("octaves", 28, segments)
            + &left_justify("{y8, 1'b1}", "v_by_8", "eights", 33, &[16, 8])
            + "reg [32:0] roughly, nearly;\n"
            + &left_justify("roughly", "v_by_2", "twos", 33, &[4, 2])
            + &left_justify("nearly", "w", "ones", 33, &[1, 1])
            + TEXT
    }
}

/// From `step` and `i` to the random word `y8`. Each round uses one half of the
/// key, so the halves change places as they travel along.
fn rounds() -> String {
    let mut text = String::new();
    let (mut x, mut y) = ("step".to_owned(), "i".to_owned());
    let (mut key, mut other) = ("k0".to_owned(), "k1".to_owned());
    for round in 0..8 {
        let n = round + 1;
        text += &format!(
            "wire [31:0] mix{n} = ({{{x}[7:0], {x}[31:8]}} + {y}) ^ ({key} + 32'd{round});\n"
        );
        let mut register = |name: &str, value: String| {
            text +=
                &format!("reg [31:0] {name}{n};\nalways @(posedge clock) {name}{n} <= {value};\n");
            format!("{name}{n}")
        };
        y = register("y", format!("{{{y}[28:0], {y}[31:29]}} ^ mix{n}"));
        if round < 7 {
            x = register("x", format!("mix{n}"));
            let next = register("key", other);
            other = if round < 6 {
                register("other", key)
            } else {
                String::new()
            };
            key = next;
        }
    }
    text
}

const TEXT: &str = "reg [1:0] eights_late;
reg [3:0] steps;
wire [5:0] n = {1'b0, steps, 1'b0} + {5'd0, ones[1]} + {5'd0, ones[0]};
reg [2:0] segment;
reg [4:0] above, beyond;
reg [12:0] rest;
reg [15:0] here;
reg [11:0] slope;
reg [7:0] fraction;
reg signed [20:0] product;
reg [17:0] base;
wire [25:0] sum = {base, 8'd128} + {{5{product[20]}}, product};
always @(posedge clock) begin
    roughly <= v_by_8;
    eights_late <= eights;
    nearly <= v_by_2;
    steps <= {eights_late, twos};
    segment <= |n[5:3] ? 3'd7 : n[2:0];
    above <= |n[5:3] ? n[4:0] - 5'd7 : 5'd0;
    rest <= w[31:19];
    {here, slope} <= octaves[{~segment, rest[12:8]}];
    fraction <= rest[7:0];
    beyond <= above;
    product <= $signed(slope) * $signed({1'b0, fraction});
    base <= {{2{here[15]}}, here} + {2'd0, beyond, 11'd0};
    noise <= sum[25:8];
end
";

impl Gumbel {
    /// Clock edges from input to output.
    pub const LATENCY: usize = 14;

    /// The noise.
    pub fn model(key: Key, step: u32, i: u32) -> i32 {
        noise(key, step, i)
    }
}
