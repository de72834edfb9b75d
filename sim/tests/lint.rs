//! Verilator's `-Wall` on every core: what it may say, and why.

use annulus_contract::shape;
use annulus_contract::shape::CoreShape;
use annulus_sim::verilated::{lint, Warning};

/// A kind of warning that is accepted, where its message contains the second text.
const ACCEPTED: [(&str, &str); 7] = [
    // Every unit that asks for a step's kind gets the names of all.
    ("UNUSEDPARAM", ""),
    // Units take a whole bus and use the fields they know, a memory the address bits that its
    // depth needs, and a rounding shift drops the bits below the point.
    ("UNUSEDSIGNAL", "Bits of "),
    // Cells have outputs that one unit or another leaves open.
    ("UNUSEDSIGNAL", "'largest$any'"),
    // The fragment that counts leading zeros also shifts them out.
    ("UNUSEDSIGNAL", "'justified'"),
    // The folded core: a mask by a parameter, a loop's index beside a byte's address, and a
    // difference that is one bit wider than what it is made of.
    ("WIDTHCONCAT", "Unsized numbers/parameters not allowed"),
    ("WIDTHEXPAND", "Operator EQ expects 32 bits on the LHS"),
    ("WIDTHEXPAND", "Operator ADD expects 33 bits"),
];

fn is_accepted(warning: &Warning) -> bool {
    ACCEPTED
        .iter()
        .any(|(code, text)| warning.code == *code && warning.message.contains(text))
}

fn check(name: &str, shape: &CoreShape) {
    let verilog = annulus_hdl::core_verilog(shape).expect("a preset with a core");
    let all = lint(&verilog).expect("Verilator accepts the core");
    assert!(
        !all.is_empty(),
        "{name}: some accepted warnings are certain; were none read?"
    );
    let unexpected: Vec<_> = all
        .iter()
        .filter(|w| !is_accepted(w))
        .map(ToString::to_string)
        .collect();
    assert!(unexpected.is_empty(), "{name}:\n{}", unexpected.join("\n"));
}

#[test]
fn simulated_cores_are_clean() {
    for lanes in [8, 16, 48, 64, 128] {
        let shape = shape::with_lanes(lanes).expect("a preset");
        check(&format!("{lanes} lanes"), &shape);
        if shape.with_nibbles() != shape {
            check(&format!("{lanes} lanes, nibbles"), &shape.with_nibbles());
        }
    }
}

#[test]
fn the_cores_for_boards_are_clean() {
    for board in ["pico-ice", "ulx3s", "tang-nano-20k"] {
        check(board, &shape::of_board(board).expect("a board"));
    }
}

#[test]
fn a_width_that_does_not_fit_is_no_accepted_warning() {
    let verilog = "module top(input clock, input [7:0] a, output reg [3:0] y);
        always @(posedge clock) y <= a;
    endmodule";
    let all = lint(verilog).expect("Verilator accepts it");
    assert!(
        all.iter()
            .any(|w| w.code == "WIDTHTRUNC" && !is_accepted(w)),
        "{all:?}"
    );
}
