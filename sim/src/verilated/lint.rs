//! Verilator's opinion of a source, as a list.

use std::fmt;

use super::error::SimError;
use super::toolchain::Toolchain;

/// One warning of Verilator's `-Wall`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The kind, such as `UNUSEDSIGNAL` or `WIDTHTRUNC`.
    pub code: String,
    /// The line in the source, from 1.
    pub line: usize,
    /// The column in the source, from 1.
    pub column: usize,
    /// What is wrong, in one line.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            code,
            line,
            column,
            message,
        } = self;
        write!(f, "{line}:{column}: {code}: {message}")
    }
}

/// All that `-Wall` finds in a source whose top module is `top`.
///
/// # Errors
/// Verilator is missing, or the source has errors (in its words).
pub fn lint(verilog: &str) -> Result<Vec<Warning>, SimError> {
    let tools = Toolchain::get()?;
    let dir = tempfile::tempdir().map_err(SimError::io(std::env::temp_dir()))?;
    let file = dir.path().join(SOURCE);
    std::fs::write(&file, verilog).map_err(SimError::io(&file))?;
    let mut command = tools.verilator();
    command.args([
        "--lint-only",
        "-Wall",
        "-Wno-fatal",
        "-Wno-DECLFILENAME",
        "--no-timing",
    ]);
    let output = command
        .args(["--top-module", "top", SOURCE])
        .current_dir(dir.path())
        .output();
    let output = output.map_err(|_| SimError::VerilatorMissing)?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(SimError::Verilator {
            design: "top".into(),
            message: said.trim().to_owned(),
        });
    }
    Ok(said.lines().filter_map(warning).collect())
}

/// The file that holds the source while it is looked at.
const SOURCE: &str = "lint.v";

/// `%Warning-CODE: lint.v:LINE:COLUMN: MESSAGE`; other lines only illustrate.
fn warning(line: &str) -> Option<Warning> {
    let (code, rest) = line.strip_prefix("%Warning-")?.split_once(": ")?;
    let mut place = rest.strip_prefix(SOURCE)?.strip_prefix(':')?.splitn(3, ':');
    Some(Warning {
        code: code.to_owned(),
        line: place.next()?.parse().ok()?,
        column: place.next()?.parse().ok()?,
        message: place.next()?.trim().to_owned(),
    })
}
