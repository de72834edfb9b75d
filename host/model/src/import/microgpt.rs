//! microGPT's weights as JSON: `metadata` (symbols and shape) and `weights`
//! (nested lists, rows of outputs).
//!
//! The model: RMSNorm without gain after the sum of token and position and before
//! each half of a block, ReLU, no biases, no final norm, a head of its own.

use super::json::{self, Json};
use super::ImportError;
use crate::config::Shape;
use crate::float::{FloatLayer, FloatModel};
use crate::tokenizer::Chars;
use std::collections::HashSet;

/// RMSNorm's epsilon, which the format does not store.
const EPS: f32 = 1e-5;

/// Reads a checkpoint: the model and the symbols it writes in.
pub fn read(file: &[u8]) -> Result<(FloatModel, Chars), ImportError> {
    let text = std::str::from_utf8(file).map_err(|e| ImportError::NotUtf8(e.valid_up_to()))?;
    let json = json::parse(text)?;
    let root = Fields::new("the file", &json)?;
    let metadata = Fields::new("metadata", root.get("metadata")?)?;
    let weights = Fields::new("weights", root.get("weights")?)?;

    let shape = Shape {
        dim: metadata.integer("n_embd")?,
        hidden: weights.rows("layer0.mlp_fc1")?,
        layers: metadata.integer("n_layer")?,
        heads: metadata.integer("n_head")?,
        kv_heads: metadata.integer("n_head")?,
        vocab: metadata.integer("vocab_size")?,
        context: metadata.integer("block_size")?,
    };
    shape.check()?;
    let symbols = symbols(metadata.get("uchars")?)?;
    metadata.must_be("head_dim", "n_embd / n_head", shape.head_size())?;
    metadata.must_be(
        "vocab_size",
        "uchars plus the end",
        symbols.len() as i64 + 1,
    )?;
    metadata.must_be("BOS", "the symbol after uchars", symbols.len() as i64)?;

    let mut names = vec!["wte".to_string(), "wpe".into(), "lm_head".into()];
    let [dim, hidden, vocab, context] =
        [shape.dim, shape.hidden, shape.vocab, shape.context].map(|n| n as usize);
    let layers = (0..shape.layers)
        .map(|l| {
            let mut matrix = |name: &str, rows, cols| {
                let name = format!("layer{l}.{name}");
                let matrix = weights.matrix(&name, rows, cols);
                names.push(name);
                matrix
            };
            Ok(FloatLayer {
                attention_norm: vec![1.0; dim],
                wq: matrix("attn_wq", dim, dim)?,
                wk: matrix("attn_wk", dim, dim)?,
                wv: matrix("attn_wv", dim, dim)?,
                wo: matrix("attn_wo", dim, dim)?,
                ffn_norm: vec![1.0; dim],
                w1: matrix("mlp_fc1", hidden, dim)?,
                w2: matrix("mlp_fc2", dim, hidden)?,
                w3: None,
            })
        })
        .collect::<Result<_, ImportError>>()?;
    weights.only(&names)?;
    let model = FloatModel {
        dim,
        hidden,
        heads: shape.heads as usize,
        kv_heads: shape.kv_heads as usize,
        head_size: shape.head_size() as usize,
        vocab,
        context,
        eps: EPS,
        rope_base: None,
        relu: true,
        embedding_norm: true,
        final_norm: None,
        embedding: weights.matrix("wte", vocab, dim)?,
        positions: Some(weights.matrix("wpe", context, dim)?),
        classifier: Some(weights.matrix("lm_head", vocab, dim)?),
        layers,
    };
    model.check()?;
    Ok((model, Chars::new(symbols)))
}

fn symbols(list: &Json) -> Result<Vec<char>, ImportError> {
    let kind = || ImportError::Kind {
        field: "metadata.uchars".into(),
        expected: "a list of different characters",
    };
    let Json::List(list) = list else {
        return Err(kind());
    };
    let mut symbols = Vec::new();
    let mut seen = HashSet::new();
    for item in list {
        let Json::Text(text) = item else {
            return Err(kind());
        };
        let mut chars = text.chars();
        match (chars.next(), chars.next()) {
            (Some(c), None) if seen.insert(c) => symbols.push(c),
            _ => return Err(kind()),
        }
    }
    Ok(symbols)
}

/// An object and the name it goes by in errors.
struct Fields<'a> {
    name: &'static str,
    fields: &'a [(String, Json)],
}

impl<'a> Fields<'a> {
    fn new(name: &'static str, json: &'a Json) -> Result<Self, ImportError> {
        match json {
            Json::Object(fields) => Ok(Self { name, fields }),
            _ => Err(ImportError::Kind {
                field: name.into(),
                expected: "an object",
            }),
        }
    }

    fn path(&self, field: &str) -> String {
        format!("{}.{field}", self.name)
    }

    fn get(&self, field: &str) -> Result<&Json, ImportError> {
        let found = self.fields.iter().find(|(name, _)| name == field);
        found
            .map(|(_, json)| json)
            .ok_or_else(|| ImportError::Missing(self.path(field)))
    }

    /// Refuses fields beyond `known`: a bias that is ignored would be a silent fault.
    fn only(&self, known: &[impl AsRef<str>]) -> Result<(), ImportError> {
        match self
            .fields
            .iter()
            .find(|(name, _)| !known.iter().any(|k| k.as_ref() == name))
        {
            Some((name, _)) => Err(ImportError::Unknown(self.path(name))),
            None => Ok(()),
        }
    }

    fn integer(&self, field: &str) -> Result<i64, ImportError> {
        match self.get(field)? {
            Json::Number(n) if n.fract() == 0.0 && n.abs() < 1e15 => Ok(*n as i64),
            _ => Err(ImportError::Kind {
                field: self.path(field),
                expected: "a whole number",
            }),
        }
    }

    fn must_be(&self, field: &str, reason: &'static str, expected: i64) -> Result<(), ImportError> {
        match self.integer(field)? {
            found if found == expected => Ok(()),
            found => Err(ImportError::Inconsistent {
                field: self.path(field),
                found,
                reason,
                expected,
            }),
        }
    }

    fn list(&self, field: &str) -> Result<&[Json], ImportError> {
        match self.get(field)? {
            Json::List(list) => Ok(list),
            _ => Err(ImportError::Kind {
                field: self.path(field),
                expected: "a list of rows",
            }),
        }
    }

    fn rows(&self, field: &str) -> Result<i64, ImportError> {
        Ok(self.list(field)?.len() as i64)
    }

    fn matrix(&self, field: &str, rows: usize, cols: usize) -> Result<Vec<f32>, ImportError> {
        let list = self.list(field)?;
        let count = |field, found, expected| match found == expected {
            true => Ok(()),
            false => Err(ImportError::Count {
                field,
                found,
                expected,
            }),
        };
        count(self.path(field), list.len(), rows)?;
        let mut matrix = Vec::with_capacity(rows * cols);
        for (r, row) in list.iter().enumerate() {
            let Json::List(row) = row else {
                return Err(ImportError::Kind {
                    field: format!("{}[{r}]", self.path(field)),
                    expected: "a list",
                });
            };
            count(format!("{}[{r}]", self.path(field)), row.len(), cols)?;
            for (c, number) in row.iter().enumerate() {
                let path = || format!("{}[{r}][{c}]", self.path(field));
                match number {
                    Json::Number(n) if (*n as f32).is_finite() => matrix.push(*n as f32),
                    Json::Number(n) => {
                        return Err(ImportError::NotFinite {
                            field: path(),
                            value: *n,
                        })
                    }
                    _ => {
                        return Err(ImportError::Kind {
                            field: path(),
                            expected: "a number",
                        })
                    }
                }
            }
        }
        Ok(matrix)
    }
}
