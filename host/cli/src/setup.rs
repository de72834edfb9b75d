//! What commands share: a model opened, compiled and loaded.

use crate::args::{CoreArgs, ModelArgs, StreamArgs};
use crate::output::{say, Failure};
use annulus_runtime::backend::{self, Backend, Kind};
use annulus_runtime::generate::prompt_tokens;
use annulus_runtime::models::{self, Opened};
use annulus_runtime::{cores, feature, twin, CoreShape, Image, Rotation};
use std::path::Path;

/// A model, the core it is for, and its image.
pub struct Setup {
    /// The model.
    pub opened: Opened,
    /// The core.
    pub core: CoreShape,
    /// The image.
    pub image: Image,
}

impl Setup {
    /// Open the model and compile it. Where no core is named and none of the backends
    /// has one, only what no core at all could run is refused.
    pub fn new(args: &ModelArgs, kinds: &[Kind]) -> Result<Self, Failure> {
        let rotation = if args.no_hadamard {
            Rotation::None
        } else {
            Rotation::Hadamard
        };
        let mut opened =
            models::open(&args.model, args.tokenizer.as_deref(), rotation).map_err(Failure::new)?;
        let bounded = kinds.iter().any(|kind| kind.has_core());
        let core = named_core(&args.core)
            .or_else(|| twin::core(kinds))
            .unwrap_or_else(|| opened.default_core(bounded));
        if !core.has(feature::HADAMARD) && opened.drop_rotation().map_err(Failure::new)? {
            say(&"this core has no Hadamard rotation: the model is quantized without it");
        }
        let image = opened
            .image(&core, args.window, args.sinks)
            .map_err(Failure::new)?;
        Ok(Setup {
            opened,
            core,
            image,
        })
    }

    /// The backend with the image loaded.
    pub fn backend(&self, kind: Kind, trace: Option<&Path>) -> Result<Box<dyn Backend>, Failure> {
        let mut backend = backend::open(kind, &self.core, trace, None).map_err(Failure::new)?;
        backend.load(&self.image).map_err(Failure::new)?;
        Ok(backend)
    }

    /// The tokens of the prompt.
    pub fn prompt(&self, args: &StreamArgs) -> Result<Vec<u32>, Failure> {
        prompt_tokens(&self.image, args.prompt.as_encoded_bytes()).map_err(Failure::new)
    }
}

/// The backend of this name, and why it is that one where `auto` chose it.
pub fn kind(name: &str) -> Result<(Kind, Option<String>), Failure> {
    if name == "auto" {
        let (kind, why) = Kind::auto(None);
        return Ok((kind, Some(why)));
    }
    let kind = name.parse().map_err(Failure::new)?;
    Ok((kind, None))
}

/// The core that the command line names, if it names one.
pub fn named_core(args: &CoreArgs) -> Option<CoreShape> {
    args.lanes
        .as_deref()
        .or(args.board.as_deref())
        .and_then(cores::named)
}
