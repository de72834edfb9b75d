//! Importers and tokenizers on good, damaged and hostile files: each gives a valid
//! model or one sentence that names the field, and never panics.

mod common;

use annulus_model::import::{llama2c, microgpt as microgpt_format};
use annulus_model::random::Rng;
use annulus_model::tokenizer::{Bpe, Chars, Tokenizer};
use common::{llama, llama2c_file, microgpt, microgpt_file, tokenizer_file, Sizes, SMALL};
use proptest::prelude::*;

const SHAPES: [Sizes; 6] = [
    SMALL,
    Sizes {
        heads: 4,
        kv_heads: 1,
        head_size: 2,
        hidden: 13,
        layers: 1,
        vocab: 17,
        context: 5,
    },
    Sizes {
        heads: 4,
        kv_heads: 2,
        head_size: 6,
        hidden: 25,
        layers: 3,
        vocab: 33,
        context: 700,
    },
    Sizes {
        heads: 1,
        kv_heads: 1,
        head_size: 48,
        hidden: 7,
        layers: 1,
        vocab: 16,
        context: 1,
    },
    Sizes {
        heads: 2,
        kv_heads: 1,
        head_size: 24,
        hidden: 97,
        layers: 2,
        vocab: 4096,
        context: 64,
    },
    Sizes {
        heads: 2,
        kv_heads: 2,
        head_size: 64,
        hidden: 1,
        layers: 1,
        vocab: 100,
        context: 16,
    },
];

#[test]
fn every_shape_comes_back_as_written() {
    for sizes in SHAPES {
        for tied in [true, false] {
            let model = llama(sizes, tied, 1);
            assert_eq!(
                llama2c::read(&llama2c_file(&model)),
                Ok(model),
                "{sizes:?}, tied {tied}"
            );
        }
        let model = microgpt(sizes, 2);
        let (read, symbols) = microgpt_format::read(microgpt_file(&model).as_bytes()).unwrap();
        assert_eq!(read, model, "{sizes:?}");
        assert_eq!(symbols.vocab(), sizes.vocab);
        assert_eq!(symbols.symbols()[1], 'b');
    }
}

fn llama_fault(file: &[u8]) -> String {
    llama2c::read(file).unwrap_err().to_string()
}

#[test]
fn files_of_another_kind_are_named_with_the_way_out() {
    let begins = |magic: &[u8]| llama_fault(&[magic, &[0; 300]].concat());
    assert_eq!(
        begins(&0x616b_3432_u32.to_le_bytes()),
        "this is a newer format of llama2.c: export the model with --version 0"
    );
    assert!(begins(b"GGUF").starts_with("this is a GGUF file: give a folder"));
    assert!(begins(b"PK\x03\x04").starts_with("this is a zip archive"));
    let safetensors = [&40_u64.to_le_bytes()[..], b"{\"a\""].concat();
    assert!(begins(&safetensors).starts_with("this is a safetensors file: give the folder"));
}

#[test]
fn checkpoint_faults_name_the_field() {
    let model = llama(SMALL, false, 3);
    let file = llama2c_file(&model);
    let header = 28;
    let cases: [(&str, usize, &str); 5] = [
        (
            "header",
            27,
            "the file is truncated: the header takes 28 bytes, but 27 are left",
        ),
        (
            "embedding",
            header + 5,
            "the file is truncated: embedding takes 512 bytes, but 5 are left",
        ),
        (
            "nothing",
            0,
            "the file is truncated: the header takes 28 bytes, but 0 are left",
        ),
        (
            "second wq",
            // embedding, two norms, one wq
            header + 4 * (16 * 8 + 2 * 8 + 64) + 3,
            "the file is truncated: layers.1.wq takes 256 bytes, but 3 are left",
        ),
        (
            "classifier",
            file.len() - 1,
            "the file is truncated: classifier takes 512 bytes, but 511 are left",
        ),
    ];
    for (what, length, sentence) in cases {
        assert_eq!(llama_fault(&file[..length]), sentence, "{what}");
    }
    let long = [&file[..], &[0, 0]].concat();
    assert_eq!(
        llama_fault(&long),
        "the file is oversized: 2 bytes follow its last tensor"
    );

    let poisoned = |word: usize, value: f32| {
        let mut bad = file.clone();
        bad[header + 4 * word..][..4].copy_from_slice(&value.to_le_bytes());
        llama_fault(&bad)
    };
    assert_eq!(poisoned(7, f32::NAN), "embedding[7] is NaN");
    assert_eq!(
        poisoned(16 * 8 + 2 * 8 + 12, f32::INFINITY),
        "layers.0.wq[12] is inf"
    );
    assert_eq!(
        poisoned(16 * 8 + 2 * 8 + 64, f32::NEG_INFINITY),
        "layers.1.wq[0] is -inf"
    );

    let with_header = |at: usize, value: i32| {
        let mut bad = file.clone();
        bad[4 * at..][..4].copy_from_slice(&value.to_le_bytes());
        llama_fault(&bad)
    };
    assert_eq!(with_header(0, 0), "dim is 0, but must be 2 to 2047");
    assert_eq!(
        with_header(0, i32::MAX),
        "dim is 2147483647, but must be 2 to 2047"
    );
    assert_eq!(
        with_header(3, 3),
        "dim is 8, which heads (3) does not divide"
    );
    assert_eq!(
        with_header(5, i32::MIN),
        "vocab is 2147483648, but must be 16 to 4096"
    );
    // A header may promise gigabytes; the file's length is believed instead.
    assert!(with_header(6, 1 << 20)
        .starts_with("the file is truncated: freq_cis_real takes 8388608 bytes"));
}

#[test]
fn json_faults_name_the_field() {
    let good = microgpt_file(&microgpt(SMALL, 4));
    let fault = |from: &str, to: &str| {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good, "{from} is not in the file");
        microgpt_format::read(bad.as_bytes())
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        fault("\"wte\": [[", "\"wte\": [[NaN, "),
        "weights.wte[0] has 9 elements, but the metadata asks for 8"
    );
    let first = good
        .split("\"wpe\": [[")
        .nth(1)
        .unwrap()
        .split(',')
        .next()
        .unwrap();
    assert_eq!(
        fault(&format!("[[{first},"), "[[NaN,"),
        "weights.wpe[0][0] is NaN, which is not a finite float32"
    );
    assert_eq!(
        fault(&format!("[[{first},"), "[[1e39,"),
        format!(
            "weights.wpe[0][0] is {}, which is not a finite float32",
            1e39
        )
    );
    assert_eq!(
        fault(&format!("[[{first},"), "[[-Infinity,"),
        "weights.wpe[0][0] is -inf, which is not a finite float32"
    );
    assert_eq!(
        fault(&format!("[[{first},"), "[[\"x\","),
        "weights.wpe[0][0] must be a number"
    );
    assert_eq!(
        fault("\"n_embd\": 8", "\"n_embd\": 8.5"),
        "metadata.n_embd must be a whole number"
    );
    assert_eq!(fault("\"n_embd\": 8, ", ""), "metadata.n_embd is missing");
    assert_eq!(
        fault("\"n_embd\": 8", "\"n_embd\": 12"),
        "metadata.head_dim is 4, but n_embd / n_head makes it 6"
    );
    assert_eq!(
        fault("\"BOS\": 15", "\"BOS\": 3"),
        "metadata.BOS is 3, but the symbol after uchars makes it 15"
    );
    assert_eq!(
        fault("[\"a\", \"b\"", "[\"a\", \"a\""),
        "metadata.uchars must be a list of different characters"
    );
    assert_eq!(
        fault("\"vocab_size\": 16", "\"vocab_size\": 17"),
        "metadata.vocab_size is 17, but uchars plus the end makes it 16"
    );
    assert_eq!(
        fault("\"layer1.attn_wk\"", "\"layer1.attn_wK\""),
        "weights.layer1.attn_wk is missing"
    );
    assert_eq!(
        fault("\"wte\"", "\"bias\": [], \"wte\""),
        "weights.bias is not a field of this format"
    );
    assert_eq!(
        fault("\"weights\"", "\"weight\""),
        "the file.weights is missing"
    );
    assert_eq!(
        fault("\"weights\": {", "\"weights\" {"),
        "not valid JSON at line 2, column 11: expected ':'"
    );
    assert_eq!(
        microgpt_format::read(b"{\"\xff").unwrap_err().to_string(),
        "not valid JSON: byte 2 is not UTF-8"
    );
}

/// Reads `file` with every reader. What is accepted must be valid.
fn read_with_all(file: &[u8]) {
    if let Ok(model) = llama2c::read(file) {
        assert_eq!(model.check(), Ok(()));
    }
    if let Ok((model, symbols)) = microgpt_format::read(file) {
        assert_eq!(model.check(), Ok(()));
        assert_eq!(symbols.vocab(), model.vocab);
    }
    if let Ok(bpe) = Bpe::from_bytes(file) {
        if let Ok(tokens) = bpe.encode("Once upon a tïme\n".as_bytes(), true) {
            assert!(tokens.iter().all(|&t| bpe.decode(None, t).is_some()));
        }
    }
    if let Ok(chars) = Chars::from_bytes(file) {
        assert_eq!(Chars::from_bytes(&chars.to_bytes()), Ok(chars));
    }
    if let Ok(tokenizer) = Tokenizer::from_bytes(file) {
        assert_eq!(Tokenizer::from_bytes(&tokenizer.to_bytes()), Ok(tokenizer));
    }
}

/// One small damage: bits flipped, bytes overwritten, a piece cut out, doubled or dropped.
fn damage(file: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut bad = file.to_vec();
    let at = |rng: &mut Rng, len: usize| rng.within(0, len.max(1) as i32 - 1) as usize;
    for _ in 0..rng.within(1, 3) {
        // Half of the damage goes to the first bytes, where headers are.
        let reach = if rng.one_in(2) {
            bad.len().min(64)
        } else {
            bad.len()
        };
        let i = at(rng, reach);
        match rng.within(0, 5) {
            _ if bad.is_empty() => break,
            0 => bad.truncate(i),
            1 => bad[i] = rng.bits() as u8,
            2 => drop(bad.drain(i..(i + at(rng, 40)).min(reach))),
            3 => {
                let piece = bad[i..(i + at(rng, 40)).min(reach)].to_vec();
                bad.splice(i..i, piece);
            }
            _ => bad[i] ^= 1 << rng.within(0, 7),
        }
    }
    bad
}

#[test]
fn damaged_files_never_panic() {
    let tiny = Sizes {
        layers: 1,
        hidden: 3,
        ..SMALL
    };
    let seeds = [
        llama2c_file(&llama(tiny, true, 5)),
        llama2c_file(&llama(tiny, false, 5)),
        microgpt_file(&microgpt(tiny, 5)).into_bytes(),
        tokenizer_file(300),
        Tokenizer::Bpe(Bpe::from_bytes(&tokenizer_file(290)).unwrap()).to_bytes(),
        Tokenizer::Chars(Chars::new(('a'..='z').collect())).to_bytes(),
    ];
    let mut rng = Rng::new(2024);
    for file in &seeds {
        for _ in 0..3000 {
            read_with_all(&damage(file, &mut rng));
        }
        // Every place a file can be cut at.
        for length in 0..file.len() {
            let cut = &file[..length];
            assert!(llama2c::read(cut).is_err());
            assert!(microgpt_format::read(cut).is_err());
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(file in prop::collection::vec(any::<u8>(), 0..400)) {
        read_with_all(&file);
    }

    #[test]
    fn arbitrary_headers_never_panic(header in prop::array::uniform7(-3i32..70), rest in 0usize..200) {
        let mut file: Vec<u8> = header.iter().flat_map(|n| n.to_le_bytes()).collect();
        file.extend(std::iter::repeat_n(0, 4 * rest));
        read_with_all(&file);
    }

    #[test]
    fn text_comes_back_from_its_tokens(text in "\\PC{0,60}") {
        let bpe = Tokenizer::Bpe(Bpe::from_bytes(&tokenizer_file(400)).unwrap());
        let tokens = bpe.encode(text.as_bytes(), true).unwrap();
        let mut decoded = Vec::new();
        for pair in tokens.windows(2) {
            decoded.extend(bpe.decode(Some(pair[0]), pair[1]).unwrap());
        }
        prop_assert_eq!(String::from_utf8(decoded).unwrap(), text);
    }

    #[test]
    fn any_bytes_come_back_from_their_tokens(text in prop::collection::vec(any::<u8>(), 1..60)) {
        let bpe = Bpe::from_bytes(&tokenizer_file(400)).unwrap();
        let tokens = bpe.encode(&text, false).unwrap();
        let decoded: Vec<u8> = tokens.iter().flat_map(|&t| bpe.decode(None, t).unwrap().to_vec()).collect();
        prop_assert_eq!(decoded, [b" ", &text[..]].concat());
    }
}
