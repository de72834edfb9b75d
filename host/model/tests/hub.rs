//! Models in the model hub's layout: what is read is what was written, it computes
//! what transformers computes, and damage gives one sentence.

mod common;

use annulus_model::float::{FloatModel, FloatState};
use annulus_model::import::llama;
use annulus_model::model::Model;
use annulus_model::quantize::Rotation;
use annulus_model::random::Rng;
use common::{Sizes, SMALL};
use half::{bf16, f16};
use safetensors::tensor::TensorView;
use safetensors::Dtype;
use serde_json::{json, Value};
use std::collections::BTreeMap;

/// A tensor by name: dimensions and numbers.
type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// The tensors of a model in the layout of transformers, where rotary pairs are
/// halves of a head.
fn tensors(model: &FloatModel) -> Tensors {
    let (dim, hidden, size) = (model.dim, model.hidden, model.head_size);
    let kv = model.kv_heads * size;
    let mut all = Tensors::new();
    let mut put = |name: String, dims: &[usize], w: &[f32]| {
        all.insert(name, (dims.to_vec(), w.to_vec()));
    };
    let halves = |w: &[f32]| -> Vec<f32> {
        let rows: Vec<&[f32]> = w.chunks(dim).collect();
        let from = |r: usize| {
            let (head, c) = (r / size * size, r % size);
            head + if c < size / 2 {
                2 * c
            } else {
                2 * (c - size / 2) + 1
            }
        };
        (0..rows.len())
            .flat_map(|r| rows[from(r)].to_vec())
            .collect()
    };
    put(
        "model.embed_tokens.weight".into(),
        &[model.vocab, dim],
        &model.embedding,
    );
    for (l, layer) in model.layers.iter().enumerate() {
        let name = |part: &str| format!("model.layers.{l}.{part}.weight");
        put(name("input_layernorm"), &[dim], &layer.attention_norm);
        put(name("self_attn.q_proj"), &[dim, dim], &halves(&layer.wq));
        put(name("self_attn.k_proj"), &[kv, dim], &halves(&layer.wk));
        put(name("self_attn.v_proj"), &[kv, dim], &layer.wv);
        put(name("self_attn.o_proj"), &[dim, dim], &layer.wo);
        put(name("post_attention_layernorm"), &[dim], &layer.ffn_norm);
        put(name("mlp.gate_proj"), &[hidden, dim], &layer.w1);
        put(name("mlp.down_proj"), &[dim, hidden], &layer.w2);
        put(
            name("mlp.up_proj"),
            &[hidden, dim],
            layer.w3.as_deref().unwrap(),
        );
    }
    put(
        "model.norm.weight".into(),
        &[dim],
        model.final_norm.as_deref().unwrap(),
    );
    if let Some(classifier) = &model.classifier {
        put("lm_head.weight".into(), &[model.vocab, dim], classifier);
    }
    all
}

/// The safetensors file, its numbers in some type.
fn file(tensors: &Tensors, dtype: Dtype) -> Vec<u8> {
    let bytes = |w: &[f32]| -> Vec<u8> {
        match dtype {
            Dtype::F32 => w.iter().flat_map(|w| w.to_le_bytes()).collect(),
            Dtype::F16 => w
                .iter()
                .flat_map(|&w| f16::from_f32(w).to_le_bytes())
                .collect(),
            Dtype::BF16 => w
                .iter()
                .flat_map(|&w| bf16::from_f32(w).to_le_bytes())
                .collect(),
            _ => w.iter().map(|&w| w as i8 as u8).collect(),
        }
    };
    let data: Vec<(&String, &Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, (dims, w))| (name, dims, bytes(w)))
        .collect();
    let views = data
        .iter()
        .map(|(name, dims, bytes)| (*name, TensorView::new(dtype, dims.to_vec(), bytes).unwrap()));
    safetensors::serialize(views, None).unwrap()
}

fn config(model: &FloatModel) -> Value {
    json!({
        "model_type": "mistral",
        "hidden_act": "silu",
        "hidden_size": model.dim,
        "intermediate_size": model.hidden,
        "num_hidden_layers": model.layers.len(),
        "num_attention_heads": model.heads,
        "num_key_value_heads": model.kv_heads,
        "vocab_size": model.vocab,
        "sliding_window": model.context,
        "max_position_embeddings": 4096,
        "rms_norm_eps": model.eps,
        "rope_theta": model.rope_base,
        "tie_word_embeddings": model.classifier.is_none(),
        "bos_token_id": 1,
        "eos_token_id": [2, 3],
    })
}

fn read(config: &Value, file: &[u8]) -> Result<llama::Checkpoint, String> {
    llama::read(config.to_string().as_bytes(), file).map_err(|e| e.to_string())
}

/// Grouped heads of several pairs.
const WIDE: Sizes = Sizes {
    heads: 6,
    kv_heads: 2,
    head_size: 8,
    hidden: 21,
    layers: 3,
    vocab: 20,
    context: 5,
};

#[test]
fn what_was_written_is_read() {
    for (sizes, tied) in [(SMALL, true), (SMALL, false), (WIDE, true), (WIDE, false)] {
        let model = common::llama(sizes, tied, 7);
        for (dtype, round) in [
            (Dtype::F32, (|w| w) as fn(f32) -> f32),
            (Dtype::F16, |w| f16::from_f32(w).to_f32()),
            (Dtype::BF16, |w| bf16::from_f32(w).to_f32()),
        ] {
            let mut expected = tensors(&model);
            let all = expected.values_mut().flat_map(|(_, w)| w);
            all.for_each(|w| *w = round(*w));
            let found = read(&config(&model), &file(&tensors(&model), dtype)).unwrap();
            assert_eq!(tensors(&found.model), expected, "{dtype:?}");
            assert_eq!((found.bos, found.eos), (Some(1), Some(2)));
            assert_eq!(
                (found.model.context, found.model.eps),
                (sizes.context, 1e-5)
            );
            assert_eq!(found.model.rope_base, Some(10_000.0));
        }
    }
}

/// The forward pass of transformers' `modeling_mistral.py`, all positions at once, in
/// float64: rotate_half, repeated key heads, a banded mask.
fn transformers(t: &Tensors, model: &FloatModel, tokens: &[u32]) -> Vec<Vec<f64>> {
    let (dim, size, eps) = (model.dim, model.head_size, f64::from(model.eps));
    let get = |name: &str| &t[name].1;
    let linear = |w: &[f32], x: &[f64]| -> Vec<f64> {
        let rows = w.chunks(x.len());
        rows.map(|row| row.iter().zip(x).map(|(&w, x)| f64::from(w) * x).sum())
            .collect()
    };
    let norm = |gain: &[f32], x: &[f64]| -> Vec<f64> {
        let variance = x.iter().map(|x| x * x).sum::<f64>() / dim as f64;
        let scale = (variance + eps).sqrt().recip();
        x.iter()
            .zip(gain)
            .map(|(x, &g)| x * scale * f64::from(g))
            .collect()
    };
    let rotated = |x: &[f64], position: usize| -> Vec<f64> {
        let half = size / 2;
        let angle = |c: usize| position as f64 * 10_000f64.powf(-((c % half) as f64) / half as f64);
        let rotate_half = |c: usize| if c < half { -x[c + half] } else { x[c - half] };
        (0..size)
            .map(|c| x[c] * angle(c).cos() + rotate_half(c) * angle(c).sin())
            .collect()
    };
    let embedding = get("model.embed_tokens.weight");
    let mut x: Vec<Vec<f64>> = tokens
        .iter()
        .map(|&t| {
            embedding[t as usize * dim..][..dim]
                .iter()
                .map(|&w| w.into())
                .collect()
        })
        .collect();
    for l in 0..model.layers.len() {
        let part = |name: &str| get(&format!("model.layers.{l}.{name}.weight"));
        let normed: Vec<_> = x.iter().map(|x| norm(part("input_layernorm"), x)).collect();
        let project = |name: &str| -> Vec<Vec<f64>> {
            normed.iter().map(|x| linear(part(name), x)).collect()
        };
        let [q, k, v] = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"].map(project);
        for (i, queries) in q.iter().enumerate() {
            let mut mixed = Vec::new();
            for head in 0..model.heads {
                let kv = head / (model.heads / model.kv_heads) * size;
                let query = rotated(&queries[head * size..][..size], i);
                let keys = (0..=i).filter(|j| i - j < model.context);
                let weights: Vec<(usize, f64)> = keys
                    .map(|j| {
                        let key = rotated(&k[j][kv..][..size], j);
                        let score: f64 = query.iter().zip(&key).map(|(q, k)| q * k).sum();
                        (j, (score / (size as f64).sqrt()).exp())
                    })
                    .collect();
                let total: f64 = weights.iter().map(|(_, w)| w).sum();
                mixed.extend(
                    (0..size).map(|c| {
                        weights.iter().map(|&(j, w)| w * v[j][kv + c]).sum::<f64>() / total
                    }),
                );
            }
            let out = linear(part("self_attn.o_proj"), &mixed);
            x[i].iter_mut().zip(out).for_each(|(x, o)| *x += o);
        }
        for x in &mut x {
            let normed = norm(part("post_attention_layernorm"), x);
            let gate = linear(part("mlp.gate_proj"), &normed);
            let up = linear(part("mlp.up_proj"), &normed);
            let act: Vec<f64> = gate
                .iter()
                .zip(up)
                .map(|(g, u)| g / (1.0 + (-g).exp()) * u)
                .collect();
            let out = linear(part("mlp.down_proj"), &act);
            x.iter_mut().zip(out).for_each(|(x, o)| *x += o);
        }
    }
    let head = if model.classifier.is_some() {
        "lm_head.weight"
    } else {
        "model.embed_tokens.weight"
    };
    x.iter()
        .map(|x| linear(get(head), &norm(get("model.norm.weight"), x)))
        .collect()
}

#[test]
fn an_imported_model_computes_what_transformers_computes() {
    for (sizes, tied, seed) in [(SMALL, true, 1), (WIDE, false, 2), (WIDE, true, 3)] {
        let written = tensors(&common::llama(sizes, tied, seed));
        let model = read(
            &config(&common::llama(sizes, tied, seed)),
            &file(&written, Dtype::F32),
        )
        .unwrap()
        .model;
        // Far past the window.
        let mut rng = Rng::new(seed);
        let tokens: Vec<u32> = (0..24)
            .map(|_| rng.within(0, model.vocab as i32 - 1) as u32)
            .collect();
        let expected = transformers(&written, &model, &tokens);
        let mut state = FloatState::new(&model, model.context, 0).unwrap();
        for (position, (&token, expected)) in tokens.iter().zip(&expected).enumerate() {
            for (found, expected) in state.step(token).unwrap().iter().zip(expected) {
                let error = (f64::from(*found) - expected).abs();
                assert!(error < 2e-4, "position {position}: {found} {expected}");
            }
        }
    }
}

#[test]
fn configurations_that_no_core_runs_are_named() {
    let model = common::llama(SMALL, true, 1);
    let good = file(&tensors(&model), Dtype::F32);
    let fault = |changes: Value| {
        let mut config = config(&model);
        for (field, value) in changes.as_object().unwrap() {
            config[field] = value.clone();
        }
        read(&config, &good).unwrap_err()
    };
    for (change, sentence) in [
        (json!({"model_type": "gpt2"}), "model_type is \"gpt2\", but this project knows only \"llama\" or \"mistral\""),
        (json!({"model_type": null}), "model_type is missing"),
        (json!({"hidden_size": null}), "hidden_size is missing"),
        (json!({"hidden_size": "x"}), "hidden_size must be a whole number"),
        (json!({"hidden_act": "gelu"}), "hidden_act is \"gelu\", but this project knows only \"silu\""),
        (json!({"attention_bias": true}), "attention_bias is true, but this project knows only false"),
        (json!({"mlp_bias": true}), "mlp_bias is true, but this project knows only false"),
        (json!({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}),
            "rope_scaling's rope_type is \"llama3\", but this project knows only \"default\": positions that are not rescaled"),
        (json!({"rope_scaling": {"type": "linear", "factor": 2.0}}),
            "rope_scaling's rope_type is \"linear\", but this project knows only \"default\": positions that are not rescaled"),
        (json!({"rope_parameters": {"rope_type": "yarn"}}),
            "rope_parameters's rope_type is \"yarn\", but this project knows only \"default\": positions that are not rescaled"),
        (json!({"partial_rotary_factor": 0.5}), "partial_rotary_factor is 0.5, but this project knows only 1.0"),
        (json!({"quantization_config": {"bits": 4}}), "quantization_config is set, but this project knows only no quantized weights"),
        (json!({"layer_types": ["full_attention", "sliding_attention"]}),
            "layer_types is \"full_attention\" and \"sliding_attention\", but this project knows only the same for every layer"),
        (json!({"head_dim": 8}), "head_dim is 8, but hidden_size / num_attention_heads makes it 4"),
        (json!({"num_key_value_heads": 3}), "heads is 2, which kv_heads (3) does not divide"),
        (json!({"vocab_size": 70000}), "vocab is 70000, but must be 16 to 4096"),
        (json!({"bos_token_id": 16}), "bos_token_id must be a token of the vocabulary"),
        (json!({"rms_norm_eps": 0.0}), "eps is 0, but must be a positive number"),
        (json!({"num_hidden_layers": 3}), "model.layers.2.input_layernorm.weight is missing"),
        (json!({"num_hidden_layers": 1}), "model.layers.1.input_layernorm.weight is not a field of this format"),
        (json!({"intermediate_size": 12}),
            "model.layers.0.mlp.gate_proj.weight has the shape [11, 8], but the configuration makes it [12, 8]"),
        (json!({"tie_word_embeddings": false}), "lm_head.weight is missing"),
    ] {
        assert_eq!(fault(change.clone()), sentence, "{change}");
    }
    // Newer writers put the base elsewhere; a window that is null is none.
    let mut newer = config(&model);
    newer["rope_theta"] = Value::Null;
    newer["rope_parameters"] = json!({"rope_type": "default", "rope_theta": 500.0});
    newer["sliding_window"] = Value::Null;
    let found = read(&newer, &good).unwrap().model;
    assert_eq!((found.rope_base, found.context), (Some(500.0), 4096));
}

#[test]
fn tensors_that_no_core_runs_are_named() {
    let model = common::llama(SMALL, true, 1);
    let fault = |change: &dyn Fn(&mut Tensors)| {
        let mut all = tensors(&model);
        change(&mut all);
        read(&config(&model), &file(&all, Dtype::F32)).unwrap_err()
    };
    assert_eq!(
        fault(&|all| drop(all.insert(
            "model.layers.0.self_attn.q_proj.bias".into(),
            (vec![1], vec![0.0])
        ))),
        "model.layers.0.self_attn.q_proj.bias is not a field of this format"
    );
    assert_eq!(
        fault(&|all| drop(all.insert("lm_head.weight".into(), (vec![16, 8], vec![0.0; 128])))),
        "lm_head.weight is different from model.embed_tokens.weight, but this project knows only \
         the same, as tie_word_embeddings says"
    );
    assert_eq!(
        fault(&|all| all.get_mut("model.norm.weight").unwrap().1[3] = f32::NAN),
        "final_norm[3] is NaN"
    );
    assert_eq!(
        read(&config(&model), &file(&tensors(&model), Dtype::I8)).unwrap_err(),
        "model.layers.0.input_layernorm.weight is I8, but this project knows only F32, F16 or BF16"
    );
    // A shared table that is stored twice, and tables of angles, are nothing new.
    let mut all = tensors(&model);
    all.insert(
        "lm_head.weight".into(),
        all["model.embed_tokens.weight"].clone(),
    );
    all.insert(
        "model.layers.0.self_attn.rotary_emb.inv_freq".into(),
        (vec![2], vec![1.0, 0.1]),
    );
    assert_eq!(
        read(&config(&model), &file(&all, Dtype::F32))
            .unwrap()
            .model,
        model
    );
}

#[test]
fn damaged_files_give_a_sentence_and_never_panic() {
    let model = common::llama(SMALL, false, 1);
    let (config, good) = (
        config(&model).to_string(),
        file(&tensors(&model), Dtype::F32),
    );
    for length in (0..good.len()).step_by(7) {
        let error = read(&serde_json::from_str(&config).unwrap(), &good[..length]).unwrap_err();
        assert!(
            error.starts_with("not a safetensors file: "),
            "{length}: {error}"
        );
        assert!(!error.contains('\n'));
    }
    let mut rng = Rng::new(11);
    for _ in 0..4000 {
        let damaged = |file: &[u8], rng: &mut Rng| {
            let mut bad = file.to_vec();
            for _ in 0..rng.within(1, 3) {
                let reach = if rng.one_in(2) {
                    bad.len().min(2000)
                } else {
                    bad.len()
                };
                let at = rng.within(0, reach as i32 - 1) as usize;
                bad[at] = if rng.one_in(2) {
                    rng.bits() as u8
                } else {
                    bad[at] ^ 1 << rng.within(0, 7)
                };
            }
            bad
        };
        let (config, weights) = match rng.one_in(2) {
            true => (damaged(config.as_bytes(), &mut rng), good.clone()),
            false => (config.clone().into_bytes(), damaged(&good, &mut rng)),
        };
        if let Ok(found) = llama::read(&config, &weights) {
            assert_eq!(found.model.check(), Ok(()));
        }
    }
}

#[test]
fn folders_say_what_they_lack() {
    let folder = tempfile::tempdir().unwrap();
    let model = common::llama(SMALL, true, 1);
    let fault = || {
        Model::open(folder.path(), None, Rotation::None)
            .unwrap_err()
            .to_string()
    };
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    assert!(fault().contains("config.json"), "{}", fault());
    write("config.json", config(&model).to_string().as_bytes());
    assert!(fault().contains("model.safetensors"), "{}", fault());
    write("model.safetensors.index.json", b"{}");
    assert!(
        fault().ends_with("join them into one model.safetensors"),
        "{}",
        fault()
    );
    write("model.safetensors", &file(&tensors(&model), Dtype::F32));
    assert!(
        fault().ends_with("it needs tokenizer.json or characters.json"),
        "{}",
        fault()
    );
    write(
        "characters.json",
        br#"{"characters": "\nabc", "bos": "\n"}"#,
    );
    assert!(
        fault().ends_with("wrong tokenizer: it has 4 symbols, but the model has 16"),
        "{}",
        fault()
    );
    write(
        "characters.json",
        br#"{"characters": "\nabcdefghijklmno", "bos": "\n"}"#,
    );
    let found = Model::open(folder.path(), None, Rotation::None).unwrap();
    assert_eq!(found.float.as_ref(), Some(&model));
    assert_eq!((found.bos, found.stop, found.restart), (0, None, None));
    assert_eq!(
        (found.trained_window, found.quant.hadamard),
        (SMALL.context, false)
    );
    assert_eq!(found.tokenizer.encode(b"abc", true), Ok(vec![0, 1, 2, 3]));
    let rotated = Model::open(folder.path(), None, Rotation::Hadamard).unwrap();
    assert!(rotated.quant.hadamard);
    let mut own = config(&model);
    own["hadamard"] = Value::Bool(false);
    write("config.json", own.to_string().as_bytes());
    assert_eq!(
        Model::open(folder.path(), None, Rotation::Hadamard)
            .unwrap()
            .quant,
        found.quant
    );
}
