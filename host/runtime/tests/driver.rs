//! The driver, on a core without a clock: every order it can give, and what it
//! refuses.

use annulus_contract::crc::Crc32;
use annulus_contract::regs::{self, feature};
use annulus_contract::shape::{with_lanes, CoreShape};
use annulus_model::image::Image;
use annulus_model::interpret::Interpreter;
use annulus_model::quant::{QuantModel, Width};
use annulus_model::random::random_model;
use annulus_model::reference::Reference;
use annulus_model::sampler::Sampler;
use annulus_runtime::driver::{CoreDriver, DriverError, RegisterBus};
use std::convert::Infallible;
use std::ops::ControlFlow;

/// The bus of an interpreted core; a token passes each time the driver waits.
#[derive(Debug)]
struct Bus {
    core: Interpreter,
    /// Added to the identity, to be something else.
    disguise: u32,
}

impl RegisterBus for Bus {
    type Error = Infallible;

    fn read(&mut self, register: u8) -> Result<u32, Infallible> {
        let disguise = if register == regs::ID {
            self.disguise
        } else {
            0
        };
        Ok(self.core.read(register) + disguise)
    }

    fn write(&mut self, register: u8, value: u32) -> Result<(), Infallible> {
        self.core.write(register, value);
        Ok(())
    }

    fn run(&mut self) -> Result<(), Infallible> {
        self.core.advance();
        Ok(())
    }
}

fn driver(shape: CoreShape) -> CoreDriver<Bus> {
    CoreDriver::new(Bus {
        core: Interpreter::new(shape),
        disguise: 0,
    })
    .unwrap()
}

const WINDOW: usize = 13;

fn setup(seed: u64, lanes: u32, sinks: usize) -> (QuantModel, Image, CoreDriver<Bus>) {
    loaded(random_model(seed), lanes, sinks)
}

fn loaded(model: QuantModel, lanes: u32, sinks: usize) -> (QuantModel, Image, CoreDriver<Bus>) {
    let shape = model.narrowest().simulated(CoreShape {
        features: 7,
        max_head: 64,
        ..with_lanes(lanes).unwrap()
    });
    let image = Image::compile(&model, &shape, WINDOW, sinks).unwrap();
    let mut driver = driver(shape);
    assert_eq!(driver.shape(), &shape);
    driver.load(&image).unwrap();
    (model, image, driver)
}

/// `n` choices of the reference after `prompt`, and the CRC of their logits.
fn expected(
    reference: &mut Reference,
    sampler: &mut Sampler,
    prompt: &[u32],
    n: usize,
) -> (Vec<u32>, u32) {
    let (&last, silent) = prompt.split_last().unwrap();
    silent
        .iter()
        .for_each(|&token| reference.step_silent(token).unwrap());
    let mut crc = Crc32::new();
    let mut tokens = vec![last];
    for i in 0..n {
        let logits = reference.step(tokens[i]).unwrap();
        crc.update_logits(logits);
        tokens.push(sampler.choose(logits));
    }
    (tokens.split_off(1), crc.value())
}

fn generate(driver: &mut CoreDriver<Bus>, prompt: &[u32], n: usize) -> Vec<u32> {
    let mut tokens = vec![];
    let done = driver.generate(prompt, n, |token| {
        tokens.push(token);
        ControlFlow::Continue(())
    });
    assert_eq!(done.unwrap(), tokens.len());
    tokens
}

#[test]
fn generates_what_the_reference_does() {
    for (seed, lanes, sinks) in [(1, 64, 0), (2, 48, 2), (3, 8, 1), (4, 128, 0), (5, 16, 5)] {
        let (model, _, mut driver) = setup(seed, lanes, sinks);
        let prompt: Vec<u32> = (0..31).map(|i| i * 5 % model.vocab as u32).collect();
        for temperature in [0.0, 0.8] {
            let mut reference = Reference::new(&model, WINDOW, sinks).unwrap();
            let mut sampler = Sampler::new(temperature, 77, 12).unwrap();
            let it = annulus_model::sampler::inverse_temperature(temperature).unwrap();
            let gumbel = it.map(|it| annulus_contract::sample::Gumbel {
                it,
                key: 77.into(),
                logit_bits: 12,
            });
            driver.set_sampler(gumbel).unwrap();
            driver.reset().unwrap();
            driver.clear_logits_crc().unwrap();
            let (tokens, crc) = expected(&mut reference, &mut sampler, &prompt, 40);
            assert_eq!(generate(&mut driver, &prompt, 40), tokens);
            assert_eq!(driver.logits_crc().unwrap(), crc);
            // A second run goes on in the same stream, not with the first one's choice.
            let (tokens, _) = expected(&mut reference, &mut sampler, &prompt[..1], 3);
            assert_eq!(generate(&mut driver, &prompt[..1], 3), tokens);
        }
    }
}

#[test]
fn steps_and_reads_logits() {
    let (model, _, mut driver) = setup(6, 64, 0);
    let mut reference = Reference::new(&model, WINDOW, 0).unwrap();
    reference.start_at(4_000_000_000).unwrap();
    driver.start_at(4_000_000_000).unwrap();
    driver.prefill(&[1, 2, 3]).unwrap();
    [1, 2, 3]
        .iter()
        .for_each(|&token| reference.step_silent(token).unwrap());
    let mut token = 4;
    for _ in 0..30 {
        let choice = driver.step(token).unwrap();
        let logits = reference.step(token).unwrap();
        assert_eq!(driver.logits().unwrap(), logits);
        assert_eq!(choice, annulus_contract::sample::greedy(logits));
        assert_eq!(driver.residual().unwrap().len(), model.dim);
        token = choice;
    }
    assert_eq!(driver.counters().unwrap().tokens, 33);
    driver.clear_counters().unwrap();
    assert_eq!(driver.counters().unwrap().tokens, 0);
}

#[test]
fn saves_and_restores_a_stream() {
    for (seed, sinks, value_bits) in [
        (7, 0, Width::Eight),
        (8, 3, Width::Eight),
        (8, 3, Width::Four),
        (10, 0, Width::Four),
    ] {
        let model = QuantModel {
            value_bits,
            ..random_model(seed)
        };
        let (_, image, mut driver) = loaded(model, 48, sinks);
        generate(&mut driver, &[1, 2], 9);
        let saved = driver.save().unwrap();
        assert_eq!(saved.position(), 10);
        let tokens = generate(&mut driver, &[3], 25);
        generate(&mut driver, &[5, 6, 7], 20);
        driver.restore(&saved).unwrap();
        assert_eq!(generate(&mut driver, &[3], 25), tokens);
        // On another core as well.
        let mut other = self::driver(*driver.shape());
        assert!(matches!(other.restore(&saved), Err(DriverError::NotLoaded)));
        other.load(&image).unwrap();
        other.restore(&saved).unwrap();
        assert_eq!(generate(&mut other, &[3], 25), tokens);
        let (_, different, _) = setup(seed + 100, 48, sinks);
        other.load(&different).unwrap();
        assert!(matches!(other.restore(&saved), Err(DriverError::Snapshot)));
    }
}

#[test]
fn stops_restarts_and_breaks() {
    let (model, _, mut driver) = setup(9, 64, 0);
    let tokens = generate(&mut driver, &[1], 30);
    let stop = tokens[7];
    let until = tokens.iter().position(|&t| t == stop).unwrap() + 1;
    driver.reset().unwrap();
    driver.set_special(Some(stop), None).unwrap();
    assert_eq!(generate(&mut driver, &[1], 30), tokens[..until]);

    // Where the restart token is chosen, the stream begins anew.
    driver.set_special(None, Some(stop)).unwrap();
    driver.reset().unwrap();
    let got = generate(&mut driver, &[1], 60);
    let mut reference = Reference::new(&model, WINDOW, 0).unwrap();
    let mut token = 1;
    for (t, &chosen) in got.iter().enumerate() {
        let choice = annulus_contract::sample::greedy(reference.step(token).unwrap());
        assert_eq!(chosen, choice, "token {t}");
        if choice == stop {
            reference.reset();
        }
        token = choice;
    }

    // Let off for a few choices at a time, the core says the same.
    for run in [0, 1, 7] {
        driver.reset().unwrap();
        let mut again = Vec::new();
        let keep = |token| {
            again.push(token);
            ControlFlow::Continue(())
        };
        driver.generate_in_runs(&[1], 60, run, keep).unwrap();
        assert_eq!(again, got, "runs of {run}");
    }

    driver.set_special(None, None).unwrap();
    driver.reset().unwrap();
    let mut seen = 0;
    let break_at = |_| {
        seen += 1;
        if seen == 4 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    assert_eq!(driver.generate(&[1], 1000, break_at).unwrap(), 4);
    driver.reset().unwrap();
    assert_eq!(
        generate(&mut driver, &[1], 30),
        tokens,
        "nothing is left of the broken run"
    );
    assert_eq!(
        driver
            .generate(&[1, 2], 0, |_| ControlFlow::Continue(()))
            .unwrap(),
        0
    );
}

#[test]
fn self_tests() {
    for lanes in [8, 16, 48, 64, 128] {
        let (_, image, mut driver) = setup(10, lanes, 1);
        driver.self_test().unwrap();
        // A fault in the loaded weights is found.
        let mut broken = image.clone();
        let at = broken.wide.iter().rposition(|&w| w != 0).unwrap();
        broken.wide[at] ^= 0x55;
        driver.load(&broken).unwrap();
        let error = driver.self_test().unwrap_err().to_string();
        assert!(error.starts_with("the self-test failed: "), "{error}");
    }
}

#[test]
fn refuses_what_cannot_be() {
    let (model, image, mut driver) = setup(11, 64, 2);
    let text = |error: DriverError<Infallible>| error.to_string();
    let vocab = model.vocab as u32;
    assert_eq!(
        text(driver.step(vocab).unwrap_err()),
        format!("token {vocab} is not in the vocabulary of {vocab}")
    );
    assert_eq!(
        text(
            driver
                .generate(&[], 1, |_| ControlFlow::Continue(()))
                .unwrap_err()
        ),
        "a run needs at least one token to start with"
    );
    assert_eq!(
        text(driver.start_at(5).unwrap_err()),
        "a stream with sinks starts at position 0, not at 5"
    );
    let mut small = self::driver(CoreShape {
        features: feature::HADAMARD,
        ..*driver.shape()
    });
    assert_eq!(
        text(small.load(&image).unwrap_err()),
        "this core has no attention sinks: use no sinks, or take another core"
    );
    assert!(matches!(small.logits(), Err(DriverError::NotLoaded)));
    let stranger = Bus {
        core: Interpreter::new(*driver.shape()),
        disguise: 1,
    };
    assert!(matches!(
        CoreDriver::new(stranger),
        Err(DriverError::NotACore { .. })
    ));
    // An image with an illegal shift raises the core's error.
    let mut illegal = image;
    illegal
        .steps
        .iter_mut()
        .for_each(|step| step.shift = step.shift.saturating_add(60));
    driver.load(&illegal).unwrap();
    assert!(text(driver.step(1).unwrap_err())
        .starts_with("the core reports: an output shift left the range"));
}
