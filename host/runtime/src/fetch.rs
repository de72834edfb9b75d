//! Models and texts from their public homes: downloaded once, with checksums, and resumed where
//! a connection broke.

use serde::Serialize;
use sha2::{Digest, Sha256};
use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where models live.
const HUB: &str = "https://huggingface.co";
/// Where texts live.
const GITHUB: &str = "https://raw.githubusercontent.com";
/// What an unfinished download is called: the file's name and this.
const PART: &str = "part";

/// Something that can be fetched.
#[derive(Debug)]
pub struct Remote {
    /// What to ask for.
    pub name: &'static str,
    /// What it is and whose, in a line.
    pub about: &'static str,
    /// What it is for.
    pub kind: Kind,
    /// Its home, when `ANNULUS_HUB` names no other.
    home: &'static str,
    /// Folder there.
    folder: &'static str,
    /// Of a model, the checkpoint first.
    files: &'static [RemoteFile],
}

/// What something that is fetched is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// To be run.
    Model,
    /// To be predicted.
    Text,
}

/// A file whose contents are known beforehand.
#[derive(Debug)]
struct RemoteFile {
    /// What it is called here.
    name: &'static str,
    /// What it is called there.
    source: &'static str,
    size: u64,
    sha256: &'static str,
}

/// All that can be fetched.
pub static REMOTES: [Remote; 2] = [
    Remote {
        name: "stories260K",
        about: "writes children's stories; 260,032 parameters, by Andrej Karpathy, MIT",
        kind: Kind::Model,
        home: HUB,
        folder: "karpathy/tinyllamas/resolve/main/stories260K",
        files: &[
            RemoteFile {
                name: "stories260K.bin",
                source: "stories260K.bin",
                size: 1_056_540,
                sha256: "b0a507e7ad0f626624f17112325e66691f9076d622e1d3274d103d00299f2696",
            },
            RemoteFile {
                name: "tok512.bin",
                source: "tok512.bin",
                size: 6_227,
                sha256: "037cb335abb25d1fa9e8ecae30ed2a3a8ace9302862ebcdc05d51a6bbb10c312",
            },
        ],
    },
    Remote {
        name: "tinyshakespeare",
        about: "a million characters of Shakespeare, collected by Andrej Karpathy, public domain",
        kind: Kind::Text,
        home: GITHUB,
        folder: "karpathy/char-rnn/master/data/tinyshakespeare",
        files: &[RemoteFile {
            name: "tinyshakespeare.txt",
            source: "input.txt",
            size: 1_115_394,
            sha256: "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
        }],
    },
];

/// Their names, in words.
fn names() -> String {
    let names: Vec<&str> = REMOTES.iter().map(|remote| remote.name).collect();
    names.join(" and ")
}

/// The models that can be fetched.
pub fn models() -> impl Iterator<Item = &'static Remote> {
    REMOTES.iter().filter(|r| r.kind == Kind::Model)
}

/// Why something cannot be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No such thing.
    #[error("there is no {0:?} to fetch: there is {names}", names = names())]
    Unknown(String),
    /// The hub cannot be reached, or the connection broke.
    #[error("cannot fetch {url}: {error}; run the command again to go on where it stopped")]
    Connection {
        /// What was asked for.
        url: String,
        /// What went wrong.
        error: String,
    },
    /// The hub answered with something else.
    #[error("cannot fetch {url}: the server answers {status}")]
    Status {
        /// What was asked for.
        url: String,
        /// The answer's status.
        status: u16,
    },
    /// The answer ended early.
    #[error("{url} ended after {found} of {size} bytes; run the command again to go on where it stopped")]
    Truncated {
        /// What was asked for.
        url: String,
        /// Bytes there are now.
        found: u64,
        /// Bytes there should be.
        size: u64,
    },
    /// Other contents than expected.
    #[error("{url} has the checksum {found}, but must have {expected}: nothing was kept")]
    Checksum {
        /// What was asked for.
        url: String,
        /// SHA-256 of what came.
        found: String,
        /// What it must be.
        expected: &'static str,
    },
    /// A file or folder cannot be written.
    #[error("cannot write {}: {error}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

/// A file that is on this machine now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fetched {
    /// The file.
    pub path: PathBuf,
    /// Its length in bytes.
    pub size: u64,
    /// SHA-256 of its contents.
    pub sha256: String,
    /// Bytes that came over the network.
    pub downloaded: u64,
}

/// What has this name.
///
/// # Errors
/// If there is nothing.
pub fn named(name: &str) -> Result<&'static Remote, FetchError> {
    let found = REMOTES.iter().find(|remote| remote.name == name);
    found.ok_or_else(|| FetchError::Unknown(name.into()))
}

/// The file of a text that is named as it is fetched; any other path is itself.
pub fn text(path: &Path) -> PathBuf {
    let named = REMOTES
        .iter()
        .find(|r| r.kind == Kind::Text && Path::new(r.name) == path);
    named
        .filter(|_| !path.exists())
        .and_then(Remote::on_this_machine)
        .unwrap_or_else(|| path.into())
}

/// Where what is fetched is kept: `models` in the folder of all that is cached.
pub fn cache() -> PathBuf {
    annulus_sim::verilated::cache::folder().join("models")
}

impl Remote {
    /// The first file, if all are there: in the cache, or in the folder that
    /// `ANNULUS_DATA` names. Of a model, its tokenizer lies beside it.
    pub fn on_this_machine(&self) -> Option<PathBuf> {
        let data = env::var_os("ANNULUS_DATA").map(PathBuf::from);
        let folders = [Some(cache().join(self.name)), data];
        let complete = |folder: &PathBuf| {
            self.files
                .iter()
                .all(|file| folder.join(file.name).is_file())
        };
        folders
            .into_iter()
            .flatten()
            .find(complete)
            .map(|folder| folder.join(self.files[0].name))
    }

    /// Download what is not in the cache yet. `progress` hears a file's name, how many
    /// of its bytes are there, and of how many.
    ///
    /// # Errors
    /// If hub or disk fail; what came so far is kept for the next call, unless its
    /// checksum is wrong.
    pub fn fetch(
        &self,
        mut progress: impl FnMut(&str, u64, u64),
    ) -> Result<Vec<Fetched>, FetchError> {
        let home = env::var("ANNULUS_HUB").unwrap_or_else(|_| self.home.into());
        let base = format!("{}/{}", home.trim_end_matches('/'), self.folder);
        let folder = cache().join(self.name);
        fs::create_dir_all(&folder).map_err(write_error(&folder))?;
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(30)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            .build()
            .new_agent();
        let download = |file: &RemoteFile| {
            let download = Download {
                agent: &agent,
                url: format!("{base}/{}", file.source),
                file,
                folder: &folder,
            };
            download.run(&mut |done| progress(file.name, done, file.size))
        };
        self.files.iter().map(download).collect()
    }
}

/// One file on its way.
struct Download<'a> {
    agent: &'a ureq::Agent,
    url: String,
    file: &'a RemoteFile,
    folder: &'a Path,
}

impl Download<'_> {
    fn run(&self, progress: &mut dyn FnMut(u64)) -> Result<Fetched, FetchError> {
        let path = self.folder.join(self.file.name);
        let fetched = |downloaded| Fetched {
            path: path.clone(),
            size: self.file.size,
            sha256: self.file.sha256.into(),
            downloaded,
        };
        if path.is_file() && checksum(&path)? == self.file.sha256 {
            progress(self.file.size);
            return Ok(fetched(0));
        }
        let part = self.folder.join(format!("{}.{PART}", self.file.name));
        let there = fs::metadata(&part).map_or(0, |data| data.len());
        let kept = if there <= self.file.size { there } else { 0 };
        progress(kept);
        let downloaded = if kept < self.file.size {
            self.download(&part, kept, progress)?
        } else {
            0
        };
        let found = checksum(&part)?;
        if found != self.file.sha256 {
            fs::remove_file(&part).map_err(write_error(&part))?;
            return Err(FetchError::Checksum {
                url: self.url.clone(),
                found,
                expected: self.file.sha256,
            });
        }
        fs::rename(&part, &path).map_err(write_error(&path))?;
        Ok(fetched(downloaded))
    }

    /// Append to `part`, which has `kept` bytes, or start it anew where the server
    /// does not resume. Returns the number of bytes that came.
    fn download(
        &self,
        part: &Path,
        kept: u64,
        progress: &mut dyn FnMut(u64),
    ) -> Result<u64, FetchError> {
        let url = || self.url.clone();
        let broken = |error: &dyn std::error::Error| FetchError::Connection {
            url: url(),
            error: error.to_string(),
        };
        let mut request = self.agent.get(&self.url);
        if kept > 0 {
            request = request.header("Range", format!("bytes={kept}-"));
        }
        let mut response = request.call().map_err(|e| broken(&e))?;
        let mut there = match response.status().as_u16() {
            206 if kept > 0 => kept,
            200 => 0,
            status => return Err(FetchError::Status { url: url(), status }),
        };
        let mut options = OpenOptions::new();
        options
            .create(true)
            .append(there > 0)
            .write(true)
            .truncate(there == 0);
        let mut out = options.open(part).map_err(write_error(part))?;
        // One byte more than there should be shows that the file is another.
        let mut body = response
            .body_mut()
            .as_reader()
            .take(self.file.size + 1 - there);
        let (start, mut buffer) = (there, vec![0; 1 << 16]);
        loop {
            let n = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(broken(&error)),
            };
            out.write_all(&buffer[..n]).map_err(write_error(part))?;
            there += n as u64;
            progress(there);
        }
        out.sync_all().map_err(write_error(part))?;
        if there < self.file.size {
            return Err(FetchError::Truncated {
                url: url(),
                found: there,
                size: self.file.size,
            });
        }
        Ok(there - start)
    }
}

fn write_error(path: &Path) -> impl Fn(io::Error) -> FetchError + '_ {
    move |error| FetchError::Write {
        path: path.into(),
        error,
    }
}

/// SHA-256 of a file, in hexadecimal.
fn checksum(path: &Path) -> Result<String, FetchError> {
    let mut hash = Sha256::new();
    let mut file = File::open(path).map_err(write_error(path))?;
    io::copy(&mut file, &mut hash).map_err(write_error(path))?;
    Ok(format!("{:x}", hash.finalize()))
}
