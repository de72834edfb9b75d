//! Models by name or file, and the images that are made of them.

use crate::cores;
use crate::fetch;
use annulus_contract::regs::feature;
use annulus_contract::shape::{with_lanes, CoreShape};
use annulus_model::check::CheckError;
use annulus_model::compile::CompileError;
use annulus_model::config::MAX_WINDOW;
use annulus_model::image::{is_image, Image, ImageError};
use annulus_model::model::{Model, ModelError};
use annulus_model::quantize::{QuantizeError, Rotation, Scheme};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// A model inside this program.
struct Shipped {
    name: &'static str,
    files: Files,
}

/// What a shipped model is made of.
enum Files {
    /// microGPT's JSON.
    MicroGpt(&'static [u8]),
    /// The model hub's layout, with characters for tokens.
    Llama {
        config: &'static [u8],
        weights: &'static [u8],
        characters: &'static [u8],
    },
}

/// The files of a Llama below `models`.
macro_rules! llama {
    ($folder:literal) => {
        Files::Llama {
            config: include_bytes!(concat!("../../../models/", $folder, "/config.json")),
            weights: include_bytes!(concat!("../../../models/", $folder, "/model.safetensors")),
            characters: include_bytes!(concat!("../../../models/", $folder, "/characters.json")),
        }
    };
}

/// The models inside this program.
const SHIPPED: [Shipped; 3] = [
    Shipped {
        name: "names",
        files: Files::MicroGpt(include_bytes!("../../../models/names/names.json")),
    },
    Shipped {
        name: "shakespeare",
        files: llama!("shakespeare"),
    },
    Shipped {
        name: "shakespeare-int4",
        files: llama!("shakespeare-int4"),
    },
];

impl Shipped {
    fn open(&self, scheme: Scheme) -> Result<Model, ModelError> {
        match self.files {
            Files::MicroGpt(json) => Model::from_microgpt(self.name, json, scheme),
            Files::Llama {
                config,
                weights,
                characters,
            } => Model::from_llama(self.name, config, weights, characters, scheme),
        }
    }
}

/// Why a model cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Neither a file nor a name.
    #[error("there is no file {0:?} and no model of that name: {known}", known = known())]
    Unknown(PathBuf),
    /// A model that can be downloaded and has not been.
    #[error("{0} is not on this machine yet: run `annulus fetch {0}`")]
    NotFetched(&'static str),
    /// A file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// An image that is damaged or of another version.
    #[error("{}: {error}", path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// The fault.
        error: ImageError,
    },
    /// An image, which is quantized already.
    #[error("{}: an image is quantized already: quantize its checkpoint without the rotation", .0.display())]
    Quantized(PathBuf),
    /// An image, with weights or values of other widths than are wanted.
    #[error("{}: the image's {what}s have {found} bits already: quantize its checkpoint with --{what}-bits {wanted}", path.display())]
    Width {
        /// The file.
        path: PathBuf,
        /// Of what: `weight` or `value`.
        what: &'static str,
        /// Bits that it has.
        found: u8,
        /// Bits that it should have.
        wanted: u8,
    },
    /// An image without a tokenizer.
    #[error("{}: the image holds no tokenizer: make it again with `annulus quantize`", .0.display())]
    NoTokenizer(PathBuf),
    /// A checkpoint or its tokenizer.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A model that is quantized already, with a rotation that is not wanted.
    #[error("{0} is an image quantized with Hadamard's rotation: name the checkpoint that it was made of, or a core of 16 lanes or more")]
    Rotated(String),
    /// A checkpoint that cannot be quantized without rotation.
    #[error("{name} without Hadamard's rotation: {error}")]
    Unrotated {
        /// The model.
        name: String,
        /// The fault.
        error: QuantizeError,
    },
}

/// What names there are, in words.
fn known() -> String {
    let shipped = SHIPPED
        .iter()
        .map(|model| format!("{} ships with annulus", model.name));
    let remote = fetch::models().map(|m| format!("{0} comes with `annulus fetch {0}`", m.name));
    shipped.chain(remote).collect::<Vec<_>>().join(", ")
}

/// A model, and the image that it came from, if it came from one.
pub struct Opened {
    /// The model.
    pub model: Model,
    image: Option<Image>,
}

/// Open a model: the name of one that ships with this program or was fetched, a
/// file of any kind that is read, or a folder in the model hub's layout. `scheme`
/// is how checkpoints are quantized, where they do not ask for something else themselves.
///
/// # Errors
/// If there is none, or it is damaged.
pub fn open(
    name: &Path,
    tokenizer: Option<&Path>,
    scheme: impl Into<Scheme>,
) -> Result<Opened, OpenError> {
    let scheme = scheme.into();
    if let Some(shipped) = SHIPPED.iter().find(|model| Path::new(model.name) == name) {
        if let Some(tokenizer) = tokenizer {
            let (path, tokenizer) = (shipped.name.into(), tokenizer.into());
            return Err(ModelError::OwnTokenizer { path, tokenizer }.into());
        }
        return Ok(Opened {
            model: shipped.open(scheme)?,
            image: None,
        });
    }
    if name.exists() {
        return open_path(name, tokenizer, scheme);
    }
    match fetch::models().find(|remote| Path::new(remote.name) == name) {
        Some(remote) => match remote.on_this_machine() {
            Some(path) => open_path(&path, tokenizer, scheme),
            None => Err(OpenError::NotFetched(remote.name)),
        },
        None => Err(OpenError::Unknown(name.into())),
    }
}

/// Whether a path is an Annulus image, by its first bytes.
fn holds_image(path: &Path) -> Result<bool, OpenError> {
    let failed = |error| OpenError::Read {
        path: path.into(),
        error,
    };
    let mut beginning = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(8).read_to_end(&mut beginning).map_err(failed)?;
    Ok(is_image(&beginning))
}

fn open_path(path: &Path, tokenizer: Option<&Path>, scheme: Scheme) -> Result<Opened, OpenError> {
    if path.is_dir() || !holds_image(path)? {
        return Ok(Opened {
            model: Model::open(path, tokenizer, scheme)?,
            image: None,
        });
    }
    let failed = |error| OpenError::Read {
        path: path.into(),
        error,
    };
    if let Some(tokenizer) = tokenizer {
        let (path, tokenizer) = (path.into(), tokenizer.into());
        return Err(ModelError::OwnTokenizer { path, tokenizer }.into());
    }
    let bytes = std::fs::read(path).map_err(failed)?;
    let damaged = |error| OpenError::Image {
        path: path.into(),
        error,
    };
    let image = Image::from_bytes(&bytes).map_err(damaged)?;
    if scheme.rotation == Rotation::None && image.config.hadamard {
        return Err(OpenError::Quantized(path.into()));
    }
    let found = image.config.weight_bits;
    if let Some(wanted) = scheme.weight_bits.filter(|&wanted| wanted != found) {
        return Err(OpenError::Width {
            path: path.into(),
            what: "weight",
            found: found.count(),
            wanted: wanted.count(),
        });
    }
    let (found, wanted) = (image.config.value_bits, scheme.value_bits);
    if wanted > found {
        return Err(OpenError::Width {
            path: path.into(),
            what: "value",
            found: found.count(),
            wanted: wanted.count(),
        });
    }
    let model = Model {
        name: image.name.clone(),
        float: None,
        tokenizer: image
            .tokenizer
            .clone()
            .ok_or_else(|| OpenError::NoTokenizer(path.into()))?,
        bos: image.special.bos,
        stop: image.special.stop,
        restart: image.special.restart,
        trained_window: image.trained_window,
        quant: image
            .quant_model()
            .map_err(|error: CheckError| damaged(error.into()))?,
    };
    Ok(Opened {
        model,
        image: Some(image),
    })
}

impl Opened {
    /// The core that the model is compiled for when none is named: the image's own
    /// number of lanes, else [`cores::DEFAULT_LANES`]. `bounded` says whether its
    /// memories count, as they do not where no core runs it.
    pub fn default_core(&self, bounded: bool) -> CoreShape {
        let lanes = self
            .image
            .as_ref()
            .map_or(cores::DEFAULT_LANES, |image| image.lanes() as u32);
        let rows = lanes / cores::COLUMNS;
        let unbounded = CoreShape {
            rows,
            ..cores::unbounded()
        };
        let simulated = with_lanes(lanes).filter(|_| bounded);
        simulated.map_or(unbounded, |core| {
            self.model.quant.narrowest().simulated(core)
        })
    }

    /// Quantize the model anew without Hadamard's rotation, if it has it and the core has not;
    /// says whether that was so.
    ///
    /// # Errors
    /// If it is an image, or cannot be quantized so.
    pub fn suit(&mut self, core: &CoreShape) -> Result<bool, OpenError> {
        let name = self.model.name.clone();
        if core.has(feature::HADAMARD) || !self.model.quant.hadamard {
            return Ok(false);
        }
        match self.model.drop_rotation() {
            Ok(true) => Ok(true),
            Ok(false) => Err(OpenError::Rotated(name)),
            Err(error) => Err(OpenError::Unrotated { name, error }),
        }
    }

    /// Slots of each ring when nothing is said: the image's own, else the longest
    /// that the model was trained for.
    pub fn default_window(&self) -> usize {
        let trained = self.model.trained_window.min(MAX_WINDOW);
        self.image.as_ref().map_or(trained, Image::window)
    }

    /// The image for a core, a window and sinks; where it is an image already and
    /// they are its own, that one.
    ///
    /// # Errors
    /// If the model does not fit: what is short, and by how much.
    pub fn image(
        &self,
        core: &CoreShape,
        window: Option<usize>,
        sinks: Option<usize>,
    ) -> Result<Image, CompileError> {
        let window = window.unwrap_or_else(|| self.default_window());
        let sinks = sinks.unwrap_or_else(|| self.image.as_ref().map_or(0, Image::sinks));
        if let Some(image) = &self.image {
            if (image.ring.rows, image.window(), image.sinks()) == (core.rows, window, sinks) {
                image.check_core(core)?;
                return Ok(image.clone());
            }
        }
        let model = &self.model;
        let image = Image::compile(&model.quant, core, window, sinks)?;
        Ok(image
            .with_tokenizer(model.tokenizer.clone())
            .with_origin(&model.name, model.trained_window))
    }
}
