//! Boards on pseudo-terminals: what users see of the ones that work, and of what is none.

use crate::run::{command, ran, Ran};
use annulus_contract::shape::of_board;
use annulus_contract::wire::{encode, Answer, Head, Side, MAX_FRAME};
use annulus_model::interpret::Interpreter;
use annulus_sim::twin::blank_bitstream;
use annulus_test_board::{Fpga, Gate, Plugged, Slave, TestBoard};
use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// The user without rights.
const NOBODY: u32 = 65534;

/// A board whose core is that of the pico-ice, interpreted.
fn plugged(configured: bool) -> Plugged {
    let plugged = Plugged::new(move || {
        let core = of_board("pico-ice").expect("a board");
        let fpga = Fpga::new(configured);
        let wire = Slave::new(Interpreter::new(core));
        (TestBoard::new(fpga.clone()), Gate { wire, fpga })
    });
    plugged.expect("this system has pseudo-terminals")
}

fn annulus(line: &str, port: &str) -> Ran {
    let words = line.split_whitespace();
    ran(command().args(words).args(["--port", port]))
}

/// A call that must fail with this status, and with one sentence that says all of this.
#[track_caller]
fn fails(run: &Ran, status: i32, says: &[&str]) {
    assert_eq!(run.status, status, "{run:?}");
    let last = run.err.lines().last().unwrap_or_default();
    for word in says {
        assert!(last.contains(word), "{word:?} in {last:?}");
    }
}

#[test]
fn a_board_writes_what_this_processor_does() {
    let board = plugged(true);
    let line = "generate --model names --temperature 0.8 --seed 3 -n 200";
    let serial = annulus(&format!("{line} --backend serial"), board.path());
    // The core is the board's own, and so is the image; the text is the same.
    assert!(
        serial.err.contains("serial: decode 200 tokens"),
        "{serial:?}"
    );
    let text = serial.ok();
    let words = format!("{line} --backend cpu --board pico-ice");
    assert_eq!(ran(command().args(words.split_whitespace())).ok(), text);
    // A port that is named is one for auto, which says so.
    let auto = annulus(line, board.path());
    assert!(auto.err.contains("auto takes serial"), "{auto:?}");
    assert_eq!(auto.ok(), text);

    let verify = "verify --model names --backends serial,cpu --temperature 0.8 -n 60";
    assert!(annulus(verify, board.path())
        .ok()
        .contains("serial and cpu are equal"));
    let selftest = annulus("selftest --model names --backend serial", board.path());
    assert!(selftest.ok().contains("serial: passed"));
    let bench = annulus(
        "bench --model names --backend serial -n 16 --json",
        board.path(),
    );
    assert_eq!(bench.json()["tokens"], 16);
    let wide = annulus(
        "generate --model names --backend serial --lanes 64",
        board.path(),
    );
    fails(&wide, 1, &["64 lanes", "the core has 8"]);
}

#[test]
fn without_a_board_auto_says_what_it_takes() {
    let run = ran(command().args("generate --model names -n 3".split(' ')));
    assert!(
        run.err.contains("auto takes cpu: no board is plugged in"),
        "{run:?}"
    );
    let run = ran(command().args("generate --model names --backend serial".split(' ')));
    fails(
        &run,
        69,
        &[
            "no Annulus board is plugged in",
            "annulus devices",
            "--port",
        ],
    );
    let devices = ran(command().args(["devices", "--json"])).json();
    assert_eq!(devices["boards"].as_array().map(Vec::len), Some(0));
    assert!(ran(command().arg("devices"))
        .ok()
        .contains("no Annulus board"));
}

#[test]
fn ports_that_are_no_boards() {
    let line = "selftest --model names --backend serial";
    let started = Instant::now();
    fails(
        &annulus(line, "/dev/no-such-port"),
        69,
        &["no serial port /dev/no-such-port"],
    );
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().to_str().expect("a name");
    fails(
        &annulus(line, path),
        69,
        &["cannot be opened as a serial port"],
    );

    let silent = Plugged::stranger(|_| vec![]).expect("a terminal");
    fails(
        &annulus(line, silent.path()),
        76,
        &["nothing answers", silent.path()],
    );
    let chatty = Plugged::stranger(|_| b"login: \0 \xff\xfe\0".to_vec()).expect("a terminal");
    fails(&annulus(line, chatty.path()), 76, &["no Annulus board"]);
    let echo = Plugged::stranger(<[u8]>::to_vec).expect("a terminal");
    fails(&annulus(line, echo.path()), 76, &["no Annulus board"]);
    let newer = another_version();
    fails(
        &annulus(line, newer.path()),
        76,
        &["version 9", "version 2", "annulus flash"],
    );
    assert!(started.elapsed() < Duration::from_secs(60), "nothing hangs");
}

#[test]
fn a_port_that_is_not_the_users_names_the_group() {
    let board = plugged(true);
    let private = fs::Permissions::from_mode(0o000);
    fs::set_permissions(board.path(), private).expect("it is this test's own");
    let mut command = command();
    command.args("selftest --model names --backend serial --port".split(' '));
    command.arg(board.path());
    // Nothing is forbidden to root.
    if fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0) {
        command.uid(NOBODY).gid(NOBODY);
        if let Err(why) = command.output() {
            eprintln!("SKIPPED, nothing was tested: nobody may run {command:?}: {why}");
            return;
        }
    }
    fails(
        &ran(&mut command),
        77,
        &["no permission", "dialout", "usermod"],
    );
}

#[test]
fn a_port_belongs_to_one_program() {
    let board = plugged(true);
    let mut first = command()
        .args("generate --model names --backend serial -n 100000000 --port".split(' '))
        .arg(board.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut text = [0; 100];
    let out = first.stdout.as_mut().expect("its output");
    out.read_exact(&mut text).expect("it writes");
    let second = annulus("selftest --model names --backend serial", board.path());
    fails(&second, 69, &["in use by another program"]);

    // The plug is pulled in the middle of it. The program may have inherited this process' end of
    // the terminal, and then only hears nothing any more.
    drop(board);
    std::thread::spawn({
        let mut out = first.stdout.take().expect("its output");
        move || std::io::copy(&mut out, &mut std::io::sink())
    });
    let status = first.wait().expect("it ends");
    assert_eq!(status.code(), Some(74));
    let mut said = String::new();
    let err = first.stderr.as_mut().expect("its complaints");
    err.read_to_string(&mut said).expect("text");
    let told = ["was unplugged", "does not answer any more"];
    assert!(told.iter().any(|words| said.contains(words)), "{said}");
}

#[test]
fn flashing() {
    let board = plugged(false);
    let line = "generate --model names --backend serial";
    fails(
        &annulus(line, board.path()),
        1,
        &["not configured", "annulus flash --bitstream"],
    );
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("it is written");
        path.to_str().expect("a name").to_owned()
    };
    let other = file("ulx3s.bit", &ecp5());
    let run = annulus(&format!("flash --bitstream {other}"), board.path());
    fails(&run, 1, &["LFE5U-85F", "this board has an iCE40UP5K"]);
    let run = annulus(
        &format!("flash --bitstream {}", file("text", b"hello")),
        board.path(),
    );
    fails(&run, 1, &["no bitstream"]);
    let run = annulus("flash --bitstream x --board pico-ice", board.path());
    fails(&run, 1, &["the board on", "is a test"]);

    // Firmware goes to a file or to the right drive.
    let elf = file("firmware.elf", &elf());
    let to = folder.path().join("firmware.uf2");
    let words = format!("flash --firmware {elf} --to {}", to.display());
    let said = ran(command().args(words.split(' '))).ok();
    assert!(said.contains("for the RP2040"), "{said}");
    assert_eq!(fs::read(&to).expect("it is there").len(), 512);
    fs::create_dir(folder.path().join("drive")).expect("a folder");
    let drive = folder.path().join("drive");
    let words = format!("flash --firmware {elf} --to {}", drive.display());
    fails(&ran(command().args(words.split(' '))), 1, &["INFO_UF2.TXT"]);
    fs::write(drive.join("INFO_UF2.TXT"), "Board-ID: RP2350\r\n").expect("it is written");
    fails(
        &ran(command().args(words.split(' '))),
        1,
        &["another microcontroller"],
    );
    fs::write(drive.join("INFO_UF2.TXT"), "Board-ID: RPI-RP2\r\n").expect("it is written");
    let unseen = format!("{words} --wait 0");
    ran(command().args(unseen.split(' '))).ok();
    assert!(drive.join("annulus.uf2").is_file());
    let words = format!("flash --firmware {other} --to {}", to.display());
    fails(
        &ran(command().args(words.split(' '))),
        1,
        &["is no firmware"],
    );
}

/// A ULX3S is programmed with openFPGALoader: here one that only writes down what it is told.
#[test]
fn a_ulx3s_is_flashed_with_its_programmer() {
    let folder = tempfile::tempdir().expect("a folder");
    let bitstream = folder.path().join("ulx3s.bit");
    fs::write(&bitstream, ecp5()).expect("it is written");
    let flash = |more: &str| {
        let mut command = command();
        command.env("PATH", folder.path());
        command.args(["flash", "--board", "ulx3s", "--bitstream"]);
        ran(command.arg(&bitstream).args(more.split_whitespace()))
    };
    fails(
        &flash(""),
        1,
        &["openFPGALoader is not installed", "apt-get"],
    );

    let programmer = folder.path().join("openFPGALoader");
    let told = folder.path().join("told");
    let install = |script: String| {
        fs::write(&programmer, script).expect("it is written");
        fs::set_permissions(&programmer, fs::Permissions::from_mode(0o755)).expect("it may run");
    };
    install(format!("#!/bin/sh\necho \"$@\" > '{}'\n", told.display()));
    for (more, expected) in [("", "-b ulx3s"), ("--store", "-b ulx3s --write-flash")] {
        let said = flash(more).ok();
        assert!(said.contains("no serial port of a ULX3S"), "{said}");
        let heard = fs::read_to_string(&told).expect("it was called");
        assert_eq!(heard, format!("{expected} {}\n", bitstream.display()));
    }
    install("#!/bin/sh\nexit 3\n".into());
    fails(&flash(""), 1, &["openFPGALoader failed", "3"]);
    // What is not for its FPGA does not get as far as that.
    fs::write(&bitstream, blank_bitstream()).expect("it is written");
    fails(&flash(""), 1, &["iCE40UP5K", "LFE5U-85F"]);
    let run = flash("--store --model names");
    fails(&run, 1, &["a ULX3S keeps no images"]);
}

/// The other board of that kind has another name there, and its bitstream is the committed one.
#[test]
fn a_tang_nano_20k_is_flashed_with_its_programmer() {
    let folder = tempfile::tempdir().expect("a folder");
    let told = folder.path().join("told");
    let programmer = folder.path().join("openFPGALoader");
    let script = format!("#!/bin/sh\necho \"$@\" > '{}'\n", told.display());
    fs::write(&programmer, script).expect("it is written");
    fs::set_permissions(&programmer, fs::Permissions::from_mode(0o755)).expect("it may run");
    let flash = |bitstream: &Path| {
        let mut command = command();
        command.env("PATH", folder.path());
        command.args(["flash", "--board", "tang-nano-20k", "--bitstream"]);
        ran(command.arg(bitstream))
    };
    let bitstreams = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bitstreams");
    let own = bitstreams.join("tang-nano-20k/tang-nano-20k.fs.gz");
    let said = flash(&own).ok();
    assert!(said.contains("no serial port of a Tang Nano 20K"), "{said}");
    let heard = fs::read_to_string(&told).expect("it was called");
    assert_eq!(heard, format!("-b tangnano20k {}\n", own.display()));
    let other = flash(&bitstreams.join("ulx3s/ulx3s.bit"));
    fails(&other, 1, &["LFE5U-85F", "GW2A-18"]);
}

/// New firmware is there when it answers: its port comes late, not at all, or with something else.
#[test]
fn firmware_is_waited_for_until_its_board_answers() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    fs::write(path("firmware.elf"), elf()).expect("it is written");
    fs::write(path("INFO_UF2.TXT"), "Board-ID: RPI-RP2\r\n").expect("it is written");
    let flash = |port: &str, wait: u32| {
        let mut command = command();
        command
            .args(["flash", "--firmware"])
            .arg(path("firmware.elf"));
        command.arg("--to").arg(folder.path());
        command.args(["--port", port, "--wait", &wait.to_string()]);
        let run = ran(&mut command);
        assert!(run.out.contains("for the RP2040"), "{run:?}");
        assert!(run.err.contains("starts with its new firmware"), "{run:?}");
        run
    };
    let board = plugged(false);
    let port = path("ttyACM0");
    let late = std::thread::spawn({
        let (board, port) = (board.path().to_owned(), port.clone());
        move || {
            std::thread::sleep(Duration::from_secs(2));
            std::os::unix::fs::symlink(board, port).expect("a name for the port");
        }
    });
    let started = Instant::now();
    let said = flash(port.to_str().expect("a name"), 60).ok();
    late.join().expect("it is there");
    assert!(started.elapsed() >= Duration::from_secs(2));
    let version = env!("CARGO_PKG_VERSION");
    let sentence = format!("firmware {version} answers, version 2 of the protocol");
    assert!(said.contains(&sentence), "{said}");

    let started = Instant::now();
    let none = flash("/dev/no-such-port", 1);
    let says = [
        "the firmware is written",
        "in 1 s",
        "no serial port",
        "plug",
    ];
    fails(&none, 69, &says);
    let silent = Plugged::stranger(|_| vec![]).expect("a terminal");
    fails(
        &flash(silent.path(), 1),
        76,
        &["nothing answers", "--wait 0"],
    );
    let older = another_version();
    fails(&flash(older.path(), 60), 76, &["version 9", "version 2"]);
    assert!(started.elapsed() < Duration::from_secs(60), "nothing hangs");
    // What goes to a file is not waited for.
    let file = path("firmware.uf2");
    let mut command = command();
    command
        .args(["flash", "--firmware"])
        .arg(path("firmware.elf"));
    let run = ran(command.arg("--to").arg(&file));
    assert!(!run.err.contains("new firmware"), "{run:?}");
    assert!(run.ok().contains("firmware.uf2"));
}

#[test]
fn a_board_is_told_what_to_write_without_a_host() {
    let board = plugged(true);
    let store = "flash --store --model names --temperature 0.8 --seed 3";
    let said = annulus(store, board.path()).ok();
    assert!(
        said.contains("names: passed the self-test, and is stored"),
        "{said}"
    );
    assert!(said.contains("no bitstream is stored"), "{said}");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pico-ice.bin");
    fs::write(&path, blank_bitstream()).expect("it is written");
    let said = annulus(
        &format!("{store} --bitstream {}", path.display()),
        board.path(),
    )
    .ok();
    for sentence in [
        "a core of 8 lanes and 128 KiB answers",
        "the bitstream is stored",
        "the board starts anew and writes by itself",
    ] {
        assert!(said.contains(sentence), "{sentence:?} in {said:?}");
    }
    let said = annulus("flash --erase", board.path()).ok();
    assert!(said.contains("keeps nothing any more"), "{said}");
    let long = format!("flash --store --model names --prompt {}", "a".repeat(200));
    fails(
        &annulus(&long, board.path()),
        1,
        &["201 tokens", "keeps 128", "shorten"],
    );
    let run = annulus("flash --store --erase --model names", board.path());
    assert_eq!(run.status, 2);
}

/// A board whose firmware speaks version 9 of the protocol.
fn another_version() -> Plugged {
    let board = Plugged::stranger(|heard| {
        if heard.is_empty() {
            return vec![];
        }
        let head = Head {
            version: 9,
            session: 1,
            sequence: 1,
        };
        let mut frame = [0; MAX_FRAME];
        let length = encode(Side::Board, head, &Answer::Done, &mut frame).expect("it fits");
        frame[..length].to_vec()
    });
    board.expect("a terminal")
}

#[test]
fn a_twin_writes_what_this_processor_does() {
    let line = "generate --model names --temperature 0.8 --seed 3 -n 24 --backend";
    let run = |words: String| ran(command().args(words.split_whitespace()));
    let twin = run(format!("{line} twin"));
    let missing = [
        "found: install Node",
        "rp2040js",
        "no firmware for the twin",
    ];
    if missing.iter().any(|what| twin.err.contains(what)) {
        eprintln!("SKIPPED, nothing was tested: {}", twin.err);
        return;
    }
    assert_eq!(twin.ok(), run(format!("{line} cpu --board pico-ice")).ok());
}

#[test]
fn a_twin_without_node_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let firmware = folder.path().join("firmware.elf");
    fs::write(&firmware, elf()).expect("it is written");
    let twin = |node: &str| {
        let mut command = command();
        command
            .env("ANNULUS_NODE", node)
            .args(["twin", "--firmware"]);
        ran(command.arg(&firmware))
    };
    let without = twin("/no/such/node");
    fails(&without, 1, &["Node", "was not found", "ANNULUS_NODE"]);
    assert_eq!(without.err.lines().count(), 1, "{without:?}");
    fs::write(&firmware, "no ELF").expect("it is written");
    fails(&twin("/no/such/node"), 1, &["not firmware for an RP2040"]);
}

/// As little of an ECP5-85F's bitstream as there can be.
fn ecp5() -> Vec<u8> {
    let mut file = b"\xff\0Part: LFE5U-85F-6CABGA381\0\xff\xff\xff\xbd\xb3".to_vec();
    file.extend([0xff, 0xff, 0xff, 0xff, 0x3b, 0, 0, 0, 0xe2, 0, 0, 0]);
    file.extend([0x41, 0x11, 0x30, 0x43, 0x5e, 0, 0, 0]);
    file
}

/// An ELF for Arm with four bytes of flash.
fn elf() -> Vec<u8> {
    let mut file = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x28\0".to_vec();
    file.extend(
        [1u32, 0x1000_0101, 52, 0, 0]
            .iter()
            .flat_map(|w| w.to_le_bytes()),
    );
    file.extend([52, 0, 32, 0, 1, 0]);
    file.resize(52, 0);
    let header = [1u32, 84, 0x1000_0000, 0x1000_0000, 4, 4, 5, 4];
    file.extend(header.iter().flat_map(|w| w.to_le_bytes()));
    file.extend([1, 2, 3, 4]);
    file
}
