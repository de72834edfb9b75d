//! What can go wrong between Verilog and a running model.

use std::io;
use std::path::{Path, PathBuf};

/// A failure to build, load or use a verilated design.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// No Verilator anywhere that is looked at.
    #[error("Verilator was not found: run `./x tools sim` in the repository, or name its executable in ANNULUS_VERILATOR")]
    VerilatorMissing,
    /// `ANNULUS_VERILATOR` names something that is not there.
    #[error("ANNULUS_VERILATOR names {}, where there is no file", .0.display())]
    VerilatorPath(PathBuf),
    /// No C++ compiler of that name.
    #[error("the C++ compiler `{0}` does not run: run `./x tools sim` in the repository, or name another in CXX")]
    CompilerMissing(String),
    /// The headers that an FST trace is compressed with are missing.
    #[error("FST traces need the headers of lz4 and zlib: run `./x tools trace` in the repository, or trace to VCD")]
    FstHeaders,
    /// No preset has this many lanes.
    #[error("no finished core has {lanes} lanes: choose 8, 16, 48, 64 or 128")]
    NoCore {
        /// What was asked for.
        lanes: u32,
    },
    /// Verilator refused the Verilog; its own words.
    #[error("Verilator refused `{design}`:\n{message}")]
    Verilator {
        /// The name given to the build.
        design: String,
        /// What Verilator printed.
        message: String,
    },
    /// The C++ compiler or the linker failed; its own words.
    #[error("the C++ compiler failed on {file}:\n{message}")]
    Compile {
        /// The file being compiled or linked.
        file: String,
        /// What the compiler printed.
        message: String,
    },
    /// A port that the shim cannot reach, such as an unpacked array.
    #[error("port `{0}` is neither a scalar nor a packed vector")]
    UnsupportedPort(String),
    /// The design has no port of that name.
    #[error("there is no port `{name}`; the ports are {ports}")]
    NoPort {
        /// The name asked for.
        name: String,
        /// The names there are.
        ports: String,
    },
    /// The design was built without tracing.
    #[error("this design was built without a trace: ask for one with `Build::trace`")]
    NoTrace,
    /// The design was built without coverage.
    #[error("this design was built without coverage: ask for it with `Build::coverage`")]
    NoCoverage,
    /// A line of a coverage file that is not as Verilator writes them.
    #[error("{}, line {line}: not a coverage record", .file.display())]
    CoverageRecord {
        /// The file read.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// The shared library does not load.
    #[error("the compiled design does not load: {0}")]
    Load(#[from] libloading::Error),
    /// A file or folder could not be read or written.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
}

impl SimError {
    /// For `map_err`: an I/O error that names its file.
    pub(crate) fn io(path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::Io { path, source }
    }
}
