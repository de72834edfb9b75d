//! The cycle model against the verilated core's own counters: every token of
//! models of every kind, in all and by kind of step.

use annulus_contract::regs::{self, control};
use annulus_contract::shape::{self, CoreShape};
use annulus_contract::step::Kind;
use annulus_model::cycles::token_cycles;
use annulus_model::image::Image;
use annulus_model::quant::QuantModel;
use annulus_model::random::{Rng, Shape};
use annulus_sim::core::{CoreDesign, SimCore};

/// More than any token of these models takes.
const LIMIT: u64 = 1_000_000;

/// A preset with decoders for 4-bit weights; models of 8 bits take as long on it.
fn preset(lanes: u32) -> CoreShape {
    shape::with_lanes(lanes).expect("a preset").with_nibbles()
}

fn load(core: &mut SimCore, image: &Image) {
    core.write(regs::CONTROL, control::RESET);
    for (region, words) in image.loads() {
        core.write(regs::MEM_ADDRESS, regs::mem_address(region, 0, 0));
        words
            .into_iter()
            .for_each(|word| core.write(regs::MEM_DATA, word));
    }
    for (register, value) in image.registers() {
        core.write(register, value);
    }
}

/// Cycles, words and cycles by kind of one token, as the core counts them.
fn measure(core: &mut SimCore, token: u32) -> (u64, u64, Vec<u64>) {
    core.write(regs::CONTROL, control::CLEAR_COUNTERS);
    core.write(regs::TOKEN_IN, token);
    assert!(core.run_until_idle(LIMIT), "the core hangs");
    core.read(regs::TOKEN_OUT);
    let by_kind = Kind::ALL
        .iter()
        .map(|&kind| core.read(regs::KIND_CYCLES + kind as u8).into());
    let by_kind = by_kind.collect();
    (
        core.read(regs::CYCLES).into(),
        core.read(regs::BUSY).into(),
        by_kind,
    )
}

fn compare(core: &mut SimCore, lanes: u32, model: &QuantModel, window: usize, sinks: usize) {
    let image = Image::compile(model, &preset(lanes), window, sinks).expect("the model fits");
    load(core, &image);
    for t in 0..window as u64 + 3 {
        let silent = t % 5 == 4;
        let measured = measure(
            core,
            (t % model.vocab as u64) as u32 | u32::from(silent) << 31,
        );
        let predicted = token_cycles(&image, t, !silent);
        let predicted = (predicted.total, predicted.busy, predicted.by_kind.to_vec());
        assert_eq!(measured, predicted, "token {t}: measured, predicted");
    }
}

fn random_models(lanes: u32, seeds: std::ops::Range<u64>) {
    let design = CoreDesign::build(&preset(lanes), &mut |_| ()).expect("the core builds");
    let mut core = design.instance();
    for seed in seeds {
        let mut rng = Rng::new(seed);
        let shape = Shape::random(&mut rng);
        let shape = Shape {
            nibbles: rng.one_in(2),
            narrow: rng.one_in(2),
            // A row of more than 256 columns has a second word of group scales.
            hidden: if rng.one_in(6) { 300 } else { shape.hidden },
            ..shape
        };
        let window = rng.within(1, 40) as usize;
        let sinks = if rng.one_in(2) {
            rng.within(0, window as i32 - 1) as usize
        } else {
            0
        };
        println!("seed {seed}, window {window}, sinks {sinks}: {shape:?}");
        compare(&mut core, lanes, &shape.model(seed), window, sinks);
    }
}

#[test]
fn every_token_is_predicted_on_64_lanes() {
    random_models(64, 0..20);
}

#[test]
fn every_token_is_predicted_on_48_lanes() {
    random_models(48, 100..120);
}

#[test]
fn every_token_is_predicted_on_16_lanes() {
    random_models(16, 200..210);
}

#[test]
fn every_token_is_predicted_on_128_lanes() {
    random_models(128, 300..310);
}
