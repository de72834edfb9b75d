//! What the cycle model promises for the models that the project measures itself by.

use annulus_contract::shape::with_lanes;
use annulus_contract::step::Kind;
use annulus_model::cycles::token_cycles;
use annulus_model::image::Image;
use annulus_model::model::Model;
use annulus_model::quant::QuantModel;
use annulus_model::quantize::Rotation;
use annulus_model::random::Shape;
use std::path::PathBuf;

/// The folder of real models, or nothing and a loud word about it.
fn data(file: &str) -> Option<PathBuf> {
    let path = std::env::var_os("ANNULUS_DATA").map(|folder| PathBuf::from(folder).join(file));
    let path = path.filter(|path| path.exists());
    if path.is_none() {
        eprintln!("SKIPPED: {file} is not there; set ANNULUS_DATA to the folder that holds it");
    }
    path
}

fn image(model: &QuantModel, lanes: u32, window: usize) -> Image {
    Image::compile(model, &with_lanes(lanes).unwrap(), window, 0).unwrap()
}

/// Print and return the mean over the first `n` tokens of a stream.
fn mean(name: &str, image: &Image, n: u64) -> f64 {
    let tokens: Vec<_> = (0..n).map(|t| token_cycles(image, t, true)).collect();
    let of = |f: &dyn Fn(&annulus_model::cycles::TokenCycles) -> u64| {
        tokens.iter().map(f).sum::<u64>() as f64 / n as f64
    };
    let (total, busy) = (of(&|t| t.total), of(&|t| t.busy));
    let ideal = (0..n)
        .map(|t| image.macs((t as usize + 1).min(image.window())) as f64)
        .sum::<f64>()
        / (n as f64 * image.lanes() as f64);
    println!("{name}: mean {total:.1} cycles over {n} tokens, {busy:.1} with the array busy, ideal {ideal:.1}");
    for kind in Kind::ALL {
        let cycles = of(&|t| t.by_kind[kind as usize]);
        if cycles > 0.0 {
            println!("  {:9} {cycles:8.1}", kind.name());
        }
    }
    total
}

#[test]
fn stories_with_a_full_ring() {
    let Some(path) = data("stories260K.bin") else {
        return;
    };
    let model = Model::open(&path, None, Rotation::Hadamard).unwrap();
    let image = image(&model.quant, 64, 128);
    let full = token_cycles(&image, 128, true);
    let ideal = image.macs(128) as f64 / 64.0;
    println!(
        "stories260K, 64 lanes, W = 128: {full:?}, ideal {ideal:.0}, {:.3} of it",
        full.total as f64 / ideal
    );
    mean("stories260K from the start", &image, 128);
    assert!(full.total <= 6930, "{} cycles", full.total);
}

#[test]
fn microgpt_over_all_positions() {
    let Some(path) = data("microgpt-karpathy.json") else {
        return;
    };
    let model = Model::open(&path, None, Rotation::Hadamard).unwrap();
    let mean = mean("microGPT, 48 lanes", &image(&model.quant, 48, 16), 16);
    assert!(mean <= 450.0, "{mean} cycles");
}

/// 24 wide, 4 heads of 6, a hidden vector of 96, 27 symbols, 16 positions.
#[test]
fn gategpts_shape_over_all_positions() {
    let shape = Shape {
        hidden: 96,
        heads: 4,
        kv_heads: 4,
        head_size: 6,
        vocab: 27,
        rope: false,
        hadamard: false,
        relu: true,
        tied: false,
        positions: Some(16),
        ..Shape::LLAMA
    };
    let mean = mean(
        "gateGPT's shape, 48 lanes",
        &image(&shape.model(1), 48, 16),
        16,
    );
    assert!(mean <= 600.0, "{mean} cycles");
}
