//! C++ to a shared library, on all cores.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc;
use std::thread;

use super::cache;
use super::error::SimError;
use super::progress::Progress;
use super::toolchain::Toolchain;

/// Verilator's files are joined into pieces of at least so many bytes: every piece reads the same
/// headers again (a second or so), and a piece that is too large leaves the other cores idle.
const PIECE: usize = 200_000;
/// And of a large design into about so many: its headers grow with it, as far as three megabytes
/// for a netlist, and take as long to read as half a megabyte of its code to compile.
const PIECES: usize = 32;

/// One call of the compiler.
struct Piece {
    source: PathBuf,
    object: PathBuf,
    optimize: &'static str,
}

/// Compiles everything that Verilator left in `obj`, with Verilator's runtime, into `library`.
/// `optimize` is for what runs in every cycle.
pub(super) fn library(
    tools: &Toolchain,
    options: &[String],
    optimize: &'static str,
    obj: &Path,
    library: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), SimError> {
    let runtime = runtime(tools, options, obj, progress)?;
    let pieces = pieces(obj, optimize)?;
    compile(tools, options, obj, &pieces, progress)?;
    progress(Progress::Linking);
    let mut link = Command::new(&tools.cxx);
    link.args(["-shared", "-pthread", "-o"]).arg(library);
    link.args(pieces.iter().map(|p| &p.object))
        .args(list(&runtime, "o")?);
    if options.iter().any(|o| o == "-DVM_TRACE_FST=1") {
        link.args(["-llz4", "-lz"]);
    }
    run(&mut link, library)
}

/// The folder with the objects of Verilator's runtime, which depend on the options only and are
/// shared by all designs.
fn runtime(
    tools: &Toolchain,
    options: &[String],
    obj: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<PathBuf, SimError> {
    let makefile = obj.join("Vtop_classes.mk");
    let makefile = fs::read_to_string(&makefile).map_err(SimError::io(&makefile))?;
    let sources = runtime_sources(&makefile);
    let parts = [tools.identity.as_str(), "runtime"].into_iter();
    let parts = parts
        .chain(options.iter().map(String::as_str))
        .chain(sources.iter().copied());
    cache::fetch(
        &cache::root(),
        &cache::key(parts),
        progress,
        |dir, progress| {
            let piece = |name: &&str| Piece {
                source: tools.root.join(format!("include/{name}.cpp")),
                object: dir.join(format!("{name}.o")),
                optimize: "-O2",
            };
            let pieces: Vec<_> = sources.iter().map(piece).collect();
            compile(tools, options, dir, &pieces, progress)
        },
    )
}

/// The names after `VM_GLOBAL_FAST +=` and `VM_GLOBAL_SLOW +=`, one a line.
fn runtime_sources(makefile: &str) -> Vec<&str> {
    let mut inside = false;
    let mut names = Vec::new();
    for line in makefile.lines() {
        let name = line.trim().trim_end_matches('\\').trim();
        if name.starts_with("VM_GLOBAL_") {
            inside = true;
        } else if name.is_empty() || name.starts_with('#') {
            inside = false;
        } else if inside {
            names.push(name);
        }
    }
    names
}

/// The files of `obj` with this extension, sorted.
fn list(obj: &Path, extension: &str) -> Result<Vec<PathBuf>, SimError> {
    let entries = fs::read_dir(obj)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(SimError::io(obj))?;
    let mut paths: Vec<_> = entries.into_iter().map(|e| e.path()).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == extension));
    paths.sort();
    Ok(paths)
}

/// Joins the sources of `obj` into pieces. What Verilator calls slow runs once, at the start; a
/// design that fits one piece is compiled as one all the same.
fn pieces(obj: &Path, optimize: &'static str) -> Result<Vec<Piece>, SimError> {
    let mut sources = Vec::new();
    for path in list(obj, "cpp")? {
        let size = fs::metadata(&path).map_err(SimError::io(&path))?.len() as usize;
        sources.push((path, size));
    }
    let total = sources.iter().map(|(_, size)| size).sum::<usize>();
    let whole = total <= PIECE;
    let is_slow = |path: &Path| !whole && path.to_string_lossy().ends_with("__Slow.cpp");
    let (slow, fast): (Vec<_>, Vec<_>) = sources.into_iter().partition(|(path, _)| is_slow(path));

    let mut pieces = Vec::new();
    for (sources, optimize) in [(fast, optimize), (slow, "-O0")] {
        let texts = join(&sources, PIECE.max(total / PIECES));
        for (index, text) in texts.into_iter().enumerate() {
            let source = obj.join(format!("piece{optimize}-{index}.cpp"));
            fs::write(&source, text).map_err(SimError::io(&source))?;
            pieces.push(Piece {
                object: source.with_extension("o"),
                source,
                optimize,
            });
        }
    }
    Ok(pieces)
}

/// Texts of `#include` lines, each of about `piece` bytes.
fn join(sources: &[(PathBuf, usize)], piece: usize) -> Vec<String> {
    let mut texts = Vec::new();
    let mut room = 0;
    for (path, size) in sources {
        if texts.is_empty() || *size > room {
            texts.push(String::new());
            room = piece;
        }
        room = room.saturating_sub(*size);
        if let (Some(text), Some(name)) = (texts.last_mut(), path.file_name()) {
            *text += &format!("#include \"{}\"\n", name.to_string_lossy());
        }
    }
    texts
}

/// Runs the compiler on every piece, as many at a time as there are processors.
fn compile(
    tools: &Toolchain,
    options: &[String],
    dir: &Path,
    pieces: &[Piece],
    progress: &mut dyn FnMut(Progress),
) -> Result<(), SimError> {
    let total = pieces.len();
    progress(Progress::Compiling { done: 0, total });
    let next = AtomicUsize::new(0);
    let (sender, results) = mpsc::channel();
    let include = tools.root.join("include");
    let work = || {
        while let Some(piece) = pieces.get(next.fetch_add(1, Relaxed)) {
            let mut command = Command::new(&tools.cxx);
            command.args(options).arg(piece.optimize).arg("-I").arg(dir);
            command
                .arg("-I")
                .arg(&include)
                .arg("-I")
                .arg(include.join("vltstd"));
            command
                .arg("-c")
                .arg(&piece.source)
                .arg("-o")
                .arg(&piece.object);
            let result = run(&mut command, &piece.source);
            if result.is_err() {
                next.store(total, Relaxed);
            }
            if sender.send(result).is_err() {
                return;
            }
        }
    };
    let workers = thread::available_parallelism()
        .map_or(1, usize::from)
        .min(total);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(work);
        }
        for (done, result) in results.iter().take(total).enumerate() {
            result?;
            progress(Progress::Compiling {
                done: done + 1,
                total,
            });
        }
        Ok(())
    })
}

/// Runs a compiler or linker; what it prints is the error.
fn run(command: &mut Command, about: &Path) -> Result<(), SimError> {
    let Ok(output) = command.output() else {
        return Err(SimError::CompilerMissing(
            command.get_program().to_string_lossy().into_owned(),
        ));
    };
    if output.status.success() {
        return Ok(());
    }
    let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if ["lz4.h", "zlib.h", "-llz4", "-lz"]
        .iter()
        .any(|needed| message.contains(needed))
    {
        return Err(SimError::FstHeaders);
    }
    Err(SimError::Compile {
        file: about
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        message,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runtime_is_what_the_makefile_says() {
        let makefile = "VM_CLASSES_FAST += \\\n  Vtop \\\n\n# Global\nVM_GLOBAL_FAST += \\\n  verilated \\\n  verilated_threads \\\n\n\nVM_GLOBAL_SLOW += \\\n\n";
        assert_eq!(
            runtime_sources(makefile),
            ["verilated", "verilated_threads"]
        );
    }

    #[test]
    fn pieces_hold_every_source_once() {
        let sources: Vec<_> = (0..9)
            .map(|i| (PathBuf::from(format!("f{i}.cpp")), PIECE * i / 8))
            .collect();
        let texts = join(&sources, PIECE);
        let names: Vec<_> = texts.iter().flat_map(|t| t.lines()).collect();
        assert_eq!(
            names,
            (0..9)
                .map(|i| format!("#include \"f{i}.cpp\""))
                .collect::<Vec<_>>()
        );
        assert!(texts.len() > 1 && texts.len() < 9, "{texts:?}");
    }
}
