//! The two real models: known text, known tokens, accuracy of the integers.

mod common;

use annulus_model::eval::{documents, evaluate, Report};
use annulus_model::float::FloatState;
use annulus_model::model::{Model, ModelError};
use annulus_model::quant::{Embedding, Width};
use annulus_model::quantize::{Rotation, Scheme};
use annulus_model::reference::Reference;
use annulus_model::tokenizer::Tokenizer;
use common::{data, tokenizer_file};
use std::path::Path;

fn greedy(logits: &[f32]) -> u32 {
    (0..logits.len()).fold(0, |best, i| if logits[i] > logits[best] { i } else { best }) as u32
}

fn measure(model: &Model, text: &Path, ring: (usize, usize), limit: usize) -> Report {
    let mut reference = Reference::new(&model.quant, ring.0, ring.1).unwrap();
    let text = std::fs::read(text).unwrap();
    let mut calls = 0;
    let report = evaluate(
        model,
        &mut reference,
        &text,
        ring,
        Some(limit),
        |done, total| {
            calls += 1;
            assert_eq!((done, total), (calls, limit));
        },
    )
    .unwrap();
    assert_eq!(report.tokens, limit);
    println!("{}: {report:?}", model.name);
    report
}

#[test]
fn stories_open_as_the_known_text_does() {
    let Some(path) = data("stories260K.bin") else {
        return;
    };
    let model = Model::open(&path, None, Rotation::Hadamard).unwrap();
    assert_eq!(
        (model.bos, model.stop, model.restart, model.trained_window),
        (1, Some(1), None, 512)
    );
    assert_eq!(model.name, "stories260K");
    let mut state = FloatState::new(model.float.as_ref().unwrap(), 512, 0).unwrap();
    let (mut token, mut text) = (model.bos, Vec::new());
    for _ in 0..130 {
        let next = greedy(state.step(token).unwrap());
        text.extend(model.tokenizer.decode(Some(token), next).unwrap());
        token = next;
    }
    let known = "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. \
        One day, she saw a big, red ball. She wanted to play with it, but it was too high.\nLily's mom said, \
        \"Lily, let's go to the park.\" Lily was sad and didn't know what to do.";
    let text = String::from_utf8(text).unwrap();
    assert!(text.starts_with(known), "{text}");
}

#[test]
fn stories_quantize_as_measured() {
    let (Some(path), Some(text)) = (data("stories260K.bin"), data("tinystories-val.txt")) else {
        return;
    };
    let model = Model::open(&path, None, Rotation::Hadamard).unwrap();
    let quant = &model.quant;
    // What the known quantized model has as well.
    assert_eq!(
        (quant.residual_bits, quant.eps, quant.igsh, quant.hadamard),
        (10, 671, 17, true)
    );
    assert_eq!(quant.rope, Some(vec![683565276, 68356528, 6835653, 683565]));
    assert!(matches!(quant.embedding, Embedding::Tied { .. }));
    let report = measure(&model, &text, (128, 0), 8000);
    assert!(
        report.perplexity() < 1.006 * report.perplexity_f32(),
        "{report:?}"
    );
    assert!(report.top1 >= 0.96 && report.kl < 0.006, "{report:?}");
    for ring in [(37, 4), (37, 1), (1, 0)] {
        let report = measure(&model, &text, ring, 1500);
        assert!(
            report.kl < 0.01,
            "W = {}, S = {}: {report:?}",
            ring.0,
            ring.1
        );
    }
}

/// 4-bit weights of a model that was not trained for them.
#[test]
fn stories_quantize_to_nibbles_as_measured() {
    let (Some(path), Some(text)) = (data("stories260K.bin"), data("tinystories-val.txt")) else {
        return;
    };
    let scheme = Scheme {
        weight_bits: Some(Width::Four),
        ..Scheme::default()
    };
    let model = Model::open(&path, None, scheme).unwrap();
    assert_eq!(model.quant.weight_bits(), Width::Four);
    let report = measure(&model, &text, (128, 0), 8000);
    assert!(
        report.perplexity() < 1.12 * report.perplexity_f32(),
        "{report:?}"
    );
    assert!(report.top1 >= 0.80 && report.kl < 0.12, "{report:?}");
}

/// Values of 4 bits in the rings.
#[test]
fn stories_quantize_with_narrow_values_as_measured() {
    let (Some(path), Some(text)) = (data("stories260K.bin"), data("tinystories-val.txt")) else {
        return;
    };
    let scheme = Scheme {
        value_bits: Width::Four,
        ..Scheme::default()
    };
    let model = Model::open(&path, None, scheme).unwrap();
    let report = measure(&model, &text, (128, 0), 8000);
    assert!(
        report.perplexity() < 1.015 * report.perplexity_f32(),
        "{report:?}"
    );
    assert!(report.top1 >= 0.94 && report.kl < 0.012, "{report:?}");
}

#[test]
fn stories_tokenize_as_llama2c_does() {
    let Some(path) = data("stories260K.bin") else {
        return;
    };
    let tokenizer = Model::open(&path, None, Rotation::Hadamard)
        .unwrap()
        .tokenizer;
    let text = "Once upon a time, there was a little girl named Lily.";
    let tokens = tokenizer.encode(text.as_bytes(), true).unwrap();
    let piece = |t: &u32| String::from_utf8(tokenizer.decode(None, *t).unwrap().to_vec()).unwrap();
    assert_eq!(tokens[0], 1);
    assert_eq!(
        tokens[1..].iter().map(piece).collect::<String>(),
        format!(" {text}")
    );
    // The opening is 403 407 261 378 in every port of llama2.c.
    assert_eq!(tokens[1..5], [403, 407, 261, 378]);
    assert_eq!(tokenizer.encode("ü".as_bytes(), true).unwrap().len(), 4);
    assert_eq!(tokenizer.decode(Some(1), 403).unwrap(), b"Once");
}

#[test]
fn names_quantize_as_measured() {
    let (Some(path), Some(text)) = (data("microgpt-karpathy.json"), data("names.txt")) else {
        return;
    };
    let model = Model::open(&path, None, Rotation::Hadamard).unwrap();
    assert_eq!(
        (model.bos, model.stop, model.restart, model.trained_window),
        (26, None, Some(26), 16)
    );
    let report = measure(&model, &text, (16, 0), 20_000);
    assert!(
        (report.loss - report.loss_f32).abs() < 0.0005 && report.kl < 2e-4,
        "{report:?}"
    );
    assert!(report.top1 >= 0.98, "{report:?}");
}

#[test]
fn texts_are_cut_into_documents() {
    let Some(path) = data("microgpt-karpathy.json") else {
        return;
    };
    let names = Model::open(&path, None, Rotation::Hadamard)
        .unwrap()
        .tokenizer;
    let documents_of = |text: &str| documents(&names, text.as_bytes()).unwrap();
    assert_eq!(
        documents_of("ab\r\n\n c \n"),
        [vec![26, 0, 1, 26], vec![26, 2, 26]]
    );
    assert!(documents(&names, b"a\nB").is_err());
    let Some(path) = data("stories260K.bin") else {
        return;
    };
    let stories = Model::open(&path, None, Rotation::Hadamard)
        .unwrap()
        .tokenizer;
    let cut = documents(&stories, b"One.\n<|endoftext|>\n Two.\n<|endoftext|>").unwrap();
    let encoded = |text: &[u8]| stories.encode(text, true).unwrap();
    assert_eq!(cut, [encoded(b"One."), encoded(b"Two.")]);
}

#[test]
fn the_wrong_tokenizer_is_named() {
    let (Some(path), Some(names)) = (data("stories260K.bin"), data("microgpt-karpathy.json"))
    else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let wrong = folder.path().join("other.bin");
    std::fs::write(&wrong, tokenizer_file(400)).unwrap();
    let error = Model::open(&path, Some(&wrong), Rotation::Hadamard)
        .unwrap_err()
        .to_string();
    assert!(
        error.ends_with("wrong tokenizer: it has 400 symbols, but the model has 512"),
        "{error}"
    );
    assert!(matches!(
        Model::open(&names, Some(&wrong), Rotation::Hadamard),
        Err(ModelError::OwnTokenizer { .. })
    ));

    let alone = folder.path().join("model.bin");
    std::fs::copy(&path, &alone).unwrap();
    assert!(matches!(
        Model::open(&alone, None, Rotation::Hadamard),
        Err(ModelError::NoTokenizer { .. })
    ));
    std::fs::write(folder.path().join("tok400.bin"), tokenizer_file(400)).unwrap();
    assert!(matches!(
        Model::open(&alone, None, Rotation::Hadamard),
        Err(ModelError::Tokenizer { .. })
    ));
    std::fs::write(folder.path().join("tokenizer.bin"), tokenizer_file(512)).unwrap();
    let found = Model::open(&alone, None, Rotation::Hadamard).unwrap();
    assert!(matches!(found.tokenizer, Tokenizer::Bpe(bpe) if bpe.vocab() == 512));
    assert!(matches!(
        Model::open(&folder.path().join("none"), None, Rotation::Hadamard),
        Err(ModelError::Read { .. })
    ));
}
