//! Bad input: one sentence that says what is wrong and what to do, status 1, and
//! never a panic.

use crate::run::{annulus, command, data, line, ran, Ran};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

#[track_caller]
fn refused(run: &Ran, parts: &[&str]) {
    let sentence = run.sentence();
    for part in parts {
        assert!(sentence.contains(part), "{part:?} is not in: {sentence}");
    }
    assert!(run.out.is_empty(), "nothing was written: {}", run.out);
}

#[test]
fn numbers_out_of_range() {
    let of = |words: &str| line(&format!("generate --model names {words}"));
    refused(&of("--window 0"), &["window of 0", "1 to 1024"]);
    refused(&of("--window 1025"), &["window of 1025", "1 to 1024"]);
    refused(&of("--sinks 16"), &["16 sinks", "window of 16"]);
    refused(&of("--window 4 --sinks 9"), &["9 sinks", "window of 4"]);
    refused(&of("-n 0"), &["-n must be at least 1"]);
    refused(
        &line("verify --model names -n 0"),
        &["-n must be at least 1"],
    );
    refused(
        &line("bench --model names -n 0"),
        &["-n must be at least 1"],
    );
    refused(&of("--temperature -1"), &["temperature of -1", "from 0 up"]);
    refused(&of("--temperature nan"), &["NaN", "from 0 up"]);
    refused(&of("--temperature inf"), &["inf", "from 0 up"]);
    refused(&of("--temperature 0.001"), &["0.001", "use 0, or 0.023"]);
    refused(
        &line("verify --model names --temperature -0.5"),
        &["from 0 up"],
    );
    refused(
        &line("bench --model names --temperature -0.5"),
        &["from 0 up"],
    );
    refused(&of("--top-k 0"), &["top-k of 0", "use 1 or more"]);
    refused(&of("--top-p 0"), &["top-p of 0", "up to 1"]);
    refused(&of("--top-p 1.5"), &["top-p of 1.5"]);
    refused(&of("--top-p nan"), &["top-p of NaN"]);
    refused(
        &line("eval --model names --tokens 0 --text Cargo.toml"),
        &["--tokens must be at least 1"],
    );
}

#[test]
fn weights_that_a_core_or_an_image_has_not() {
    let four = |words: &str| line(&format!("generate --model names --weight-bits 4 {words}"));
    refused(
        &four("--board ulx3s --backend sim"),
        &["this core has no 4-bit weights", "--weight-bits 8"],
    );
    let folder = tempfile::tempdir().expect("a folder");
    let image = folder.path().join("four.annulus");
    let image = image.display();
    line(&format!(
        "quantize --model names --weight-bits 4 --out {image}"
    ))
    .ok();
    // Its own weights, or none named, are no error.
    let text = line(&format!("generate --model {image} --backend cpu -n 20")).ok();
    assert_eq!(four("--backend cpu -n 20").ok(), text);
    refused(
        &line(&format!("generate --model {image} --weight-bits 8")),
        &["weights have 4 bits already", "--weight-bits 8"],
    );
    for core in ["--lanes 8", "--board ulx3s"] {
        refused(
            &line(&format!(
                "generate --model names --value-bits 4 --backend sim {core}"
            )),
            &["this core has no rings of 4-bit values", "--value-bits 8"],
        );
    }
    refused(
        &line(&format!("generate --model {image} --value-bits 4")),
        &["values have 8 bits already", "--value-bits 4"],
    );
    let run = line("generate --model names --weight-bits 5");
    assert_eq!(run.status, 2, "{}", run.err);
}

#[test]
fn prompts_that_are_not_text() {
    let prompt = OsStr::from_bytes(b"emm\xff");
    let run = ran(command()
        .args(["generate", "--model", "names", "--prompt"])
        .arg(prompt));
    refused(&run, &["not UTF-8", "byte 3"]);
    let run = annulus(&["generate", "--model", "names", "--prompt", "zoé"]);
    refused(&run, &["no symbol for 'é'", "abcdefghijklmnopqrstuvwxyz"]);
}

#[test]
fn models_that_are_not_there() {
    refused(
        &line("generate --model nobody"),
        &[
            "\"nobody\"",
            "names ships with annulus",
            "annulus fetch stories260K",
        ],
    );
    refused(&line("generate --model src"), &["src/config.json"]);
    let empty = tempfile::tempdir().expect("a folder");
    let run = ran(command()
        .env("ANNULUS_CACHE", empty.path())
        .env_remove("ANNULUS_DATA")
        .args(["generate", "--model", "stories260K"]));
    refused(&run, &["not on this machine", "annulus fetch stories260K"]);
    refused(&line("fetch nobody"), &["\"nobody\"", "stories260K"]);
}

#[test]
fn backends_that_are_not_there() {
    refused(
        &line("generate --model names --backend fpga"),
        &["\"fpga\"", "auto, cpu, sim"],
    );
    refused(
        &line("verify --model names --backends sim,fpga"),
        &["\"fpga\""],
    );
    refused(
        &line("verify --model names --backends cpu"),
        &["two backends"],
    );
    refused(&line("flash"), &["nothing to flash"]);
}

#[test]
fn files_that_cannot_be_written_or_read() {
    let run = line("quantize --model names --out no/such/folder/x");
    refused(&run, &["cannot write no/such/folder/x"]);
    refused(
        &line("verilog --out no/such/folder/x"),
        &["cannot write no/such/folder/x"],
    );
    refused(
        &line("eval --model names --text no-such-text"),
        &["cannot read no-such-text"],
    );
    refused(
        &line("generate --model names --backend cpu --trace x.vcd"),
        &["cpu", "no trace"],
    );
    refused(
        &line("generate --model names --backend sim --trace x.txt"),
        &[".vcd or .fst"],
    );
    let run =
        line("generate --model names --backend sim --lanes 16 -n 1 --trace no/such/folder/x.vcd");
    refused(&run, &["no/such/folder/x.vcd"]);
}

#[test]
fn models_too_large_for_a_core() {
    let Some(_) = data("stories260K.bin") else {
        return;
    };
    let of = |words: &str| line(&format!("generate --model stories260K {words}"));
    refused(
        &of("--board ulx3s --window 512"),
        &["KiB short", "window of at most"],
    );
    refused(
        &of("--board pico-ice --window 1"),
        &["wide memory", "128 KiB short"],
    );
    refused(
        &of("--backend sim --window 1000 --lanes 16"),
        &["short", "window of at most"],
    );
}

/// A checkpoint or image, and a call that reads it.
fn damaged(folder: &Path, name: &str, bytes: &[u8], tokenizer: Option<&Path>) -> Ran {
    let path = folder.join(name);
    fs::write(&path, bytes).expect("a file");
    let mut words = vec![PathBuf::from("inspect"), "--model".into(), path];
    words.extend(
        tokenizer
            .into_iter()
            .flat_map(|t| ["--tokenizer".into(), t.into()]),
    );
    annulus(&words)
}

#[test]
fn damaged_images() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("names.annulus");
    line(&format!("quantize --model names --out {}", path.display())).ok();
    let image = fs::read(&path).expect("an image");
    for length in [8, 12, 16, 100, image.len() / 2, image.len() - 1] {
        let run = damaged(folder.path(), "short", &image[..length], None);
        refused(&run, &["short: the image "]);
    }
    for byte in (8..image.len()).step_by(image.len() / 40) {
        for bit in [0, 7] {
            let mut flipped = image.clone();
            flipped[byte] ^= 1 << bit;
            refused(
                &damaged(folder.path(), "flipped", &flipped, None),
                &["flipped: the image "],
            );
        }
    }
    let mut long = image.clone();
    long.push(0);
    refused(
        &damaged(folder.path(), "long", &long, None),
        &["long: the image says it has"],
    );
    refused(&damaged(folder.path(), "empty", b"", None), &["empty: "]);
}

#[test]
fn damaged_checkpoints() {
    let (Some(checkpoint), Some(tokenizer)) = (data("stories260K.bin"), data("tok512.bin")) else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let bytes = fs::read(checkpoint).expect("a checkpoint");
    for length in [0, 5, 27, 28, 1000, bytes.len() / 2, bytes.len() - 4] {
        let run = damaged(
            folder.path(),
            "short.bin",
            &bytes[..length],
            Some(&tokenizer),
        );
        refused(&run, &["short.bin: ", "truncated"]);
    }
    // The header's numbers, one after the other; then a weight that is no number.
    for field in 0..7 {
        let mut flipped = bytes.clone();
        flipped[4 * field + 3] ^= 0x40;
        refused(
            &damaged(folder.path(), "flipped.bin", &flipped, Some(&tokenizer)),
            &["flipped.bin: "],
        );
    }
    let mut nan = bytes.clone();
    nan[4028..4032].copy_from_slice(&f32::NAN.to_le_bytes());
    refused(
        &damaged(folder.path(), "nan.bin", &nan, Some(&tokenizer)),
        &["nan.bin: ", "[1000] is NaN"],
    );
    let mut long = bytes;
    long.extend([0; 4]);
    refused(
        &damaged(folder.path(), "long.bin", &long, Some(&tokenizer)),
        &["long.bin: "],
    );
}

#[test]
fn wrong_tokenizers() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = folder.path().join("tokenizer.bin");
    fs::write(&text, "not a tokenizer at all").expect("a file");
    let words = ["generate", "--model", "names", "--tokenizer"].map(OsStr::new);
    refused(
        &ran(command().args(words).arg(&text)),
        &["holds its own tokenizer"],
    );
    let (Some(checkpoint), Some(_)) = (data("stories260K.bin"), data("tok512.bin")) else {
        return;
    };
    let with = |tokenizer: &Path| {
        ran(command()
            .args(["generate", "--model"])
            .arg(&checkpoint)
            .arg("--tokenizer")
            .arg(tokenizer))
    };
    refused(&with(&text), &["tokenizer.bin: the tokenizer"]);
    refused(
        &with(&folder.path().join("none.bin")),
        &["cannot read", "none.bin"],
    );
    let alone = folder.path().join("alone");
    fs::create_dir(&alone).expect("a folder");
    fs::copy(&checkpoint, alone.join("stories.bin")).expect("a copy");
    let run = ran(command()
        .args(["generate", "--model"])
        .arg(alone.join("stories.bin")));
    refused(&run, &["needs its tokenizer", "tok*.bin"]);
}

#[test]
fn wrong_command_lines_end_with_2() {
    for words in [
        "",
        "generate",
        "generate --model names --lanes 32",
        "generate --model names -n x",
        "sing",
    ] {
        let run = line(words);
        assert_eq!(run.status, 2, "{words}: {run:?}");
    }
    let run = line("generate --model names --lanes 8 --board ulx3s");
    assert_eq!(run.status, 2, "{run:?}");
    for words in [
        "bench --model names --positions 5..5",
        "bench --model names --max-regression 2%",
    ] {
        assert_eq!(line(words).status, 2, "{words}");
    }
}
