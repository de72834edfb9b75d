//! Bitstreams: from the generator to a file that a board can be flashed with.
//!
//! A board's folder holds its pins, the built bitstream and a [`Manifest`] that says
//! what the bitstream was made of and what it reaches. [`build`] makes both from
//! nothing; [`check`] says whether they still belong to today's generator.

pub mod board;
pub mod flow;
pub mod manifest;
pub mod models;
pub mod pins;

pub use board::Board;
pub use flow::FlowError;
pub use manifest::Manifest;

use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// Why a bitstream cannot be built, or is not what its manifest says.
#[derive(Debug, thiserror::Error)]
pub enum BitstreamError {
    /// No such board.
    #[error("no bitstream is built for {0}: boards are {boards}", boards = board::names())]
    Board(String),
    /// A file.
    #[error("{}: {error}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// A manifest that is none.
    #[error("{}: {error}", path.display())]
    Manifest {
        /// Which one.
        path: PathBuf,
        /// What is wrong with it.
        error: serde_json::Error,
    },
    /// The generator has moved on.
    #[error("{board}: today's {what} is not that of the manifest: run `annulus-bitstream build {board}`")]
    Stale {
        /// The board.
        board: String,
        /// What differs.
        what: &'static str,
    },
    /// The tools.
    #[error(transparent)]
    Flow(#[from] FlowError),
    /// A model's cycles cannot be counted.
    #[error("{model}: {why}")]
    Model {
        /// Its name.
        model: String,
        /// The reason.
        why: String,
    },
}

/// Hexadecimal SHA-256.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn read(path: &Path) -> Result<Vec<u8>, BitstreamError> {
    std::fs::read(path).map_err(|error| BitstreamError::File {
        path: path.into(),
        error,
    })
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), BitstreamError> {
    std::fs::write(path, bytes).map_err(|error| BitstreamError::File {
        path: path.into(),
        error,
    })
}

/// The folder of a board in the repository at `root`.
pub fn folder(root: &Path, board: &Board) -> PathBuf {
    root.join("bitstreams").join(board.name)
}

/// Builds a board's bitstream at `megahertz` with the pins of its folder below `root`, and
/// writes bitstream and manifest to `out`. The tools' files are kept in `work`, if that is named.
/// `progress` hears what begins.
///
/// # Errors
/// If a tool is missing or fails, pins conflict, or the clock is too fast.
pub fn build(
    root: &Path,
    board: &Board,
    megahertz: f64,
    out: &Path,
    work: Option<&Path>,
    progress: &mut dyn FnMut(&str),
) -> Result<Manifest, BitstreamError> {
    // Now, for what comes takes long.
    std::fs::create_dir_all(out).map_err(|error| BitstreamError::File {
        path: out.into(),
        error,
    })?;
    let verilog = board.verilog();
    let constraints = read(&folder(root, board).join(board.device.pins.file()))?;
    let constraints = String::from_utf8_lossy(&constraints).into_owned();
    let routed = flow::run(
        &flow::Job {
            tools: &root.join(".tools/venv/bin"),
            device: board.device,
            verilog: &verilog,
            places: &board.places(),
            pins: &constraints,
            megahertz,
            goal: board.goal.max(megahertz),
            seed: board.seed,
            work,
        },
        progress,
    )?;
    progress("counting cycles of models");
    let models = models::measure(board, megahertz)?;
    let manifest = Manifest::new(
        root,
        board,
        megahertz,
        &verilog,
        &constraints,
        &routed,
        models,
    );
    write(&out.join(board.bitstream()), &routed.bitstream)?;
    write(&out.join("manifest.json"), manifest.to_json().as_bytes())?;
    Ok(manifest)
}

/// Whether the Verilog that the generator writes today, the pins and the committed bitstream
/// are those of the manifest. Needs no tools.
///
/// # Errors
/// The first thing that differs or cannot be read.
pub fn check(root: &Path, board: &Board) -> Result<Manifest, BitstreamError> {
    let folder = folder(root, board);
    let path = folder.join("manifest.json");
    let manifest: Manifest = serde_json::from_slice(&read(&path)?)
        .map_err(|error| BitstreamError::Manifest { path, error })?;
    let same = [
        (
            "Verilog",
            sha256(board.verilog().as_bytes()),
            &manifest.verilog_sha256,
        ),
        (
            "list of pins",
            sha256(&read(&folder.join(board.device.pins.file()))?),
            &manifest.pins_sha256,
        ),
        (
            "bitstream",
            sha256(&read(&folder.join(board.bitstream()))?),
            &manifest.bitstream_sha256,
        ),
    ];
    match same.iter().find(|(_, now, then)| now != *then) {
        Some((what, ..)) => Err(BitstreamError::Stale {
            board: board.name.into(),
            what,
        }),
        None => Ok(manifest),
    }
}
