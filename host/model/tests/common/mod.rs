//! Small random float32 models, the files they would come in, and the real models
//! that `ANNULUS_DATA` names.

// Every test binary compiles this file and uses a part of it.
#![allow(dead_code)]

use annulus_model::float::{FloatLayer, FloatModel};
use annulus_model::random::Rng;
use std::path::PathBuf;

/// A real file from the folder that `ANNULUS_DATA` names; says so where it is missing.
pub fn data(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("ANNULUS_DATA").map(|folder| PathBuf::from(folder).join(name));
    match path {
        Some(path) if path.is_file() => Some(path),
        _ => {
            eprintln!("SKIPPED: this test needs {name} in the folder that ANNULUS_DATA names");
            None
        }
    }
}

/// Sizes of a random model.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    pub heads: usize,
    pub kv_heads: usize,
    pub head_size: usize,
    pub hidden: usize,
    pub layers: usize,
    pub vocab: usize,
    pub context: usize,
}

/// A plain small shape, for tests to vary.
pub const SMALL: Sizes = Sizes {
    heads: 2,
    kv_heads: 1,
    head_size: 4,
    hidden: 11,
    layers: 2,
    vocab: 16,
    context: 8,
};

/// Roughly normal numbers with the given deviation.
pub fn normal(rng: &mut Rng, len: usize, deviation: f32) -> Vec<f32> {
    let uniform = |rng: &mut Rng| rng.within(-1_000_000, 1_000_000) as f32 / 1e6;
    // Three uniform numbers in -1..1 have a variance of 1.
    (0..len)
        .map(|_| deviation * (0..3).map(|_| uniform(rng)).sum::<f32>())
        .collect()
}

/// A model as llama2.c has them: rotary positions, SwiGLU, gains, a final norm.
pub fn llama(sizes: Sizes, tied: bool, seed: u64) -> FloatModel {
    let rng = &mut Rng::new(seed);
    let dim = sizes.heads * sizes.head_size;
    let kv_dim = sizes.kv_heads * sizes.head_size;
    let (by_dim, by_hidden) = ((dim as f32).powf(-0.5), (sizes.hidden as f32).powf(-0.5));
    let gain = |rng: &mut Rng| {
        normal(rng, dim, 0.2)
            .into_iter()
            .map(|g| 1.0 + g)
            .collect::<Vec<_>>()
    };
    let layers = (0..sizes.layers)
        .map(|_| FloatLayer {
            attention_norm: gain(rng),
            wq: normal(rng, dim * dim, 1.5 * by_dim),
            wk: normal(rng, kv_dim * dim, 1.5 * by_dim),
            wv: normal(rng, kv_dim * dim, by_dim),
            wo: normal(rng, dim * dim, by_dim),
            ffn_norm: gain(rng),
            w1: normal(rng, sizes.hidden * dim, by_dim),
            w2: normal(rng, dim * sizes.hidden, by_hidden),
            w3: Some(normal(rng, sizes.hidden * dim, by_dim)),
        })
        .collect();
    FloatModel {
        dim,
        hidden: sizes.hidden,
        heads: sizes.heads,
        kv_heads: sizes.kv_heads,
        head_size: sizes.head_size,
        vocab: sizes.vocab,
        context: sizes.context,
        eps: 1e-5,
        rope_base: Some(10_000.0),
        relu: false,
        embedding_norm: false,
        final_norm: Some(gain(rng)),
        embedding: normal(rng, sizes.vocab * dim, 0.7),
        positions: None,
        classifier: (!tied).then(|| normal(rng, sizes.vocab * dim, 2.0 * by_dim)),
        layers,
    }
}

/// A model as microGPT has them: learned positions, a norm after the embedding, ReLU.
pub fn microgpt(sizes: Sizes, seed: u64) -> FloatModel {
    let model = llama(
        Sizes {
            kv_heads: sizes.heads,
            ..sizes
        },
        false,
        seed,
    );
    let rng = &mut Rng::new(seed + 1);
    let ones = vec![1.0; model.dim];
    let plain = |layer: FloatLayer| FloatLayer {
        attention_norm: ones.clone(),
        ffn_norm: ones.clone(),
        w3: None,
        ..layer
    };
    FloatModel {
        rope_base: None,
        relu: true,
        embedding_norm: true,
        final_norm: None,
        positions: Some(normal(rng, sizes.context * model.dim, 0.3)),
        layers: model.layers.into_iter().map(plain).collect(),
        ..model
    }
}

/// The llama2.c checkpoint of a model.
pub fn llama2c_file(model: &FloatModel) -> Vec<u8> {
    let vocab = model.vocab as i32;
    let header = [
        model.dim as i32,
        model.hidden as i32,
        model.layers.len() as i32,
        model.heads as i32,
        model.kv_heads as i32,
        if model.classifier.is_some() {
            -vocab
        } else {
            vocab
        },
        model.context as i32,
    ];
    let mut file: Vec<u8> = header.iter().flat_map(|n| n.to_le_bytes()).collect();
    let mut put = |weights: &[f32]| file.extend(weights.iter().flat_map(|w| w.to_le_bytes()));
    put(&model.embedding);
    let parts: [fn(&FloatLayer) -> &[f32]; 9] = [
        |l| &l.attention_norm,
        |l| &l.wq,
        |l| &l.wk,
        |l| &l.wv,
        |l| &l.wo,
        |l| &l.ffn_norm,
        |l| &l.w1,
        |l| &l.w2,
        |l| l.w3.as_deref().unwrap_or(&[]),
    ];
    for part in parts {
        model.layers.iter().for_each(|layer| put(part(layer)));
    }
    put(model.final_norm.as_deref().unwrap_or(&[]));
    put(&vec![0.5; model.context * model.head_size]);
    put(model.classifier.as_deref().unwrap_or(&[]));
    file
}

/// The JSON of a microGPT model whose symbols are 'a' and its successors.
pub fn microgpt_file(model: &FloatModel) -> String {
    let symbols: Vec<String> = ('a'..)
        .take(model.vocab - 1)
        .map(|c| serde_json::json!(c).to_string())
        .collect();
    let matrix = |name: &str, weights: &[f32], cols: usize| {
        let rows: Vec<String> = weights.chunks(cols).map(|row| format!("{row:?}")).collect();
        format!("\"{name}\": [{}]", rows.join(", "))
    };
    let dim = model.dim;
    let mut weights = vec![
        matrix("wte", &model.embedding, dim),
        matrix("wpe", model.positions.as_deref().unwrap_or(&[]), dim),
        matrix("lm_head", model.classifier.as_deref().unwrap_or(&[]), dim),
    ];
    for (l, layer) in model.layers.iter().enumerate() {
        weights.push(matrix(&format!("layer{l}.attn_wq"), &layer.wq, dim));
        weights.push(matrix(&format!("layer{l}.attn_wk"), &layer.wk, dim));
        weights.push(matrix(&format!("layer{l}.attn_wv"), &layer.wv, dim));
        weights.push(matrix(&format!("layer{l}.attn_wo"), &layer.wo, dim));
        weights.push(matrix(&format!("layer{l}.mlp_fc1"), &layer.w1, dim));
        weights.push(matrix(
            &format!("layer{l}.mlp_fc2"),
            &layer.w2,
            model.hidden,
        ));
    }
    format!(
        "{{\"metadata\": {{\"uchars\": [{}], \"vocab_size\": {}, \"n_embd\": {dim}, \"n_layer\": {}, \
         \"n_head\": {}, \"head_dim\": {}, \"block_size\": {}, \"BOS\": {}}},\n\"weights\": {{{}}}}}",
        symbols.join(", "),
        model.vocab,
        model.layers.len(),
        model.heads,
        model.head_size,
        model.context,
        model.vocab - 1,
        weights.join(",\n")
    )
}

/// A llama2.c tokenizer with `vocab` tokens (259 or more): controls, bytes, a space,
/// letters, and pairs of letters.
pub fn tokenizer_file(vocab: usize) -> Vec<u8> {
    let controls = ["<unk>", "\n<s>\n", "\n</s>\n"].map(String::from);
    let bytes = (0..=255).map(|b: u8| format!("<0x{b:02X}>"));
    let letters = || (b'a'..=b'z').map(|b| (b as char).to_string());
    let pairs = letters().flat_map(move |a| letters().map(move |b| a.clone() + &b));
    let all = controls
        .into_iter()
        .chain(bytes)
        .chain([" ".into()])
        .chain(letters())
        .chain(pairs);
    let mut file = 7u32.to_le_bytes().to_vec();
    for (i, word) in all.take(vocab).enumerate() {
        file.extend((-(i as f32)).to_le_bytes());
        file.extend((word.len() as u32).to_le_bytes());
        file.extend(word.as_bytes());
    }
    file
}
