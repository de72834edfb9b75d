//! The legacy checkpoint of llama2.c (`.bin`).
//!
//! Seven little-endian int32: dim, hidden, layers, heads, kv heads, vocab (negative
//! where the classifier is not tied to the embedding) and context; then float32
//! tensors, each for all layers in turn. Two tables of rotary angles, which the
//! format keeps for old readers, are skipped.

use super::ImportError;
use crate::config::Shape;
use crate::float::{FloatLayer, FloatModel};
use nom::bytes::complete::take;
use nom::multi::many0;
use nom::number::complete::{le_f32, le_i32};
use nom::{IResult, Parser};

/// RMSNorm's epsilon, which the format does not store.
const EPS: f32 = 1e-5;
/// Base of the rotary positions, which the format does not store.
const ROPE_BASE: f32 = 10_000.0;

/// What is often taken for this format, which has no magic number of its own: first bytes, none
/// of which begins a dimension that any core runs, what they are of, and what to give instead.
const FOREIGN: [(&[u8], &str, &str); 3] = [
    (
        b"24ka",
        "a newer format of llama2.c",
        "export the model with --version 0",
    ),
    (b"GGUF", "a GGUF file", FOLDER),
    (b"PK\x03\x04", "a zip archive, as PyTorch writes", FOLDER),
];

const FOLDER: &str = "give a folder with config.json, model.safetensors and a tokenizer";

/// A file of another kind, by its first bytes.
fn foreign(file: &[u8]) -> Option<ImportError> {
    let known = FOREIGN.iter().find(|(magic, ..)| file.starts_with(magic));
    let (found, way_out) = match known {
        Some(&(_, found, way_out)) => (found, way_out),
        // Eight bytes of length, then JSON.
        None if file.get(8..10) == Some(b"{\"") => (
            "a safetensors file",
            "give the folder that holds it, config.json and a tokenizer",
        ),
        None => return None,
    };
    Some(ImportError::Foreign { found, way_out })
}

/// Reads a checkpoint; the file must end with its last tensor.
pub fn read(file: &[u8]) -> Result<FloatModel, ImportError> {
    if let Some(error) = foreign(file) {
        return Err(error);
    }
    let mut file = Reader { rest: file };
    let header = file
        .numbers("the header", 7, le_i32)?
        .into_iter()
        .map(i64::from)
        .collect::<Vec<_>>();
    let shape = Shape {
        dim: header[0],
        hidden: header[1],
        layers: header[2],
        heads: header[3],
        kv_heads: header[4],
        vocab: header[5].abs(),
        context: header[6],
    };
    shape.check()?;
    let tied = header[5] > 0;
    let [dim, hidden, vocab, context, head_size] = [
        shape.dim,
        shape.hidden,
        shape.vocab,
        shape.context,
        shape.head_size(),
    ]
    .map(|n| n as usize);
    let kv_dim = shape.kv_heads as usize * head_size;

    let embedding = file.tensor("embedding", vocab * dim)?;
    let mut layers = vec![FloatLayer::default(); shape.layers as usize];
    file.layers(&mut layers, "attention_norm", dim, |l| {
        &mut l.attention_norm
    })?;
    file.layers(&mut layers, "wq", dim * dim, |l| &mut l.wq)?;
    file.layers(&mut layers, "wk", kv_dim * dim, |l| &mut l.wk)?;
    file.layers(&mut layers, "wv", kv_dim * dim, |l| &mut l.wv)?;
    file.layers(&mut layers, "wo", dim * dim, |l| &mut l.wo)?;
    file.layers(&mut layers, "ffn_norm", dim, |l| &mut l.ffn_norm)?;
    file.layers(&mut layers, "w1", hidden * dim, |l| &mut l.w1)?;
    file.layers(&mut layers, "w2", dim * hidden, |l| &mut l.w2)?;
    file.layers(&mut layers, "w3", hidden * dim, |l| {
        l.w3.get_or_insert_default()
    })?;
    let final_norm = file.tensor("final_norm", dim)?;
    file.tensor("freq_cis_real", context * head_size / 2)?;
    file.tensor("freq_cis_imag", context * head_size / 2)?;
    let classifier = if tied {
        None
    } else {
        Some(file.tensor("classifier", vocab * dim)?)
    };
    if !file.rest.is_empty() {
        return Err(ImportError::TrailingBytes(file.rest.len()));
    }

    let model = FloatModel {
        dim,
        hidden,
        heads: shape.heads as usize,
        kv_heads: shape.kv_heads as usize,
        head_size,
        vocab,
        context,
        eps: EPS,
        rope_base: Some(ROPE_BASE),
        relu: false,
        embedding_norm: false,
        final_norm: Some(final_norm),
        embedding,
        positions: None,
        classifier,
        layers,
    };
    model.check()?;
    Ok(model)
}

/// What is left of the file.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// `len` four-byte numbers; their bytes are known to be there before room is made for them.
    fn numbers<T>(
        &mut self,
        field: &str,
        len: usize,
        number: impl Fn(&'a [u8]) -> IResult<&'a [u8], T>,
    ) -> Result<Vec<T>, ImportError> {
        let truncated = || ImportError::Truncated {
            field: field.into(),
            needed: 4 * len,
            left: self.rest.len(),
        };
        let (rest, bytes) =
            take::<_, _, nom::error::Error<&[u8]>>(4 * len)(self.rest).map_err(|_| truncated())?;
        let (_, numbers) = many0(number).parse(bytes).map_err(|_| truncated())?;
        self.rest = rest;
        Ok(numbers)
    }

    fn tensor(&mut self, field: &str, len: usize) -> Result<Vec<f32>, ImportError> {
        self.numbers(field, len, le_f32)
    }

    fn layers(
        &mut self,
        layers: &mut [FloatLayer],
        name: &str,
        len: usize,
        part: fn(&mut FloatLayer) -> &mut Vec<f32>,
    ) -> Result<(), ImportError> {
        for (l, layer) in layers.iter_mut().enumerate() {
            *part(layer) = self.tensor(&format!("layers.{l}.{name}"), len)?;
        }
        Ok(())
    }
}
