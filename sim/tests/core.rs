//! The verilated core against the integer reference: every logit of every
//! position, on random models of every kind the formats allow.

use annulus_contract::regs::{self, control, region};
use annulus_contract::shape;
use annulus_model::compile::compile;
use annulus_model::image::Image;
use annulus_model::quant::QuantModel;
use annulus_model::random::{Rng, Shape};
use annulus_model::reference::Reference;
use annulus_sim::core::{CoreDesign, SimCore};

/// More than any token of these models takes.
const LIMIT: u64 = 1_000_000;

fn load(core: &mut SimCore, image: &Image) {
    core.write(regs::CONTROL, control::RESET);
    core.tick();
    for (region, words) in image.loads() {
        core.write(regs::MEM_ADDRESS, regs::mem_address(region, 0, 0));
        for word in words {
            core.write(regs::MEM_DATA, word);
        }
    }
    for (register, value) in image.registers() {
        core.write(register, value);
    }
}

fn memory(core: &mut SimCore, region: u32, count: usize) -> Vec<u32> {
    core.write(regs::MEM_ADDRESS, regs::mem_address(region, 0, 0));
    (0..count).map(|_| core.read(regs::MEM_DATA)).collect()
}

fn compare(
    core: &mut SimCore,
    lanes: u32,
    model: &QuantModel,
    window: usize,
    sinks: usize,
    tokens: usize,
    seed: u64,
) {
    let shape = shape::with_lanes(lanes).expect("a preset");
    let image = compile(model, &shape, window, sinks).expect("the model fits");
    load(core, &image);
    let mut reference = Reference::new(model, window, sinks).expect("a legal ring");
    let mut rng = Rng::new(seed);
    for position in 0..tokens {
        let token = rng.within(0, model.vocab as i32 - 1) as u32;
        let silent = rng.one_in(5) && position + 1 < tokens;
        core.write(regs::TOKEN_IN, token | u32::from(silent) << 31);
        assert!(
            core.run_until_idle(LIMIT),
            "position {position}: the core hangs"
        );
        assert_eq!(core.read(regs::ERROR), 0, "position {position}");
        if silent {
            reference.step_silent(token).expect("legal shifts");
            continue;
        }
        let expected = reference.step(token).expect("legal shifts").to_vec();
        let logits = memory(core, region::LOGITS, model.vocab);
        let logits: Vec<i32> = logits.into_iter().map(|l| l as i32).collect();
        assert_eq!(logits, expected, "position {position}, token {token}");
        core.read(regs::TOKEN_OUT);
    }
}

fn core(lanes: u32) -> SimCore {
    let shape = shape::with_lanes(lanes).expect("a preset");
    CoreDesign::build(&shape, &mut |_| ())
        .expect("the core builds")
        .instance()
}

fn random_models(lanes: u32, seeds: std::ops::Range<u64>) {
    let mut core = core(lanes);
    for seed in seeds {
        let mut rng = Rng::new(seed);
        let shape = Shape::random(&mut rng);
        let window = rng.within(1, 24) as usize;
        let sinks = if rng.one_in(2) {
            rng.within(0, window as i32 - 1) as usize
        } else {
            0
        };
        println!("seed {seed}, window {window}, sinks {sinks}: {shape:?}");
        compare(
            &mut core,
            lanes,
            &shape.model(seed),
            window,
            sinks,
            3 * window + 5,
            seed,
        );
    }
}

#[test]
fn random_models_on_64_lanes() {
    random_models(64, 0..60);
}

#[test]
fn random_models_on_48_lanes() {
    random_models(48, 100..160);
}

#[test]
fn random_models_on_16_lanes() {
    random_models(16, 200..230);
}

#[test]
fn random_models_on_128_lanes() {
    random_models(128, 300..330);
}
