//! The kernels and their host as they are, on a driver that interprets the PTX: in
//! every mode, in several orders of warps, equal to the reference bit for bit.

mod emulator;

use annulus_kernels::device::{CudaError, Device};
use annulus_kernels::engine::{Choice, Engine};
use annulus_kernels::plan::{Mode, Plan};
use annulus_kernels::program::Program;
use annulus_model::model::Model;
use emulator::{inside, odd_shapes, succeeded, Case, Folder, PLANS, SEED};
use std::path::PathBuf;
use std::sync::Arc;

#[test]
fn every_order_gives_the_same() {
    let folder = Folder::new("orders");
    for seed in 1..=4 {
        succeeded(&folder.run("random_models_on_the_emulator", seed, None));
    }
}

#[test]
fn random_models_on_the_emulator() {
    if !inside() {
        return;
    }
    let device = Device::open().unwrap();
    let order: u64 = std::env::var(SEED).unwrap().parse().unwrap();
    for seed in 10 * order..10 * (order + 1) {
        let case = Case::random(seed);
        for plan in PLANS {
            case.check(&device, plan);
        }
    }
}

#[test]
fn edges_of_the_format() {
    succeeded(&Folder::new("edges").run("odd_shapes_on_the_emulator", 5, None));
}

#[test]
fn odd_shapes_on_the_emulator() {
    if !inside() {
        return;
    }
    let device = Device::open().unwrap();
    for case in odd_shapes() {
        for plan in PLANS {
            case.check(&device, plan);
        }
    }
}

#[test]
fn real_models() {
    succeeded(&Folder::new("real").run("real_models_on_the_emulator", 6, None));
}

/// `None`, and loudly, where the folder that `ANNULUS_DATA` names lacks it.
fn data(file: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("ANNULUS_DATA").map(PathBuf::from);
    let path = folder.map(|folder| folder.join(file));
    let path = path.filter(|path| path.is_file());
    if path.is_none() {
        eprintln!("SKIPPED: this test needs {file} in the folder that ANNULUS_DATA names");
    }
    path
}

#[test]
fn real_models_on_the_emulator() {
    if !inside() {
        return;
    }
    let device = Device::open().unwrap();
    let names = PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../models/names/names.json"
    ));
    let models = [
        (Some(names), 500, 16),
        (data("microgpt-karpathy.json"), 500, 16),
        (data("stories260K.bin"), 64, 128),
    ];
    for (path, tokens, window) in models {
        let Some(path) = path else { continue };
        let model = Model::open(&path, None, annulus_model::quantize::Rotation::Hadamard).unwrap();
        let gumbel = annulus_contract::sample::Gumbel {
            it: 1477,
            key: 1.into(),
            logit_bits: model.quant.logit_bits.into(),
        };
        let case = Case {
            name: model.name,
            window,
            sinks: 0,
            inputs: vec![model.bos],
            silent: 0,
            passes: tokens,
            choice: Choice {
                gumbel: model.restart.map(|_| gumbel),
                stop: None,
                restart: model.restart,
            },
            model: model.quant,
        };
        for plan in [PLANS[0], PLANS[2], PLANS[3]] {
            case.check(&device, plan);
        }
    }
}

#[test]
fn streams_go_on() {
    succeeded(&Folder::new("saved").run("saved_streams_on_the_emulator", 7, None));
}

#[test]
fn saved_streams_on_the_emulator() {
    if !inside() {
        return;
    }
    let device = Device::open().unwrap();
    let case = Case::random(3);
    let program = Arc::new(Program::new(&case.model, 5, 2).unwrap());
    for plan in [PLANS[0], PLANS[2], PLANS[3]] {
        let mut engine = Engine::new(device.clone(), program.clone(), plan).unwrap();
        let choice = Choice {
            gumbel: case.choice.gumbel,
            ..Choice::default()
        };
        engine.set_choice(0, choice).unwrap();
        engine.run(&[1, 2, 3], 9, 1).unwrap();
        let saved = engine.save(0).unwrap();
        let once = engine.run(&[4], 12, 0).unwrap().remove(0).tokens;
        engine.run(&[5], 7, 0).unwrap();
        engine.restore(0, &saved).unwrap();
        // In two launches what was one.
        let mut twice = engine.run(&[4], 5, 0).unwrap().remove(0).tokens;
        let last = twice[4];
        twice.extend(engine.run(&[last], 7, 0).unwrap().remove(0).tokens);
        assert_eq!(once, twice, "{plan:?}");
    }
}

#[test]
fn plans_are_found_and_checked() {
    succeeded(&Folder::new("plans").run("plans_on_the_emulator", 8, None));
}

#[test]
fn plans_on_the_emulator() {
    if !inside() {
        return;
    }
    let device = Device::open().unwrap();
    let case = Case::random(1);
    let program = Arc::new(Program::new(&case.model, 8, 0).unwrap());
    for mode in Mode::ALL {
        let plan = Plan::best(&device, &program, mode, 1).unwrap();
        assert!(plan.threads <= device.limits().threads, "{plan:?}");
        case.check(&device, plan);
    }
    for wrong in [
        Plan {
            threads: 48,
            ..PLANS[0]
        },
        Plan {
            threads: 1024,
            ..PLANS[0]
        },
        Plan {
            blocks: 0,
            ..PLANS[0]
        },
    ] {
        let refused = Engine::new(device.clone(), program.clone(), wrong)
            .err()
            .unwrap();
        assert!(matches!(refused, CudaError::Plan(_)), "{refused}");
    }
    // More blocks than can be there at once are the driver's to refuse.
    let grid = Plan {
        blocks: 99,
        ..PLANS[2]
    };
    let mut engine = Engine::new(device, program, grid).unwrap();
    assert!(matches!(engine.run(&[0], 1, 0), Err(CudaError::Driver(_))));
}

#[test]
fn without_a_driver_there_is_a_sentence() {
    if inside() || Device::has_driver() {
        return;
    }
    let error = Device::open().err().unwrap();
    assert!(matches!(error, CudaError::NoDriver));
    assert!(error.to_string().contains("--backend cpu"), "{error}");
}
