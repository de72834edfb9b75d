//! The shipped models of Shakespeare: what their cards promise.

mod common;

use annulus_contract::shape::{of_board, with_lanes};
use annulus_model::eval::{evaluate, Report};
use annulus_model::image::Image;
use annulus_model::model::Model;
use annulus_model::quant::Width;
use annulus_model::quantize::Rotation;
use annulus_model::reference::Reference;
use std::path::{Path, PathBuf};

/// What the project promises of the integer pipeline's loss, in nats a character.
const PROMISED_LOSS: f64 = 1.70;
/// Bytes of weights that the board leaves beside the rings.
const MOST_WEIGHTS: u64 = 100_000;

/// What weights of 4 bits may cost a model that was tuned for them, in nats a character.
const PROMISED_COST: f64 = 0.05;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../models")
        .join(name)
}

fn open(name: &str) -> Model {
    Model::open(&folder(name), None, Rotation::Hadamard).unwrap()
}

fn model() -> Model {
    open("shakespeare")
}

#[test]
fn it_fits_the_small_board_with_its_rings() {
    let model = model();
    assert_eq!(
        (model.name.as_str(), model.trained_window),
        ("shakespeare", 128)
    );
    let board = of_board("pico-ice").unwrap();
    let image = Image::compile(&model.quant, &board, model.trained_window, 0).unwrap();
    let summary = image.summary();
    println!(
        "{:#?}",
        (summary.parameters, &summary.bytes, &summary.needs)
    );
    assert!(summary.parameters <= MOST_WEIGHTS, "{}", summary.parameters);
    for lanes in [8, 64] {
        Image::compile(
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

fn loss(model: &Model, tokens: usize) -> Option<Report> {
    let text = validation()?;
    let mut engine = Reference::new(&model.quant, model.trained_window, 0).unwrap();
    let window = (model.trained_window, 0);
    let report = evaluate(model, &mut engine, &text, window, Some(tokens), |_, _| {}).unwrap();
    println!("{report:?}");
    Some(report)
}

#[test]
fn integers_lose_next_to_nothing() {
    if let Some(report) = loss(&model(), 8_000) {
        assert!(report.loss < PROMISED_LOSS, "{report:?}");
        assert!((report.loss - report.loss_f32).abs() < 0.01, "{report:?}");
        assert!(report.kl < 0.01, "{report:?}");
    }
}

#[test]
fn tuning_wins_back_what_weights_of_4_bits_lose() {
    let tuned = open("shakespeare-int4");
    assert_eq!(tuned.quant.weight_bits(), Width::Four);
    if let (Some(tuned), Some(wide)) = (loss(&tuned, 8_000), loss(&model(), 8_000)) {
        assert!(tuned.loss < wide.loss_f32 + PROMISED_COST);
    }
}

#[test]
#[ignore = "minutes: all of the validation text"]
fn the_loss_of_the_whole_validation_text() {
    if let Some(report) = loss(&model(), usize::MAX) {
        assert!(report.tokens > 111_000);
        assert!(report.loss < PROMISED_LOSS, "{report:?}");
        assert!((report.loss - report.loss_f32).abs() < 0.01, "{report:?}");
    }
}
