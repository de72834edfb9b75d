//! Llama and Mistral as the model hub has them: `config.json` and `model.safetensors`.
//!
//! Both are the same network but for Mistral's sliding window: RMSNorm with gain,
//! rotary positions, grouped queries, SwiGLU, no biases. What a configuration asks
//! for beyond that is refused by name. Weights may be float32, float16 or bfloat16.

use super::ImportError;
use crate::config::Shape;
use crate::float::{FloatLayer, FloatModel};
use crate::quant::Width;
use crate::quantize::{Rotation, Scheme};
use half::{bf16, f16};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use serde_json::{Map, Value};

/// What transformers takes for a field that is not there.
mod defaults {
    pub const RMS_NORM_EPS: f64 = 1e-6;
    pub const ROPE_THETA: f64 = 10_000.0;
    pub const LLAMA_POSITIONS: i64 = 2048;
    pub const MISTRAL_POSITIONS: i64 = 4096 * 32;
    pub const MISTRAL_WINDOW: i64 = 4096;
}

/// A checkpoint as read.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// The weights; `context` is the sliding window where there is one.
    pub model: FloatModel,
    /// Token that starts a text, if the configuration names one.
    pub bos: Option<u32>,
    /// Token that ends one.
    pub eos: Option<u32>,
    /// How the model wants to be quantized, in fields of our own: `hadamard` may be false
    /// in models that are for cores without the rotation, `weight_bits` may be 4 in models
    /// that were trained for it.
    pub scheme: Scheme,
}

/// Reads `config.json` and `model.safetensors`.
pub fn read(config: &[u8], weights: &[u8]) -> Result<Checkpoint, ImportError> {
    let config = Config::parse(config)?;
    let shape = config.shape()?;
    let [dim, hidden, vocab, context, head_size] = [
        shape.dim,
        shape.hidden,
        shape.vocab,
        shape.context,
        shape.head_size(),
    ]
    .map(|n| n as usize);
    let [heads, kv_heads] = [shape.heads, shape.kv_heads].map(|n| n as usize);
    let tied = config.flag("tie_word_embeddings")?;

    let mut file = Tensors::parse(weights)?;
    let kv_dim = kv_heads * head_size;
    let layers = (0..shape.layers)
        .map(|l| {
            let mut part = |name: &str, dims: &[usize]| {
                file.take(&format!("model.layers.{l}.{name}.weight"), dims)
            };
            Ok(FloatLayer {
                attention_norm: part("input_layernorm", &[dim])?,
                wq: paired(part("self_attn.q_proj", &[dim, dim])?, head_size, dim),
                wk: paired(part("self_attn.k_proj", &[kv_dim, dim])?, head_size, dim),
                wv: part("self_attn.v_proj", &[kv_dim, dim])?,
                wo: part("self_attn.o_proj", &[dim, dim])?,
                ffn_norm: part("post_attention_layernorm", &[dim])?,
                w1: part("mlp.gate_proj", &[hidden, dim])?,
                w2: part("mlp.down_proj", &[dim, hidden])?,
                w3: Some(part("mlp.up_proj", &[hidden, dim])?),
            })
        })
        .collect::<Result<_, ImportError>>()?;
    let embedding = file.take("model.embed_tokens.weight", &[vocab, dim])?;
    let final_norm = file.take("model.norm.weight", &[dim])?;
    let head = "lm_head.weight";
    let classifier = match tied {
        // Some writers store the shared table twice.
        true if file.has(head) => {
            let copy = file.take(head, &[vocab, dim])?;
            if copy != embedding {
                return Err(ImportError::Unsupported {
                    field: head.into(),
                    found: "different from model.embed_tokens.weight".into(),
                    expected: "the same, as tie_word_embeddings says".into(),
                });
            }
            None
        }
        true => None,
        false => Some(file.take(head, &[vocab, dim])?),
    };
    file.finish()?;

    let model = FloatModel {
        dim,
        hidden,
        heads,
        kv_heads,
        head_size,
        vocab,
        context,
        eps: config
            .number("rms_norm_eps")?
            .unwrap_or(defaults::RMS_NORM_EPS) as f32,
        rope_base: Some(config.rope_base()?),
        relu: false,
        embedding_norm: false,
        final_norm: Some(final_norm),
        embedding,
        positions: None,
        classifier,
        layers,
    };
    model.check()?;
    let token = |field| config.token(field, vocab);
    Ok(Checkpoint {
        bos: token("bos_token_id")?,
        eos: token("eos_token_id")?,
        scheme: config.scheme()?,
        model,
    })
}

/// Rows of each head in the order of their rotary pairs: this layout turns element
/// `c` with `c + head_size / 2`, ours turns neighbors.
fn paired(w: Vec<f32>, head_size: usize, columns: usize) -> Vec<f32> {
    let half = head_size / 2;
    let mut ours = Vec::with_capacity(w.len());
    for head in w.chunks_exact(head_size * columns) {
        for c in 0..half {
            for row in [c, c + half] {
                ours.extend_from_slice(&head[row * columns..][..columns]);
            }
        }
    }
    ours
}

/// The fields of `config.json`.
struct Config(Map<String, Value>);

impl Config {
    fn parse(file: &[u8]) -> Result<Self, ImportError> {
        let text = std::str::from_utf8(file).map_err(|e| ImportError::NotUtf8(e.valid_up_to()))?;
        match serde_json::from_str(text) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(ImportError::Kind {
                field: "config.json".into(),
                expected: "an object",
            }),
            Err(error) => Err(ImportError::Json(error.to_string())),
        }
    }

    /// A field that is there and not `null`.
    fn get(&self, field: &str) -> Option<&Value> {
        self.0.get(field).filter(|value| !value.is_null())
    }

    fn read<'a, T: Deserialize<'a>>(
        &'a self,
        field: &str,
        expected: &'static str,
    ) -> Result<Option<T>, ImportError> {
        let wrong = |_| ImportError::Kind {
            field: field.into(),
            expected,
        };
        self.get(field)
            .map(T::deserialize)
            .transpose()
            .map_err(wrong)
    }

    /// How the model wants to be quantized.
    fn scheme(&self) -> Result<Scheme, ImportError> {
        let bits = "weight_bits";
        Ok(Scheme {
            rotation: match self.read("hadamard", "true or false")? {
                Some(false) => Rotation::None,
                _ => Rotation::Hadamard,
            },
            weight_bits: match self.integer(bits)? {
                None => None,
                Some(8) => Some(Width::Eight),
                Some(4) => Some(Width::Four),
                Some(found) => {
                    return Err(ImportError::Unsupported {
                        field: bits.into(),
                        found: found.to_string(),
                        expected: "8 or 4".into(),
                    })
                }
            },
            ..Scheme::default()
        })
    }

    fn integer(&self, field: &str) -> Result<Option<i64>, ImportError> {
        self.read(field, "a whole number")
    }

    fn required(&self, field: &str) -> Result<i64, ImportError> {
        self.integer(field)?
            .ok_or_else(|| ImportError::Missing(field.into()))
    }

    fn number(&self, field: &str) -> Result<Option<f64>, ImportError> {
        self.read(field, "a number")
    }

    fn flag(&self, field: &str) -> Result<bool, ImportError> {
        Ok(self.read(field, "true or false")?.unwrap_or(false))
    }

    /// A token's number, or the first of a list of them.
    fn token(&self, field: &str, vocab: usize) -> Result<Option<u32>, ImportError> {
        let value = match self.get(field) {
            Some(Value::Array(list)) => list.first(),
            value => value,
        };
        let within = |token: u64| u32::try_from(token).ok().filter(|&t| (t as usize) < vocab);
        value
            .map(|value| {
                value
                    .as_u64()
                    .and_then(within)
                    .ok_or_else(|| ImportError::Kind {
                        field: field.into(),
                        expected: "a token of the vocabulary",
                    })
            })
            .transpose()
    }

    /// The shape, once nothing asks for more than the network that we know.
    fn shape(&self) -> Result<Shape, ImportError> {
        let kind = self.model_type()?;
        self.only("hidden_act", &Value::from("silu"))?;
        for field in ["attention_bias", "mlp_bias"] {
            self.only(field, &Value::Bool(false))?;
        }
        self.absent("quantization_config", "no quantized weights")?;
        self.check_layers()?;
        let heads = self.required("num_attention_heads")?;
        let window = match (kind, self.0.get("sliding_window")) {
            (Kind::Mistral, None) => Some(defaults::MISTRAL_WINDOW),
            _ => self.integer("sliding_window")?,
        };
        let positions = self
            .integer("max_position_embeddings")?
            .unwrap_or(match kind {
                Kind::Llama => defaults::LLAMA_POSITIONS,
                Kind::Mistral => defaults::MISTRAL_POSITIONS,
            });
        let shape = Shape {
            dim: self.required("hidden_size")?,
            hidden: self.required("intermediate_size")?,
            layers: self.required("num_hidden_layers")?,
            heads,
            kv_heads: self.integer("num_key_value_heads")?.unwrap_or(heads),
            vocab: self.required("vocab_size")?,
            // Beyond its positions a model without window has seen nothing.
            context: window.unwrap_or(positions),
        };
        shape.check()?;
        match self.integer("head_dim")? {
            Some(found) if found != shape.head_size() => Err(ImportError::Inconsistent {
                field: "head_dim".into(),
                found,
                reason: "hidden_size / num_attention_heads",
                expected: shape.head_size(),
            }),
            _ => Ok(shape),
        }
    }

    fn model_type(&self) -> Result<Kind, ImportError> {
        let found: &str = self
            .read("model_type", "a string")?
            .ok_or_else(|| ImportError::Missing("model_type".into()))?;
        match found {
            "llama" => Ok(Kind::Llama),
            "mistral" => Ok(Kind::Mistral),
            _ => Err(ImportError::Unsupported {
                field: "model_type".into(),
                found: format!("{found:?}"),
                expected: "\"llama\" or \"mistral\"".into(),
            }),
        }
    }

    /// The base of the rotary positions, which no other rule may change.
    fn rope_base(&self) -> Result<f32, ImportError> {
        let rules: [(&str, Option<Map<String, Value>>); 2] = [
            ("rope_scaling", self.read("rope_scaling", "an object")?),
            (
                "rope_parameters",
                self.read("rope_parameters", "an object")?,
            ),
        ];
        let mut base = self.number("rope_theta")?;
        for (field, rule) in rules {
            let Some(rule) = rule.map(Config) else {
                continue;
            };
            let kind = rule.get("rope_type").or(rule.get("type"));
            if kind.is_some_and(|kind| kind != "default") {
                return Err(ImportError::Unsupported {
                    field: format!("{field}'s rope_type"),
                    found: kind.map(Value::to_string).unwrap_or_default(),
                    expected: "\"default\": positions that are not rescaled".into(),
                });
            }
            base = rule.number("rope_theta")?.or(base);
            rule.only("partial_rotary_factor", &Value::from(1.0))?;
        }
        self.only("partial_rotary_factor", &Value::from(1.0))?;
        Ok(base.unwrap_or(defaults::ROPE_THETA) as f32)
    }

    /// Layers of one kind: all of them slide, or none does.
    fn check_layers(&self) -> Result<(), ImportError> {
        let kinds: Vec<String> = self
            .read("layer_types", "a list of strings")?
            .unwrap_or_default();
        match kinds.iter().find(|kind| **kind != kinds[0]) {
            Some(other) => Err(ImportError::Unsupported {
                field: "layer_types".into(),
                found: format!("{:?} and {other:?}", kinds[0]),
                expected: "the same for every layer".into(),
            }),
            None => Ok(()),
        }
    }

    /// A field that may be left out, else must hold this.
    fn only(&self, field: &str, expected: &Value) -> Result<(), ImportError> {
        let same = |found: &Value| {
            found == expected || found.as_f64() == expected.as_f64() && found.is_number()
        };
        match self.get(field) {
            Some(found) if !same(found) => Err(ImportError::Unsupported {
                field: field.into(),
                found: found.to_string(),
                expected: expected.to_string(),
            }),
            _ => Ok(()),
        }
    }

    fn absent(&self, field: &str, expected: &str) -> Result<(), ImportError> {
        match self.get(field) {
            Some(_) => Err(ImportError::Unsupported {
                field: field.into(),
                found: "set".into(),
                expected: expected.into(),
            }),
            None => Ok(()),
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Llama,
    Mistral,
}

/// The tensors of a file that have not been taken yet.
struct Tensors<'a>(Vec<(String, TensorView<'a>)>);

impl<'a> Tensors<'a> {
    fn parse(file: &'a [u8]) -> Result<Self, ImportError> {
        let file = SafeTensors::deserialize(file)
            .map_err(|error| ImportError::Safetensors(error.to_string()))?;
        Ok(Self(file.tensors()))
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(found, _)| found == name)
    }

    /// A tensor of this name and shape, as float32.
    fn take(&mut self, name: &str, dims: &[usize]) -> Result<Vec<f32>, ImportError> {
        let at = self
            .0
            .iter()
            .position(|(found, _)| found == name)
            .ok_or_else(|| ImportError::Missing(name.into()))?;
        let (_, tensor) = self.0.swap_remove(at);
        if tensor.shape() != dims {
            return Err(ImportError::Dimensions {
                tensor: name.into(),
                found: tensor.shape().to_vec(),
                expected: dims.to_vec(),
            });
        }
        let bytes = tensor.data();
        match tensor.dtype() {
            Dtype::F32 => Ok(numbers(bytes, f32::from_le_bytes)),
            Dtype::F16 => Ok(numbers(bytes, |b| f16::from_le_bytes(b).to_f32())),
            Dtype::BF16 => Ok(numbers(bytes, |b| bf16::from_le_bytes(b).to_f32())),
            other => Err(ImportError::Unsupported {
                field: name.into(),
                found: format!("{other:?}"),
                expected: "F32, F16 or BF16".into(),
            }),
        }
    }

    /// Refuses tensors that nothing has taken; tables of rotary angles, which old
    /// writers store, say nothing new.
    fn finish(self) -> Result<(), ImportError> {
        let known = |name: &str| name.ends_with(".self_attn.rotary_emb.inv_freq");
        let mut left: Vec<String> = self.0.into_iter().map(|(name, _)| name).collect();
        left.retain(|name| !known(name));
        left.sort();
        left.into_iter()
            .next()
            .map_or(Ok(()), |name| Err(ImportError::Unknown(name)))
    }
}

fn numbers<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    let (numbers, _) = bytes.as_chunks::<N>();
    numbers.iter().copied().map(number).collect()
}
