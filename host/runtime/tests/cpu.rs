//! The `cpu` engine against the integer reference, logit by logit.

mod data;

use annulus_contract::sample::{greedy, Gumbel, Key};
use annulus_model::quant::{QuantModel, Width};
use annulus_model::random::{random_model, Rng, Shape};
use annulus_model::reference::{Reference, ShapeError, StepError};
use annulus_runtime::cpu::{CpuEngine, EngineError, ForeignState, InstructionSet};

/// An engine for each instruction set of this machine, and the reference.
struct Pair {
    engines: Vec<CpuEngine>,
    reference: Reference,
}

impl Pair {
    fn new(model: &QuantModel, window: usize, sinks: usize) -> Self {
        Self::on(InstructionSet::available(), model, window, sinks)
    }

    /// The fastest instruction set only, for long runs.
    fn fast(model: &QuantModel, window: usize, sinks: usize) -> Self {
        Self::on(vec![InstructionSet::best()], model, window, sinks)
    }

    fn on(sets: Vec<InstructionSet>, model: &QuantModel, window: usize, sinks: usize) -> Self {
        let engine = |set| CpuEngine::with_instructions(set, model, window, sinks).unwrap();
        Pair {
            engines: sets.into_iter().map(engine).collect(),
            reference: Reference::new(model, window, sinks).unwrap(),
        }
    }

    /// One token through all: its logits, which are equal.
    fn step(&mut self, token: u32) -> &[i32] {
        let expected = self.reference.step(token).unwrap();
        for engine in &mut self.engines {
            let found = engine.step(token).unwrap();
            if found != expected {
                let at = found.iter().zip(expected).position(|(f, e)| f != e);
                panic!(
                    "{}, token {} of the stream: logit {at:?} differs",
                    engine.instructions().name(),
                    engine.taken() - 1
                );
            }
        }
        expected
    }

    fn start_at(&mut self, position: u32) {
        self.reference.start_at(position).unwrap();
        for engine in &mut self.engines {
            engine.start_at(position).unwrap();
        }
    }

    /// A stream of `n` tokens of its own choice; restarts after `restart`.
    fn run(&mut self, n: usize, first: u32, gumbel: Option<Gumbel>, restart: Option<u32>) {
        let (mut token, mut step) = (first, 0);
        for _ in 0..n {
            let logits = self.step(token);
            token = gumbel.map_or_else(|| greedy(logits), |g| g.choose(step, logits));
            for engine in &mut self.engines {
                let chosen = match gumbel {
                    None => engine.greedy(),
                    Some(gumbel) => engine.sample(gumbel, step),
                };
                assert_eq!(chosen, token, "{}", engine.instructions().name());
            }
            step += 1;
            if restart == Some(token) {
                self.start_at(0);
                step = 0;
            }
        }
    }
}

/// Temperature 0.8.
fn warm(seed: u64) -> Option<Gumbel> {
    Some(Gumbel {
        it: 1847,
        key: Key::from(seed),
        logit_bits: 12,
    })
}

#[test]
fn equals_the_reference_on_random_models() {
    for seed in 0..240 {
        let mut model = random_model(seed);
        if seed % 5 == 0 {
            model.value_bits = Width::Four;
        }
        let mut rng = Rng::new(seed ^ 0x5eed);
        let window = match rng.within(0, 9) {
            0 => 1,
            1 => 16,
            2 => rng.within(17, 100) as usize,
            _ => rng.within(2, 40) as usize,
        };
        let sinks = match rng.within(0, 1) {
            0 => 0,
            _ => rng.within(0, window as i32 - 1) as usize,
        };
        let mut pair = Pair::new(&model, window, sinks);
        if sinks == 0 && rng.one_in(3) {
            pair.start_at(rng.bits());
        }
        let tokens = (2 * window + 3).min(60);
        pair.run(tokens, 0, warm(seed).filter(|_| seed % 4 != 0), Some(1));
    }
}

#[test]
fn sinks_and_windows_beyond_one_block() {
    for (seed, window, sinks) in [
        (3, 50, 17),
        (4, 64, 32),
        (5, 33, 16),
        (6, 1024, 1),
        (7, 100, 99),
    ] {
        Pair::new(&random_model(seed), window, sinks).run(window + 70, 0, warm(seed), None);
    }
}

/// More heads than lanes, the widest residual, the largest head.
#[test]
fn large_and_odd_shapes() {
    for (heads, kv_heads, head_size, hidden) in [
        (20, 5, 6, 333),
        (1023, 341, 2, 17),
        (31, 1, 64, 1001),
        (17, 17, 24, 64),
        (1, 1, 48, 8191),
    ] {
        let shape = Shape {
            hidden,
            heads,
            kv_heads,
            head_size,
            vocab: 130,
            hadamard: head_size.is_power_of_two(),
            tied: false,
            ..Shape::LLAMA
        };
        let model = shape.model(heads as u64);
        Pair::new(&model, 7, 2).run(12, 5, warm(6), None);
    }
}

#[test]
fn prefill_without_logits_leaves_the_same_state() {
    let model = random_model(11);
    let mut silent = CpuEngine::new(&model, 20, 0).unwrap();
    let mut loud = silent.clone();
    for token in 0..30 {
        silent.step_silent(token % 16).unwrap();
        loud.step(token % 16).unwrap();
    }
    assert_eq!((silent.position(), silent.taken()), (30, 30));
    assert_eq!(silent.step(3).unwrap(), loud.step(3).unwrap());
}

#[test]
fn a_saved_stream_goes_on_as_if_nothing_had_been() {
    let model = random_model(12);
    let mut engine = CpuEngine::new(&model, 9, 2).unwrap();
    let stream = |engine: &mut CpuEngine| -> Vec<i32> {
        (0..25)
            .flat_map(|t| engine.step(t % 16).unwrap().to_vec())
            .collect()
    };
    stream(&mut engine);
    let saved = engine.save();
    let once = stream(&mut engine);
    engine.reset();
    assert_ne!(stream(&mut engine), once);
    engine.restore(&saved).unwrap();
    assert_eq!(stream(&mut engine), once);
    let mut other = CpuEngine::new(&model, 10, 2).unwrap();
    assert_eq!(other.restore(&saved), Err(ForeignState));
}

#[test]
fn a_reset_forgets_everything() {
    let model = random_model(13);
    let mut fresh = Pair::new(&model, 12, 0);
    fresh.run(40, 1, None, None);
    fresh.start_at(0);
    fresh.run(40, 2, None, None);
}

#[test]
fn bad_arguments_are_refused_by_name() {
    let model = random_model(14);
    let refusal = |window, sinks| CpuEngine::new(&model, window, sinks).map(drop).unwrap_err();
    assert_eq!(refusal(0, 0), EngineError::Shape(ShapeError::Window(0)));
    assert_eq!(
        refusal(1025, 0),
        EngineError::Shape(ShapeError::Window(1025))
    );
    let (sinks, window) = (8, 8);
    assert_eq!(
        refusal(8, 8),
        EngineError::Shape(ShapeError::Sinks { sinks, window })
    );

    let mut engine = CpuEngine::new(&model, 8, 1).unwrap();
    assert_eq!(engine.start_at(5), Err(ShapeError::Start(5)));
    let token = model.vocab as u32;
    let vocab = model.vocab;
    assert_eq!(
        engine.step(token).unwrap_err(),
        StepError::Token { token, vocab }
    );
    assert_eq!(engine.taken(), 0);

    let mut broken = model.clone();
    broken.classifier.mu[0] = 9;
    assert!(matches!(
        CpuEngine::new(&broken, 8, 1),
        Err(EngineError::Shape(ShapeError::Model(_)))
    ));
    let mut illegal = model.clone();
    illegal.classifier.s[0] = 31;
    assert!(matches!(
        CpuEngine::new(&illegal, 8, 1),
        Err(EngineError::Shift(_))
    ));
}

#[test]
fn nothing_is_allocated_in_the_token_loop() {
    let model = random_model(15);
    let mut engine = CpuEngine::new(&model, 9, 2).unwrap();
    let gumbel = warm(1).unwrap();
    let counted = allocation_counter::measure(|| {
        let mut token = 0;
        for step in 0..50 {
            engine.step_silent(token).unwrap();
            engine.step(token).unwrap();
            token = engine.sample(gumbel, step).min(engine.greedy());
        }
        engine.reset();
    });
    assert_eq!(counted.count_total, 0);
}

#[test]
fn equals_the_reference_on_stories() {
    let Some(model) = data::model("stories260K.bin") else {
        return;
    };
    for (window, sinks, seed) in [(128, 0, 1), (37, 0, 2), (37, 1, 3), (37, 4, 4)] {
        Pair::fast(&model.quant, window, sinks).run(2000, model.bos, warm(seed), None);
    }
    Pair::new(&model.quant, 128, 0).run(300, model.bos, None, None);
}

#[test]
fn equals_the_reference_on_microgpt() {
    let Some(model) = data::model("microgpt-karpathy.json") else {
        return;
    };
    let window = model.trained_window;
    Pair::new(&model.quant, window, 0).run(5000, model.bos, warm(5), model.restart);
}

#[test]
#[ignore = "minutes: 100,000 tokens through the reference"]
fn equals_the_reference_on_100_000_tokens() {
    let Some(model) = data::model("stories260K.bin") else {
        return;
    };
    Pair::fast(&model.quant, 128, 0).run(100_000, model.bos, warm(8), None);
}
