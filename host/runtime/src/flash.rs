//! Programming boards: what a bitstream is for, firmware as UF2, and the ways in.

pub mod bitstream;
pub mod drive;
pub mod elf;
pub mod provision;
pub mod uf2;

#[cfg(feature = "probe")]
pub use annulus_probe as probe;

use crate::models::OpenError;
use crate::script::ScriptError;
use crate::serial::{SerialError, UartBoard};
use annulus_contract::wire::Fault;
use annulus_model::compile::CompileError;
use bitstream::{Bitstream, BitstreamError};
use flate2::read::GzDecoder;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

/// Why a board cannot be programmed.
#[derive(Debug, thiserror::Error)]
pub enum FlashError {
    /// A file cannot be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A file that should be a bitstream.
    #[error("{}: {error}", path.display())]
    Bitstream {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: BitstreamError,
    },
    /// A bitstream for another FPGA.
    #[error("{} is for the part {found}, and this board has an {expected}: take the bitstream that was made for it", path.display())]
    Part {
        /// The file.
        path: PathBuf,
        /// The part that it is for.
        found: String,
        /// The part on the board.
        expected: String,
    },
    /// A file that should be firmware.
    #[error("{} is no firmware: {why}", path.display())]
    Firmware {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// No microcontroller waits for firmware.
    #[error("no boot drive is mounted: hold BOOTSEL while you plug the board in, mount the drive RPI-RP2 (or RP2350), and try again; --to names a drive or a .uf2 file")]
    NoDrive,
    /// A folder that is not a microcontroller's.
    #[error("{} is not the boot drive of a microcontroller: it has no INFO_UF2.TXT", .0.display())]
    NotADrive(PathBuf),
    /// Firmware was written, and no board has come back with it.
    #[error("the firmware is written, but in {seconds} s no board has come back with it ({why}): unplug it and plug it in again; --wait 0 does not look for it")]
    NotBack {
        /// How long it was waited.
        seconds: u64,
        /// Why there is none.
        why: SerialError,
    },
    /// The board does not answer, or refuses.
    #[error(transparent)]
    Serial(#[from] SerialError),
    /// Another board than the one that was meant.
    #[error("the board on {port} is a {found}, not a {expected}")]
    OtherBoard {
        /// Its port.
        port: String,
        /// What it is.
        found: String,
        /// What it should be.
        expected: String,
    },
    /// A bitstream without a core of ours.
    #[error("the FPGA took {}, but {fault}", path.display())]
    NoCore {
        /// The bitstream.
        path: PathBuf,
        /// Why no core answers.
        fault: Fault,
    },
    /// There is no core for a model.
    #[error("{0}")]
    Core(Fault),
    /// The model cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The model does not fit.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The board could not follow the script.
    #[error(transparent)]
    Script(#[from] ScriptError),
    /// The programmer is missing.
    #[error("openFPGALoader is not installed: `sudo apt-get install openfpgaloader`, or see https://trabucayre.github.io/openFPGALoader")]
    NoProgrammer,
    /// The programmer failed.
    #[error("openFPGALoader failed ({0}); what it said is above")]
    Programmer(ExitStatus),
}

/// What gzip begins with.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Reads a bitstream, which may be compressed by gzip, and makes sure that it is for this part.
///
/// # Errors
/// If it is damaged, or for another part.
pub fn bitstream_for(path: &Path, part: &str) -> Result<Vec<u8>, FlashError> {
    let mut bytes = read(path)?;
    if bytes.starts_with(&GZIP) {
        let mut plain = vec![];
        let read = GzDecoder::new(&bytes[..]).read_to_end(&mut plain);
        read.map_err(|error| FlashError::File {
            path: path.into(),
            error,
        })?;
        bytes = plain;
    }
    let parsed = Bitstream::parse(&bytes).map_err(|error| FlashError::Bitstream {
        path: path.into(),
        error,
    })?;
    if !parsed.is_for(part) {
        return Err(FlashError::Part {
            path: path.into(),
            found: parsed.part().into(),
            expected: part.into(),
        });
    }
    Ok(bytes)
}

/// Reads a file.
///
/// # Errors
/// If it cannot be.
pub fn read(path: &Path) -> Result<Vec<u8>, FlashError> {
    std::fs::read(path).map_err(|error| FlashError::File {
        path: path.into(),
        error,
    })
}

/// Programs a board without a microcontroller of ours with openFPGALoader, which reports on the
/// terminal. `store` keeps the bitstream in the board's flash.
///
/// # Errors
/// If the bitstream is for another part, or openFPGALoader is missing or fails.
pub fn with_programmer(
    board: &UartBoard,
    path: &Path,
    store: bool,
    programmer: &OsStr,
) -> Result<(), FlashError> {
    bitstream_for(path, board.part)?;
    let mut command = Command::new(programmer);
    command.args(["-b", board.programmer]);
    if store {
        command.arg("--write-flash");
    }
    match command.arg(path).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(FlashError::Programmer(status)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(FlashError::NoProgrammer),
        Err(error) => Err(FlashError::File {
            path: programmer.into(),
            error,
        }),
    }
}
