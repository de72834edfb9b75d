//! The configuration of an iCE40 by whoever drives its pins, as its data sheet ("iCE40 Programming and
//! Configuration") says: the part is reset with its select pin low, and then takes a bitstream
//! into its configuration memory.

use annulus_contract::wire::{Fault, Reboot};

/// The outputs of the microcontroller that this crate drives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// The FPGA's reset, active low.
    Reset,
    /// Selects its configuration port, active low.
    Select,
    /// Clock of its configuration port.
    Clock,
    /// Data of its configuration port.
    Data,
    /// A light, active low.
    Red,
    /// A light, active low.
    Green,
    /// A light, active low.
    Blue,
}

/// What a board's own crate brings.
pub trait Hardware {
    /// Its name.
    const NAME: &'static str;

    /// Drives an output.
    fn set(&mut self, line: Line, high: bool);

    /// The FPGA's CDONE.
    fn configured(&mut self) -> bool;

    /// Microseconds since the start.
    fn micros(&mut self) -> u64;

    /// Feeds the watchdog.
    fn feed(&mut self);

    /// Starts anew.
    fn reboot(&mut self, how: Reboot);
}

/// Microseconds that the reset is low.
const RESET: u64 = 2;
/// Microseconds until the part has cleared its memory.
const CLEARING: u64 = 1_300;
/// Clocks until CDONE must have risen.
const PATIENCE: u32 = 100;
/// Clocks after it until the part's pins live.
const WAKING: u32 = 49;

/// Empties the FPGA and makes it listen.
pub(crate) fn begin(hardware: &mut impl Hardware) {
    hardware.set(Line::Clock, true);
    hardware.set(Line::Select, false);
    hardware.set(Line::Reset, false);
    wait(hardware, RESET);
    hardware.set(Line::Reset, true);
    wait(hardware, CLEARING);
    hardware.set(Line::Select, true);
    clocks(hardware, 8);
    hardware.set(Line::Select, false);
}

/// Sends a part of a bitstream, most significant bits first.
pub(crate) fn send(hardware: &mut impl Hardware, bytes: &[u8]) {
    for byte in bytes {
        for bit in (0..8).rev() {
            hardware.set(Line::Clock, false);
            hardware.set(Line::Data, byte >> bit & 1 == 1);
            hardware.set(Line::Clock, true);
        }
    }
}

/// Starts what was sent.
pub(crate) fn end(hardware: &mut impl Hardware) -> Result<(), Fault> {
    hardware.set(Line::Select, true);
    let done = (0..PATIENCE).any(|_| {
        clocks(hardware, 1);
        hardware.configured()
    });
    clocks(hardware, WAKING);
    if done {
        Ok(())
    } else {
        Err(Fault::Configuration)
    }
}

fn clocks(hardware: &mut impl Hardware, count: u32) {
    for _ in 0..count {
        hardware.set(Line::Clock, false);
        hardware.set(Line::Clock, true);
    }
}

fn wait(hardware: &mut impl Hardware, micros: u64) {
    let start = hardware.micros();
    // The count may be about to step.
    while hardware.micros() - start <= micros {}
}
