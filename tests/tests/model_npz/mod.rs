//! Quantized models as `.npz` archives, the layout of `docs/arithmetic.md`
//! section 3 that `ref.py` reads and the supplied models have.

use annulus_model::quant::{Embedding, Formats, Layer, Matrix, QuantModel, Width};
use npyz::WriterBuilder;
use serde_json::{json, Value};
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

type Archive = zip::ZipArchive<File>;

/// Read a model; the file is one that this project made, so a fault is a bug.
pub fn read(path: &Path) -> QuantModel {
    let file = File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let z = &mut zip::ZipArchive::new(file).expect("a zip archive");
    let header: Value = serde_json::from_slice(&array::<u8>(z, "hdr")).expect("hdr is JSON");
    let number = |key: &str| {
        header[key]
            .as_i64()
            .unwrap_or_else(|| panic!("hdr lacks {key}"))
    };
    let size = |key: &str| number(key) as usize;
    let flag = |key: &str| number(key) != 0;
    let relu = flag("relu");
    let layers = (0..size("L"))
        .map(|l| {
            let bits = |key: &str| header[key][l].as_u64().expect("fraction bits") as u8;
            let mut weights = |name: &str| matrix(z, &format!("{name}.{l}"));
            Layer {
                wq: weights("wq"),
                wk: weights("wk"),
                wv: weights("wv"),
                wo: weights("wo"),
                w1: weights("w1"),
                w2: weights("w2"),
                w3: (!relu).then(|| weights("w3")),
                formats: Formats {
                    q: bits("FQ"),
                    k: bits("FK"),
                    v: bits("FV"),
                    gate: bits("FG"),
                    up: bits("FU"),
                    hidden: bits(if relu { "FG" } else { "FH" }),
                },
            }
        })
        .collect();
    let embedding = if flag("degain") {
        Embedding::Tied { ig: array(z, "ig") }
    } else {
        Embedding::Own {
            table: matrix(z, "emb"),
            positions: flag("npos").then(|| matrix(z, "wpe")),
            fraction_bits: number("embF") as u8,
        }
    };
    QuantModel {
        dim: size("D"),
        hidden: size("H"),
        heads: size("NH"),
        kv_heads: size("NKV"),
        head_size: size("hd"),
        vocab: size("V"),
        residual_bits: number("RF") as u8,
        logit_bits: number("LF") as u8,
        eps: number("EPS") as u64,
        rope: flag("rope").then(|| array(z, "inc")),
        hadamard: flag("rot"),
        relu,
        final_norm: flag("finalnorm"),
        embedding,
        igsh: number("igsh") as i8,
        embedding_norm: u64::try_from(number("eps_emb")).ok(),
        value_bits: Width::Eight,
        layers,
        classifier: matrix(z, "cls"),
    }
}

fn matrix(z: &mut Archive, name: &str) -> Matrix {
    let s: Vec<i8> = array(z, &format!("{name}.s"));
    let w: Vec<i8> = array(z, &format!("{name}.w"));
    let (rows, cols) = (s.len(), w.len() / s.len());
    Matrix {
        rows,
        cols,
        w,
        s,
        mu: array(z, &format!("{name}.mu")),
        groups: None,
    }
}

fn array<T: npyz::Deserialize>(z: &mut Archive, name: &str) -> Vec<T> {
    let mut bytes = Vec::new();
    let mut file = z
        .by_name(&format!("{name}.npy"))
        .unwrap_or_else(|e| panic!("{name}: {e}"));
    file.read_to_end(&mut bytes).expect("a whole array");
    npyz::NpyFile::new(&bytes[..])
        .and_then(npyz::NpyFile::into_vec)
        .expect("an array")
}

/// Write a model for `ref.py`.
#[allow(dead_code)] // not every test that reads models writes them
pub fn write(model: &QuantModel, path: &Path) {
    let z = &mut zip::ZipWriter::new(File::create(path).expect("a new file"));
    let formats = |of: fn(&Formats) -> u8| -> Vec<u8> {
        model
            .layers
            .iter()
            .map(|layer| of(&layer.formats))
            .collect()
    };
    let mut header = json!({
        "D": model.dim, "H": model.hidden, "L": model.layers.len(), "NH": model.heads,
        "NKV": model.kv_heads, "V": model.vocab, "hd": model.head_size,
        "RF": model.residual_bits, "LF": model.logit_bits, "EPS": model.eps, "igsh": model.igsh,
        "rope": u8::from(model.rope.is_some()), "rot": u8::from(model.hadamard),
        "relu": u8::from(model.relu), "finalnorm": u8::from(model.final_norm),
        "eps_emb": model.embedding_norm.map_or(-1, |eps| eps as i64),
        "FQ": formats(|f| f.q), "FK": formats(|f| f.k), "FV": formats(|f| f.v),
        "FG": formats(|f| f.gate), "FU": formats(|f| f.up), "FH": formats(|f| f.hidden),
    });
    match &model.embedding {
        Embedding::Tied { ig } => {
            header["degain"] = json!(1);
            header["npos"] = json!(0);
            header["embF"] = json!(0);
            put(z, "ig", &[ig.len()], ig);
        }
        Embedding::Own {
            table,
            positions,
            fraction_bits,
        } => {
            header["degain"] = json!(0);
            header["npos"] = json!(positions.as_ref().map_or(0, |p| p.rows));
            header["embF"] = json!(fraction_bits);
            put_matrix(z, "emb", table);
            if let Some(positions) = positions {
                put_matrix(z, "wpe", positions);
            }
        }
    }
    if let Some(increments) = &model.rope {
        put(z, "inc", &[increments.len()], increments);
    }
    for (l, layer) in model.layers.iter().enumerate() {
        let named = [
            ("wq", Some(&layer.wq)),
            ("wk", Some(&layer.wk)),
            ("wv", Some(&layer.wv)),
            ("wo", Some(&layer.wo)),
            ("w1", Some(&layer.w1)),
            ("w2", Some(&layer.w2)),
            ("w3", layer.w3.as_ref()),
        ];
        for (name, matrix) in named {
            if let Some(matrix) = matrix {
                put_matrix(z, &format!("{name}.{l}"), matrix);
            }
        }
    }
    put_matrix(z, "cls", &model.classifier);
    let header = header.to_string();
    put(z, "hdr", &[header.len()], header.as_bytes());
}

fn put_matrix(z: &mut zip::ZipWriter<File>, name: &str, m: &Matrix) {
    put(z, &format!("{name}.w"), &[m.rows, m.cols], &m.w);
    put(z, &format!("{name}.s"), &[m.rows], &m.s);
    put(z, &format!("{name}.mu"), &[m.rows], &m.mu);
}

fn put<T: npyz::AutoSerialize + Copy>(
    z: &mut zip::ZipWriter<File>,
    name: &str,
    shape: &[usize],
    values: &[T],
) {
    let shape: Vec<u64> = shape.iter().map(|&n| n as u64).collect();
    let mut bytes = Vec::new();
    let mut array = npyz::WriteOptions::new()
        .default_dtype()
        .shape(&shape)
        .writer(&mut bytes)
        .begin_nd()
        .expect("an array");
    array
        .extend(values.iter().copied())
        .and_then(|()| array.finish())
        .expect("an array");
    let stored =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    z.start_file(format!("{name}.npy"), stored)
        .expect("a file in the archive");
    z.write_all(&bytes).expect("room on the disk");
}
