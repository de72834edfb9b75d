//! The shipped model of Shakespeare on every kind of core, and far from its start.

use annulus_contract::shape::{of_board, with_lanes};
use annulus_model::model::Model;
use annulus_runtime::backend::{open as backend, Choice, Kind};
use annulus_runtime::eval::endurance;
use annulus_runtime::lockstep::compare;
use annulus_runtime::models::{open, Opened};
use annulus_runtime::sampling::Sampling;
use annulus_runtime::{CoreShape, Rotation};
use std::path::{Path, PathBuf};

fn shakespeare() -> Opened {
    open(Path::new("shakespeare"), None, Rotation::Hadamard).unwrap()
}

/// The simulated core and the engine in lockstep: every token and every logit.
fn agree(core: CoreShape, positions: usize) {
    let opened = shakespeare();
    let image = opened.image(&core, None, None).unwrap();
    let sampling = Sampling {
        temperature: 0.8,
        seed: 7,
        top_k: None,
        top_p: None,
    };
    let choice = Choice {
        gumbel: sampling.gumbel(&image).unwrap(),
        ..Choice::default()
    };
    let mut backends = [Kind::Sim, Kind::Cpu].map(|kind| {
        let mut backend = backend(kind, &core, None, None).unwrap();
        backend.load(&image).unwrap();
        backend
    });
    let found = compare(
        &mut backends,
        &[opened.model.bos],
        positions,
        choice,
        |_| {},
    )
    .unwrap();
    assert_eq!(found.difference, None);
    assert_eq!(found.positions, positions);
}

#[test]
fn the_core_of_the_small_board_writes_what_the_engine_writes() {
    agree(of_board("pico-ice").unwrap(), 150);
}

#[test]
fn a_core_of_64_lanes_writes_what_the_engine_writes() {
    agree(with_lanes(64).unwrap(), 300);
}

#[test]
#[ignore = "minutes: 20,000 positions on the simulated core"]
fn twenty_thousand_positions_agree() {
    agree(with_lanes(64).unwrap(), 20_000);
}

#[test]
fn the_folder_and_the_shipped_model_are_one() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/shakespeare");
    let read = Model::open(&folder, None, Rotation::None).unwrap();
    assert_eq!(read, shakespeare().model);
}

#[test]
fn the_image_beside_it_is_compiled_from_it() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/shakespeare/shakespeare.annulus");
    let core = of_board("pico-ice").unwrap();
    let image = shakespeare().image(&core, None, None).unwrap();
    assert!(
        std::fs::read(path).unwrap() == image.to_bytes(),
        "make it again: annulus quantize --model shakespeare --board pico-ice \
         --out models/shakespeare/shakespeare.annulus"
    );
}

/// Most resident memory of this process so far, in KiB.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
#[ignore = "minutes: a million characters"]
fn the_loss_is_as_low_after_a_million_characters() {
    let Some(path) = std::env::var_os("ANNULUS_DATA")
        .map(|folder| PathBuf::from(folder).join("tinyshakespeare.txt"))
        .filter(|path| path.is_file())
    else {
        eprintln!("SKIPPED: tinyshakespeare.txt is not there; set ANNULUS_DATA to its folder");
        return;
    };
    let text = std::fs::read(path).unwrap();
    let validation = &text[text.len() * 9 / 10..];
    let model = shakespeare().model;
    let mut early = 0;
    let passes = endurance(
        &model,
        validation,
        (model.trained_window, 0),
        9,
        |done, _| {
            if done == 20_000 {
                early = peak_memory();
            }
        },
    )
    .unwrap();
    // The kernel counts by thread and in batches: it may say less than before.
    let grown = peak_memory().saturating_sub(early);
    println!("{passes:#?}, {grown} KiB more than after 20,000");
    assert!(passes.iter().map(|pass| pass.tokens).sum::<u64>() > 1_000_000);
    assert!(
        grown < 4096,
        "{grown} KiB more than after 20,000 characters"
    );
    // The same text each time: what differs is the position alone.
    for pass in &passes {
        assert!((pass.loss - passes[0].loss).abs() < 0.002, "{passes:?}");
        assert!((pass.loss - pass.loss_f32).abs() < 0.01, "{passes:?}");
    }
}
