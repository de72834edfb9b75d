//! A model hub on this machine, with the faults that a real one may have.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;

/// How the server answers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// As it should, ranges included.
    Good,
    /// Ranges are not understood: always all of the file.
    NoRanges,
    /// The connection ends in the middle of a file.
    Breaks,
    /// One bit of each file is another.
    Flips,
    /// Nothing but this status.
    Status(u16),
}

/// A server that serves the files of a folder, whatever comes before their names.
pub struct Server {
    /// What to put in `ANNULUS_HUB`.
    pub address: String,
    manner: Arc<Mutex<Manner>>,
    /// Path and range of each request.
    seen: Arc<Seen>,
}

impl Server {
    pub fn start(folder: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let server = Server {
            address: format!("http://{}", listener.local_addr().expect("an address")),
            manner: Arc::new(Mutex::new(Manner::Good)),
            seen: Arc::default(),
        };
        let (manner, seen) = (Arc::clone(&server.manner), Arc::clone(&server.seen));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let manner = *manner.lock().expect("a manner");
                // A client may hang up; the next one is served all the same.
                let _ = answer(stream, &folder, manner, &seen);
            }
        });
        server
    }

    /// From now on.
    pub fn set(&self, manner: Manner) {
        *self.manner.lock().expect("a manner") = manner;
    }

    /// The requests since the last call.
    pub fn requests(&self) -> Vec<(String, Option<u64>)> {
        std::mem::take(&mut *self.seen.lock().expect("requests"))
    }
}

type Seen = Mutex<Vec<(String, Option<u64>)>>;

fn answer(
    mut stream: TcpStream,
    folder: &std::path::Path,
    manner: Manner,
    seen: &Seen,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut from = None;
    for line in lines {
        let line = line?.to_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(range) = line.strip_prefix("range: bytes=") {
            from = range.trim_end_matches('-').parse().ok();
        }
    }
    seen.lock().expect("requests").push((path.clone(), from));
    let file = folder.join(path.rsplit('/').next().unwrap_or_default());
    let (status, mut body) = match (manner, std::fs::read(file)) {
        (Manner::Status(status), _) => (status, Vec::new()),
        (_, Err(_)) => (404, Vec::new()),
        (_, Ok(body)) => (200, body),
    };
    if manner == Manner::Flips {
        let middle = body.len() / 2;
        body[middle] ^= 1;
    }
    let (status, body) = match from {
        Some(from) if status == 200 && manner != Manner::NoRanges => {
            (206, body.split_off(from as usize))
        }
        _ => (status, body),
    };
    let head = format!(
        "HTTP/1.1 {status} Status\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    let sent = if manner == Manner::Breaks {
        body.len() / 2
    } else {
        body.len()
    };
    stream.write_all(&body[..sent])
}
