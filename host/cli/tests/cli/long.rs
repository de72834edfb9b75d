//! The core against the processor over thousands of tokens of real models, so that
//! the ring wraps many times. What takes minutes is ignored: `./x test --full`.

use crate::run::{data, line};

/// `sim` and `cpu` give the same tokens and logits over `n` of them.
fn equal(model: &str, n: u64, options: &str) {
    let call = format!("verify --model {model} --backends sim,cpu -n {n} {options} --json");
    let report = line(&call).json();
    assert_eq!(report["equal"], true, "{options}: {report}");
    assert_eq!(report["positions"], n, "{options}: {report}");
    assert!(report["logits"].as_u64() >= Some(16 * n), "{report}");
    println!("{n} tokens equal: {options}");
}

/// The 8-lane core is asked how far it is once a token, in the middle of choosing it: whatever it
/// does then must not depend on being asked.
#[test]
fn names_on_the_folded_core() {
    for seed in [5, 11, 12] {
        equal(
            "names",
            400,
            &format!("--temperature 0.8 --lanes 8 --seed {seed}"),
        );
    }
}

fn stories(options: &[&str]) {
    let (Some(model), Some(tokenizer)) = (data("stories260K.bin"), data("tok512.bin")) else {
        return;
    };
    let model = format!("{} --tokenizer {}", model.display(), tokenizer.display());
    for options in options {
        equal(&model, 2_000, options);
    }
}

#[test]
#[ignore = "minutes; ./x test --full"]
fn stories_in_a_window_of_128() {
    stories(&[
        "--window 128",
        "--window 128 --temperature 0.8 --seed 1",
        "--window 128 --temperature 0.8 --seed 2",
        "--window 128 --temperature 0.8 --seed 3",
    ]);
}

#[test]
#[ignore = "minutes; ./x test --full"]
fn stories_in_a_window_of_37() {
    stories(&[
        "--window 37",
        "--window 37 --temperature 0.8 --seed 1",
        "--window 37 --temperature 0.8 --seed 2",
        "--window 37 --temperature 0.8 --seed 3",
    ]);
}

#[test]
#[ignore = "minutes; ./x test --full"]
fn stories_with_sinks() {
    stories(&[
        "--window 37 --sinks 1",
        "--window 37 --sinks 4",
        "--window 37 --sinks 4 --temperature 0.8 --seed 1",
    ]);
}

#[test]
#[ignore = "minutes; ./x test --full"]
fn stories_on_the_other_wide_cores() {
    stories(&[
        "--window 128 --temperature 0.8 --lanes 16",
        "--window 37 --temperature 0.8 --lanes 48",
        "--window 128 --temperature 0.8 --lanes 128",
    ]);
}

#[test]
#[ignore = "minutes; ./x test --full"]
fn stories_on_the_folded_core() {
    stories(&["--window 37 --temperature 0.8 --lanes 8"]);
}

#[test]
#[ignore = "a minute; ./x test --full"]
fn names_with_restarts() {
    for options in ["", "--lanes 48 --seed 3", "--lanes 8 --seed 2"] {
        equal("names", 5_000, &format!("--temperature 0.8 {options}"));
    }
    if let Some(model) = data("microgpt-karpathy.json") {
        for options in ["", "--lanes 48 --seed 3"] {
            let options = format!("--temperature 0.8 {options}");
            equal(&model.display().to_string(), 5_000, &options);
        }
    }
}
