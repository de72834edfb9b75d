//! Calls of the program.

use serde_json::Value;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a call came to.
#[derive(Debug)]
pub struct Ran {
    /// Exit status.
    pub status: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Ran {
    /// Standard output of a call that must succeed.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.status, 0, "{}", self.err);
        self.out
    }

    /// The object on standard output of a call that must succeed.
    #[track_caller]
    pub fn json(self) -> Value {
        let out = self.ok();
        serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}"))
    }

    /// The one sentence of a call that must fail with status 1.
    #[track_caller]
    pub fn sentence(&self) -> &str {
        assert_eq!(self.status, 1, "{self:?}");
        let lines: Vec<&str> = self.err.lines().collect();
        assert_eq!(lines.len(), 1, "one sentence: {}", self.err);
        lines[0]
            .strip_prefix("annulus: ")
            .expect("it says who speaks")
    }
}

/// The program, without anything of this machine's network in its way.
pub fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_annulus"));
    command.stdin(Stdio::null());
    for proxy in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env_remove(proxy).env_remove(proxy.to_lowercase());
    }
    command
}

pub fn ran(command: &mut Command) -> Ran {
    let output = command.output().expect("the program starts");
    Ran {
        status: output.status.code().expect("no signal ended it"),
        out: String::from_utf8(output.stdout).expect("UTF-8"),
        err: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

/// A call with these arguments.
pub fn annulus(args: &[impl AsRef<OsStr>]) -> Ran {
    ran(command().args(args))
}

/// A call with the words of a line.
pub fn line(words: &str) -> Ran {
    annulus(&words.split_whitespace().collect::<Vec<_>>())
}

/// A file of `ANNULUS_DATA`; `None`, and loudly, where it is missing.
pub fn data(file: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("ANNULUS_DATA").map(PathBuf::from);
    let path = folder
        .map(|folder| folder.join(file))
        .filter(|path| path.is_file());
    if path.is_none() {
        eprintln!("SKIPPED: this test needs {file} in the folder that ANNULUS_DATA names");
    }
    path
}

/// The root of the repository.
pub fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Where the cores that were built for this user lie.
fn cores() -> PathBuf {
    annulus_sim::verilated::cache::folder().join("sim")
}

/// Makes `folder` a cache without models that shares the cores that were built.
pub fn cache_without_models(folder: &Path) {
    std::fs::create_dir_all(cores()).expect("a folder for cores");
    std::os::unix::fs::symlink(cores(), folder.join("sim")).expect("a link");
}
