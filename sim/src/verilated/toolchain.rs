//! Finds Verilator and the C++ compiler, and says exactly which ones they are.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use super::error::SimError;

/// The virtual environment that `./x tools` makes, below the repository root.
const VENV: &str = ".tools/venv";

/// Verilator and a C++ compiler that were seen to run.
#[derive(Debug)]
pub(super) struct Toolchain {
    /// The Verilator executable.
    verilator: PathBuf,
    /// `VERILATOR_ROOT`: the folder that holds Verilator's `include`.
    pub root: PathBuf,
    /// The C++ compiler.
    pub cxx: String,
    /// Everything that distinguishes these two programs and this processor from others:
    /// Verilator's version, and the macros that the compiler predefines for `-march=native`
    /// (its own version and every instruction set among them).
    pub identity: String,
}

impl Toolchain {
    /// The tools of this machine, looked for once a process.
    pub fn get() -> Result<&'static Self, SimError> {
        static FOUND: OnceLock<Toolchain> = OnceLock::new();
        if let Some(found) = FOUND.get() {
            return Ok(found);
        }
        let found = Self::find()?;
        Ok(FOUND.get_or_init(|| found))
    }

    fn find() -> Result<Self, SimError> {
        let starts = [
            env::current_dir().unwrap_or_default(),
            PathBuf::from(env!("CARGO_MANIFEST_DIR")),
        ];
        let verilator = locate(
            env::var_os("ANNULUS_VERILATOR"),
            &starts,
            env::var_os("PATH"),
        )?;
        let root = root_of(&verilator)?;
        let version = run(verilator_at(&verilator, &root).arg("--version"), || {
            SimError::VerilatorMissing
        })?;

        let cxx = env::var("CXX").unwrap_or_else(|_| "g++".into());
        let mut predefined = Command::new(&cxx);
        predefined.args(["-march=native", "-dM", "-E", "-x", "c++", "/dev/null"]);
        let macros = run(&mut predefined, || SimError::CompilerMissing(cxx.clone()))?;

        let identity = format!("{}\n{cxx}\n{macros}", version.trim());
        Ok(Self {
            verilator,
            root,
            cxx,
            identity,
        })
    }

    /// A call of Verilator, its environment set.
    pub fn verilator(&self) -> Command {
        verilator_at(&self.verilator, &self.root)
    }
}

fn verilator_at(verilator: &Path, root: &Path) -> Command {
    let mut command = Command::new(verilator);
    command.env("VERILATOR_ROOT", root);
    command
}

/// The standard output of a command that must succeed.
fn run(command: &mut Command, missing: impl FnOnce() -> SimError) -> Result<String, SimError> {
    match command.output() {
        Ok(Output { status, stdout, .. }) if status.success() => {
            Ok(String::from_utf8_lossy(&stdout).into_owned())
        }
        _ => Err(missing()),
    }
}

/// Verilator's executable: the one named outright, else the virtual environment of the
/// repository around one of `starts`, else the search path.
fn locate(
    named: Option<OsString>,
    starts: &[PathBuf],
    path: Option<OsString>,
) -> Result<PathBuf, SimError> {
    if let Some(named) = named.filter(|n| !n.is_empty()) {
        let named = PathBuf::from(named);
        return if named.is_file() {
            Ok(named)
        } else {
            Err(SimError::VerilatorPath(named))
        };
    }
    let repositories = starts.iter().flat_map(|start| start.ancestors());
    if let Some(found) = repositories
        .map(|dir| dir.join(VENV))
        .find_map(|venv| in_venv(&venv))
    {
        return Ok(found);
    }
    let path = path.unwrap_or_default();
    let mut candidates = env::split_paths(&path).map(|dir| dir.join("verilator"));
    candidates
        .find(|c| c.is_file())
        .ok_or(SimError::VerilatorMissing)
}

/// The package keeps its executable inside `lib/python3.x/site-packages`.
fn in_venv(venv: &Path) -> Option<PathBuf> {
    let pythons = fs::read_dir(venv.join("lib")).ok()?;
    pythons
        .filter_map(|entry| {
            Some(
                entry
                    .ok()?
                    .path()
                    .join("site-packages/verilator/bin/verilator_bin"),
            )
        })
        .find(|executable| executable.is_file())
}

/// A relocated package lies at `ROOT/bin/verilator`; an installed one knows its own root.
fn root_of(verilator: &Path) -> Result<PathBuf, SimError> {
    let beside = verilator.parent().and_then(Path::parent);
    if let Some(root) = beside.filter(|root| root.join("include/verilated.h").is_file()) {
        return Ok(root.to_owned());
    }
    let mut ask = Command::new(verilator);
    ask.args([OsStr::new("--getenv"), OsStr::new("VERILATOR_ROOT")]);
    Ok(PathBuf::from(
        run(&mut ask, || SimError::VerilatorMissing)?.trim(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_anywhere_is_one_sentence_with_the_command_to_run() {
        let empty = std::env::temp_dir();
        let error = locate(None, &[], Some(empty.into()))
            .unwrap_err()
            .to_string();
        assert!(error.contains("./x tools sim"), "{error}");
        assert_eq!(error.lines().count(), 1);
    }

    #[test]
    fn a_wrong_name_is_reported_and_not_passed_over() {
        let error = locate(
            Some("/nonexistent/verilator".into()),
            &[],
            env::var_os("PATH"),
        )
        .unwrap_err();
        assert!(matches!(error, SimError::VerilatorPath(_)), "{error}");
    }

    #[test]
    fn the_repository_comes_before_the_search_path() {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir
            .path()
            .join(".tools/venv/lib/python3.99/site-packages/verilator/bin");
        fs::create_dir_all(&bin).unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        fs::write(bin.join("verilator_bin"), "").unwrap();
        let found = locate(None, &[dir.path().join("a/b")], env::var_os("PATH")).unwrap();
        assert_eq!(found, bin.join("verilator_bin"));
    }
}
