//! A board on a pseudo-terminal, in a thread of its own: a port that any program opens by its path
//! as it would open `/dev/ttyACM0`.

use annulus_contract::link::Wire;
use annulus_firmware_core::{Board, Dispatcher, Port};
use serialport::{SerialPort, TTYPort};
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A plugged-in board. Dropping it pulls the plug.
pub struct Plugged {
    path: String,
    out: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// The board's end of the pseudo-terminal.
struct Master(TTYPort);

impl Port for Master {
    fn read(&mut self, bytes: &mut [u8]) -> usize {
        match self.0.bytes_to_read() {
            Ok(0) | Err(_) => 0,
            Ok(_) => self.0.read(bytes).unwrap_or(0),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> usize {
        self.0.write(bytes).unwrap_or(0)
    }
}

impl Plugged {
    /// Plugs a board in; `make` makes it, in its own thread.
    ///
    /// # Errors
    /// If this system has no pseudo-terminals.
    pub fn new<B: Board, W: Wire>(
        make: impl FnOnce() -> (B, W) + Send + 'static,
    ) -> io::Result<Self> {
        Self::with(move |mut port, out| {
            let (board, wire) = make();
            let mut dispatcher = Dispatcher::new(board, wire);
            while !out.load(Ordering::Relaxed) {
                dispatcher.poll(&mut port);
            }
        })
    }

    /// Something else that speaks: `talk` gets what it has read and gives what to say.
    ///
    /// # Errors
    /// If this system has no pseudo-terminals.
    pub fn stranger(mut talk: impl FnMut(&[u8]) -> Vec<u8> + Send + 'static) -> io::Result<Self> {
        Self::with(move |mut port, out| {
            while !out.load(Ordering::Relaxed) {
                let mut bytes = [0; 256];
                let count = port.read(&mut bytes);
                let say = talk(&bytes[..count]);
                if say.is_empty() {
                    thread::sleep(Duration::from_millis(1));
                }
                port.write(&say);
            }
        })
    }

    fn with(run: impl FnOnce(Master, &AtomicBool) + Send + 'static) -> io::Result<Self> {
        let (mut master, slave) = TTYPort::pair()?;
        master.set_timeout(Duration::from_millis(1))?;
        let path = slave.name().unwrap_or_default();
        let out = Arc::new(AtomicBool::new(false));
        let flag = out.clone();
        let thread = thread::spawn(move || {
            // While this end of the other side is open, hosts may come and go.
            let _slave = slave;
            run(Master(master), &flag);
        });
        Ok(Plugged {
            path,
            out,
            thread: Some(thread),
        })
    }

    /// The port's path.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl Drop for Plugged {
    fn drop(&mut self) {
        self.out.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
