//! Finds Node, the emulator and the firmware.

use super::error::TwinError;
use std::env;
use std::path::{Path, PathBuf};

/// Our side of the emulator, below the repository's root.
const FOLDER: &str = "sim/twin";
/// What `./x firmware` makes, below the repository's root.
const FIRMWARE: &str = "firmware/out/pico-ice.elf";

/// What the emulated microcontroller needs.
#[derive(Clone, Debug)]
pub struct Tools {
    /// Node's executable.
    pub node: PathBuf,
    /// The program that it runs.
    pub program: PathBuf,
}

impl Tools {
    /// Finds them: Node as `ANNULUS_NODE` says, else on the search path; the emulator in the
    /// repository around the working folder or this crate.
    ///
    /// # Errors
    /// If one of them is missing.
    pub fn find() -> Result<Self, TwinError> {
        let node = match env::var_os("ANNULUS_NODE").filter(|named| !named.is_empty()) {
            Some(named) => Some(PathBuf::from(named)).filter(|named| named.is_file()),
            None => env::split_paths(&env::var_os("PATH").unwrap_or_default())
                .map(|folder| folder.join("node"))
                .find(|node| node.is_file()),
        };
        let folder = in_repository(|root| {
            let folder = root.join(FOLDER);
            let installed = folder.join("node_modules/rp2040js/package.json");
            installed.is_file().then_some(folder)
        });
        Ok(Tools {
            node: node.ok_or(TwinError::NodeMissing)?,
            program: folder.ok_or(TwinError::EmulatorMissing)?.join("main.mjs"),
        })
    }
}

/// The firmware that `./x firmware` has built, in the repository around the working folder or
/// this crate.
///
/// # Errors
/// If there is none.
pub fn find_firmware() -> Result<PathBuf, TwinError> {
    in_repository(|root| Some(root.join(FIRMWARE)).filter(|file| file.is_file()))
        .ok_or(TwinError::FirmwareMissing)
}

fn in_repository<T>(look: impl FnMut(&Path) -> Option<T>) -> Option<T> {
    let starts = [
        env::current_dir().unwrap_or_default(),
        PathBuf::from(env!("CARGO_MANIFEST_DIR")),
    ];
    let mut roots = starts.iter().flat_map(|start| start.ancestors());
    roots.find_map(look)
}
