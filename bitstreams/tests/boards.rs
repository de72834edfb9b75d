//! The committed bitstreams, and what makes a build fail.

use annulus_bitstreams::board::{self, BOARDS};
use annulus_bitstreams::flow::{self, FlowError, Job};
use annulus_bitstreams::{build, check, folder, pins, sha256};
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
#[ignore = "no bitstream is committed yet: place and route has not been seen to close timing"]
fn the_committed_bitstreams_are_current() {
    for board in BOARDS {
        let manifest = check(&root(), &board).unwrap_or_else(|error| panic!("{error}"));
        assert!(manifest
            .fmax_mhz
            .values()
            .all(|&fmax| fmax >= manifest.clock_mhz));
        let file =
            std::fs::read(folder(&root(), &board).join(board.bitstream())).expect("it is there");
        assert_eq!(file.len(), 104_090, "the size of an iCE40UP5K's bitstream");
        // Registers in block RAM and LUTs beside carries take more cells than yosys' LUTs.
        assert!(manifest.lut4 <= 4_700, "{} LUTs", manifest.lut4);
        for (cells, most) in [
            ("ICESTORM_RAM", 30),
            ("ICESTORM_DSP", 8),
            ("ICESTORM_SPRAM", 4),
            ("ICESTORM_LC", 5_280),
        ] {
            let used = manifest.resources[cells];
            assert!(
                used.used <= most && used.available == most,
                "{cells}: {used:?}"
            );
        }
    }
}

#[test]
fn pins_are_those_of_the_netlist() {
    let board = board::named("pico-ice").expect("a board");
    let text = std::fs::read_to_string(folder(&root(), &board).join("pins.pcf")).expect("pins");
    let pins = pins::parse(&text).expect("no conflict");
    let expected = [
        ("clock", "35"),
        ("miso", "26"),
        ("cs", "23"),
        ("sck", "20"),
        ("mosi", "18"),
        ("led_green", "39"),
        ("led_blue", "40"),
        ("led_red", "41"),
    ];
    assert_eq!(pins.len(), expected.len());
    for (port, pin) in expected {
        assert_eq!(pins[port], pin, "{port}");
    }
}

#[test]
fn a_board_without_a_bitstream_is_refused() {
    let error = board::named("ulx4s")
        .expect_err("no such board")
        .to_string();
    assert!(
        error.starts_with("no bitstream is built for ulx4s: boards are pico-ice"),
        "{error}"
    );
}

/// Registers between two pins, enough to need routing.
const CHAIN: &str = "module top(input clock, input a, output reg q);
    reg [31:0] sum, last;
    always @(posedge clock) begin
        last <= {last[30:0], a};
        sum <= sum * 32'd3 + last;
        q <= ^sum;
    end
endmodule";
const CHAIN_PINS: &str = "set_io clock 35\nset_io a 18\nset_io q 26\n";

fn job<'a>(tools: &'a Path, pins: &'a str, megahertz: f64) -> Job<'a> {
    Job {
        tools,
        verilog: CHAIN,
        pins,
        megahertz,
        goal: megahertz,
        seed: 1,
        work: None,
    }
}

fn tools() -> PathBuf {
    root().join(".tools/venv/bin")
}

#[test]
fn a_pin_conflict_is_one_clear_sentence() {
    let conflict = CHAIN_PINS.replace("q 26", "q 18");
    let error = flow::run(&job(&tools(), &conflict, 10.0), &mut |_| ())
        .err()
        .expect("a conflict");
    assert_eq!(error.to_string(), "pin 18 is given to two ports, a and q");
}

#[test]
fn a_clock_that_is_too_fast_is_one_clear_sentence() {
    let tools = tools();
    let error = flow::run(&job(&tools, CHAIN_PINS, 400.0), &mut |_| ())
        .err()
        .expect("too fast");
    let FlowError::Timing {
        wanted, reached, ..
    } = &error
    else {
        panic!("{error}");
    };
    assert!(
        *wanted == 400.0 && *reached > 5.0 && *reached < 300.0,
        "{error}"
    );
    let text = error.to_string();
    assert!(
        text.starts_with("a clock of 400 MHz is too fast: the slowest path, from ")
            && !text.contains('\n'),
        "{text}"
    );
    flow::run(&job(&tools, CHAIN_PINS, 10.0), &mut |_| ())
        .map(drop)
        .expect("10 MHz are enough");
}

#[test]
#[ignore = "no bitstream is committed yet; then two runs of place and route"]
fn two_builds_give_the_committed_bitstream() {
    for board in BOARDS {
        let manifest = check(&root(), &board).unwrap_or_else(|error| panic!("{error}"));
        for _ in 0..2 {
            let out = tempfile::tempdir().expect("a folder");
            let built = build(
                &root(),
                &board,
                board.megahertz,
                out.path(),
                None,
                &mut |_| (),
            );
            let built = built.unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(built.bitstream_sha256, manifest.bitstream_sha256);
            let file = std::fs::read(out.path().join(board.bitstream())).expect("it was written");
            assert_eq!(sha256(&file), manifest.bitstream_sha256);
        }
    }
}
