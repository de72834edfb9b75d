//! The parts of a board that are neither the link nor the line.

use annulus_contract::wire::{Digest, Fault, Object, Reboot};
use annulus_firmware_core::{Board, Lights};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// Whether the FPGA is configured: what stands between a board and its core.
#[derive(Clone, Debug)]
pub struct Fpga(Arc<AtomicBool>);

impl Fpga {
    /// An FPGA with or without its bitstream.
    pub fn new(configured: bool) -> Self {
        Fpga(Arc::new(AtomicBool::new(configured)))
    }

    /// Whether it has one.
    pub fn is_configured(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, configured: bool) {
        self.0.store(configured, Ordering::Relaxed);
    }
}

/// What is in flash: bitstream, image, script.
pub type Flash = [Option<(Digest, Vec<u8>)>; 3];

/// What tests see and change of a board.
#[derive(Debug)]
pub struct State {
    /// Microseconds that have passed.
    pub micros: u64,
    /// Microseconds that each look at the clock takes.
    pub tick: u64,
    /// What the lights have shown, one after the other.
    pub lights: Vec<Lights>,
    /// Times that the watchdog was fed.
    pub fed: u64,
    /// What the microcontroller was told to start.
    pub rebooted: Option<Reboot>,
    /// The bytes in flash.
    pub flash: Flash,
    /// The flash loses the next byte that is written.
    pub bad_flash: bool,
    /// What its screen has shown, and the rate that was shown last.
    pub shown: (Vec<u8>, u32),
    /// Bytes that the FPGA has been sent.
    pub configuration: Vec<u8>,
    /// A bitstream that the FPGA does not take ends with this byte.
    pub refused: Option<u8>,
}

impl Default for State {
    fn default() -> Self {
        State {
            micros: 0,
            tick: 1,
            lights: Vec::new(),
            fed: 0,
            rebooted: None,
            flash: Flash::default(),
            bad_flash: false,
            shown: (Vec::new(), 0),
            configuration: Vec::new(),
            refused: None,
        }
    }
}

/// A board in memory.
#[derive(Debug)]
pub struct TestBoard {
    fpga: Fpga,
    /// What tests see, from whatever thread.
    pub state: Arc<Mutex<State>>,
    /// What is in flash is lent out, so it is here and not behind the lock.
    stored: Flash,
    storing: Option<(Object, Digest, Vec<u8>)>,
}

/// Room for each object in flash.
const ROOM: u32 = 1 << 20;

impl TestBoard {
    /// A board with this FPGA, and nothing in its flash.
    pub fn new(fpga: Fpga) -> Self {
        TestBoard {
            fpga,
            state: Arc::default(),
            stored: Flash::default(),
            storing: None,
        }
    }

    /// The same board after its power was off: what is in flash is still there.
    pub fn with_flash(fpga: Fpga, flash: Flash) -> Self {
        TestBoard {
            stored: flash,
            ..Self::new(fpga)
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().expect("no test fails while it looks"))
    }
}

fn place(object: Object) -> usize {
    match object {
        Object::Bitstream => 0,
        Object::Image => 1,
        Object::Script => 2,
    }
}

impl Board for TestBoard {
    fn name(&self) -> &str {
        "test"
    }

    fn part(&self) -> &str {
        "iCE40UP5K"
    }

    fn micros(&mut self) -> u64 {
        self.with(|state| {
            state.micros += state.tick;
            state.micros
        })
    }

    fn feed(&mut self) {
        self.with(|state| state.fed += 1);
    }

    fn show(&mut self, lights: Lights) {
        self.with(|state| state.lights.push(lights));
    }

    fn died(&self) -> Option<&str> {
        None
    }

    fn begin_configuration(&mut self) -> Result<(), Fault> {
        self.fpga.set(false);
        self.with(|state| state.configuration.clear());
        Ok(())
    }

    fn configure(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.with(|state| state.configuration.extend(bytes));
        Ok(())
    }

    fn end_configuration(&mut self) -> Result<(), Fault> {
        let refused = self.with(|state| {
            state.refused.is_some() && state.configuration.last().copied() == state.refused
        });
        if refused {
            return Err(Fault::Configuration);
        }
        self.fpga.set(true);
        Ok(())
    }

    fn stored(&self, object: Object) -> Option<(Digest, &[u8])> {
        let (digest, bytes) = self.stored[place(object)].as_ref()?;
        Some((*digest, bytes))
    }

    fn begin_storing(&mut self, object: Object, digest: Digest) -> Result<(), Fault> {
        if digest.length > ROOM {
            return Err(Fault::NoStorage(object));
        }
        self.stored[place(object)] = None;
        self.storing = Some((object, digest, Vec::new()));
        Ok(())
    }

    fn store(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let lost = self.with(|state| std::mem::take(&mut state.bad_flash));
        let (_, _, stored) = self.storing.as_mut().ok_or(Fault::NoUpload)?;
        stored.extend(bytes);
        if let (true, Some(last)) = (lost, stored.last_mut()) {
            *last ^= 1;
        }
        Ok(())
    }

    fn end_storing(&mut self) -> Result<(), Fault> {
        let (object, digest, bytes) = self.storing.take().ok_or(Fault::NoUpload)?;
        self.stored[place(object)] = Some((digest, bytes));
        let flash = self.stored.clone();
        self.with(|state| state.flash = flash);
        Ok(())
    }

    fn forget(&mut self, object: Object) -> Result<(), Fault> {
        self.stored[place(object)] = None;
        Ok(())
    }

    fn write(&mut self, text: &[u8], tokens_per_second: u32) {
        self.with(|state| {
            state.shown.0.extend(text);
            state.shown.1 = tokens_per_second;
        });
    }

    fn reboot(&mut self, how: Reboot) {
        self.with(|state| state.rebooted = Some(how));
    }
}
