//! Every backend behind the one interface: the same tokens and logits from the
//! engine, from the reference, and from a core behind its registers (here one
//! without a clock).

use annulus_contract::regs::feature;
use annulus_contract::sample::Gumbel;
use annulus_contract::shape::{with_lanes, CoreShape};
use annulus_model::image::{Image, Special};
use annulus_model::interpret::Interpreter;
use annulus_model::random::random_model;
use annulus_runtime::backend::{open, Backend, BackendError, Choice, Core, Kind};
use annulus_runtime::bench::{measure, Plan, Regression};
use annulus_runtime::driver::RegisterBus;
use annulus_runtime::generate::{generate, GenerateError, Request};
use annulus_runtime::lockstep::compare;
use annulus_runtime::sampling::Sampling;
use std::convert::Infallible;
use std::ops::ControlFlow;

const WINDOW: usize = 11;

struct Bus(Interpreter);

impl RegisterBus for Bus {
    type Error = Infallible;

    fn read(&mut self, register: u8) -> Result<u32, Infallible> {
        Ok(self.0.read(register))
    }

    fn write(&mut self, register: u8, value: u32) -> Result<(), Infallible> {
        self.0.write(register, value);
        Ok(())
    }

    fn run(&mut self) -> Result<(), Infallible> {
        self.0.advance();
        Ok(())
    }
}

fn shape() -> CoreShape {
    let features = feature::SINKS | feature::HADAMARD | feature::KIND_COUNTERS;
    CoreShape {
        features,
        max_head: 64,
        ..with_lanes(48).unwrap()
    }
}

fn image(seed: u64, sinks: usize) -> Image {
    Image::compile(&random_model(seed), &shape(), WINDOW, sinks).unwrap()
}

/// Engine, reference and core, with the image loaded.
fn backends(image: &Image) -> Vec<Box<dyn Backend>> {
    let core = Core::new(Kind::Serial, Bus(Interpreter::new(shape()))).unwrap();
    let software =
        [Kind::Cpu, Kind::Reference].map(|kind| open(kind, &shape(), None, None).unwrap());
    let mut backends: Vec<Box<dyn Backend>> = software.into_iter().collect();
    backends.push(Box::new(core));
    backends
        .iter_mut()
        .for_each(|backend| backend.load(image).unwrap());
    backends
}

fn gumbel(seed: u64) -> Option<Gumbel> {
    Some(Gumbel {
        it: 1700,
        key: seed.into(),
        logit_bits: 12,
    })
}

fn run(backend: &mut dyn Backend, token: u32, n: usize) -> Vec<u32> {
    let mut tokens = vec![];
    let mut keep = |token| {
        tokens.push(token);
        ControlFlow::Continue(())
    };
    assert_eq!(backend.run(token, n, &mut keep).unwrap(), tokens.len());
    tokens
}

/// The same answers from all backends.
fn same<T: PartialEq + std::fmt::Debug>(all: impl Iterator<Item = T>) -> T {
    let all: Vec<T> = all.collect();
    assert!(all.iter().all(|one| *one == all[0]), "{all:?}");
    all.into_iter().next().unwrap()
}

#[test]
fn run_alike_with_restarts_and_stops() {
    for (seed, sinks) in [(1, 0), (2, 3)] {
        let image = image(seed, sinks);
        let mut backends = backends(&image);
        let free = same(backends.iter_mut().map(|backend| {
            backend
                .set_choice(Choice {
                    gumbel: gumbel(9),
                    ..Choice::default()
                })
                .unwrap();
            backend.prefill(&[3, 1, 4, 1, 5]).unwrap();
            run(backend.as_mut(), 2, 40)
        }));
        let special = free[5];
        // The ring is emptied at the special token, and the count of samples goes on.
        let restarted = same(backends.iter_mut().map(|backend| {
            backend
                .set_choice(Choice {
                    gumbel: gumbel(9),
                    restart: Some(special),
                    stop: None,
                })
                .unwrap();
            backend.reset().unwrap();
            backend.prefill(&[3, 1, 4, 1, 5]).unwrap();
            run(backend.as_mut(), 2, 40)
        }));
        let first = free.iter().position(|&t| t == special).unwrap();
        assert_eq!(restarted[..=first], free[..=first]);
        assert_ne!(restarted, free);
        let stopped = same(backends.iter_mut().map(|backend| {
            backend
                .set_choice(Choice {
                    gumbel: gumbel(9),
                    restart: None,
                    stop: Some(special),
                })
                .unwrap();
            backend.reset().unwrap();
            backend.prefill(&[3, 1, 4, 1, 5]).unwrap();
            run(backend.as_mut(), 2, 40)
        }));
        assert_eq!(stopped, free[..=first]);
    }
}

#[test]
fn save_and_restore() {
    let image = image(3, 2);
    let mut backends = backends(&image);
    let tokens = same(backends.iter_mut().map(|backend| {
        backend
            .set_choice(Choice {
                gumbel: gumbel(4),
                ..Choice::default()
            })
            .unwrap();
        run(backend.as_mut(), 1, 17);
        let saved = backend.save().unwrap();
        let tokens = run(backend.as_mut(), 2, 25);
        run(backend.as_mut(), 5, 6);
        backend.restore(&saved).unwrap();
        assert_eq!(run(backend.as_mut(), 2, 25), tokens, "{}", backend.kind());
        tokens
    }));
    assert_eq!(tokens.len(), 25);
    // A state fits the kind of backend and the image that it came from.
    let saved: Vec<_> = backends
        .iter_mut()
        .map(|backend| backend.save().unwrap())
        .collect();
    for (i, backend) in backends.iter_mut().enumerate() {
        for (j, saved) in saved.iter().enumerate() {
            assert_eq!(backend.restore(saved).is_ok(), i == j);
        }
        backend.load(&self::image(4, 2)).unwrap();
        assert!(matches!(
            backend.restore(&saved[i]),
            Err(BackendError::Foreign)
        ));
    }
}

#[test]
fn self_tests_find_faults() {
    let good = image(5, 1);
    let mut bad = good.clone();
    let at = bad.wide.iter().rposition(|&w| w != 0).unwrap();
    bad.wide[at] = bad.wide[at].wrapping_add(77) & 0x7f;
    for mut backend in backends(&good) {
        backend.self_test().unwrap();
        backend.load(&bad).unwrap();
        assert!(
            matches!(backend.self_test(), Err(BackendError::SelfTest(_))),
            "{}",
            backend.kind()
        );
    }
}

#[test]
fn nothing_works_before_an_image_is_there() {
    let core: Box<dyn Backend> =
        Box::new(Core::new(Kind::Serial, Bus(Interpreter::new(shape()))).unwrap());
    for mut backend in [open(Kind::Cpu, &shape(), None, None).unwrap(), core] {
        assert!(matches!(backend.step(0), Err(BackendError::NotLoaded)));
        assert!(matches!(backend.logits(), Err(BackendError::NotLoaded)));
        assert!(matches!(backend.save(), Err(BackendError::NotLoaded)));
        assert!(matches!(backend.self_test(), Err(BackendError::NotLoaded)));
        backend.load(&image(1, 0)).unwrap();
        let error = backend.step(9999).unwrap_err().to_string();
        assert!(
            error.starts_with("token 9999 is not in the vocabulary of "),
            "{error}"
        );
    }
}

#[test]
fn lockstep_finds_what_differs() {
    let image = image(6, 0);
    let mut all = backends(&image);
    let choice = Choice {
        gumbel: gumbel(1),
        stop: Some(0),
        restart: Some(2),
    };
    let agreement = compare(&mut all, &[1, 5, 6], 150, choice, |_| ()).unwrap();
    assert_eq!(
        (agreement.positions, &agreement.difference),
        (148, &None),
        "no stop token stops it"
    );
    assert_eq!(agreement.logits, 148 * image.config.vocab as u64);

    // One backend runs other weights: the classifier's last row.
    let mut other = image.clone();
    let at = other.wide.iter().rposition(|&w| w != 0).unwrap();
    other.wide[at] ^= 1;
    all[1].load(&other).unwrap();
    let found = compare(&mut all, &[1, 5, 6], 150, choice, |_| ()).unwrap();
    let difference = found.difference.unwrap();
    assert_eq!(difference.position, 2 + found.positions);
    assert!(difference.logit.is_some());
    assert_eq!((difference.one.0, difference.other.0), ("cpu", "reference"));
    assert_ne!(difference.one.1, difference.other.1);
    let sentence = difference.to_string();
    assert!(
        sentence.contains("on cpu and") && sentence.ends_with("on reference"),
        "{sentence}"
    );

    // Equal logits, other choices: another key.
    let mut pair = backends(&image);
    pair.truncate(2);
    let last = pair.pop().unwrap();
    pair.push(Box::new(OtherKey(last)));
    let difference = compare(&mut pair, &[1], 150, choice, |_| ())
        .unwrap()
        .difference
        .unwrap();
    assert_eq!(difference.logit, None);
    assert!(
        difference.to_string().contains("the chosen token"),
        "{difference}"
    );
}

/// A backend that samples with another key than it is told.
struct OtherKey(Box<dyn Backend>);

impl Backend for OtherKey {
    fn kind(&self) -> Kind {
        self.0.kind()
    }
    fn shape(&self) -> Option<&CoreShape> {
        self.0.shape()
    }
    fn load(&mut self, image: &Image) -> Result<(), BackendError> {
        self.0.load(image)
    }
    fn set_choice(&mut self, choice: Choice) -> Result<(), BackendError> {
        self.0.set_choice(Choice {
            gumbel: gumbel(2),
            ..choice
        })
    }
    fn reset(&mut self) -> Result<(), BackendError> {
        self.0.reset()
    }
    fn prefill(&mut self, tokens: &[u32]) -> Result<(), BackendError> {
        self.0.prefill(tokens)
    }
    fn step(&mut self, token: u32) -> Result<u32, BackendError> {
        self.0.step(token)
    }
    fn run(
        &mut self,
        token: u32,
        n: usize,
        on_token: &mut dyn FnMut(u32) -> ControlFlow<()>,
    ) -> Result<usize, BackendError> {
        self.0.run(token, n, on_token)
    }
    fn logits(&mut self) -> Result<Vec<i32>, BackendError> {
        self.0.logits()
    }
    fn counters(&mut self) -> Result<Option<annulus_runtime::driver::Counters>, BackendError> {
        self.0.counters()
    }
    fn clear_counters(&mut self) -> Result<(), BackendError> {
        self.0.clear_counters()
    }
    fn save(&mut self) -> Result<annulus_runtime::backend::Saved, BackendError> {
        self.0.save()
    }
    fn restore(&mut self, saved: &annulus_runtime::backend::Saved) -> Result<(), BackendError> {
        self.0.restore(saved)
    }
    fn self_test(&mut self) -> Result<(), BackendError> {
        self.0.self_test()
    }
}

fn sampling(top_k: Option<usize>) -> Sampling {
    Sampling {
        temperature: 0.9,
        seed: 5,
        top_k,
        top_p: None,
    }
}

fn written(
    backend: &mut dyn Backend,
    image: &Image,
    prompt: &[u32],
    passes: usize,
    sampling: Sampling,
) -> (Vec<u32>, bool) {
    let request = Request {
        prompt,
        passes,
        sampling,
    };
    let mut tokens = Vec::new();
    let run = generate(backend, image, &request, |token| {
        tokens.push(token);
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(run.prompt.passes, passes.min(prompt.len() - 1));
    assert_eq!(run.decode.passes, tokens.len());
    (tokens, run.stopped)
}

#[test]
fn the_host_chooses_as_the_core_does() {
    let mut image = image(7, 0);
    let everything = Some(image.config.vocab);
    let mut all = backends(&image);
    let (free, _) = same(
        all.iter_mut()
            .map(|b| written(b.as_mut(), &image, &[1, 2, 3], 60, sampling(None))),
    );
    assert_eq!(free.len(), 58);
    for special in [
        Special {
            bos: 1,
            stop: None,
            restart: Some(free[9]),
        },
        Special {
            bos: 1,
            stop: Some(free[9]),
            restart: None,
        },
    ] {
        image.special = special;
        let of_core = same(
            all.iter_mut()
                .map(|b| written(b.as_mut(), &image, &[1, 2, 3], 60, sampling(None))),
        );
        let of_host = same(
            all.iter_mut()
                .map(|b| written(b.as_mut(), &image, &[1, 2, 3], 60, sampling(everything))),
        );
        assert_eq!(of_core, of_host);
        assert_eq!(of_core.1, special.stop.is_some());
    }
    let cut = same(
        all.iter_mut()
            .map(|b| written(b.as_mut(), &image, &[1, 2, 3], 60, sampling(Some(2)))),
    );
    assert_ne!(cut.0, free);
}

#[test]
fn runs_can_be_ended_and_begun_again() {
    let image = image(8, 0);
    for mut backend in backends(&image) {
        let mut heard = Vec::new();
        let request = Request {
            prompt: &[1],
            passes: 500,
            sampling: sampling(None),
        };
        let run = generate(backend.as_mut(), &image, &request, |token| {
            heard.push(token);
            if heard.len() == 7 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        let run = run.unwrap();
        assert_eq!((run.decode.passes, run.stopped, heard.len()), (7, false, 7));
        let (again, _) = written(backend.as_mut(), &image, &[1], 20, sampling(None));
        assert_eq!(
            again[..7],
            heard,
            "nothing is left of the run that was ended"
        );
        assert_eq!(
            written(backend.as_mut(), &image, &[1, 2, 3], 2, sampling(None)).0,
            [] as [u32; 0]
        );
        let empty = Request {
            prompt: &[],
            passes: 5,
            sampling: sampling(None),
        };
        let refused = generate(backend.as_mut(), &image, &empty, |_| {
            ControlFlow::Continue(())
        });
        assert!(matches!(refused, Err(GenerateError::NoPrompt)));
    }
}

#[test]
fn plans_measure_full_rings_or_all_positions() {
    let mut image = image(9, 0).with_origin("random", 8);
    let plan = Plan::new(&image, None, None);
    assert_eq!((plan.positions, plan.tokens), (WINDOW..WINDOW + 128, 128));
    let plan = Plan::new(&image, None, Some(5));
    assert_eq!((plan.positions, plan.tokens), (WINDOW..WINDOW + 5, 5));
    image.special.restart = Some(0);
    let plan = Plan::new(&image, None, None);
    assert_eq!((plan.positions, plan.tokens), (0..8, 32));
    let plan = Plan::new(&image, Some(2..4), Some(9));
    assert_eq!((plan.positions, plan.tokens), (2..4, 9));
}

#[test]
fn reports_are_held_to_their_baseline() {
    let image = image(10, 0).with_origin("random", 16);
    let mut all = backends(&image);
    let plan = Plan {
        positions: 2..6,
        tokens: 10,
    };
    let mut passes = vec![];
    let report = measure(
        all[0].as_mut(),
        &image,
        &[1, 2],
        &sampling(None),
        &plan,
        |done, of| passes.push((done, of)),
    )
    .unwrap();
    assert_eq!(
        (
            report.tokens,
            report.positions,
            report.cycles_per_token.is_none()
        ),
        (10, [2, 6], true)
    );
    // Three streams: two of four positions and one of two, each after two that do not count.
    assert_eq!(passes.len(), 16);
    assert_eq!(passes.last(), Some(&(16, 16)));
    let ideal = |p: usize| image.macs(p + 1) as f64 / 48.0;
    assert_eq!(
        report.ideal_cycles_by_position,
        (2..6).map(ideal).collect::<Vec<_>>()
    );
    let mean = (3.0 * ideal(2) + 3.0 * ideal(3) + 2.0 * ideal(4) + 2.0 * ideal(5)) / 10.0;
    assert!((report.ideal_cycles - mean).abs() < 1e-9);

    let mut baseline = report.clone();
    assert_eq!(report.compare(&baseline, 0.0), Ok(0.0));
    baseline.tokens_per_second *= 1.5;
    assert!((report.compare(&baseline, 0.51).unwrap() - 0.5).abs() < 1e-9);
    assert!(matches!(
        report.compare(&baseline, 0.49),
        Err(Regression::Worse {
            what: "tokens per second",
            ..
        })
    ));
    baseline.tokens_per_second = f64::NAN;
    assert!(report.compare(&baseline, 0.49).is_err());
    baseline.positions = [0, 4];
    let error = report.compare(&baseline, 1.0).unwrap_err().to_string();
    assert_eq!(error, "the baseline was measured with positions 0..4, this run with 2..6: measure the baseline again");
    let none = Plan {
        positions: 2..2,
        tokens: 10,
    };
    assert!(measure(
        all[0].as_mut(),
        &image,
        &[1],
        &sampling(None),
        &none,
        |_, _| ()
    )
    .is_err());
}
