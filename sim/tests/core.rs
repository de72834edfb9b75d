//! The verilated core against the integer reference: every logit of every
//! position, on random models of every kind the formats allow.

use annulus_contract::regs::{self, control, region};
use annulus_contract::shape::{self, CoreShape};
use annulus_model::image::Image;
use annulus_model::quant::QuantModel;
use annulus_model::random::{Rng, Shape};
use annulus_model::reference::Reference;
use annulus_sim::core::{CoreDesign, SimCore};
use annulus_sim::verilated::{Coverage, CoverageKind};

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
    let image = Image::compile(model, &preset(lanes), window, sinks).expect("the model fits");
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

/// A preset with everything that is optional.
fn preset(lanes: u32) -> CoreShape {
    shape::with_lanes(lanes).expect("a preset").with_nibbles()
}

fn core(lanes: u32) -> SimCore {
    CoreDesign::build(&preset(lanes), &mut |_| ())
        .expect("the core builds")
        .instance()
}

fn random_models(lanes: u32, seeds: std::ops::Range<u64>) {
    let mut core = core(lanes);
    for seed in seeds {
        let mut rng = Rng::new(seed);
        let shape = Shape::random(&mut rng);
        let shape = Shape {
            nibbles: rng.one_in(3),
            narrow: rng.one_in(2),
            ..shape
        };
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

/// Rows with more than one word of group scales, and matrices of a single group.
#[test]
fn long_and_short_rows_of_nibbles_on_64_lanes() {
    let mut core = core(64);
    for (seed, heads, head_size, hidden) in [
        (1, 8, 8, 257),
        (2, 2, 24, 700),
        (3, 1, 2, 512),
        (4, 2, 6, 1),
    ] {
        let shape = Shape {
            heads,
            kv_heads: 1,
            head_size,
            hadamard: false,
            hidden,
            nibbles: true,
            ..Shape::random(&mut Rng::new(seed))
        };
        compare(&mut core, 64, &shape.model(seed), 5, 1, 12, seed);
    }
}

/// The presets themselves, as they are built for boards: without the option.
#[test]
fn a_core_without_decoders_runs_bytes() {
    let shape = shape::with_lanes(16).expect("a preset");
    let design = CoreDesign::build(&shape, &mut |_| ()).expect("the core builds");
    let mut core = design.instance();
    for seed in 200..206 {
        let model = Shape::random(&mut Rng::new(seed)).model(seed);
        compare(&mut core, 16, &model, 9, 2, 23, seed);
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

/// What the random models leave untouched of the Verilog, as a list to read.
#[test]
#[ignore = "minutes; ./x test --full"]
fn coverage_on_16_lanes() {
    let design = CoreDesign::build_with(&preset(16), &mut |_| (), |build| build.coverage(true))
        .expect("the core builds");
    let mut core = design.instance();
    for seed in 200..230 {
        let mut rng = Rng::new(seed);
        let shape = Shape {
            nibbles: seed % 3 == 0,
            narrow: seed % 2 == 0,
            ..Shape::random(&mut rng)
        };
        let model = shape.model(seed);
        let window = rng.within(1, 12) as usize;
        let sinks = rng.within(0, window as i32 - 1) as usize;
        let image = Image::compile(&model, &preset(16), window, sinks).expect("the model fits");
        // Half of them choose their own tokens, at a temperature.
        if rng.one_in(2) {
            compare(&mut core, 16, &model, window, sinks, 2 * window + 3, seed);
            continue;
        }
        load(&mut core, &image);
        for (register, value) in [
            (regs::TEMPERATURE, 300),
            (regs::KEY0, rng.bits()),
            (regs::KEY1, rng.bits()),
            (regs::RESTART, 3 | 1 << 31),
            (regs::STOP, 5 | 1 << 31),
            (regs::TOKEN_IN, 1),
            (regs::BUDGET, 30),
        ] {
            core.write(register, value);
        }
        while core.run_until_chosen(LIMIT) {
            core.read(regs::TOKEN_OUT);
        }
        for register in 0..=u8::MAX {
            core.read(register);
        }
        core.write(regs::TEMPERATURE, 0);
        core.write(regs::RESTART, 0);
        core.write(regs::STOP, 0);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("coverage.dat");
    core.model().write_coverage(&file).expect("a file");
    let coverage = Coverage::read(&file).expect("records");
    let source = std::fs::read_to_string(design.source()).expect("the Verilog");
    let source: Vec<&str> = source.lines().collect();
    let lines = coverage.missed().filter(|p| p.kind == CoverageKind::Line);
    let mut missed: Vec<_> = lines.map(|p| (p.line, p.comment.as_str())).collect();
    missed.sort_unstable();
    missed.dedup();
    for (line, comment) in missed {
        println!("not reached, {comment}: {}", source[line - 1].trim());
    }
    for (kind, least) in [(CoverageKind::Line, 0.98), (CoverageKind::Toggle, 0.85)] {
        let (reached, all) = coverage.reached(kind);
        let share = reached as f64 / all as f64;
        println!("{kind:?}: {reached} of {all}, {:.1}%", 100.0 * share);
        assert!(share >= least, "{kind:?} coverage of {share}");
    }
}
