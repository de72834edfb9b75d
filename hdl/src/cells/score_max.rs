use crate::leaf;
use rust_hdl_core::prelude::*;

leaf! {
    /// The largest of `N` scores (16 at most): a tree with three registers.
    /// `N16` is `16 N`.
    ///
    /// Inside, a score is offset binary, so that what is not valid can be 0.
    pub struct ScoreMax<const N: usize, const N16: usize> {
        in clock: Clock,
        /// `N` int16, the first in the low bits.
        in s: Bits<N16>,
        /// A bit a score.
        in valid: Bits<N>,
        /// -32,768 where there is no score.
        out max: Bits<16>,
        /// At least one score was valid.
        out any: bool,
    }
    verilog(_this) { tree(N) }
}

/// Levels of the tree that end in a register. Up to 16 scores have four.
const REGISTERS: [usize; 3] = [1, 2, 4];

fn tree(scores: usize) -> String {
    let mut text = "function [15:0] larger(input [15:0] a, input [15:0] b);
    larger = a > b ? a : b;
endfunction
"
    .to_owned();
    let mut row: Vec<String> = (0..scores)
        .map(|i| {
            // rust-hdl makes a port of one bit a scalar.
            let valid = if scores == 1 {
                "valid".into()
            } else {
                format!("valid[{i}]")
            };
            text += &format!(
                "wire [15:0] s{i} = {{~s[{}], s[{}:{}]}} & {{16{{{valid}}}}};\n",
                16 * i + 15,
                16 * i + 14,
                16 * i
            );
            format!("s{i}")
        })
        .collect();
    for level in 1..=4 {
        row = row
            .chunks(2)
            .enumerate()
            .map(|(i, pair)| {
                let name = format!("max{level}_{i}");
                let value = match pair {
                    [a, b] => format!("larger({a}, {b})"),
                    _ => pair.concat(),
                };
                text += &if REGISTERS.contains(&level) {
                    format!("reg [15:0] {name};\nalways @(posedge clock) {name} <= {value};\n")
                } else {
                    format!("wire [15:0] {name} = {value};\n")
                };
                name
            })
            .collect();
    }
    text + "reg any1, any2;
always @(posedge clock) {any, any2, any1} <= {any2, any1, |valid};
always @(*) max = {~max4_0[15], max4_0[14:0]};
"
}

impl<const N: usize, const N16: usize> ScoreMax<N, N16> {
    /// Clock edges from input to output.
    pub const LATENCY: usize = 3;

    /// The largest of the valid scores.
    pub fn model(s: impl IntoIterator<Item = i16>) -> Option<i16> {
        s.into_iter().max()
    }
}
