//! The folded core (8 lanes) against the integer reference: every logit of every
//! position on random models, and every token that it samples.

use annulus_contract::crc::Crc32;
use annulus_contract::regs::{self, control, region, status};
use annulus_contract::ring::Ring;
use annulus_contract::sample::Key;
use annulus_contract::shape::{self, CoreShape};
use annulus_contract::step::Kind;
use annulus_model::image::Image;
use annulus_model::quant::QuantModel;
use annulus_model::quantize::{quantize, Calibration, Rotation};
use annulus_model::random::{Rng, Shape};
use annulus_model::reference::Reference;
use annulus_model::sampler::Sampler;
use annulus_sim::core::{CoreDesign, SimCore};

/// More than any token of these models takes.
const LIMIT: u64 = 3_000_000;

fn load(core: &mut SimCore, image: &Image) {
    core.write(
        regs::CONTROL,
        control::RESET | control::CLEAR_COUNTERS | control::CLEAR_CRC,
    );
    for (region, words) in image.loads() {
        core.write(regs::MEM_ADDRESS, regs::mem_address(region, 0, 0));
        for word in words {
            core.write(regs::MEM_DATA, word);
        }
    }
    for (register, value) in image.registers() {
        core.write(register, value);
    }
    // As drivers do, which may load over a stream; the next access follows at once.
    core.write(regs::CONTROL, control::RESET);
}

fn memory(core: &mut SimCore, region: u32, count: usize) -> Vec<u32> {
    core.write(regs::MEM_ADDRESS, regs::mem_address(region, 0, 0));
    (0..count).map(|_| core.read(regs::MEM_DATA)).collect()
}

fn logits(core: &mut SimCore, vocab: usize) -> Vec<i32> {
    memory(core, region::LOGITS, vocab)
        .into_iter()
        .map(|l| l as i32)
        .collect()
}

/// Random tokens, some of them without logits.
fn compare(
    core: &mut SimCore,
    shape: &CoreShape,
    model: &QuantModel,
    window: usize,
    tokens: usize,
    seed: u64,
) {
    let image = Image::compile(model, shape, window, 0).expect("the model fits");
    load(core, &image);
    let mut reference = Reference::new(model, window, 0).expect("a legal ring");
    let mut rng = Rng::new(seed);
    let mut crc = Crc32::new();
    for position in 0..tokens {
        let token = rng.within(0, model.vocab as i32 - 1) as u32;
        let silent = rng.one_in(5) && position + 1 < tokens;
        core.write(regs::TOKEN_IN, token | u32::from(silent) << 31);
        // Whoever asks how far a running core is must not disturb it, whenever that is.
        for _ in 0..rng.within(0, 400) {
            core.model().run(rng.within(0, 200) as u64);
            core.read(regs::STATUS);
        }
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
        assert_eq!(
            logits(core, model.vocab),
            expected,
            "position {position}, token {token}"
        );
        crc.update_logits(&expected);
        core.read(regs::TOKEN_OUT);
    }
    let cycles = core.read(regs::CYCLES) / tokens as u32;
    println!(
        "{cycles} cycles a token, {} busy",
        core.read(regs::BUSY) / tokens as u32
    );
    assert_eq!(core.read(regs::LOGITS_CRC), crc.value());
    assert_eq!(core.read(regs::TOKENS), tokens as u32);
    assert_eq!(core.read(regs::POSITION), tokens as u32);
}

fn preset() -> CoreShape {
    shape::with_lanes(8).expect("a preset")
}

fn built(shape: &CoreShape) -> SimCore {
    CoreDesign::build(shape, &mut |_| ())
        .expect("the core builds")
        .instance()
}

/// A shape that the folded core runs: heads of at most 16 elements, no Hadamard.
fn random_shape(rng: &mut Rng) -> Shape {
    let mut shape = Shape::random(rng);
    while shape.head_size > 16 {
        shape = Shape::random(rng);
    }
    shape.hadamard = false;
    shape.nibbles = rng.one_in(3);
    shape
}

fn random_models(seeds: std::ops::Range<u64>) {
    let preset = preset();
    let mut core = built(&preset);
    for seed in seeds {
        let mut rng = Rng::new(seed);
        let shape = random_shape(&mut rng);
        let window = rng.within(1, 24) as usize;
        println!("seed {seed}, window {window}: {shape:?}");
        compare(
            &mut core,
            &preset,
            &shape.model(seed),
            window,
            3 * window + 5,
            seed,
        );
    }
}

#[test]
fn first_random_models() {
    random_models(0..40);
}

#[test]
fn more_random_models() {
    random_models(400..440);
}

/// Every core of a board is the preset with its own memories.
#[test]
fn the_memories_of_a_board() {
    let shape = shape::of_board("pico-ice").expect("a board");
    let mut core = built(&shape);
    for seed in 500..506 {
        let mut rng = Rng::new(seed);
        let model = random_shape(&mut rng).model(seed);
        let window = rng.within(1, 16) as usize;
        if Image::compile(&model, &shape, window, 0).is_ok() {
            compare(&mut core, &shape, &model, window, 2 * window + 3, seed);
        }
    }
}

/// Tokens that the core chooses itself, with restarts, until the stop token.
#[test]
fn sampled_streams() {
    let preset = preset();
    let mut core = built(&preset);
    for seed in 600..608 {
        let mut rng = Rng::new(seed);
        let shape = random_shape(&mut rng);
        let model = shape.model(seed);
        let window = rng.within(1, 12) as usize;
        let temperature = if seed % 4 == 0 {
            0.0
        } else {
            f64::from(rng.within(3, 20)) / 10.0
        };
        let image = Image::compile(&model, &preset, window, 0).expect("the model fits");
        load(&mut core, &image);
        let it = annulus_model::sampler::inverse_temperature(temperature)
            .expect("a temperature")
            .unwrap_or(0);
        let key = Key {
            k0: rng.bits(),
            k1: rng.bits(),
        };
        // A token that comes often restarts the stream.
        let restart = rng.within(0, model.vocab as i32 - 1) as u32;
        core.write(regs::TEMPERATURE, it.into());
        core.write(regs::KEY0, key.k0);
        core.write(regs::KEY1, key.k1);
        core.write(regs::RESTART, restart | 1 << 31);
        core.write(regs::STOP, 0);

        let mut reference = Reference::new(&model, window, 0).expect("a legal ring");
        let mut sampler = if it == 0 {
            Sampler::greedy()
        } else {
            Sampler::gumbel(it, key, 12)
        };
        let tokens = 60;
        core.write(regs::TOKEN_IN, 1);
        core.write(regs::BUDGET, tokens);
        let mut token = 1;
        for position in 0..=tokens {
            let logits = reference.step(token).expect("legal shifts").to_vec();
            let expected = sampler.choose(&logits);
            assert!(
                core.run_until_chosen(LIMIT),
                "seed {seed}, position {position}: the core hangs"
            );
            let chosen = core.read(regs::TOKEN_OUT);
            assert_eq!(
                chosen,
                expected | 1 << 31,
                "seed {seed}, position {position}, temperature {temperature}"
            );
            if expected == restart {
                reference.reset();
            }
            token = expected;
        }
        assert!(core.run_until_idle(LIMIT));
        assert!(!core.run_until_chosen(100_000), "the budget is spent");
        assert_eq!(
            (core.read(regs::BUDGET), core.read(regs::SAMPLES)),
            (0, tokens + 1)
        );

        // The stop token ends a run; a queued token starts the next.
        core.write(regs::STOP, token | 1 << 31);
        core.write(regs::RESTART, 0);
        core.write(regs::BUDGET, 1_000_000);
        while core.read(regs::STATUS) & status::STOPPED == 0 {
            assert!(
                core.run_until_chosen(LIMIT),
                "seed {seed}: the stop token does not come"
            );
            core.read(regs::TOKEN_OUT);
            if core.read(regs::TOKENS) > 3000 {
                break;
            }
        }
        assert_eq!(core.read(regs::ERROR), 0);
    }
}

/// A slow reader stalls the core, and a full input queue says so.
#[test]
fn queues_hold_sixteen() {
    let preset = preset();
    let mut core = built(&preset);
    let mut rng = Rng::new(700);
    let model = random_shape(&mut rng).model(700);
    load(
        &mut core,
        &Image::compile(&model, &preset, 4, 0).expect("the model fits"),
    );
    core.write(regs::TOKEN_IN, 0);
    core.write(regs::BUDGET, 40);
    assert!(core.run_until_idle(100 * LIMIT));
    assert_eq!((core.read(regs::TOKENS), core.read(regs::BUDGET)), (16, 25));
    let first = core.read(regs::TOKEN_OUT);
    assert!(core.run_until_idle(LIMIT));
    assert_eq!(core.read(regs::TOKENS), 17);
    let rest: Vec<_> = (0..16).map(|_| core.read(regs::TOKEN_OUT)).collect();
    assert!(rest.iter().chain([&first]).all(|token| token >> 31 == 1));
}

/// The shipped model, learned positions and the norm after the embedding included.
#[test]
fn the_shipped_model() {
    let file = include_bytes!("../../models/names/names.json");
    let (float, _) = annulus_model::import::microgpt::read(file).expect("a model");
    let model = quantize(
        &float,
        Calibration::OwnText {
            bos: 26,
            ends: &[26],
        },
        Rotation::None,
    )
    .expect("finite");
    for shape in [preset(), shape::of_board("pico-ice").expect("a board")] {
        let mut core = built(&shape);
        compare(&mut core, &shape, &model, 16, 60, 1);
    }
}

/// Rows so long that the machine waits for the array, which is then ahead of it at the end of
/// each pass.
#[test]
fn long_rows() {
    let preset = preset();
    let mut core = built(&preset);
    for seed in 800..806 {
        let shape = Shape {
            layers: 2,
            hidden: 172,
            heads: 8,
            kv_heads: 4,
            vocab: 40,
            hadamard: false,
            ..Shape::LLAMA
        };
        compare(&mut core, &preset, &shape.model(seed), 3, 8, seed);
    }
}

/// The ring's pointers are microcode here, out of the prover's reach, but where they go depends on
/// nothing but where they are and on the window: so every window is tried, from every slot, with
/// tokens that have no steps. The slot after the last is one that was tried.
#[test]
fn ring_pointers_follow_every_window() {
    let mut core = built(&preset());
    for window in 1..=1024 {
        let rows = 1;
        let ring = Ring {
            rows,
            window,
            sinks: 0,
        };
        core.write(regs::CONTROL, control::RESET | control::CLEAR_COUNTERS);
        core.write(regs::MEM_ADDRESS, regs::mem_address(region::STEPS, 0, 0));
        core.write(regs::MEM_DATA, Kind::End as u32);
        for (register, value) in ring.registers() {
            core.write(register, value);
        }
        for t in 0..=2 * u64::from(window) {
            let at = [regs::KEY_AT, regs::VALUE_AT, regs::RING_STATE].map(|r| core.read(r));
            let slot = ring.slot(t);
            let [key, value] = [ring.key_at(slot), ring.value_at(slot)].map(|(g, r)| g | r << 16);
            let full = u32::from(t >= u64::from(window));
            assert_eq!(at, [key, value, full], "window {window}, token {t}");
            core.write(regs::TOKEN_IN, 1 << 31);
            assert!(core.run_until_idle(LIMIT));
        }
        assert_eq!(core.read(regs::ERROR), 0, "window {window}");
    }
}
