//! The kernels' source as host C++ under ThreadSanitizer: no two threads touch the
//! same word without a barrier between them, even where the result is right.

mod emulator;

use annulus_contract::sample::Gumbel;
use annulus_kernels::layout::*;
use annulus_kernels::program::Program;
use annulus_kernels::source;
use emulator::{Case, Expected};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The host's side of the build, beside this package.
const HOST: [(&str, &str); 2] = [
    ("cuda.h", include_str!("../host/cuda.h")),
    ("main.cpp", include_str!("../host/main.cpp")),
];

/// A folder of this test's own.
fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("annulus-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder of ours");
    folder
}

/// Compiles kernels with ThreadSanitizer.
fn compile(folder: &Path, kernels: &str) -> PathBuf {
    for (file, text) in HOST {
        std::fs::write(folder.join(file), text).expect("a file of ours");
    }
    std::fs::write(folder.join("annulus.cu"), kernels).expect("a file of ours");
    let compiler = Command::new("g++")
        .args([
            "-O1",
            "-g",
            "-std=c++17",
            "-fsanitize=thread",
            "main.cpp",
            "-o",
            "kernels",
        ])
        .current_dir(folder)
        .output()
        .expect("g++, which ./x test brings");
    let words = String::from_utf8_lossy(&compiler.stderr);
    assert!(compiler.status.success(), "{words}");
    folder.join("kernels")
}

/// Runs a case. Where the system places memory at random in a way that the sanitizer
/// cannot bear, it is run without that.
fn run(program: &Path, case: &Path, seed: u64) -> Output {
    let output = Command::new(program)
        .arg(case)
        .arg(seed.to_string())
        .output()
        .expect("the program was built");
    if !String::from_utf8_lossy(&output.stderr).contains("unexpected memory mapping") {
        return output;
    }
    Command::new("setarch")
        .args([std::env::consts::ARCH, "-R"])
        .arg(program)
        .arg(case)
        .arg(seed.to_string())
        .output()
        .expect("setarch is part of every Linux system")
}

/// The case as `host/main.cpp` reads it.
fn write(path: &Path, case: &Case, team: u32, threads: u32) {
    let program = Program::new(&case.model, case.window, case.sinks).expect("a legal model");
    let mut stream = program.empty_stream();
    if let Some(Gumbel { it, key, .. }) = case.choice.gumbel {
        stream[S_SAMPLING] = 1;
        stream[S_IT] = it.into();
        stream[S_K0] = key.k0 as i32;
        stream[S_K1] = key.k1 as i32;
    }
    let token = |token: Option<u32>| token.map_or(NO_TOKEN, |t| t as i32);
    stream[S_STOP] = token(case.choice.stop);
    stream[S_RESTART] = token(case.choice.restart);
    let placement = if team == 1 {
        PLACE_SCRATCH | PLACE_PROGRAM
    } else {
        0
    };
    let numbers = [
        program.words().len(),
        stream.len(),
        1,
        case.inputs.len(),
        team as usize,
        threads as usize,
        program.shared_bytes(placement),
        placement as usize,
        case.passes,
        case.silent,
    ];
    let mut words: Vec<i32> = numbers.iter().map(|&n| n as i32).collect();
    words.extend(program.words());
    words.extend(stream);
    words.extend(case.inputs.iter().map(|&t| t as i32));
    let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    std::fs::write(path, bytes).expect("a file of ours");
}

/// Small cases: the sanitizer is slow.
fn cases() -> Vec<Case> {
    (0..6)
        .map(|seed| {
            let mut case = Case::random(100 + seed);
            case.passes = case.passes.min(case.inputs.len() + 8);
            case
        })
        .collect()
}

#[test]
fn no_races_and_the_right_tokens() {
    let folder = folder("sanitized");
    let program = compile(&folder, &source::source());
    for (n, case) in cases().iter().enumerate() {
        for (team, threads) in [(1, 64), (3, 32)] {
            let path = folder.join(format!("case-{n}-{team}"));
            write(&path, case, team, threads);
            let output = run(&program, &path, n as u64 + 1);
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(
                output.status.success() && said.is_empty(),
                "{}: {said}",
                case.name
            );
            let tokens = String::from_utf8_lossy(&output.stdout);
            let tokens: Vec<u32> = tokens
                .split_whitespace()
                .map(|t| t.parse().expect("a token"))
                .collect();
            let Expected {
                tokens: expected, ..
            } = case.expected();
            assert_eq!(tokens, expected, "{}, {team} blocks", case.name);
        }
    }
    let _ = std::fs::remove_dir_all(folder);
}

#[test]
fn a_missing_barrier_is_reported() {
    let source = source::source();
    let barriers = [
        (
            "    __syncthreads();\n    return operand;",
            "    return operand;",
        ),
        (
            "    if (p.team == 1) return true;",
            "    if (p.team == 1 || p.team == 3) return true;",
        ),
    ];
    for (n, (right, wrong)) in barriers.into_iter().enumerate() {
        let folder = folder(&format!("races-{n}"));
        let faulty = source.replacen(right, wrong, 1);
        assert_ne!(faulty, source, "the source still holds {right:?}");
        let program = compile(&folder, &faulty);
        let path = folder.join("case");
        write(&path, &cases()[0], 3, 64);
        let output = run(&program, &path, 1);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("ThreadSanitizer: data race"), "{said}");
        let _ = std::fs::remove_dir_all(folder);
    }
}
