//! The shipped model of Shakespeare: what its card promises.

mod common;

use annulus_contract::shape::{of_board, with_lanes};
use annulus_model::compile::compile;
use annulus_model::eval::{evaluate, Report};
use annulus_model::model::Model;
use annulus_model::quantize::Rotation;
use annulus_model::reference::Reference;
use std::path::{Path, PathBuf};

/// What the project promises of the integer pipeline's loss, in nats a character.
const PROMISED_LOSS: f64 = 1.70;
/// Bytes of weights that the board leaves beside the rings.
const MOST_WEIGHTS: u64 = 100_000;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/shakespeare")
}

fn model() -> Model {
    Model::open(&folder(), None, Rotation::Hadamard).unwrap()
}

#[test]
fn it_fits_the_small_board_with_its_rings() {
    let model = model();
    assert_eq!(
        (model.name.as_str(), model.trained_window),
        ("shakespeare", 128)
    );
    let board = of_board("pico-ice").unwrap();
    let image = compile(&model.quant, &board, model.trained_window, 0).unwrap();
    let summary = image.summary();
    println!(
        "{:#?}",
        (summary.parameters, &summary.bytes, &summary.needs)
    );
    assert!(summary.parameters <= MOST_WEIGHTS, "{}", summary.parameters);
    for lanes in [8, 64] {
        compile(
            &model.quant,
            &with_lanes(lanes).unwrap(),
            model.trained_window,
            0,
        )
        .unwrap();
    }
}

/// The validation text: the last tenth.
fn validation() -> Option<Vec<u8>> {
    let text = std::fs::read(common::data("tinyshakespeare.txt")?).unwrap();
    Some(text[text.len() * 9 / 10..].to_vec())
}

fn loss(tokens: usize) -> Option<Report> {
    let text = validation()?;
    let model = model();
    let mut engine = Reference::new(&model.quant, model.trained_window, 0).unwrap();
    let window = (model.trained_window, 0);
    let report = evaluate(&model, &mut engine, &text, window, Some(tokens), |_, _| {}).unwrap();
    println!("{report:?}");
    Some(report)
}

#[test]
fn integers_lose_next_to_nothing() {
    if let Some(report) = loss(8_000) {
        assert!(report.loss < PROMISED_LOSS, "{report:?}");
        assert!((report.loss - report.loss_f32).abs() < 0.01, "{report:?}");
        assert!(report.kl < 0.01, "{report:?}");
    }
}

#[test]
#[ignore = "minutes: all of the validation text"]
fn the_loss_of_the_whole_validation_text() {
    if let Some(report) = loss(usize::MAX) {
        assert!(report.tokens > 111_000);
        assert!(report.loss < PROMISED_LOSS, "{report:?}");
        assert!((report.loss - report.loss_f32).abs() < 0.01, "{report:?}");
    }
}
