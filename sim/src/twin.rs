//! The digital twin of a pico-ice: the firmware that is flashed, in an emulated RP2040; its pins
//! wired to a model of the FPGA's configuration port and to the verilated core; its USB serial
//! port a pseudo-terminal, which any program opens as it would open `/dev/ttyACM0`.
//!
//! ```text
//!  a program <-> pseudo-terminal <-> | this process | <-> pipes <-> | Node, rp2040js |
//!                 (`terminal`)       |  thread      |   (`channel`) | `sim/twin/*.mjs`|
//!                                    |  `board`     |               | firmware        |
//!                                    |   `fpga`     |
//!                                    |    `configuration`, SpiWire
//! ```
//!
//! Time is the emulated microcontroller's: it stands still while the FPGA answers, and the core's
//! clock has ticked as often as the firmware's own time says whenever it is looked at. It never
//! runs ahead of the time of the world, so that whoever waits a second has waited a second.

mod board;
mod channel;
mod configuration;
mod error;
mod fpga;
mod screen;
mod terminal;
mod tools;
mod ulx3s;

pub use board::{Device, Leds};
pub use configuration::{blank_bitstream, ConfigurationPort};
pub use error::TwinError;
pub use screen::Screen;
pub use tools::{find_firmware, Tools};
pub use ulx3s::UartTwin;

use crate::verilated::Progress;
use annulus_contract::shape::CoreShape;
use board::{Board, Order, State};
use channel::Channel;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long firmware may take until its serial port is there.
const PATIENCE: Duration = Duration::from_secs(120);

/// A board that is switched on, and off when this is dropped.
pub struct Twin {
    shared: Arc<Shared>,
    emulator: Child,
    thread: Option<JoinHandle<()>>,
    /// Holds the link to the pseudo-terminal.
    _folder: tempfile::TempDir,
    port: PathBuf,
}

/// What the board's thread and its owner share.
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A state is whole between any two of its changes.
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Twin {
    /// Switches a board on, with this at the beginning of its flash, a display if it is to have
    /// one, and a core of this shape in whatever bitstream its FPGA is configured with. Returns
    /// when its serial port is there.
    ///
    /// # Errors
    /// If a tool is missing, the core cannot be built, or the firmware brings up no serial port.
    pub fn start(
        flash: &[u8],
        screen: bool,
        shape: &CoreShape,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, TwinError> {
        let tools = Tools::find()?;
        let design = crate::link::SpiDesign::build(shape, progress)?;
        let folder = tempfile::Builder::new()
            .prefix("annulus-twin-")
            .tempdir()
            .map_err(TwinError::Terminal)?;
        let port = folder.path().join("ttyACM0");
        let mut emulator = Command::new(&tools.node)
            .arg(&tools.program)
            .args(screen.then_some("--screen"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|reason| TwinError::Node {
                node: tools.node.clone(),
                reason,
            })?;
        let (Some(input), Some(output)) = (emulator.stdin.take(), emulator.stdout.take()) else {
            return Err(TwinError::Emulator(
                "it has no standard input or output".into(),
            ));
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(State::default()),
            changed: Condvar::new(),
        });
        let board = Board::new(
            Channel::new(output, input),
            fpga::Fpga::new(design),
            flash.to_vec(),
            port.clone(),
            Arc::clone(&shared),
        );
        let thread = std::thread::spawn(move || board.run());
        let twin = Twin {
            shared,
            emulator,
            thread: Some(thread),
            _folder: folder,
            port,
        };
        twin.wait_for_port(0)?;
        Ok(twin)
    }

    /// Where the serial port is. The path stays the same when the board is unplugged; what is
    /// there does not.
    pub fn port(&self) -> &Path {
        &self.port
    }

    /// What the device says that it is.
    pub fn device(&self) -> Option<Device> {
        self.shared.lock().device.clone()
    }

    /// The lights.
    pub fn leds(&self) -> Leds {
        self.shared.lock().leds
    }

    /// What the display shows; dark without one.
    pub fn screen(&self) -> Screen {
        self.shared.lock().screen.clone()
    }

    /// Whether the FPGA says that it has been configured (CDONE).
    pub fn configured(&self) -> bool {
        self.shared.lock().configured
    }

    /// Emulated time since the board was switched on.
    pub fn time(&self) -> Duration {
        Duration::from_nanos(self.shared.lock().now)
    }

    /// Damages so many bits of a million on the SPI wires to the core, in both directions.
    pub fn damage_spi(&self, per_million: u32) {
        self.shared.lock().damage = per_million;
    }

    /// Pushes the microcontroller's reset button, and waits until its serial port is there again.
    /// The FPGA keeps what it has.
    ///
    /// # Errors
    /// If it does not come back.
    pub fn reset(&self) -> Result<(), TwinError> {
        self.order(Order::Restart)
    }

    /// Pulls the plug of the whole board and puts it back, and waits for its serial port.
    ///
    /// # Errors
    /// If it does not come back.
    pub fn replug(&self) -> Result<(), TwinError> {
        self.order(Order::Power)
    }

    fn order(&self, order: Order) -> Result<(), TwinError> {
        let before = {
            let mut state = self.shared.lock();
            state.order = Some(order);
            state.enumerations
        };
        self.wait_for_port(before)
    }

    /// Waits until the serial port has come up more than `before` times.
    fn wait_for_port(&self, before: u64) -> Result<(), TwinError> {
        let start = Instant::now();
        let mut state = self.shared.lock();
        while state.enumerations <= before || state.order.is_some() {
            if let Some(error) = state.ended.take() {
                return Err(error);
            }
            let left = PATIENCE.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Err(TwinError::NoPort(PATIENCE.as_secs()));
            }
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(|poisoned| poisoned.into_inner()).0;
        }
        Ok(())
    }

    /// Waits until the board ends, which it only does for an error.
    pub fn wait(&self) -> TwinError {
        let mut state = self.shared.lock();
        loop {
            if let Some(error) = state.ended.take() {
                return error;
            }
            let waited = self.shared.changed.wait(state);
            state = waited.unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }
}

impl Drop for Twin {
    fn drop(&mut self) {
        self.shared.lock().off = true;
        // Without it the thread's channel ends, and so does the thread.
        let _ = self.emulator.kill();
        let _ = self.emulator.wait();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
