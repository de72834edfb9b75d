//! Folders named by the hash of what made them, each built once however many ask.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::error::SimError;
use super::progress::Progress;

/// The folder in which Annulus keeps what it made or fetched once: `$ANNULUS_CACHE`, else
/// `annulus` in the user's cache folder.
pub fn folder() -> PathBuf {
    let set = |name| {
        env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    set("ANNULUS_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|folder| folder.join("annulus")))
        .or_else(|| set("HOME").map(|folder| folder.join(".cache/annulus")))
        .unwrap_or_else(|| env::temp_dir().join("annulus"))
}

/// Where verilated models are kept.
pub(super) fn root() -> PathBuf {
    folder().join("sim")
}

/// The SHA-256 of the parts, in hexadecimal. Each part is preceded by its length, so that no two
/// lists of parts run together into the same bytes.
pub fn key<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    format!("{:x}", hash.finalize())
}

/// The folder `root/key`, made by `build` where it is not there yet.
///
/// `build` fills a temporary folder, which is then renamed: a folder under its final name is
/// always complete. A lock file lets one process build while the others wait, and a builder that
/// was killed leaves nothing that the next one trips over.
///
/// # Errors
/// What `build` says, or a cache that cannot be written.
pub fn fetch(
    root: &Path,
    key: &str,
    progress: &mut dyn FnMut(Progress),
    build: impl FnOnce(&Path, &mut dyn FnMut(Progress)) -> Result<(), SimError>,
) -> Result<PathBuf, SimError> {
    let done = root.join(key);
    if done.is_dir() {
        return Ok(done);
    }
    fs::create_dir_all(root).map_err(SimError::io(root))?;
    let lock_path = root.join(format!("{key}.lock"));
    let lock = File::create(&lock_path).map_err(SimError::io(&lock_path))?;
    if lock.try_lock().is_err() {
        progress(Progress::Waiting);
        lock.lock().map_err(SimError::io(&lock_path))?;
    }
    if done.is_dir() {
        return Ok(done);
    }
    let partial = root.join(format!("{key}.partial"));
    if partial.exists() {
        fs::remove_dir_all(&partial).map_err(SimError::io(&partial))?;
    }
    fs::create_dir(&partial).map_err(SimError::io(&partial))?;
    let built = build(&partial, progress)
        .and_then(|()| fs::rename(&partial, &done).map_err(SimError::io(&done)));
    if built.is_err() {
        // The error that matters is the one at hand; leftovers go with the next build.
        let _ = fs::remove_dir_all(&partial);
    }
    built.map(|()| done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    #[test]
    fn parts_do_not_run_together() {
        assert_ne!(key(["ab", "c"]), key(["a", "bc"]));
        assert_eq!(key(["ab", "c"]).len(), 64);
    }

    #[test]
    fn many_ask_and_one_builds() {
        let dir = tempfile::tempdir().unwrap();
        let builds = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let made = fetch(dir.path(), "k", &mut |_| (), |partial, _| {
                        builds.fetch_add(1, Relaxed);
                        std::thread::sleep(std::time::Duration::from_millis(50));
                        fs::write(partial.join("x"), "1").map_err(SimError::io(partial))
                    });
                    assert_eq!(fs::read(made.unwrap().join("x")).unwrap(), b"1");
                });
            }
        });
        assert_eq!(builds.load(Relaxed), 1);
    }

    #[test]
    fn a_failed_build_leaves_nothing_and_can_be_repeated() {
        let dir = tempfile::tempdir().unwrap();
        let fail = |_: &Path, _: &mut dyn FnMut(Progress)| Err(SimError::NoTrace);
        assert!(fetch(dir.path(), "k", &mut |_| (), fail).is_err());
        assert!(!dir.path().join("k").exists() && !dir.path().join("k.partial").exists());
        // As a builder that was killed would leave it.
        fs::create_dir(dir.path().join("k.partial")).unwrap();
        fs::write(dir.path().join("k.partial/half"), "").unwrap();
        let made = fetch(dir.path(), "k", &mut |_| (), |_, _| Ok(())).unwrap();
        assert!(!made.join("half").exists());
    }
}
