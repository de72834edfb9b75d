//! What commands share: a model opened, compiled and loaded.

use crate::args::{CoreArgs, ModelArgs, PortArgs, StreamArgs};
use crate::output::{say, Failure};
use annulus_runtime::backend::twin;
use annulus_runtime::backend::{self, Backend, BackendError, Kind};
use annulus_runtime::generate::prompt_tokens;
use annulus_runtime::models::{self, Opened};
use annulus_runtime::serial::UartBoard;
use annulus_runtime::{cores, CoreShape, Image, Rotation, Scheme, Width};
use std::path::Path;

/// A model, the core it is for, and its image.
pub struct Setup {
    /// The model.
    pub opened: Opened,
    /// The core.
    pub core: CoreShape,
    /// The image.
    pub image: Image,
    /// The board that was asked what its core is.
    board: Option<Box<dyn Backend>>,
    /// The board, where it is one without a microcontroller of ours.
    uart: Option<&'static UartBoard>,
}

impl Setup {
    /// Open the model and compile it. Where no core is named, a board's own counts; where none
    /// of the backends has one, only what no core at all could run is refused.
    pub fn new(args: &ModelArgs, kinds: &[Kind], port: Option<&str>) -> Result<Self, Failure> {
        let scheme = Scheme {
            rotation: if args.no_hadamard {
                Rotation::None
            } else {
                Rotation::Hadamard
            },
            weight_bits: args.core.weight_bits,
            value_bits: args.value_bits,
        };
        let mut opened =
            models::open(&args.model, args.tokenizer.as_deref(), scheme).map_err(Failure::new)?;
        let bounded = kinds.iter().any(|kind| kind.has_core());
        let default = opened.default_core(bounded);
        let board = if kinds.contains(&Kind::Serial) {
            Some(plugged_in(&args.core, port).map_err(Failure::new)?)
        } else {
            None
        };
        let own = board.as_ref().and_then(|board| board.shape().copied());
        let core = named_core(&args.core, opened.model.quant.narrowest())
            .or(own)
            .or_else(|| twin::core(kinds))
            .unwrap_or(default);
        let dropped = opened.suit(&core).map_err(Failure::new)?;
        let image = opened
            .image(&core, args.window, args.sinks)
            .map_err(Failure::new)?;
        if dropped {
            say(&"this core has no Hadamard rotation: the model is quantized without it");
        }
        Ok(Setup {
            opened,
            core,
            image,
            board,
            uart: on_uart(&args.core),
        })
    }

    /// The backend with the image loaded.
    pub fn backend(
        &mut self,
        kind: Kind,
        trace: Option<&Path>,
    ) -> Result<Box<dyn Backend>, Failure> {
        let board = self.board.take_if(|board| board.kind() == kind);
        let twin = self.uart.filter(|_| kind == Kind::Twin);
        let mut backend = match (board.filter(|_| trace.is_none()), twin) {
            (Some(board), _) => board,
            (None, Some(board)) => {
                let twin = twin::start_uart(board).and_then(|it| twin::connect_uart(board, it));
                Box::new(twin.map_err(Failure::new)?)
            }
            (None, None) => backend::open(kind, &self.core, trace, None).map_err(Failure::new)?,
        };
        backend.load(&self.image).map_err(Failure::new)?;
        Ok(backend)
    }

    /// The tokens of the prompt.
    pub fn prompt(&self, args: &StreamArgs) -> Result<Vec<u32>, Failure> {
        prompt_tokens(&self.image, args.prompt.as_encoded_bytes()).map_err(Failure::new)
    }
}

/// The board that is named, where it is one without a microcontroller of ours.
fn on_uart(core: &CoreArgs) -> Option<&'static UartBoard> {
    core.board.as_deref().and_then(UartBoard::named)
}

/// The board on this port: one with our firmware, or the core of one that has none.
fn plugged_in(core: &CoreArgs, port: Option<&str>) -> Result<Box<dyn Backend>, BackendError> {
    Ok(match on_uart(core) {
        Some(board) => Box::new(backend::on_uart(board, port)?),
        None => Box::new(backend::on_port(port)?),
    })
}

/// The backend of this name, and why it is that one where `auto` chose it.
pub fn kind(name: &str, port: &PortArgs) -> Result<(Kind, Option<String>), Failure> {
    if name == "auto" {
        let (kind, why) = Kind::auto(port.port.as_deref());
        return Ok((kind, Some(why)));
    }
    let kind = name.parse().map_err(Failure::new)?;
    Ok((kind, None))
}

/// The core that the command line names, if it names one, for weights of so many bits.
pub fn named_core(args: &CoreArgs, bits: Width) -> Option<CoreShape> {
    let name = args.lanes.as_deref().or(args.board.as_deref());
    name.and_then(|name| cores::named_for(name, bits))
}
