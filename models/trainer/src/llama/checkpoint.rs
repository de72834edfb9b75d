//! The model on disk: `config.json` and `model.safetensors` as other Llamas have
//! them, a character tokenizer, and the optimizer's state of an unfinished run.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use candle_core::{safetensors, Device, Tensor};
use serde::{Deserialize, Serialize};
use serde_json::{json, Value};

use super::adamw::AdamW;
use super::model::{Llama, Shape};
use super::quant::WeightBits;
use crate::curve::CurvePoint;

/// The file of weights.
const WEIGHTS: &str = "model.safetensors";
/// The file of the shape.
const CONFIG: &str = "config.json";
/// The file of the characters.
const CHARACTERS: &str = "characters.json";
/// The optimizer's state.
const OPTIMIZER: &str = "optimizer.safetensors";
/// How far the run is.
const PROGRESS: &str = "progress.json";

/// The tokenizer's file.
#[derive(Serialize, Deserialize)]
struct Characters {
    /// In the order of their symbols.
    characters: String,
    /// What a stream starts with.
    bos: String,
}

/// How far a run is.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Progress {
    /// Steps done.
    pub step: usize,
    /// The losses on the way.
    pub curve: Vec<CurvePoint>,
    /// The least validation loss that was written as a model.
    pub best: Option<f64>,
}

/// Writes the model as a folder that any reader of Llama checkpoints knows; it asks for
/// weights of `weight_bits`.
pub fn write_model(
    folder: &Path,
    model: &Llama,
    characters: &[char],
    weight_bits: WeightBits,
) -> Result<()> {
    let write = || -> Result<()> {
        fs::create_dir_all(folder)?;
        safetensors::save(&tensors(model)?, folder.join(WEIGHTS))?;
        let mut config = json!({
            "architectures": ["MistralForCausalLM"],
            "model_type": "mistral",
            "hidden_act": "silu",
            "max_position_embeddings": model.shape().sliding_window,
            "tie_word_embeddings": true,
            "bos_token_id": 0,
            "eos_token_id": Value::Null,
            // Of our own: the cores that this model is for have no Hadamard rotation, and
            // it was trained for weights of so many bits.
            "hadamard": false,
            "weight_bits": weight_bits.count(),
            "torch_dtype": "float32",
        });
        if let (Value::Object(all), Value::Object(shape)) =
            (&mut config, serde_json::to_value(model.shape())?)
        {
            all.extend(shape);
        }
        fs::write(
            folder.join(CONFIG),
            serde_json::to_string_pretty(&config)? + "\n",
        )?;
        let characters = Characters {
            characters: characters.iter().collect(),
            bos: "\n".to_owned(),
        };
        fs::write(
            folder.join(CHARACTERS),
            serde_json::to_string_pretty(&characters)? + "\n",
        )?;
        Ok(())
    };
    write().with_context(|| format!("cannot write the model to {}", folder.display()))
}

/// Reads the model of a folder.
pub fn read_model(folder: &Path) -> Result<Llama> {
    let read = || -> Result<Llama> {
        let shape: Shape = serde_json::from_slice(&fs::read(folder.join(CONFIG))?)?;
        let tensors = safetensors::load(folder.join(WEIGHTS), &Device::Cpu)?;
        Llama::stored(shape, |name| tensors.get(name).cloned())
    };
    read().with_context(|| format!("cannot read the model of {}", folder.display()))
}

/// Reads the characters of a folder's model, in the order of their symbols.
pub fn read_characters(folder: &Path) -> Result<Vec<char>> {
    let read = || -> Result<Vec<char>> {
        let file: Characters = serde_json::from_slice(&fs::read(folder.join(CHARACTERS))?)?;
        Ok(file.characters.chars().collect())
    };
    read().with_context(|| format!("cannot read the characters of {}", folder.display()))
}

fn tensors(model: &Llama) -> Result<HashMap<String, Tensor>> {
    let named = model.named().into_iter();
    Ok(named
        .map(|(name, var)| (name, var.as_detached_tensor()))
        .collect())
}

/// Writes all that a run needs to go on.
pub fn write_run(
    folder: &Path,
    model: &Llama,
    (characters, weight_bits): (&[char], WeightBits),
    optimizer: &AdamW,
    progress: &Progress,
) -> Result<()> {
    write_model(folder, model, characters, weight_bits)?;
    let mut moments = HashMap::new();
    for p in &optimizer.parameters {
        let tensor = |values: &[f32]| Tensor::new(values, &Device::Cpu);
        moments.insert(format!("{}.mean", p.name), tensor(&p.mean)?);
        moments.insert(format!("{}.square", p.name), tensor(&p.square)?);
    }
    safetensors::save(&moments, folder.join(OPTIMIZER))?;
    // Last, and in one piece: a run that was killed while writing has no progress it does not have.
    let partial = folder.join("progress.json.part");
    fs::write(&partial, serde_json::to_string(progress)?)?;
    fs::rename(partial, folder.join(PROGRESS))?;
    Ok(())
}

/// Reads an unfinished run, if the folder holds one.
pub fn read_run(folder: &Path) -> Result<Option<(Llama, AdamW, Progress)>> {
    if !folder.join(PROGRESS).exists() {
        return Ok(None);
    }
    let progress = serde_json::from_slice(&fs::read(folder.join(PROGRESS))?)?;
    let model = read_model(folder)?;
    let mut optimizer = AdamW::new(model.named());
    let moments = safetensors::load(folder.join(OPTIMIZER), &Device::Cpu)?;
    for p in &mut optimizer.parameters {
        let moment = |part: &str| -> Result<Vec<f32>> {
            let name = format!("{}.{part}", p.name);
            let tensor = moments
                .get(&name)
                .with_context(|| format!("there is no tensor {name}"))?;
            Ok(tensor.to_vec1()?)
        };
        (p.mean, p.square) = (moment("mean")?, moment("square")?);
    }
    Ok(Some((model, optimizer, progress)))
}
