//! The quantizer on models it has not been tuned for: odd shapes, odd weights.
//! Each must stay close to float32, never saturate by much, or be refused by name.

mod common;

use annulus_contract::stage::{row_embedding, row_shift};
use annulus_model::float::{FloatModel, FloatState};
use annulus_model::quant::{Embedding, QuantModel};
use annulus_model::quantize::{quantize, Calibration, QuantizeError, Rotation};
use annulus_model::random::Rng;
use annulus_model::reference::Reference;
use common::{llama, microgpt, normal, Sizes, SMALL};

fn quantized(model: &FloatModel) -> QuantModel {
    quantize(
        model,
        Calibration::OwnText { bos: 1, ends: &[1] },
        Rotation::Hadamard,
    )
    .unwrap()
}

fn log_softmax(logits: impl Iterator<Item = f64>) -> Vec<f64> {
    let logits: Vec<f64> = logits.collect();
    let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum = logits.iter().map(|l| (l - max).exp()).sum::<f64>().ln();
    logits.iter().map(|l| l - max - sum).collect()
}

/// Mean divergence of the integers from float32 over random tokens, with the ring wrapped.
fn divergence(model: &FloatModel, quant: &QuantModel, window: usize, sinks: usize) -> f64 {
    let mut reference = Reference::new(quant, window, sinks).unwrap();
    let mut state = FloatState::new(model, window, sinks).unwrap();
    let mut rng = Rng::new(99);
    let tokens = 120;
    let total: f64 = (0..tokens)
        .map(|_| {
            let token = rng.within(0, model.vocab as i32 - 1) as u32;
            let q = log_softmax(
                reference
                    .step(token)
                    .unwrap()
                    .iter()
                    .map(|&l| f64::from(l) / 4096.0),
            );
            let p = log_softmax(state.step(token).unwrap().iter().map(|&l| f64::from(l)));
            p.iter()
                .zip(&q)
                .map(|(p, q)| p.exp() * (p - q))
                .sum::<f64>()
        })
        .sum();
    total / f64::from(tokens)
}

/// An embedding's rows must fit 16 bits each, before any two are added.
fn assert_entries_fit(what: &str, quant: &QuantModel) {
    let Embedding::Own {
        table,
        positions,
        fraction_bits,
    } = &quant.embedding
    else {
        return;
    };
    for matrix in [Some(table), positions.as_ref()].into_iter().flatten() {
        for (row, (&s, &mu)) in matrix
            .w
            .chunks(matrix.cols)
            .zip(matrix.s.iter().zip(&matrix.mu))
        {
            let shift = row_shift(s, *fraction_bits);
            let fits = |&w: &i8| i16::try_from(row_embedding(w, mu, shift)).is_ok();
            assert!(row.iter().all(fits), "{what}: {row:?} shifted by {shift}");
        }
    }
}

fn assert_close(what: &str, model: &FloatModel, limit: f64) {
    let quant = quantized(model);
    assert_entries_fit(what, &quant);
    for (window, sinks) in [(8, 0), (5, 0), (7, 2), (1, 0)] {
        let kl = divergence(model, &quant, window, sinks);
        println!("{what} W={window} S={sinks}: {kl:.6}");
        assert!(
            kl < limit,
            "{what} with W={window}, S={sinks}: divergence {kl} of at most {limit}"
        );
    }
}

#[test]
fn every_head_size_and_sharing() {
    for (heads, kv_heads, head_size, hidden) in [
        (4, 1, 2, 9),
        (4, 2, 6, 25),
        (2, 2, 24, 31),
        (1, 1, 48, 97),
        (2, 1, 64, 129),
        (3, 1, 10, 64),
        (8, 4, 8, 172),
    ] {
        let sizes = Sizes {
            heads,
            kv_heads,
            head_size,
            hidden,
            ..SMALL
        };
        for tied in [true, false] {
            assert_close(
                &format!("{sizes:?}, tied {tied}"),
                &llama(sizes, tied, 7),
                0.01,
            );
        }
        // Widths that are no power of 4 fold a constant into the residual.
        assert_close(&format!("{sizes:?}, microGPT"), &microgpt(sizes, 8), 0.01);
    }
}

fn scaled(weights: &mut [f32], factor: f32) {
    weights.iter_mut().for_each(|w| *w *= factor);
}

#[test]
fn weights_of_any_size() {
    let sizes = Sizes {
        heads: 4,
        kv_heads: 2,
        head_size: 8,
        hidden: 43,
        layers: 2,
        ..SMALL
    };
    for exponent in [-40, -20, -8, -3, 3, 8, 20] {
        let factor = (exponent as f32).exp2();
        // A product of two that cancel: the model is the same function, seen through odd formats.
        let mut values = llama(sizes, false, 3);
        let mut ups = llama(sizes, false, 3);
        let mut keys = llama(sizes, false, 3);
        let mut residual = llama(sizes, false, 3);
        for layer in &mut values.layers {
            scaled(&mut layer.wv, factor);
            scaled(&mut layer.wo, 1.0 / factor);
        }
        for layer in &mut ups.layers {
            scaled(layer.w3.as_mut().unwrap(), factor);
            scaled(&mut layer.w2, 1.0 / factor);
        }
        for layer in &mut keys.layers {
            scaled(&mut layer.wk, factor);
            scaled(&mut layer.wq, 1.0 / factor);
        }
        scaled(&mut residual.embedding, factor);
        for layer in &mut residual.layers {
            scaled(&mut layer.wo, factor);
            scaled(&mut layer.w2, factor);
        }
        let limit = 0.01;
        assert_close(&format!("values 2^{exponent}"), &values, limit);
        assert_close(&format!("ups 2^{exponent}"), &ups, limit);
        assert_close(&format!("keys 2^{exponent}"), &keys, limit);
        assert_close(&format!("residual 2^{exponent}"), &residual, limit);
        // Tied, large embeddings make large logits, and a large share of them is lost.
        if exponent < 0 {
            let tied = FloatModel {
                classifier: None,
                ..residual
            };
            assert_close(&format!("tied residual 2^{exponent}"), &tied, limit);
        }
    }
}

#[test]
fn zeros_and_constants() {
    let sizes = Sizes {
        heads: 2,
        kv_heads: 2,
        head_size: 8,
        hidden: 21,
        ..SMALL
    };
    let parts: [fn(&mut FloatModel) -> &mut [f32]; 9] = [
        |m| &mut m.layers[0].wq,
        |m| &mut m.layers[1].wk,
        |m| &mut m.layers[0].wv,
        |m| &mut m.layers[1].wo,
        |m| &mut m.layers[0].w1,
        |m| &mut m.layers[1].w2,
        |m| &mut m.layers[0].attention_norm,
        |m| &mut m.embedding,
        |m| m.classifier.as_deref_mut().unwrap(),
    ];
    for (name, base) in [
        ("llama", llama(sizes, false, 5)),
        ("microGPT", microgpt(sizes, 5)),
    ] {
        for (i, part) in parts.iter().enumerate() {
            for constant in [0.0, 0.25, -1e-20] {
                let mut model = base.clone();
                part(&mut model).fill(constant);
                assert_close(&format!("{name} part {i} all {constant}"), &model, 0.01);
            }
            let mut model = base.clone();
            let dim = model.dim;
            part(&mut model)[..dim].fill(0.0);
            assert_close(&format!("{name} part {i} first row zero"), &model, 0.01);
        }
    }
    let mut nothing = llama(sizes, true, 5);
    parts[..8]
        .iter()
        .for_each(|part| part(&mut nothing).fill(0.0));
    assert_close("nothing but zeros", &nothing, 1e-9);
}

#[test]
fn rows_of_very_different_size() {
    let sizes = Sizes {
        heads: 4,
        kv_heads: 4,
        head_size: 8,
        hidden: 50,
        ..SMALL
    };
    let mut model = llama(sizes, false, 11);
    let dim = model.dim;
    for layer in &mut model.layers {
        for w in [&mut layer.wv, &mut layer.w1] {
            for (r, row) in w.chunks_mut(dim).enumerate() {
                scaled(row, (-(r as f32) / 2.0).exp2());
            }
        }
    }
    // Balance by powers of two leaves up to a factor of sqrt 2 to each channel.
    assert_close("rows from 1 to 2^-25", &model, 0.03);
}

#[test]
fn channels_of_very_different_size() {
    // Scalings that cancel between a channel's writer and its reader do not matter.
    let sizes = Sizes {
        heads: 4,
        kv_heads: 2,
        head_size: 8,
        hidden: 60,
        ..SMALL
    };
    let spread = |i: usize| (((i * 7) % 23) as f32 - 11.0).exp2();
    for mut model in [
        llama(sizes, false, 13),
        microgpt(
            Sizes {
                kv_heads: 4,
                ..sizes
            },
            13,
        ),
    ] {
        let dim = model.dim;
        let group = model.heads / model.kv_heads;
        for layer in &mut model.layers {
            let up = layer.w3.as_mut().unwrap_or(&mut layer.w1);
            up.chunks_mut(dim)
                .enumerate()
                .for_each(|(i, row)| scaled(row, spread(i)));
            layer
                .w2
                .iter_mut()
                .enumerate()
                .for_each(|(i, w)| *w /= spread(i % 60));
            layer
                .wv
                .chunks_mut(dim)
                .enumerate()
                .for_each(|(i, row)| scaled(row, spread(i)));
            for (i, w) in layer.wo.iter_mut().enumerate() {
                let (head, c) = (i % dim / 8, i % 8);
                *w /= spread(head / group * 8 + c);
            }
            layer
                .wk
                .chunks_mut(dim)
                .enumerate()
                .for_each(|(i, row)| scaled(row, spread(i / 2)));
            for (i, row) in layer.wq.chunks_mut(dim).enumerate() {
                let (head, c) = (i / 8, i % 8);
                scaled(row, 1.0 / spread((head / group * 8 + c) / 2));
            }
        }
        assert_close("channels from 2^-11 to 2^11", &model, 0.01);
    }
}

#[test]
fn tied_models_keep_one_table_unless_a_gain_is_lost() {
    let mut model = llama(SMALL, true, 1);
    assert!(matches!(
        quantized(&model).embedding,
        Embedding::Tied { .. }
    ));
    model.final_norm.as_mut().unwrap()[3] = -0.7;
    assert!(matches!(
        quantized(&model).embedding,
        Embedding::Tied { .. }
    ));
    assert_close("a negative gain", &model, 0.01);
    model.final_norm.as_mut().unwrap()[3] = 0.0;
    assert!(matches!(quantized(&model).embedding, Embedding::Own { .. }));
    assert_close("a gain of zero", &model, 0.01);
    model.final_norm.as_mut().unwrap()[3] = 1e-4;
    assert!(matches!(quantized(&model).embedding, Embedding::Own { .. }));
    assert_close("a tiny gain", &model, 0.01);
}

#[test]
fn learned_positions_of_any_length() {
    for context in [1, 3, 8, 12] {
        let model = microgpt(Sizes { context, ..SMALL }, 2);
        let Embedding::Own {
            positions: Some(positions),
            ..
        } = quantized(&model).embedding
        else {
            panic!("positions are lost")
        };
        assert_eq!(positions.rows, context.next_power_of_two());
        assert_close(&format!("{context} positions"), &model, 0.01);
    }
    // Rotary models may have them too, and a model without any position is a model.
    let rotary = FloatModel {
        rope_base: Some(500.0),
        ..microgpt(SMALL, 2)
    };
    assert_close("rotary and learned", &rotary, 0.01);
    let none = FloatModel {
        positions: None,
        ..microgpt(SMALL, 2)
    };
    assert_close("no positions", &none, 0.01);
    let tied = FloatModel {
        positions: None,
        classifier: None,
        final_norm: None,
        ..llama(SMALL, true, 2)
    };
    assert_close("tied without a final norm", &tied, 0.01);
}

#[test]
fn embeddings_that_calibration_may_not_meet_fit() {
    let mut model = llama(SMALL, false, 4);
    model.embedding[5 * model.dim..][..model.dim].fill(900.0);
    let quant = quantized(&model);
    assert!(f64::from(quant.residual_bits) <= (32767.0f64 / 900.0).log2());
    let mut gpt = microgpt(SMALL, 4);
    gpt.embedding[0] = 100.0;
    assert_close("one large entry before a norm", &gpt, 0.01);
}

#[test]
fn the_impossible_is_refused_by_name() {
    let refusal = |model: &FloatModel| {
        quantize(
            model,
            Calibration::OwnText { bos: 1, ends: &[] },
            Rotation::Hadamard,
        )
        .unwrap_err()
        .to_string()
    };
    let mut gate = llama(SMALL, false, 6);
    scaled(&mut gate.layers[1].w1, 1e5);
    assert!(
        refusal(&gate).starts_with("layer 1: the gate reaches "),
        "{}",
        refusal(&gate)
    );
    let mut logits = llama(SMALL, false, 6);
    scaled(logits.classifier.as_mut().unwrap(), 1e4);
    assert!(
        refusal(&logits).starts_with("the logits reach "),
        "{}",
        refusal(&logits)
    );
    let mut overflow = llama(SMALL, false, 6);
    overflow.layers[0].w1.fill(1e38);
    assert!(
        refusal(&overflow).starts_with("the float32 forward pass overflows at "),
        "{}",
        refusal(&overflow)
    );
    let mut nan = llama(SMALL, false, 6);
    nan.layers[1].wv[3] = f32::NAN;
    assert_eq!(refusal(&nan), "layers.1.wv[3] is NaN");
    let good = llama(SMALL, false, 6);
    let error = quantize(
        &good,
        Calibration::Tokens(&[&[1, 2, 16]]),
        Rotation::Hadamard,
    )
    .unwrap_err();
    assert!(matches!(error, QuantizeError::Calibration(_)), "{error}");
    let wide = llama(
        Sizes {
            heads: 3,
            kv_heads: 2,
            ..SMALL
        },
        true,
        6,
    );
    assert_eq!(
        refusal(&wide),
        "heads is 3, which kv_heads (2) does not divide"
    );
}

#[test]
fn calibration_is_the_same_every_time() {
    let model = llama(SMALL, true, 12);
    assert_eq!(quantized(&model), quantized(&model));
    let text = normal(&mut Rng::new(1), 40, 4.0)
        .iter()
        .map(|x| x.abs() as u32)
        .collect::<Vec<_>>();
    assert!(quantize(
        &model,
        Calibration::Tokens(&[&text, &text[..3]]),
        Rotation::Hadamard
    )
    .is_ok());
}

#[test]
fn no_weights_make_it_panic_or_shift_illegally() {
    let mut rng = Rng::new(77);
    let mut accepted = 0;
    for seed in 0..400 {
        let heads = rng.pick(&[1, 2, 4]);
        let sizes = Sizes {
            heads,
            kv_heads: rng.pick(&[1, heads]),
            head_size: rng.pick(&[2, 4, 6, 16]),
            hidden: rng.within(1, 40) as usize,
            layers: rng.within(1, 2) as usize,
            ..SMALL
        };
        let mut model = match rng.within(0, 2) {
            0 => llama(sizes, true, seed),
            1 => llama(sizes, false, seed),
            _ => microgpt(sizes, seed),
        };
        // Most models have a few matrices far from ordinary, some have all.
        let reach = rng.pick(&[2, 10, 40, 100]);
        let rarity = rng.pick(&[1, 4]);
        let mut distort = |weights: &mut [f32]| {
            if rng.one_in(rarity) {
                scaled(weights, (rng.within(-reach, reach) as f32).exp2());
            }
            if rng.one_in(6) {
                let at = rng.within(0, weights.len() as i32 - 1) as usize;
                weights[at] *= (rng.within(-reach, reach) as f32).exp2();
            }
        };
        distort(&mut model.embedding);
        if let Some(w) = model.positions.as_deref_mut() {
            distort(w);
        }
        if let Some(w) = model.classifier.as_deref_mut() {
            distort(w);
        }
        if let Some(w) = model.final_norm.as_deref_mut() {
            distort(w);
        }
        for layer in &mut model.layers {
            for weights in [&mut layer.wq, &mut layer.wk, &mut layer.wv, &mut layer.wo] {
                distort(weights);
            }
            for weights in [&mut layer.attention_norm, &mut layer.w1, &mut layer.w2] {
                distort(weights);
            }
            if let Some(w) = layer.w3.as_deref_mut() {
                distort(w);
            }
        }
        let text: Vec<u32> = (0..64).map(|i| (i * i) % 16).collect();
        let Ok(quant) = quantize(&model, Calibration::Tokens(&[&text]), Rotation::Hadamard) else {
            continue;
        };
        accepted += 1;
        assert_entries_fit("distorted", &quant);
        let mut reference = Reference::new(&quant, 5, 1).unwrap();
        for t in 0..40 {
            reference.step(t * 7 % 16).unwrap();
        }
    }
    println!("{accepted} of 400 distorted models accepted");
    assert!(
        accepted > 100,
        "only {accepted} of 400 models were accepted"
    );
}
