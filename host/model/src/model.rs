//! A model with everything that running it takes: weights, tokenizer, and where
//! its streams start and end.

use crate::float::FloatModel;
use crate::import::{llama2c, microgpt, ImportError};
use crate::quant::QuantModel;
use crate::quantize::{quantize_with, Calibration, QuantizeError, Rotation};
use crate::tokenizer::{Bpe, Tokenizer, TokenizerError};
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Largest file that is read as a model or a tokenizer, in bytes.
const MAX_FILE: u64 = 1 << 30;

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
    /// JSON is read as microGPT, anything else as a llama2.c checkpoint; this one
    /// needs `tokenizer`, or a `tokenizer.bin` or `tok*.bin` of the right size beside it.
    pub fn open(path: &Path, tokenizer: Option<&Path>) -> Result<Self, ModelError> {
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
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        Self::from_float(name, float, symbols).map_err(|error| ModelError::Quantize {
            path: path.into(),
            error,
        })
    }

    /// Reads microGPT JSON that is already in memory, such as a model that ships with a program.
    pub fn from_microgpt(name: &str, file: &[u8]) -> Result<Self, ModelError> {
        let path = || PathBuf::from(name);
        let (float, chars) = microgpt::read(file).map_err(|error| ModelError::Import {
            path: path(),
            error,
        })?;
        Self::from_float(name.into(), float, Tokenizer::Chars(chars)).map_err(|error| {
            ModelError::Quantize {
                path: path(),
                error,
            }
        })
    }

    /// Quantizes a checkpoint that has been read.
    pub fn from_float(
        name: String,
        float: FloatModel,
        tokenizer: Tokenizer,
    ) -> Result<Self, QuantizeError> {
        let (bos, stop, restart) = (tokenizer.bos(), tokenizer.stop(), tokenizer.restart());
        let quant = own_text(&float, (bos, stop, restart), Rotation::WherePossible)?;
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
        self.quant = own_text(float, ends, Rotation::Never)?;
        Ok(true)
    }
}

/// Quantizes on text of the model's own, between these tokens: first, stop, restart.
fn own_text(
    float: &FloatModel,
    (bos, stop, restart): (u32, Option<u32>, Option<u32>),
    rotation: Rotation,
) -> Result<QuantModel, QuantizeError> {
    let ends = Vec::from_iter(stop.into_iter().chain(restart));
    quantize_with(float, Calibration::OwnText { bos, ends: &ends }, rotation)
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
