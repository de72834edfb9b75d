//! A model with everything that running it takes: weights, tokenizer, and where
//! its streams start and end.

use crate::float::FloatModel;
use crate::import::{llama, llama2c, microgpt, ImportError};
use crate::quant::QuantModel;
use crate::quantize::{quantize, Calibration, QuantizeError, Rotation, Scheme};
use crate::tokenizer::{Bpe, Chars, Hub, Tokenizer, TokenizerError};
use serde::Deserialize;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Largest file that is read as a model or a tokenizer, in bytes.
const MAX_FILE: u64 = 1 << 30;

/// Files of a folder in the model hub's layout: shape, weights, and one of two tokenizers.
const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";
const TOKENIZER: &str = "tokenizer.json";
const CHARACTERS: &str = "characters.json";
/// What stands in place of [`WEIGHTS`] where they are spread over files.
const SHARDS: &str = "model.safetensors.index.json";

/// A model that is ready to be compiled, run or measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// What to call it: the file's name without its ending.
    pub name: String,
    /// The float32 weights, where the model comes from a checkpoint.
    pub float: Option<FloatModel>,
    /// Text to tokens and back.
    pub tokenizer: Tokenizer,
    /// Token that starts a stream.
    pub bos: u32,
    /// Token after which nothing follows.
    pub stop: Option<u32>,
    /// Token after which the stream begins anew at position 0.
    pub restart: Option<u32>,
    /// The longest window that the model was trained for, in positions.
    pub trained_window: usize,
    /// The integers that every backend runs.
    pub quant: QuantModel,
}

/// Why a model cannot be opened: what is wrong, and in which file.
#[derive(Debug, Error)]
pub enum ModelError {
    /// A file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A file is too large to be a model.
    #[error("{}: {size} bytes are more than any model that a core holds ({MAX_FILE} at most)", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        size: u64,
    },
    /// A checkpoint is damaged, or of a shape that no core runs.
    #[error("{}: {error}", path.display())]
    Import {
        /// The file.
        path: PathBuf,
        /// The fault.
        error: ImportError,
    },
    /// A tokenizer is damaged, or made for another model.
    #[error("{}: {error}", path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// The fault.
        error: TokenizerError,
    },
    /// No tokenizer was named and none lies beside the checkpoint.
    #[error("{}: a llama2.c checkpoint needs its tokenizer: name it, or put tokenizer.bin or tok*.bin beside it", path.display())]
    NoTokenizer {
        /// The checkpoint.
        path: PathBuf,
    },
    /// A folder without a tokenizer.
    #[error("{}: the folder holds no tokenizer: it needs {TOKENIZER} or {CHARACTERS}", path.display())]
    NoFolderTokenizer {
        /// The folder.
        path: PathBuf,
    },
    /// A folder with its weights in pieces.
    #[error("{}: the weights are spread over several files: join them into one {WEIGHTS}", path.display())]
    Shards {
        /// The folder.
        path: PathBuf,
    },
    /// A tokenizer was named for a model that holds its own.
    #[error("{}: the file holds its own tokenizer, so that {} cannot be used", path.display(), tokenizer.display())]
    OwnTokenizer {
        /// The model.
        path: PathBuf,
        /// The tokenizer named.
        tokenizer: PathBuf,
    },
    /// A checkpoint cannot be quantized.
    #[error("{}: {error}", path.display())]
    Quantize {
        /// The file.
        path: PathBuf,
        /// The fault.
        error: QuantizeError,
    },
}

impl Model {
    /// Reads a model, whatever its format, and quantizes it where that is needed.
    ///
    /// A folder is read in the layout of the model hub, JSON as microGPT, anything
    /// else as a llama2.c checkpoint; this one needs `tokenizer`, or a `tokenizer.bin`
    /// or `tok*.bin` of the right size beside it.
    pub fn open(
        path: &Path,
        tokenizer: Option<&Path>,
        scheme: impl Into<Scheme>,
    ) -> Result<Self, ModelError> {
        let scheme = scheme.into();
        if path.is_dir() {
            return Self::open_folder(path, tokenizer, scheme);
        }
        let file = read(path)?;
        let import = |error| ModelError::Import {
            path: path.into(),
            error,
        };
        let is_json = file.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'{');
        let (float, symbols) = if is_json {
            if let Some(tokenizer) = tokenizer {
                return Err(ModelError::OwnTokenizer {
                    path: path.into(),
                    tokenizer: tokenizer.into(),
                });
            }
            let (float, chars) = microgpt::read(&file).map_err(import)?;
            (float, Tokenizer::Chars(chars))
        } else {
            let float = llama2c::read(&file).map_err(import)?;
            let symbols = match tokenizer {
                Some(tokenizer) => read_tokenizer(tokenizer, float.vocab)?,
                None => find_tokenizer(path, float.vocab)?,
            };
            (float, symbols)
        };
        Self::from_float(name_of(path), float, symbols, scheme).map_err(|error| {
            ModelError::Quantize {
                path: path.into(),
                error,
            }
        })
    }

    fn open_folder(
        folder: &Path,
        tokenizer: Option<&Path>,
        scheme: Scheme,
    ) -> Result<Self, ModelError> {
        let at = |name: &str| folder.join(name);
        if !at(WEIGHTS).exists() && at(SHARDS).exists() {
            return Err(ModelError::Shards {
                path: folder.into(),
            });
        }
        let config = read(&at(CONFIG))?;
        let weights = read(&at(WEIGHTS))?;
        let checkpoint = read_llama(folder, &config, &weights)?;
        let path = match tokenizer {
            Some(path) => path.to_owned(),
            None => [TOKENIZER, CHARACTERS]
                .into_iter()
                .map(at)
                .find(|path| path.exists())
                .ok_or_else(|| ModelError::NoFolderTokenizer {
                    path: folder.into(),
                })?,
        };
        let symbols = symbols(&path, &read(&path)?, &checkpoint)?;
        let scheme = scheme.or(checkpoint.scheme);
        Self::from_float(name_of(folder), checkpoint.model, symbols, scheme).map_err(|error| {
            ModelError::Quantize {
                path: folder.into(),
                error,
            }
        })
    }

    /// Reads microGPT JSON that is already in memory, such as a model that ships with a program.
    pub fn from_microgpt(
        name: &str,
        file: &[u8],
        scheme: impl Into<Scheme>,
    ) -> Result<Self, ModelError> {
        let path = || PathBuf::from(name);
        let (float, chars) = microgpt::read(file).map_err(|error| ModelError::Import {
            path: path(),
            error,
        })?;
        Self::from_float(name.into(), float, Tokenizer::Chars(chars), scheme).map_err(|error| {
            ModelError::Quantize {
                path: path(),
                error,
            }
        })
    }

    /// Reads a character model in the model hub's layout whose files are already in
    /// memory: `config.json`, `model.safetensors` and `characters.json`.
    pub fn from_llama(
        name: &str,
        config: &[u8],
        weights: &[u8],
        characters: &[u8],
        scheme: impl Into<Scheme>,
    ) -> Result<Self, ModelError> {
        let path = Path::new(name);
        let checkpoint = read_llama(path, config, weights)?;
        let symbols = symbols(&path.join(CHARACTERS), characters, &checkpoint)?;
        let scheme = scheme.into().or(checkpoint.scheme);
        Self::from_float(name.into(), checkpoint.model, symbols, scheme).map_err(|error| {
            ModelError::Quantize {
                path: path.into(),
                error,
            }
        })
    }

    /// Quantizes a checkpoint that has been read.
    pub fn from_float(
        name: String,
        float: FloatModel,
        tokenizer: Tokenizer,
        scheme: impl Into<Scheme>,
    ) -> Result<Self, QuantizeError> {
        let (bos, stop, restart) = (tokenizer.bos(), tokenizer.stop(), tokenizer.restart());
        let quant = own_text(&float, (bos, stop, restart), scheme.into())?;
        let trained_window = float.context;
        Ok(Self {
            name,
            float: Some(float),
            tokenizer,
            bos,
            stop,
            restart,
            trained_window,
            quant,
        })
    }

    /// Quantizes anew without Hadamard's rotation, for a core that lacks it. A model without
    /// rotation stays as it is; one without its checkpoint, too, and `false` says so.
    ///
    /// # Errors
    /// If the checkpoint cannot be quantized so.
    pub fn drop_rotation(&mut self) -> Result<bool, QuantizeError> {
        let Some(float) = self.float.as_ref().filter(|_| self.quant.hadamard) else {
            return Ok(!self.quant.hadamard);
        };
        let ends = (self.bos, self.stop, self.restart);
        let scheme = Scheme {
            rotation: Rotation::None,
            weight_bits: Some(self.quant.weight_bits()),
            value_bits: self.quant.value_bits,
        };
        self.quant = own_text(float, ends, scheme)?;
        Ok(true)
    }
}

/// Quantizes on text of the model's own, between these tokens: first, stop, restart.
fn own_text(
    float: &FloatModel,
    (bos, stop, restart): (u32, Option<u32>, Option<u32>),
    scheme: Scheme,
) -> Result<QuantModel, QuantizeError> {
    let ends = Vec::from_iter(stop.into_iter().chain(restart));
    quantize(float, Calibration::OwnText { bos, ends: &ends }, scheme)
}

/// What to call the model of a file or folder.
fn name_of(path: &Path) -> String {
    let whole = path.canonicalize().unwrap_or_else(|_| path.into());
    let name = if whole.is_dir() {
        whole.file_name()
    } else {
        whole.file_stem()
    };
    name.unwrap_or_default().to_string_lossy().into_owned()
}

fn read_llama(
    folder: &Path,
    config: &[u8],
    weights: &[u8],
) -> Result<llama::Checkpoint, ModelError> {
    llama::read(config, weights).map_err(|error| ModelError::Import {
        path: folder.into(),
        error,
    })
}

/// A tokenizer of a checkpoint in the model hub's layout, by what its file holds.
fn symbols(
    path: &Path,
    file: &[u8],
    checkpoint: &llama::Checkpoint,
) -> Result<Tokenizer, ModelError> {
    /// The characters of a model in order of their tokens, and the one that starts a text.
    #[derive(Deserialize)]
    struct Characters {
        characters: String,
        bos: char,
    }
    let vocab = checkpoint.model.vocab;
    let tokenizer = || {
        if file.iter().find(|b| !b.is_ascii_whitespace()) != Some(&b'{') {
            return Bpe::from_bytes(file).map(Tokenizer::Bpe);
        }
        if let Ok(own) = serde_json::from_slice::<Characters>(file) {
            let characters = own.characters.chars().collect();
            return Chars::endless(characters, own.bos).map(Tokenizer::Chars);
        }
        let bos = checkpoint.bos.ok_or(TokenizerError::NoBos)?;
        Hub::new(file, vocab, bos, checkpoint.eos).map(|hub| Tokenizer::Hub(Box::new(hub)))
    };
    let checked = tokenizer().and_then(|found| found.check_vocab(vocab).map(|()| found));
    checked.map_err(|error| ModelError::Tokenizer {
        path: path.into(),
        error,
    })
}

fn read(path: &Path) -> Result<Vec<u8>, ModelError> {
    let failed = |error| ModelError::Read {
        path: path.into(),
        error,
    };
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if size > MAX_FILE {
        return Err(ModelError::TooLarge {
            path: path.into(),
            size,
        });
    }
    std::fs::read(path).map_err(failed)
}

fn read_tokenizer(path: &Path, vocab: usize) -> Result<Tokenizer, ModelError> {
    let failed = |error| ModelError::Tokenizer {
        path: path.into(),
        error,
    };
    let tokenizer = Bpe::from_bytes(&read(path)?)
        .map(Tokenizer::Bpe)
        .map_err(failed)?;
    tokenizer.check_vocab(vocab).map_err(failed)?;
    Ok(tokenizer)
}

/// The first file beside the checkpoint that looks like its tokenizer and has its
/// vocabulary; the first that merely looks like one says what is wrong with it.
fn find_tokenizer(model: &Path, vocab: usize) -> Result<Tokenizer, ModelError> {
    let folder = model
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let failed = |error| ModelError::Read {
        path: folder.into(),
        error,
    };
    let mut candidates = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("tok") && name.ends_with(".bin") && path != model {
            candidates.push(path);
        }
    }
    candidates.sort();
    let mut fault = None;
    for path in candidates {
        match read_tokenizer(&path, vocab) {
            Ok(tokenizer) => return Ok(tokenizer),
            Err(error) => fault = fault.or(Some(error)),
        }
    }
    Err(fault.unwrap_or_else(|| ModelError::NoTokenizer { path: model.into() }))
}
