//! A pico-ice as the firmware knows boards.

use crate::configuration::{self, Hardware, Line};
use crate::obituary::Text;
use crate::screen::Screen;
use crate::storage::{Flash, Storage};
use annulus_contract::wire::{Digest, Fault, Object, Reboot};
use annulus_firmware_core::{Board, Lights};

/// Microseconds from the order to start anew until it is done: the last answer has left the
/// firmware, and is still to leave the USB's buffers.
const FAREWELL: u64 = 20_000;

/// A board with this hardware, flash and screen.
pub(crate) struct IceBoard<H, F, S> {
    hardware: H,
    storage: Storage<F>,
    screen: S,
    died: Option<Text>,
    /// It is to start anew, at this time.
    leaving: Option<(Reboot, u64)>,
}

impl<H: Hardware, F: Flash, S: Screen> IceBoard<H, F, S> {
    /// A board whose firmware died of this before it started.
    pub fn new(hardware: H, flash: F, screen: S, died: Option<Text>) -> Self {
        IceBoard {
            hardware,
            storage: Storage::new(flash),
            screen,
            died,
            leaving: None,
        }
    }
}

impl<H: Hardware, F: Flash, S: Screen> Board for IceBoard<H, F, S> {
    fn name(&self) -> &str {
        H::NAME
    }

    fn part(&self) -> &str {
        annulus_contract::ice40::UP5K
    }

    fn micros(&mut self) -> u64 {
        self.hardware.micros()
    }

    fn feed(&mut self) {
        self.hardware.feed();
        if let Some((how, when)) = self.leaving {
            if self.hardware.micros() >= when {
                self.hardware.reboot(how);
            }
        }
    }

    fn show(&mut self, lights: Lights) {
        // Red, green, blue.
        let lit = match lights {
            Lights::NoCore => [true, false, false],
            Lights::NoImage => [true, true, false],
            Lights::Loading => [false, false, true],
            Lights::Ready => [false, true, false],
            Lights::Running => [false, true, true],
            Lights::Held => [true, true, true],
            Lights::Fault => [true, false, true],
        };
        for (line, lit) in [Line::Red, Line::Green, Line::Blue].into_iter().zip(lit) {
            self.hardware.set(line, !lit);
        }
    }

    fn died(&self) -> Option<&str> {
        self.died.as_deref()
    }

    fn begin_configuration(&mut self) -> Result<(), Fault> {
        configuration::begin(&mut self.hardware);
        Ok(())
    }

    fn configure(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        configuration::send(&mut self.hardware, bytes);
        Ok(())
    }

    fn end_configuration(&mut self) -> Result<(), Fault> {
        configuration::end(&mut self.hardware)
    }

    fn stored(&self, object: Object) -> Option<(Digest, &[u8])> {
        self.storage.stored(object)
    }

    fn begin_storing(&mut self, object: Object, digest: Digest) -> Result<(), Fault> {
        self.storage.begin(object, digest)
    }

    fn store(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.storage.write(bytes)
    }

    fn end_storing(&mut self) -> Result<(), Fault> {
        self.storage.end()
    }

    fn forget(&mut self, object: Object) -> Result<(), Fault> {
        self.storage.forget(object);
        Ok(())
    }

    fn write(&mut self, text: &[u8], tokens_per_second: u32) {
        self.screen.write(text, tokens_per_second);
    }

    fn reboot(&mut self, how: Reboot) {
        self.leaving = Some((how, self.hardware.micros() + FAREWELL));
    }
}
