//! What a board takes over its own firmware: the FPGA's bitstream, and what it keeps to write without
//! a host.

use super::{bitstream_for, FlashError};
use crate::models;
use crate::sampling::Sampling;
use crate::script::script;
use crate::serial::{Client, Line, Object, Place, Reboot, Request};
use annulus_contract::shape::CoreShape;
use annulus_model::quantize::Rotation;
use std::path::Path;

/// What a board is to take, in this order.
#[derive(Clone, Copy, Debug)]
pub struct Provision<'a> {
    /// The name that the board must have.
    pub board: Option<&'a str>,
    /// Its flash forgets what it keeps.
    pub erase: bool,
    /// The file of a bitstream for its FPGA.
    pub bitstream: Option<&'a Path>,
    /// The bitstream stays in its flash.
    pub store: bool,
    /// What stays there to be run without a host.
    pub model: Option<Standalone<'a>>,
}

/// A model that writes without a host.
#[derive(Clone, Copy, Debug)]
pub struct Standalone<'a> {
    /// The model, as [`models::open`] takes it.
    pub model: &'a Path,
    /// Slots of each ring; as many as the model was trained for where nothing is said.
    pub window: Option<usize>,
    /// What the text begins with.
    pub prompt: &'a [u8],
    /// How tokens are chosen.
    pub sampling: Sampling,
}

/// What has been done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Bytes of an upload are there.
    Upload {
        /// What is uploaded.
        object: Object,
        /// Where to.
        place: Place,
        /// How many bytes the board has.
        have: usize,
        /// Of how many.
        all: usize,
    },
    /// The flash keeps nothing.
    Erased,
    /// The FPGA has its bitstream, and this core answers.
    Configured(CoreShape),
    /// The bitstream is in flash, and reads back.
    BitstreamStored,
    /// The model of this name has passed its self-test, and is in flash with its script.
    ModelStored(String),
    /// The board keeps no bitstream, so it will not run the model by itself.
    NoBitstream,
    /// The board starts anew, as when it is switched on.
    Restarted,
}

/// Gives a board what it is to take, and tells `on` what has been done.
///
/// # Errors
/// If it is another board, a file cannot be used, or the board refuses it or does not answer.
pub fn provision<L: Line>(
    client: &mut Client<L>,
    what: &Provision,
    on: &mut dyn FnMut(Event),
) -> Result<(), FlashError> {
    let found = client.greeting().board.clone();
    if let Some(expected) = what.board.filter(|board| *board != found) {
        return Err(FlashError::OtherBoard {
            port: client.port().into(),
            found,
            expected: expected.into(),
        });
    }
    if what.erase {
        for object in [Object::Bitstream, Object::Image, Object::Script] {
            client.order(&Request::Erase(object))?;
        }
        on(Event::Erased);
    }
    if let Some(path) = what.bitstream {
        let bytes = bitstream_for(path, &client.greeting().part)?;
        upload(client, Object::Bitstream, Place::Live, &bytes, on)?;
        let core = client.greet()?.shape();
        let core = core.map_err(|fault| FlashError::NoCore {
            path: path.into(),
            fault,
        })?;
        on(Event::Configured(core));
        if what.store {
            upload(client, Object::Bitstream, Place::Stored, &bytes, on)?;
            on(Event::BitstreamStored);
        }
    }
    if let Some(model) = &what.model {
        store_model(client, model, on)?;
    }
    Ok(())
}

/// Compiles a model for the board's core, has it tested there, stores it, and has the board begin.
fn store_model<L: Line>(
    client: &mut Client<L>,
    model: &Standalone,
    on: &mut dyn FnMut(Event),
) -> Result<(), FlashError> {
    let core = client.greeting().shape().map_err(FlashError::Core)?;
    let mut opened = models::open(model.model, None, Rotation::Hadamard)?;
    opened.suit(&core)?;
    let image = opened.image(&core, model.window, None)?;
    let script = script(&image, model.prompt, &model.sampling)?;
    let bytes = image.to_bytes();
    upload(client, Object::Image, Place::Live, &bytes, on)?;
    client.order(&Request::SelfTest)?;
    upload(client, Object::Image, Place::Stored, &bytes, on)?;
    upload(client, Object::Script, Place::Stored, &script, on)?;
    on(Event::ModelStored(image.name));
    if client.greet()?.stored_bitstream.is_none() {
        on(Event::NoBitstream);
        return Ok(());
    }
    client.order(&Request::Reboot(Reboot::Firmware))?;
    on(Event::Restarted);
    Ok(())
}

fn upload<L: Line>(
    client: &mut Client<L>,
    object: Object,
    place: Place,
    bytes: &[u8],
    on: &mut dyn FnMut(Event),
) -> Result<(), FlashError> {
    let all = bytes.len();
    let mut progress = |have| {
        on(Event::Upload {
            object,
            place,
            have,
            all,
        });
    };
    Ok(client.upload(object, place, bytes, &mut progress)?)
}
