//! The integer reference against the independent oracle, `docs/arithmetic/ref.py`,
//! on random models: every logit of every token.
//!
//! Needs a Python with numpy: `$ANNULUS_PYTHON`, `.tools/venv/bin/python` (where
//! `./x` puts one) or `python3`.

mod model_npz;

use annulus_model::quant::QuantModel;
use annulus_model::random::{Rng, Shape};
use annulus_model::reference::Reference;
use serde_json::json;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const SHAPES: u64 = 200;
const TOKENS: usize = 24;
const PROCESSES: usize = 2;

/// Runs every case of a list through `ref.py`: one line of logits a case.
const DRIVER: &str = "
import json, sys
sys.path.insert(0, sys.argv[1])
import ref
for case in json.load(open(sys.argv[2])):
    core = ref.Core(case['path'], case['window'], case['sinks'])
    at = lambda t: (case['start'] + t) & 0xffffffff
    print(json.dumps([core.step(tok, at(t)) for t, tok in enumerate(case['tokens'])]), flush=True)
";

/// A model and a stream through it.
struct Case {
    shape: Shape,
    model: QuantModel,
    window: usize,
    sinks: usize,
    start: u32,
    tokens: Vec<u32>,
}

impl Case {
    fn random(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let mut shape = Shape::random(&mut rng);
        if seed.is_multiple_of(3) {
            // The head sizes that the hardware finds hardest, often with one KV head.
            shape.head_size = [2, 6, 24, 64][seed as usize / 3 % 4];
            shape.heads = rng.within(1, (64 / shape.head_size as i32).min(8)) as usize;
            shape.kv_heads = if rng.one_in(2) { 1 } else { shape.heads };
            shape.hadamard &= shape.head_size.is_power_of_two();
        }
        let window = rng.pick(&[1, 2, 3, 5, 7, 8, 12, 13, 16, 32]);
        let sinks = if window > 1 && rng.one_in(3) {
            rng.within(1, window - 1)
        } else {
            0
        };
        let start = match rng.within(0, 3) {
            _ if sinks > 0 => 0,
            0 => 0,
            1 => rng.bits(),
            2 => u32::MAX - 7, // the position wraps in the stream
            _ => 4_000_000_000,
        };
        let last = shape.vocab as i32 - 1;
        let tokens = (0..TOKENS).map(|_| rng.within(0, last) as u32).collect();
        let model = shape.model(seed);
        Case {
            shape,
            model,
            window: window as usize,
            sinks: sinks as usize,
            start,
            tokens,
        }
    }

    fn json(&self, path: &Path) -> serde_json::Value {
        json!({
            "path": path, "window": self.window, "sinks": self.sinks, "start": self.start,
            "tokens": self.tokens,
        })
    }

    fn about(&self) -> String {
        format!(
            "{:?} W {} S {} from {}",
            self.shape, self.window, self.sinks, self.start
        )
    }
}

#[test]
fn equals_ref_py_on_random_models() {
    let Some(python) = python() else { return };
    let cases: Vec<Case> = (0..SHAPES).map(Case::random).collect();
    covers_what_it_should(&cases);
    let folder = tempfile::tempdir().unwrap();
    let batches: Vec<&[Case]> = cases.chunks(cases.len().div_ceil(PROCESSES)).collect();
    let running: Vec<Child> = batches
        .iter()
        .enumerate()
        .map(|(n, batch)| start(&python, folder.path(), n, batch))
        .collect();
    let (mut clipped_logits, mut clipped_scores) = (0, 0);
    for (n, (batch, mut child)) in batches.into_iter().zip(running).enumerate() {
        assert!(child.wait().unwrap().success(), "ref.py failed");
        let lines = std::fs::read_to_string(folder.path().join(answers(n))).unwrap();
        assert_eq!(lines.lines().count(), batch.len());
        for (case, line) in batch.iter().zip(lines.lines()) {
            let oracle: Vec<Vec<i32>> = serde_json::from_str(line).unwrap();
            let mut reference = Reference::new(&case.model, case.window, case.sinks).unwrap();
            reference.start_at(case.start).unwrap();
            reference.set_tracing(true);
            for (t, (&token, want)) in case.tokens.iter().zip(&oracle).enumerate() {
                let logits = reference.step(token).unwrap();
                assert_eq!(logits, want, "token {t} of {}", case.about());
                clipped_logits += usize::from(logits.contains(&((1 << 23) - 1)));
                let layers = &reference.trace().unwrap().layers;
                let scores = layers.iter().flat_map(|l| &l.scores).flatten();
                clipped_scores += scores.filter(|&&s| s == 32767 || s == -32768).count();
            }
        }
    }
    assert!(
        clipped_logits > 10 && clipped_scores > 10,
        "nothing saturated"
    );
}

/// The list is random, but it must hold the hard cases.
fn covers_what_it_should(cases: &[Case]) {
    let head_sizes: BTreeSet<usize> = cases.iter().map(|c| c.shape.head_size).collect();
    assert!(
        [2, 6, 24, 48, 64]
            .iter()
            .all(|size| head_sizes.contains(size)),
        "{head_sizes:?}"
    );
    let count = |what: &str, holds: fn(&Case) -> bool| {
        assert!(
            cases.iter().filter(|c| holds(c)).count() >= 5,
            "too few cases with {what}"
        );
    };
    count("one KV head of several", |c| {
        c.shape.kv_heads == 1 && c.shape.heads > 1
    });
    count("a window of 1", |c| c.window == 1);
    count("a wrapping window that is no power of two", |c| {
        !c.window.is_power_of_two() && c.window < TOKENS
    });
    count("sinks", |c| c.sinks > 0 && c.window < TOKENS);
    count("all slots but one sinks", |c| {
        c.sinks > 0 && c.sinks + 1 == c.window
    });
    count("a far start", |c| c.start > 1 << 30);
    count("learned positions", |c| c.shape.positions.is_some());
    count("a norm after the embedding", |c| c.shape.embedding_norm);
    count("a tied table and no last norm", |c| {
        c.shape.tied && !c.shape.final_norm
    });
    count("ReLU", |c| c.shape.relu);
    count("Hadamard without RoPE", |c| {
        c.shape.hadamard && !c.shape.rope
    });
}

fn start(python: &Path, folder: &Path, n: usize, batch: &[Case]) -> Child {
    let cases: Vec<serde_json::Value> = batch
        .iter()
        .enumerate()
        .map(|(i, case)| {
            let path = folder.join(format!("{n}-{i}.npz"));
            model_npz::write(&case.model, &path);
            assert_eq!(model_npz::read(&path), case.model, "written and read back");
            case.json(&path)
        })
        .collect();
    let list = folder.join(format!("{n}.json"));
    std::fs::write(&list, json!(cases).to_string()).unwrap();
    Command::new(python)
        .arg("-c")
        .arg(DRIVER)
        .arg(repository().join("docs/arithmetic"))
        .arg(&list)
        .stdout(File::create(folder.join(answers(n))).unwrap())
        .spawn()
        .expect("python starts")
}

/// Name of the file of logits of a batch.
fn answers(n: usize) -> String {
    format!("{n}.logits")
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A Python that has numpy.
fn python() -> Option<PathBuf> {
    let tools = repository().join(".tools/venv/bin/python");
    let named = std::env::var_os("ANNULUS_PYTHON").map(PathBuf::from);
    let found = named
        .into_iter()
        .chain([tools, "python3".into()])
        .find(|python| {
            Command::new(python)
                .args(["-c", "import numpy"])
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        });
    if found.is_none() {
        // Straight to the terminal: libtest would swallow it in a test that passes.
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: the comparison with ref.py needs a Python with numpy ($ANNULUS_PYTHON, \
             .tools/venv/bin/python or python3)"
        );
    }
    found
}
