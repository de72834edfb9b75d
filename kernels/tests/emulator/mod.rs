//! Processes whose CUDA driver is the emulator, and what the kernels must give there.

#![allow(dead_code)] // each test file uses its part

use annulus_contract::sample::{greedy, Gumbel};
use annulus_kernels::device::{Device, PTX_VARIABLE};
use annulus_kernels::engine::{Choice, Chosen, Engine};
use annulus_kernels::plan::{Mode, Plan};
use annulus_kernels::program::Program;
use annulus_model::quant::{QuantModel, Width};
use annulus_model::random::{random_model, Rng, Shape};
use annulus_model::reference::Reference;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

/// Tells a process that it runs on the emulator, and in which order warps do.
pub const SEED: &str = "ANNULUS_EMULATOR_SEED";

/// Whether this process is one of those.
pub fn inside() -> bool {
    std::env::var_os(SEED).is_some()
}

/// A folder with the emulator under the driver's name.
pub struct Folder(PathBuf);

impl Folder {
    /// A folder of this test's own.
    pub fn new(name: &str) -> Self {
        let tests = std::env::current_exe().expect("a test knows where it is");
        let deps = tests.parent().expect("it lies in a folder");
        let folder = deps.join(format!("emulator-{name}-{}", std::process::id()));
        let library = deps.join("libannulus_emulator.so");
        assert!(library.is_file(), "cargo builds {}", library.display());
        std::fs::create_dir_all(&folder).expect("a folder of ours");
        std::os::unix::fs::symlink(library, folder.join("libcuda.so.1")).expect("a link of ours");
        Folder(folder)
    }

    /// Runs a test of this file in a process of its own, on the emulator, perhaps
    /// with other kernels.
    pub fn run(&self, test: &str, seed: u64, ptx: Option<&Path>) -> Output {
        let mut command = Command::new(std::env::current_exe().expect("a test knows where it is"));
        command
            .args(["--exact", test, "--nocapture", "--include-ignored"])
            .env("LD_LIBRARY_PATH", &self.0)
            .env(SEED, seed.to_string())
            .env("RUST_BACKTRACE", "0");
        if let Some(ptx) = ptx {
            command.env(PTX_VARIABLE, ptx);
        }
        command.output().expect("the test starts")
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a test's process said, if it failed.
#[track_caller]
pub fn succeeded(output: &Output) {
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{out}\n{err}");
    assert!(out.contains("1 passed"), "the test is there: {out}");
}

/// A run of a model, and how it is to be made.
#[derive(Clone)]
pub struct Case {
    pub name: String,
    pub model: QuantModel,
    pub window: usize,
    pub sinks: usize,
    pub inputs: Vec<u32>,
    pub silent: usize,
    pub passes: usize,
    pub choice: Choice,
}

/// What the reference makes of a case.
pub struct Expected {
    pub tokens: Vec<u32>,
    pub logits: Vec<i32>,
}

impl Case {
    /// A random model with everything else random as well.
    pub fn random(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0xc0de);
        let mut model = random_model(seed);
        if seed.is_multiple_of(3) {
            model.value_bits = Width::Four;
        }
        let window = rng.within(1, 40) as usize;
        let sinks = if rng.one_in(2) {
            rng.within(0, (window as i32 - 1).min(6)) as usize
        } else {
            0
        };
        let inputs: Vec<u32> = (0..rng.within(1, 6))
            .map(|_| rng.bits() % model.vocab as u32)
            .collect();
        let gumbel = (!rng.one_in(3)).then(|| Gumbel {
            it: rng.within(300, 4000) as u16,
            key: u64::from(rng.bits()).into(),
            logit_bits: model.logit_bits.into(),
        });
        let mut case = Case {
            name: format!("model {seed}"),
            window,
            sinks,
            silent: inputs.len() - 1,
            passes: inputs.len() + rng.within(8, 40) as usize,
            inputs,
            choice: Choice {
                gumbel,
                ..Choice::default()
            },
            model,
        };
        // Special tokens are such as are chosen.
        let tokens = case.expected().tokens;
        let chosen = |rng: &mut Rng| rng.pick(&tokens);
        if rng.one_in(2) {
            case.choice.restart = Some(chosen(&mut rng));
        }
        if rng.one_in(3) {
            case.choice.stop = Some(chosen(&mut rng));
        }
        case
    }

    /// What the reference says.
    pub fn expected(&self) -> Expected {
        let mut reference = Reference::new(&self.model, self.window, self.sinks).unwrap();
        let (silent, given) = self.inputs.split_at(self.silent);
        for &token in silent {
            reference.step_silent(token).unwrap();
        }
        let mut expected = Expected {
            tokens: vec![],
            logits: vec![],
        };
        for pass in 0..self.passes - self.silent {
            let token = given.get(pass).or(expected.tokens.last()).copied();
            let logits = reference.step(token.unwrap()).unwrap();
            let sample = pass as u32;
            let chosen = match self.choice.gumbel {
                None => greedy(logits),
                Some(gumbel) => gumbel.choose(sample, logits),
            };
            expected.logits = logits.to_vec();
            expected.tokens.push(chosen);
            if self.choice.restart == Some(chosen) {
                reference.reset();
            }
            if self.choice.stop == Some(chosen) {
                break;
            }
        }
        expected
    }

    /// Tokens and logits of a plan must be the reference's.
    pub fn check(&self, device: &Arc<Device>, plan: Plan) {
        let program = Program::new(&self.model, self.window, self.sinks).unwrap();
        let mut engine = Engine::new(device.clone(), Arc::new(program), plan).unwrap();
        for stream in 0..plan.streams {
            engine
                .set_choice(stream, self.of_stream(stream).choice)
                .unwrap();
        }
        // A first run leaves traces that a reset must remove.
        engine.run(&self.inputs[..1], 2, 0).unwrap();
        engine.reset().unwrap();
        let chosen = engine.run(&self.inputs, self.passes, self.silent).unwrap();
        for (stream, Chosen { tokens, .. }) in chosen.iter().enumerate() {
            let expected = self.of_stream(stream).expected();
            let what = format!("{}, {plan:?}, stream {stream}", self.name);
            assert_eq!(*tokens, expected.tokens, "{what}");
            assert_eq!(engine.logits(stream).unwrap(), expected.logits, "{what}");
        }
    }

    /// Streams of a batch differ by their seed.
    fn of_stream(&self, stream: usize) -> Case {
        let mut case = self.clone();
        if let Some(gumbel) = &mut case.choice.gumbel {
            gumbel.key.k1 = stream as u32;
        }
        case
    }
}

/// Ways to spread a model, with teams of one block and of several.
pub const PLANS: [Plan; 5] = [
    plan(Mode::Persistent, 1, 1, 64),
    plan(Mode::Persistent, 1, 1, 128),
    plan(Mode::Persistent, 1, 3, 32),
    plan(Mode::Graph, 1, 2, 64),
    plan(Mode::Batched, 3, 1, 32),
];

const fn plan(mode: Mode, streams: usize, blocks: u32, threads: u32) -> Plan {
    Plan {
        mode,
        streams,
        blocks,
        threads,
    }
}

/// Shapes that a random draw is unlikely to bring: the format's edges.
pub fn odd_shapes() -> Vec<Case> {
    let shape = Shape {
        hidden: 7,
        heads: 3,
        head_size: 2,
        vocab: 16,
        tied: false,
        positions: Some(4),
        embedding_norm: true,
        ..Shape::LLAMA
    };
    let shapes = [
        shape.clone(),
        Shape {
            layers: 2,
            hidden: 301,
            heads: 4,
            kv_heads: 2,
            head_size: 32,
            vocab: 33,
            ..shape.clone()
        },
        Shape {
            heads: 17,
            kv_heads: 17,
            head_size: 6,
            hadamard: false,
            relu: true,
            saturating: true,
            ..shape.clone()
        },
        Shape { layers: 0, ..shape },
    ];
    let case = |(n, shape): (usize, &Shape)| Case {
        name: format!("odd shape {n}"),
        model: shape.model(n as u64),
        window: 5 + 9 * n,
        sinks: n,
        inputs: vec![1, 2, 3],
        silent: 1,
        passes: 40,
        choice: Choice::default(),
    };
    shapes.iter().enumerate().map(case).collect()
}
