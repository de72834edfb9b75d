//! Pieces of Verilog that several cells share.

/// A function `round_sat`: a signed number of `from` bits and one more below
/// the point, rounded and saturated to `to` bits.
///
/// What lies outside before rounding stays outside, or comes to lie on the end
/// that it is clamped to anyway; inside, only the largest value cannot go up.
/// So the adder is no wider than the result and does not wait for the clamp.
pub(super) fn round_sat(from: usize, to: usize) -> String {
    let (same, fill, result) = (from - to + 1, to - 1, to - 1);
    format!(
        "function [{result}:0] round_sat(input [{from}:0] value);
    round_sat = value[{from}:{to}] != {{{same}{{value[{from}]}}}} | value[{to}:1] == {{1'b0, {{{fill}{{1'b1}}}}}}
        ? {{value[{from}], {{{fill}{{~value[{from}]}}}}}} : value[{to}:1] + {{{fill}'d0, «a result is truncated where it should be rounded: value[0] → 1'b0»}};
endfunction
"
    )
}

/// A function `times_mu`: a signed number of `bits` bits times `mu`, whose code
/// is `mu - 5`, in three more bits.
///
/// 5a = 4a + a, 6a = 4a + 2a, 7a = 8a - a and 8a = 4a + 4a, in one adder: the
/// column below the point makes the carry that a subtraction needs.
pub(super) fn times_mu(bits: usize) -> String {
    let (a, y, sum) = (bits - 1, bits + 2, bits + 3);
    format!(
        "function [{y}:0] times_mu(input [{a}:0] a, input [1:0] code);
    reg [{y}:0] wide, most, rest;
    reg [{sum}:0] sum;
    begin
        wide = {{{{3{{a[{a}]}}}}, a}};
        most = code == 2'd2 ? wide << 3 : wide << 2;
        case (code)
            2'd0: rest = wide;
            2'd1: rest = wide << 1;
            2'd2: rest = ~wide;
            2'd3: rest = wide << 2;
        endcase
        sum = {{most, 1'b1}} + {{rest, code == 2'd2}};
        times_mu = sum[{sum}:1];
    end
endfunction
"
    )
}

/// A read-only memory `name`, from entry 0 on. It stays out of the block RAMs,
/// which are slow to read and belong to the weights.
pub(super) fn rom(
    name: &str,
    entry_bits: usize,
    entries: impl ExactSizeIterator<Item = u64>,
) -> String {
    let (top, last) = (entry_bits - 1, entries.len() - 1);
    let mut text =
        format!("(* rom_style = \"logic\" *) reg [{top}:0] {name} [0:{last}];\ninitial begin\n");
    for (i, entry) in entries.enumerate() {
        text += &format!("    {name}[{i}] = {entry_bits}'h{entry:x};\n");
    }
    text + "end\n"
}

/// A wire `to` that follows `from` by `edges` clock edges.
pub(super) fn delay(from: &str, to: &str, bits: usize, edges: usize) -> String {
    let (top, last) = (bits * edges - 1, bits * (edges - 1));
    let shifted = match edges {
        1 => from.to_owned(),
        _ => format!("{{{to}_line[{}:0], {from}}}", last - 1),
    };
    format!(
        "reg [{top}:0] {to}_line;
always @(posedge clock) {to}_line <= {shifted};
wire [{}:0] {to} = {to}_line[{top}:{last}];
",
        bits - 1
    )
}

/// Shifts out leading zeros: where the first `step` bits are zero they go, for
/// every step in turn. Wires `to`, as wide as `from`, and `taken`, a bit a step.
///
/// Steps are multiples of the last. Whether a group of so many bits holds a one is found
/// for all groups at once; what is decided then waits for no wide OR.
pub(super) fn left_justify(
    from: &str,
    to: &str,
    taken: &str,
    bits: usize,
    steps: &[usize],
) -> String {
    let (top, last, unit) = (bits - 1, steps.len() - 1, steps[steps.len() - 1]);
    let groups = bits.div_ceil(unit);
    let highest = groups - 1;
    let mut text = format!(
        "wire [{last}:0] {taken};\nwire [{top}:0] {to}_0 = {from};\nwire [{highest}:0] {to}_any_0;\n"
    );
    for group in 0..groups {
        let above = bits - unit * group;
        let low = above.saturating_sub(unit);
        text += &format!(
            "assign {to}_any_0[{}] = |{to}_0[{}:{low}];\n",
            highest - group,
            above - 1
        );
    }
    for (i, step) in steps.iter().enumerate() {
        let (bit, low, y) = (last - i, bits - step, i + 1);
        let few = step / unit;
        let rest = groups - few;
        text += &format!(
            "assign {taken}[{bit}] = ~|{to}_any_{i}[{highest}:{rest}];
wire [{top}:0] {to}_{y} = {taken}[{bit}] ? {{{to}_{i}[{}:0], {step}'d0}} : {to}_{i};
",
            low - 1
        );
        if i < last {
            text += &format!(
                "wire [{highest}:0] {to}_any_{y} = {taken}[{bit}] ? {{{to}_any_{i}[{}:0], {few}'d0}} : {to}_any_{i};\n",
                rest - 1
            );
        }
    }
    text + &format!("wire [{top}:0] {to} = {to}_{};\n", steps.len())
}

/// `y <= sat(rshr(x, sh), y_bits)` for a shift of 0 to 31, three edges: shift by
/// eights, keeping a bit below the point; shift by ones; round and saturate.
///
/// The shift by ones is of 7 at most. What needs more than `y_bits + 7` bits
/// before it can only saturate, so that shifter is no wider.
pub(super) fn round_shift(x: &str, x_bits: usize, sh: &str, y: &str, y_bits: usize) -> String {
    let window = y_bits + 7;
    let (above, sign) = (x_bits - window + 1, y_bits - 1);
    round_sat(window, y_bits)
        + &format!(
            "reg [{x_bits}:0] coarse;
reg [2:0] ones;
reg [{window}:0] fine;
reg beyond, negative;
always @(posedge clock) begin
    coarse <= $signed({{{x}, 1'b0}}) >>> {{{sh}[4:3], 3'd0}};
    ones <= {sh}[2:0];
    fine <= $signed(coarse[{window}:0]) >>> ones;
    beyond <= coarse[{x_bits}:{window}] != {{{above}{{coarse[{x_bits}]}}}};
    negative <= coarse[{x_bits}];
    {y} <= beyond ? {{negative, {{{sign}{{~negative}}}}}} : round_sat(fine);
end
"
        )
}
