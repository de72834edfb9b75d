//! Images: compiled models give the reference's results when their steps are
//! executed, survive their file format, and refuse what is damaged or too large.

use annulus_contract::regs;
use annulus_contract::shape::{of_board, with_lanes, CoreShape};
use annulus_contract::step::{Kind, Step};
use annulus_model::compile::CompileError;
use annulus_model::image::{is_image, Image, ImageError};
use annulus_model::interpret::Interpreter;
use annulus_model::quant::QuantModel;
use annulus_model::random::{random_model, Rng, Shape};
use annulus_model::reference::Reference;
use annulus_model::tokenizer::{Chars, Tokenizer};

/// A core of so many lanes with everything in it, larger than any preset.
fn core(lanes: u32) -> CoreShape {
    let full = with_lanes(64).unwrap();
    let rows = lanes / 8;
    CoreShape {
        rows,
        memory: 1 << 19 >> rows.ilog2().min(3),
        key_scales: 1 << 15,
        features: full.features | regs::feature::NIBBLES | regs::feature::NARROW_VALUES,
        ..full
    }
}

/// Feed `tokens` to the compiled model and to the reference; the logits of every
/// token whose logits are wanted must be equal, and no core error be raised.
fn agrees(model: &QuantModel, lanes: u32, window: usize, sinks: usize, tokens: usize, start: u32) {
    let name = format!("{lanes} lanes, window {window}, {sinks} sinks, from {start}");
    let image = Image::compile(model, &core(lanes), window, sinks).expect(&name);
    let mut interpreter = Interpreter::new(core(lanes));
    interpreter.load(&image);
    let mut reference = Reference::new(model, window, sinks).unwrap();
    reference.start_at(start).unwrap();
    interpreter.write(regs::POSITION, start);
    interpreter.write(
        regs::MEM_ADDRESS,
        regs::mem_address(regs::region::PHASE, 0, 0),
    );
    for increment in &image.increments {
        interpreter.write(regs::MEM_DATA, increment.wrapping_mul(start));
    }
    let mut rng = Rng::new(tokens as u64);
    for t in 0..tokens {
        let token = rng.within(0, model.vocab as i32 - 1) as u32;
        if rng.one_in(4) {
            interpreter.write(regs::TOKEN_IN, token | 1 << 31);
            assert!(interpreter.advance());
            reference.step_silent(token).unwrap();
        } else {
            interpreter.write(regs::TOKEN_IN, token);
            assert!(interpreter.advance());
            let logits = reference.step(token).unwrap();
            assert_eq!(
                &interpreter.logits()[..model.vocab],
                logits,
                "{name}, token {t}"
            );
            assert!(interpreter.read(regs::TOKEN_OUT) >> 31 == 1);
        }
        assert_eq!(interpreter.read(regs::ERROR), 0, "{name}, token {t}");
    }
}

/// A shape with the given head size and heads, else ordinary.
fn shape(head_size: usize, heads: usize, kv_heads: usize) -> Shape {
    Shape {
        layers: 2,
        hidden: 37,
        heads,
        kv_heads,
        head_size,
        vocab: 33,
        hadamard: head_size.is_power_of_two(),
        ..Shape::LLAMA
    }
}

#[test]
fn every_lane_count_head_size_and_ring_agrees_with_the_reference() {
    let mut seed = 0;
    let shape = |head_size, heads, kv_heads, seed: u64| Shape {
        nibbles: seed.is_multiple_of(3),
        narrow: seed.is_multiple_of(2),
        ..shape(head_size, heads, kv_heads)
    };
    for lanes in [8, 16, 48, 64, 128] {
        for (head_size, heads, kv_heads) in
            [(2, 5, 1), (6, 4, 2), (8, 8, 4), (24, 2, 1), (64, 1, 1)]
        {
            for (window, sinks) in [(1, 0), (3, 0), (7, 1), (13, 4), (29, 9), (20, 17)] {
                seed += 1;
                let model = shape(head_size, heads, kv_heads, seed).model(seed);
                agrees(
                    &model,
                    lanes,
                    window,
                    sinks,
                    sinks + 3 * (window - sinks) + 4,
                    0,
                );
            }
        }
    }
}

#[test]
fn random_models_agree_with_the_reference() {
    for seed in 0..60 {
        let mut rng = Rng::new(seed);
        let lanes = rng.pick(&[8, 16, 48, 64, 128]);
        let window = rng.within(1, 40);
        let sinks = if rng.one_in(2) {
            rng.within(0, window - 1)
        } else {
            0
        };
        let start = if sinks == 0 && rng.one_in(3) {
            rng.bits()
        } else {
            0
        };
        let tokens = 3 * (window as usize) + 5;
        agrees(
            &random_model(seed),
            lanes,
            window as usize,
            sinks as usize,
            tokens,
            start,
        );
    }
}

/// Rows of more than 256 columns have more than one word of group scales.
#[test]
fn rows_of_any_length_have_their_group_scales() {
    for (hidden, lanes) in [(16, 8), (255, 16), (256, 48), (257, 64), (700, 128)] {
        let shape = Shape {
            hidden,
            nibbles: true,
            layers: 1,
            ..shape(8, 3, 1)
        };
        agrees(&shape.model(hidden as u64), lanes, 5, 0, 12, 0);
    }
}

/// 4-bit weights take little more than half the bytes, and come back as they were.
#[test]
fn images_hold_nibbles() {
    let shape = Shape {
        nibbles: true,
        ..shape(16, 4, 2)
    };
    let model = shape.model(3);
    let image = Image::compile(&model, &core(64), 20, 0).unwrap();
    let mut wide = model.clone();
    for layer in &mut wide.layers {
        let always = [&mut layer.wq, &mut layer.wk, &mut layer.wv, &mut layer.wo];
        let others = [&mut layer.w1, &mut layer.w2];
        for matrix in always.into_iter().chain(others).chain(&mut layer.w3) {
            matrix.groups = None;
        }
    }
    let bytes = Image::compile(&wide, &core(64), 20, 0).unwrap();
    let words = |image: &Image| image.wide.len() / 64 - 33usize.div_ceil(8) * 8;
    // Rows of 64 columns: 4 words and one of scales, of 37: 3 and one, in place of 8 and 5.
    let rows = |dim: usize, hidden: usize| 2 * ((8 + 4 + 4 + 8) * dim + 10 * dim + 8 * hidden);
    assert_eq!(words(&bytes), rows(8, 5));
    assert_eq!(words(&image), rows(5, 4));
    let back = Image::from_bytes(&image.to_bytes()).unwrap();
    assert_eq!(back, image);
    assert_eq!(back.quant_model().unwrap(), model);
    assert_eq!(
        serde_json::to_value(image.summary()).unwrap()["config"]["weight_bits"],
        4
    );
}

/// 4-bit values take half the words, whether a word's two row groups are one head's or two heads',
/// and a model of them comes back as it was.
#[test]
fn images_hold_narrow_values() {
    for (head_size, kv_heads, row_groups) in [(8, 4, 4), (6, 3, 3), (24, 1, 3), (64, 2, 16)] {
        let shape = Shape {
            narrow: true,
            ..shape(head_size, kv_heads, kv_heads)
        };
        let model = shape.model(3);
        let image = Image::compile(&model, &core(64), 20, 3).unwrap();
        // A group of sinks and three of other slots, in each of two layers.
        let words = 2 * (1 + 3) * usize::div_ceil(row_groups, 2);
        let layout = image.layout();
        assert_eq!(layout.value_words, words);
        assert_eq!(image.summary().bytes.values, words * (64 + 8));
        let back = Image::from_bytes(&image.to_bytes()).unwrap();
        assert_eq!(back, image);
        assert_eq!(back.quant_model().unwrap(), model);
    }
}

/// What a forged or damaged image may hold.
#[test]
fn nibbles_that_are_none_are_refused() {
    let shape = Shape {
        nibbles: true,
        ..shape(8, 4, 2)
    };
    let model = shape.model(3);
    let mut image = Image::compile(&model, &core(64), 20, 0).unwrap();
    // The first word of a matrix holds group scales.
    let at = image.layout().layers[0].wq.address * 64;
    image.wide[at] &= 0xf0;
    let refused = Image::from_bytes(&image.to_bytes()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the image's model is not well formed: layer 0 wq group scale is 0, which is not within 1 to 15"
    );
    let broken = |edit: &dyn Fn(&mut QuantModel)| {
        let mut model = model.clone();
        edit(&mut model);
        model.check().unwrap_err().to_string()
    };
    assert_eq!(
        broken(&|m| m.layers[1].w2.groups = None),
        "some matrices have 4-bit weights and some have not"
    );
    assert_eq!(
        broken(&|m| m.classifier.groups = Some(vec![1; 66])),
        "a table or the classifier has 4-bit weights"
    );
    let short = broken(&|m| m.layers[0].wk.groups.as_mut().unwrap().truncate(1));
    assert_eq!(short, "layer 0 wk groups is 1, but 32 is needed");
    let off = broken(&|m| {
        let wv = &mut m.layers[0].wv;
        wv.groups.as_mut().unwrap()[0] = 2;
        wv.w[0] = 3;
    });
    assert_eq!(off, "a 4-bit weight is not its group's scale times -8 to 7");
}

#[test]
fn few_score_buffers_take_turns() {
    let model = shape(8, 8, 4).model(7);
    for buffers in 1..=9 {
        let core = CoreShape {
            score_words: 5 * buffers + 4,
            ..core(64)
        };
        let image = Image::compile(&model, &core, 37, 0).unwrap();
        assert_eq!(image.score_buffers, buffers.min(8) as usize);
        let of = |kind| image.steps.iter().filter(move |step| step.kind == kind);
        assert_eq!(of(Kind::Scores).count(), 16);
        for (scores, mix) in of(Kind::Scores).zip(of(Kind::Mix)) {
            assert_eq!((scores.score, scores.score_id), (mix.score, mix.score_id));
            assert!(scores.score + 5 <= core.score_words as u16);
        }
        let mut interpreter = Interpreter::new(core);
        interpreter.load(&image);
        let mut reference = Reference::new(&model, 37, 0).unwrap();
        for token in 0..33 {
            interpreter.write(regs::TOKEN_IN, token);
            assert!(interpreter.advance());
            assert_eq!(&interpreter.logits()[..33], reference.step(token).unwrap());
            interpreter.read(regs::TOKEN_OUT);
        }
    }
}

#[test]
fn images_hold_the_whole_model() {
    for seed in 0..40 {
        let model = random_model(seed);
        for lanes in [8, 16, 48, 64, 128] {
            let image = Image::compile(&model, &core(lanes), 9, 2).unwrap();
            assert_eq!(
                image.quant_model().unwrap(),
                model,
                "model {seed}, {lanes} lanes"
            );
            assert!(image
                .steps
                .iter()
                .all(|step| Step::decode(&step.encode()) == Some(*step)));
            assert_eq!(image.needs().steps, image.steps.len());
        }
    }
}

fn small_image() -> Image {
    let symbols: Vec<char> = ('!'..='@').collect();
    let model = shape(6, 2, 1).model(3);
    let image = Image::compile(&model, &core(48), 11, 3).unwrap();
    image
        .with_tokenizer(Tokenizer::Chars(Chars::new(symbols)))
        .with_origin("small", 64)
}

#[test]
fn files_are_read_back() {
    let image = small_image();
    let file = image.to_bytes();
    assert!(is_image(&file));
    assert_eq!(Image::from_bytes(&file), Ok(image.clone()));
    assert_eq!(image.special.restart, Some(32));
    for seed in 0..20 {
        let image = Image::compile(&random_model(seed), &core(64), 5, 1).unwrap();
        assert_eq!(Image::from_bytes(&image.to_bytes()), Ok(image));
    }
}

#[test]
fn damaged_files_are_refused() {
    let file = small_image().to_bytes();
    assert_eq!(
        Image::from_bytes(b"not an image"),
        Err(ImageError::NotAnImage)
    );
    for length in 0..file.len() {
        assert!(
            Image::from_bytes(&file[..length]).is_err(),
            "cut to {length} bytes"
        );
    }
    let mut rng = Rng::new(1);
    for _ in 0..2000 {
        let mut damaged = file.clone();
        let at = rng.within(0, file.len() as i32 - 1) as usize;
        damaged[at] ^= 1 << rng.within(0, 7);
        assert!(
            Image::from_bytes(&damaged).is_err(),
            "bit flipped in byte {at}"
        );
    }
    let mut long = file.clone();
    long.push(0);
    assert!(matches!(
        Image::from_bytes(&long),
        Err(ImageError::Length { .. })
    ));
    let mut old = file;
    old[8] = 9;
    assert_eq!(
        Image::from_bytes(&old),
        Err(ImageError::Version { found: 9 })
    );
}

/// With its length and checksum made right again, a changed file is refused or
/// is an image that holds a well-formed model; nothing panics.
#[test]
fn forged_files_are_refused_or_consistent() {
    let file = small_image().to_bytes();
    let config = file.windows(4).position(|w| w == b"CONF").unwrap() + 8;
    let mut rng = Rng::new(2);
    let mut refused = 0;
    for round in 0..3000 {
        let mut forged = file.clone();
        // Half of the changes go to the sizes, where they do the most.
        let (low, high) = if round % 2 == 0 {
            (config, config + 110)
        } else {
            (16, file.len() - 5)
        };
        for _ in 0..rng.within(1, 3) {
            let at = rng.within(low as i32, high as i32) as usize;
            forged[at] = rng.pick(&[
                0,
                1,
                2,
                0x7f,
                0x80,
                0xff,
                forged[at] ^ 1,
                forged[at].wrapping_add(1),
            ]);
        }
        if rng.one_in(8) {
            forged.truncate(rng.within(20, file.len() as i32) as usize);
        }
        let length = forged.len() as u32;
        forged[12..16].copy_from_slice(&length.to_le_bytes());
        let body = forged.len() - 4;
        let crc = annulus_contract::crc::crc32(&forged[..body]);
        forged[body..].copy_from_slice(&crc.to_le_bytes());
        match Image::from_bytes(&forged) {
            Err(_) => refused += 1,
            Ok(image) => drop(image.quant_model().unwrap()),
        }
    }
    assert!(refused > 1500, "only {refused} of 3000 refused");
}

#[test]
fn faults_are_named() {
    let file = small_image().to_bytes();
    let forge = |tag: &[u8; 4], offset: usize, value: u32| {
        let mut forged = file.clone();
        let at = file.windows(4).position(|w| w == tag).unwrap() + 8 + offset;
        forged[at..at + 4].copy_from_slice(&value.to_le_bytes());
        let body = forged.len() - 4;
        let crc = annulus_contract::crc::crc32(&forged[..body]);
        forged[body..].copy_from_slice(&crc.to_le_bytes());
        Image::from_bytes(&forged).unwrap_err().to_string()
    };
    assert_eq!(
        forge(b"CONF", 0, 3),
        "the image's number of rows is 3, but must be 1 or an even number up to 64"
    );
    assert_eq!(
        forge(b"CONF", 4, 0),
        "the image: a window of 0 tokens is not within 1 to 1024"
    );
    assert_eq!(
        forge(b"CONF", 8, 11),
        "the image: 11 sinks do not fit a window of 11: it must be larger than they are"
    );
    assert_eq!(
        forge(b"CONF", 20, 33),
        "the image's start token is 33, but must be a token of the vocabulary"
    );
    assert_eq!(
        forge(b"CONF", 32, 1 << 20),
        "the image's model is not well formed: dim is 1048576, which is not within 1 to 2047"
    );
    assert_eq!(
        forge(b"STEP", 4, 77),
        "the image's section STEP does not belong to its sizes: compile the model again"
    );
    assert_eq!(
        forge(b"REGS", 4, 77),
        "the image's section REGS does not belong to its sizes: compile the model again"
    );
}

#[test]
fn what_does_not_fit_is_refused_by_how_much() {
    let model = shape(8, 8, 4).model(5);
    let refusal = |core: CoreShape, window, sinks| {
        Image::compile(&model, &core, window, sinks)
            .unwrap_err()
            .to_string()
    };
    let full = core(64);
    assert_eq!(
        refusal(full, 0, 0),
        "a window of 0 tokens is not within 1 to 1024"
    );
    assert_eq!(
        refusal(full, 1025, 0),
        "a window of 1025 tokens is not within 1 to 1024"
    );
    assert_eq!(
        refusal(full, 4, 4),
        "4 sinks do not fit a window of 4: it must be larger than they are"
    );
    let layout = Image::compile(&model, &full, 64, 0).unwrap().layout();
    let fitting = CoreShape {
        memory: layout.memory_words() as u32,
        ..full
    };
    assert!(Image::compile(&model, &fitting, 64, 0).is_ok());
    let error = Image::compile(&model, &fitting, 200, 0).unwrap_err();
    assert!(
        matches!(
            error,
            CompileError::Memory {
                fitting_window: Some(64),
                ..
            }
        ),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .ends_with("a window of at most 64 would fit"),
        "{error}"
    );
    let tiny = CoreShape {
        memory: 100,
        ..full
    };
    assert_eq!(
        refusal(tiny, 64, 0),
        format!(
            "weights and rings need {} KiB of wide memory, the core has 7 KiB: {} KiB short; no window would fit",
            (layout.memory_words() * 64).div_ceil(1024),
            ((layout.memory_words() - 100) * 64).div_ceil(1024)
        )
    );
    assert_eq!(
        refusal(
            CoreShape {
                max_head: 4,
                ..full
            },
            8,
            0
        ),
        "the model's heads have 8 elements, the core holds 4: 4 too many"
    );
    let bare = CoreShape {
        features: 0,
        ..full
    };
    assert_eq!(
        refusal(bare, 8, 0),
        "this core has no Hadamard rotation: quantize the model without it (--no-hadamard), or take another core"
    );
    let no_sinks = CoreShape {
        features: regs::feature::HADAMARD,
        ..full
    };
    assert_eq!(
        refusal(no_sinks, 8, 1),
        "this core has no attention sinks: use no sinks, or take another core"
    );
    assert!(Image::compile(&model, &no_sinks, 8, 0).is_ok());
    let nibbles = Shape {
        nibbles: true,
        ..shape(8, 4, 2)
    };
    assert_eq!(
        Image::compile(&nibbles.model(3), &with_lanes(64).unwrap(), 8, 0)
            .unwrap_err()
            .to_string(),
        "this core has no 4-bit weights: quantize the model with 8 (--weight-bits 8), or take another core"
    );
    assert!(Image::compile(&nibbles.model(3), &full, 8, 0).is_ok());
    let narrow = Shape {
        narrow: true,
        ..shape(8, 4, 2)
    };
    assert_eq!(
        Image::compile(&narrow.model(3), &with_lanes(64).unwrap(), 8, 0)
            .unwrap_err()
            .to_string(),
        "this core has no rings of 4-bit values: quantize the model with 8 (--value-bits 8), or take another core"
    );
    // A head of 8 fills half of the nibbles of a word of 16 rows, and has as many words as if
    // they were bytes.
    let one_head = Shape {
        narrow: true,
        layers: 5,
        hidden: 8,
        ..shape(8, 1, 1)
    };
    let small = CoreShape {
        memory: 1024,
        ..core(128)
    };
    assert_eq!(
        Image::compile(&one_head.model(3), &small, 1024, 0)
            .unwrap_err()
            .to_string(),
        "the image needs 640 words of 4-bit values, the core has 512: 128 short; a window of at most 816 would fit"
    );
    assert_eq!(
        refusal(CoreShape { vocab: 32, ..full }, 8, 0),
        "the image needs 33 symbols, the core has 32: 1 short"
    );
    assert_eq!(
        refusal(CoreShape { steps: 40, ..full }, 8, 0),
        "the image needs 47 steps, the core has 40: 7 short"
    );
    assert_eq!(
        refusal(CoreShape { score_words: 4, ..full }, 40, 0),
        "the image needs 5 words of scores, the core has 4: 1 short; a window of at most 32 would fit"
    );
    let image = Image::compile(&model, &full, 8, 0).unwrap();
    assert_eq!(
        image.check_core(&core(16)).unwrap_err().to_string(),
        "the image is for 64 lanes, the core has 16"
    );
}

#[test]
fn a_summary_tells_sizes_and_cores() {
    let image = small_image();
    let summary = image.summary();
    let json = serde_json::to_value(&summary).unwrap();
    assert_eq!(json["lanes"], 48);
    assert_eq!(json["name"], "small");
    let steps: usize = summary.steps.iter().map(|s| s.count).sum();
    assert_eq!(steps, image.steps.len());
    let fits = |name| summary.cores.iter().find(|c| c.core == name).unwrap();
    assert!(fits("64").fits && fits("ulx3s").fits);
    assert_eq!(
        fits("pico-ice").reason.as_deref(),
        Some("this core has no attention sinks: use no sinks, or take another core")
    );
    assert!(of_board("ulx3s").is_some() && of_board("none").is_none());
    let bytes = summary.bytes;
    assert_eq!(bytes.weights, image.wide.len());
    assert_eq!(
        (bytes.weights + bytes.keys + bytes.values) / 48,
        image.needs().memory
    );
}
