//! Every test vector of `docs/arithmetic.md`, against the contract and the
//! integer reference.
//!
//! Vectors that name a model need `model_<name>.npz`, which derive from others'
//! weights and are not committed: they are read from `$ANNULUS_ARITHMETIC`, or
//! from `arithmetic/` beside `$ANNULUS_DATA`.

mod model_npz;

use annulus_contract::block::{
    bfp_scale, encode_bfp, encode_block, mantissa, max_magnitude, value_mantissa, Scale,
};
use annulus_contract::crc::Crc32;
use annulus_contract::exp2::exp2p;
use annulus_contract::feed_forward::{swiglu, SwigluFormat};
use annulus_contract::fixed::rshr;
use annulus_contract::hadamard::hadamard;
use annulus_contract::recip::recip;
use annulus_contract::rope::rotate;
use annulus_contract::rsqrt::rsqrt;
use annulus_contract::sample::{greedy, gumbel, prng, Gumbel, Key};
use annulus_contract::sigmoid::sigmoid;
use annulus_contract::stage;
use annulus_contract::trig::{cos, sin};
use annulus_model::check::legal_shifts;
use annulus_model::quant::{Matrix, QuantModel};
use annulus_model::reference::Reference;
use annulus_model::sampler::Sampler;
use serde_json::{json, Value};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

const VECTORS: &str = include_str!("../vectors/vectors.jsonl");

/// One vector, and its numbers by name.
struct Vector(Value);

impl Vector {
    fn int(&self, key: &str) -> i64 {
        self.0[key]
            .as_i64()
            .unwrap_or_else(|| panic!("{key} of {}", self.0))
    }

    fn u32(&self, key: &str) -> u32 {
        self.int(key) as u32
    }

    fn ints(&self, key: &str) -> Vec<i32> {
        ints(&self.0[key])
    }

    fn tokens(&self) -> Vec<u32> {
        self.ints("tokens").iter().map(|&t| t as u32).collect()
    }

    fn has(&self, key: &str) -> bool {
        !self.0[key].is_null()
    }
}

fn ints(value: &Value) -> Vec<i32> {
    value
        .as_array()
        .expect("a list")
        .iter()
        .map(|v| v.as_i64().expect("a number") as i32)
        .collect()
}

fn vectors(ops: &[&str]) -> Vec<Vector> {
    VECTORS
        .lines()
        .map(|line| Vector(serde_json::from_str(line).expect("a line of JSON")))
        .filter(|v| ops.contains(&v.0["op"].as_str().expect("an op")))
        .collect()
}

/// A head as the vectors write it: mantissas, e, mu.
fn encoded(m: &[i8], scale: Scale) -> Value {
    json!([m, scale.e, scale.mu])
}

fn widened(m: &[i8]) -> Vec<i32> {
    m.iter().map(|&m| m.into()).collect()
}

#[test]
fn every_vector_has_a_test() {
    let mut seen = BTreeMap::new();
    for line in VECTORS.lines() {
        let v: Value = serde_json::from_str(line).unwrap();
        *seen
            .entry(v["op"].as_str().unwrap().to_string())
            .or_insert(0) += 1;
    }
    let tested = PRIMITIVES.iter().chain(ON_MODELS);
    assert_eq!(
        tested
            .map(|op| seen.remove(*op).unwrap_or(0))
            .sum::<usize>(),
        481
    );
    assert!(seen.is_empty(), "no test for {seen:?}");
}

const PRIMITIVES: &[&str] = &[
    "rshr",
    "bfp",
    "block",
    "rsqrt",
    "recip",
    "sincos",
    "sigmoid",
    "exp2p",
    "hadamard",
    "swiglu",
    "rope_inc",
    "rope",
    "prng",
    "gumbel",
    "attn_head",
    "sample1",
];
const ON_MODELS: &[&str] = &[
    "matvec",
    "layer_trace",
    "logits",
    "logits_crc",
    "greedy",
    "sample",
];

#[test]
fn primitives() {
    for v in vectors(PRIMITIVES) {
        primitive(&v);
    }
}

/// Phase increments of the model that the `rope` vectors were made with.
fn increments() -> Vec<u32> {
    vectors(&["rope_inc"])[0]
        .ints("inc")
        .iter()
        .map(|&inc| inc as u32)
        .collect()
}

fn primitive(v: &Vector) {
    let key = || Key {
        k0: v.u32("k0"),
        k1: v.u32("k1"),
    };
    match v.0["op"].as_str().unwrap() {
        "rshr" => assert_eq!(rshr(v.int("x"), v.int("s") as i32), v.int("y"), "{}", v.0),
        "bfp" => {
            let (x, bits) = (v.ints("x"), v.u32("b"));
            let scale = bfp_scale(max_magnitude(&x), bits);
            let m: Vec<i8> = x.iter().map(|&x| mantissa(x, scale, bits)).collect();
            let want = (v.ints("m"), v.int("e"), v.int("mu"));
            assert_eq!(
                (widened(&m), scale.e.into(), scale.mu.into()),
                want,
                "{}",
                v.0
            );
        }
        "block" => {
            let x = v.ints("x");
            let mut m = vec![0; x.len()];
            let e = encode_block(&x, &mut m).e;
            assert_eq!(
                (widened(&m), e.into()),
                (v.ints("m"), v.int("e")),
                "{}",
                v.0
            );
        }
        "rsqrt" => {
            let got = rsqrt(v.int("t") as u64);
            assert_eq!(
                (got.r.into(), got.k.into()),
                (v.int("R"), v.int("k")),
                "{}",
                v.0
            );
        }
        "recip" => {
            let got = recip(v.u32("Z"));
            assert_eq!(
                (got.r.into(), got.z.into()),
                (v.int("r"), v.int("z")),
                "{}",
                v.0
            );
        }
        "sincos" => {
            let phase = v.u32("phase");
            let want = (v.int("sin"), v.int("cos"));
            assert_eq!((sin(phase).into(), cos(phase).into()), want, "{}", v.0);
        }
        "sigmoid" => {
            assert_eq!(
                sigmoid(v.int("g") as i32, v.u32("FG")),
                v.u32("s"),
                "{}",
                v.0
            );
        }
        "exp2p" => assert_eq!(exp2p(v.u32("d")), v.u32("p"), "{}", v.0),
        "hadamard" => {
            let mut x = v.ints("x");
            hadamard(&mut x);
            assert_eq!(x, v.ints("y"), "{}", v.0);
        }
        "swiglu" => {
            let format = SwigluFormat {
                gate: v.u32("FG"),
                up: v.u32("FU"),
                hidden: v.u32("FH"),
            };
            let h = swiglu(v.int("g") as i32, v.int("u") as i32, format);
            assert_eq!(i64::from(h), v.int("h"), "{}", v.0);
        }
        "rope_inc" => {
            let (base, hd) = (v.int("base") as f64, v.int("hd") as f64);
            let turn = 2f64.powi(32) / std::f64::consts::TAU;
            for (c, want) in v.ints("inc").into_iter().enumerate() {
                let inc = turn * base.powf(-2.0 * c as f64 / hd);
                assert_eq!((inc + 0.5).floor() as u32, want as u32, "{}", v.0);
            }
        }
        "rope" => {
            let mut x = v.ints("x");
            rotate(&mut x, v.u32("pos"), &increments());
            assert_eq!(x, v.ints("y"), "{}", v.0);
        }
        "prng" => {
            let r = prng(key(), v.u32("step"), v.u32("idx"));
            assert_eq!(
                (r, i64::from(gumbel(r))),
                (v.u32("r"), v.int("noise")),
                "{}",
                v.0
            );
        }
        "gumbel" => assert_eq!(i64::from(gumbel(v.u32("r"))), v.int("noise"), "{}", v.0),
        "attn_head" => attention_head(v),
        "sample1" => {
            let logits = v.ints("logits");
            let sampler = Gumbel {
                it: v.u32("IT") as u16,
                key: key(),
                logit_bits: v.u32("LF"),
            };
            assert_eq!(sampler.choose(v.u32("step"), &logits), v.u32("index"));
            assert_eq!(greedy(&logits), v.u32("argmax"));
        }
        op => panic!("no test for {op}"),
    }
}

/// One head from int16 q, k, v to its output, stage by stage.
fn attention_head(v: &Vector) {
    let stages = if v.int("rot") == 1 {
        v.u32("hd").ilog2()
    } else {
        0
    };
    let rows =
        |key: &str| -> Vec<Vec<i32>> { v.0[key].as_array().unwrap().iter().map(ints).collect() };
    let encode = |x: &[i32], want: &Value| {
        let mut x = x.to_vec();
        if stages > 0 {
            hadamard(&mut x);
        }
        let mut m = vec![0; x.len()];
        let scale = encode_bfp(&x, &mut m);
        assert_eq!(encoded(&m, scale), *want);
        (widened(&m), scale)
    };
    let (fq, fk) = (v.int("FQ") as u8, v.int("FK") as u8);
    let query = encode(&v.ints("q16"), &v.0["q8"]);
    let keys: Vec<_> = rows("k16")
        .iter()
        .enumerate()
        .map(|(j, k)| encode(k, &v.0["k8"][j]))
        .collect();
    let values: Vec<Vec<i32>> = rows("v16")
        .iter()
        .map(|row| row.iter().map(|&v| value_mantissa(v).into()).collect())
        .collect();
    assert_eq!(values, rows("v8"));
    let scores: Vec<i32> = keys
        .iter()
        .map(|(m, scale)| {
            let d = query.0.iter().zip(m).map(|(a, b)| a * b).sum();
            let sh = stage::score_shift(fq, fk, stages, query.1.e, scale.e);
            stage::score(d, query.1, *scale, sh)
        })
        .collect();
    assert_eq!(scores, v.ints("scores"));
    let max = *scores.iter().max().unwrap();
    let p: Vec<u32> = scores.iter().map(|&s| exp2p((max - s) as u32)).collect();
    assert_eq!(p.iter().map(|&p| p as i32).collect::<Vec<_>>(), v.ints("p"));
    let sum = p.iter().sum();
    assert_eq!(sum, v.u32("Z"));
    let out: Vec<i32> = (0..v.u32("hd") as usize)
        .map(|c| {
            let acc = p.iter().zip(&values).map(|(&p, v)| p as i32 * v[c]).sum();
            stage::mix(acc, stage::mix_scale(sum))
        })
        .collect();
    assert_eq!(out, v.ints("o"));
}

/// Where the models lie that the vectors name, if they are here.
fn models() -> Option<PathBuf> {
    let beside = |data: std::ffi::OsString| PathBuf::from(data).join("../arithmetic");
    let place = std::env::var_os("ANNULUS_ARITHMETIC")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("ANNULUS_DATA").map(beside))
        .filter(|place| place.join("model_stories260K_w8.npz").is_file());
    if place.is_none() {
        // Straight to the terminal: libtest would swallow it in a test that passes.
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: {} vectors need model_stories260K_w8.npz and model_microgpt_w8.npz in \
             $ANNULUS_ARITHMETIC (or in arithmetic/ beside $ANNULUS_DATA)",
            vectors(ON_MODELS).len()
        );
    }
    place
}

#[test]
fn on_models() {
    let Some(place) = models() else { return };
    let model = |name: &str| model_npz::read(&place.join(format!("model_{name}.npz")));
    let known: BTreeMap<&str, QuantModel> = ["stories260K_w8", "microgpt_w8"]
        .into_iter()
        .map(|name| (name, model(name)))
        .collect();
    for (name, model) in &known {
        model.check().unwrap_or_else(|e| panic!("{name}: {e}"));
        legal_shifts(model).unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    // The layer traces, which name no model, are of this one.
    let default = &known["stories260K_w8"];
    for v in vectors(ON_MODELS) {
        on_model(
            &v,
            v.0["model"].as_str().map_or(default, |name| &known[name]),
        );
    }
}

fn on_model(v: &Vector, model: &QuantModel) {
    match v.0["op"].as_str().unwrap() {
        "matvec" => matvec(v, model),
        "layer_trace" => layer_trace(v, model),
        "logits" => {
            let mut reference = traced(model, &v.tokens());
            let x_final = reference.trace().unwrap().x_final.clone();
            assert_eq!(x_final, v.ints("x_final"));
            reference.reset();
            let mut logits = Vec::new();
            for token in v.tokens() {
                logits = reference.step(token).unwrap().to_vec();
            }
            assert_eq!(logits, v.ints("logits"));
        }
        "logits_crc" => {
            let mut reference =
                Reference::new(model, v.u32("W") as usize, v.u32("S") as usize).unwrap();
            reference.start_at(v.u32("pos0")).unwrap();
            let mut crc = Crc32::new();
            for token in v.tokens() {
                crc.update_logits(reference.step(token).unwrap());
            }
            assert_eq!(
                crc.value(),
                v.u32("crc32"),
                "W {} S {}",
                v.u32("W"),
                v.u32("S")
            );
        }
        "greedy" => {
            let sinks = v.0["opt"]["S"].as_u64().unwrap_or(0) as usize;
            let reference = Reference::new(model, v.u32("W") as usize, sinks).unwrap();
            generates(v, reference, Sampler::greedy());
        }
        "sample" => {
            let reference = Reference::new(model, v.u32("W") as usize, 0).unwrap();
            let key = Key {
                k0: v.u32("k0"),
                k1: v.u32("k1"),
            };
            generates(
                v,
                reference,
                Sampler::gumbel(v.u32("IT") as u16, key, model.logit_bits),
            );
        }
        op => panic!("no test for {op}"),
    }
}

/// A window of 512 after `tokens`, traced.
fn traced(model: &QuantModel, tokens: &[u32]) -> Reference {
    let mut reference = Reference::new(model, 512, 0).unwrap();
    reference.set_tracing(true);
    for &token in tokens {
        reference.step_silent(token).unwrap();
    }
    reference
}

/// The stream's own tokens come out again, fed one by one from the first.
fn generates(v: &Vector, mut reference: Reference, mut sampler: Sampler) {
    let tokens = v.tokens();
    for (at, pair) in tokens.windows(2).enumerate() {
        let next = sampler.choose(reference.step(pair[0]).unwrap());
        assert_eq!(next, pair[1], "token {} of {}", at + 1, v.0);
    }
}

fn matvec(v: &Vector, model: &QuantModel) {
    let (name, layer) = v.0["mat"].as_str().unwrap().split_once('.').unwrap();
    let layer = &model.layers[layer.parse::<usize>().unwrap()];
    let matrix: &Matrix = match name {
        "wq" => &layer.wq,
        "wo" => &layer.wo,
        "w2" => &layer.w2,
        name => panic!("no matrix {name}"),
    };
    let f_x = if v.has("F_x") { v.int("F_x") as u8 } else { 0 };
    let m = v.ints("m");
    for (row, want) in v.ints("out").into_iter().enumerate() {
        let (w, s, mu) = matrix.row(row);
        let acc: i32 = w.iter().zip(&m).map(|(&w, &m)| i32::from(w) * m).sum();
        assert_eq!(acc, v.ints("acc")[row]);
        assert_eq!(
            (i32::from(s), i32::from(mu)),
            (v.ints("row_s")[row], v.ints("row_mu")[row])
        );
        let sh = stage::matvec_shift(v.int("k") as u8, s, v.int("e") as u8, v.int("F") as u8, f_x);
        let y = stage::requantize(acc, stage::m16(v.u32("R") as u16, mu), sh);
        assert_eq!(y, i64::from(want), "{name} row {row}");
    }
}

/// Every vector between steps of one layer. The traces are of one stream.
fn layer_trace(v: &Vector, model: &QuantModel) {
    const STREAM: [u32; 5] = [1, 403, 407, 261, 378];
    let position = v.u32("pos") as usize;
    assert_eq!(STREAM[position], v.u32("token"));
    let l = v.u32("layer") as usize;
    let reference = traced(model, &STREAM[..=position]);
    let seen = &reference.trace().unwrap().layers[l];
    assert_eq!(seen.x, v.ints("x"));
    assert_eq!(
        (seen.norm.r.into(), seen.norm.k.into()),
        (v.int("R"), v.int("k"))
    );
    assert_eq!(
        (widened(&seen.m), seen.e.into(), 8),
        (v.ints("m"), v.int("e"), v.int("mu"))
    );
    assert_eq!(seen.q, v.ints("q"));
    assert_eq!(seen.k, v.ints("k16"));
    assert_eq!(seen.v, v.ints("v16"));
    let ring = reference.ring(l);
    let heads = 0..model.kv_heads;
    let keys = heads
        .clone()
        .map(|h| ring.key(seen.slot, h))
        .map(|(m, scale)| encoded(m, scale));
    assert_eq!(keys.collect::<Value>(), v.0["K"]);
    assert_eq!(
        heads
            .map(|h| json!(ring.value(seen.slot, h)))
            .collect::<Value>(),
        v.0["V"]
    );
    assert_eq!(seen.ao, v.ints("ao"));
    assert_eq!(seen.gate, v.ints("gate"));
    assert_eq!(seen.up, v.ints("up"));
    assert_eq!(seen.h, v.ints("h"));
}
