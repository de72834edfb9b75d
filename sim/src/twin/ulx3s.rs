//! The digital twin of a ULX3S, which has no microcontroller of ours: a pseudo-terminal at whose
//! other end is the verilated core behind its UART, bit by bit.

use super::error::TwinError;
use super::terminal::Terminal;
use crate::link::uart::UartDesign;
use crate::verilated::Progress;
use annulus_contract::link::uart::{Stream, LEAST_CLOCK};
use annulus_contract::shape::CoreShape;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// Bytes that are sent to the core before its answers are looked at: less than a frame, so that
/// they come back while it is still being sent, as on a real line.
const PIECE: usize = 32;
/// Nothing is to be done: how long until that is looked at again.
const SILENCE: Duration = Duration::from_millis(20);

/// A ULX3S that is switched on, and off when this is dropped. Its time only passes while a program
/// has the port open.
pub struct UartTwin {
    off: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    /// Holds the link to the pseudo-terminal.
    _folder: tempfile::TempDir,
    port: PathBuf,
}

impl UartTwin {
    /// Switches a board on, with a core of this shape in it. Its clock is the slowest that the UART
    /// allows: a faster one would only have the simulation wait more cycles for each bit.
    ///
    /// # Errors
    /// If the core cannot be built, or there is no pseudo-terminal.
    pub fn start(shape: &CoreShape, progress: &mut dyn FnMut(Progress)) -> Result<Self, TwinError> {
        let design = UartDesign::build(shape, LEAST_CLOCK, progress)?;
        let folder = tempfile::Builder::new()
            .prefix("annulus-twin-")
            .tempdir()
            .map_err(TwinError::Terminal)?;
        let port = folder.path().join("ttyUSB0");
        let terminal = Terminal::open(&port)?;
        let off = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&off);
        let thread = std::thread::spawn(move || serve(&design, &terminal, &flag));
        Ok(UartTwin {
            off,
            thread: Some(thread),
            _folder: folder,
            port,
        })
    }

    /// Where the serial port is.
    pub fn port(&self) -> &Path {
        &self.port
    }

    /// Waits for ever: until the process is interrupted.
    pub fn wait(mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for UartTwin {
    fn drop(&mut self) {
        self.off.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Moves bytes between the terminal and the core.
fn serve(design: &UartDesign, terminal: &Terminal, off: &AtomicBool) {
    let mut line = design.instance(0);
    let mut outgoing = Vec::new();
    // Nothing has come from the core for a while.
    let mut quiet = true;
    while !off.load(Ordering::Relaxed) {
        // A core that waits is not simulated; one that works is, whether anybody says something
        // or not.
        let idle = quiet && !line.busy();
        let patience = if idle { SILENCE } else { Duration::ZERO };
        if !terminal.wait(patience) {
            std::thread::sleep(SILENCE);
            continue;
        }
        let heard = terminal.read(PIECE);
        if idle && heard.is_empty() {
            continue;
        }
        let Ok(()) = line.send(&heard);
        let mut bytes = [0; 256];
        let Ok(count) = line.receive(&mut bytes);
        quiet = count == 0;
        outgoing.extend(&bytes[..count]);
        let written = terminal.write(&outgoing);
        outgoing.drain(..written);
    }
}
