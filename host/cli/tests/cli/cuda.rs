//! The CUDA path as a user meets it: without a driver, and on one that interprets
//! the kernels' PTX.

use crate::run::{command, data, line, ran, Ran};
use std::path::Path;
use std::process::Command;

/// Whether this machine has a GPU of its own, which these tests are not about.
pub fn has_driver() -> bool {
    let found = Path::new("/dev/nvidia0").exists();
    if found {
        eprintln!("SKIPPED: this test is about machines without an NVIDIA driver");
    }
    found
}

/// The program on the emulator, whose library lies in `folder`.
pub fn emulated(folder: &Path, words: &str) -> Command {
    let tests = std::env::current_exe().expect("a test knows where it is");
    let library = tests.with_file_name("libannulus_emulator.so");
    let driver = folder.join("libcuda.so.1");
    if !driver.exists() {
        std::os::unix::fs::symlink(library, driver).expect("a link");
    }
    let mut command = command();
    command
        .args(words.split_whitespace())
        .env("LD_LIBRARY_PATH", folder)
        .env("ANNULUS_EMULATOR_SEED", "1")
        .env("ANNULUS_CUDA_PLAN", "64,1");
    command
}

fn on_emulator(words: &str) -> Ran {
    let folder = tempfile::tempdir().expect("a folder");
    ran(&mut emulated(folder.path(), words))
}

#[test]
fn without_a_driver_a_sentence_and_status_3() {
    if has_driver() {
        return;
    }
    for command in ["generate", "selftest"] {
        let run = line(&format!("{command} --model names --backend cuda"));
        assert_eq!(run.status, 3, "{run:?}");
        assert_eq!(run.err.lines().count(), 1, "{run:?}");
        assert!(run.err.contains("no NVIDIA driver"), "{run:?}");
        assert!(run.err.contains("--backend cpu"), "{run:?}");
        assert!(run.out.is_empty(), "{run:?}");
    }
}

#[test]
fn auto_says_what_it_took_and_why() {
    if has_driver() {
        return;
    }
    let run = line("generate --model names -n 3");
    assert!(run.err.contains("auto takes cpu"), "{run:?}");
    assert!(run.err.contains("no NVIDIA driver"), "{run:?}");
    run.ok();
    let run = on_emulator("generate --model names -n 3");
    assert!(run.err.contains("auto takes cuda"), "{run:?}");
    assert!(run.err.contains("PTX interpreter"), "{run:?}");
    run.ok();
}

#[test]
fn names_equal_the_cpu() {
    let run = on_emulator("verify --model names --backends cuda,cpu --temperature 0.8 -n 200");
    assert!(run.ok().contains("cuda and cpu are equal: 200 tokens"));
    on_emulator("selftest --model names --backend cuda").ok();
}

#[test]
fn weights_and_values_of_4_bits_equal_the_cpu() {
    let words = "verify --model names --backends cuda,cpu --temperature 0.8 -n 40";
    for bits in ["--weight-bits 4", "--value-bits 4"] {
        let run = on_emulator(&format!("{words} {bits}"));
        assert!(run.ok().contains("cuda and cpu are equal: 40 tokens"));
    }
}

#[test]
fn stories_equal_the_cpu() {
    let (Some(model), Some(_)) = (data("stories260K.bin"), data("tok512.bin")) else {
        return;
    };
    let words = format!(
        "verify --model {} --backends cuda,cpu --window 37 --sinks 3 -n 64",
        model.display()
    );
    assert!(on_emulator(&words).ok().contains("equal: 64 tokens"));
}

#[test]
fn a_prompt_in_and_text_out() {
    let words = "generate --model names --prompt em --temperature 0.7 --seed 3 -n 40 --backend";
    let cuda = on_emulator(&format!("{words} cuda")).ok();
    assert_eq!(cuda, line(&format!("{words} cpu")).ok());
}

#[test]
fn wrong_plans_and_files_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let words = "generate --model names --backend cuda -n 3";
    let run = ran(emulated(folder.path(), words).env("ANNULUS_CUDA_PLAN", "lots"));
    assert!(run.sentence().contains("such as 256,1"), "{run:?}");
    let run = ran(emulated(folder.path(), words).env("ANNULUS_CUDA_PLAN", "48,1"));
    assert!(run.sentence().contains("whole warps"), "{run:?}");
    let run = ran(emulated(folder.path(), words).env("ANNULUS_CUDA_PTX", "no/such.ptx"));
    assert!(run.sentence().contains("no/such.ptx"), "{run:?}");
}
