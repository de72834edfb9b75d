//! What a board must bring.

use annulus_contract::wire::{Digest, Fault, Object, Reboot};

/// What a board's lights tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lights {
    /// No bitstream in the FPGA, or no core in the bitstream.
    NoCore,
    /// A core without an image.
    NoImage,
    /// An upload is under way.
    Loading,
    /// Ready for a run.
    Ready,
    /// A run, a prompt or a self-test is under way.
    Running,
    /// A run waits for its host.
    Held,
    /// The last thing that was tried has failed.
    Fault,
}

/// A board: everything about it that is not the link to the core or the host.
///
/// Methods may take a few milliseconds, but for those that erase flash.
pub trait Board {
    /// Its name, such as `pico-ice`.
    fn name(&self) -> &str;

    /// The FPGA on it, such as `iCE40UP5K`.
    fn part(&self) -> &str;

    /// Microseconds since it started.
    fn micros(&mut self) -> u64;

    /// Called at every turn of the loop, and not when the firmware hangs: feed the watchdog here.
    fn feed(&mut self);

    /// Show what the board is at. Called when it changes.
    fn show(&mut self, lights: Lights);

    /// What the firmware died of before it started this time, if it did.
    fn died(&self) -> Option<&str>;

    /// Empties the FPGA and makes it ready for a bitstream; also what ends an FPGA that hangs.
    ///
    /// # Errors
    /// [`Fault::NoConfiguration`] on a board whose firmware cannot.
    fn begin_configuration(&mut self) -> Result<(), Fault>;

    /// Sends a part of a bitstream to the FPGA.
    ///
    /// # Errors
    /// If the port fails.
    fn configure(&mut self, bytes: &[u8]) -> Result<(), Fault>;

    /// Ends the configuration and starts the FPGA's clock.
    ///
    /// # Errors
    /// [`Fault::Configuration`] if the FPGA has not taken it.
    fn end_configuration(&mut self) -> Result<(), Fault>;

    /// What is stored in the board's flash: the bytes as they were stored, and their digest as it
    /// was stored with them. Whether they are still good is the caller's to check.
    fn stored(&self, object: Object) -> Option<(Digest, &[u8])>;

    /// Makes room in flash for an object, and forgets the one that is there.
    ///
    /// # Errors
    /// [`Fault::NoStorage`] without a flash or room in it.
    fn begin_storing(&mut self, object: Object, digest: Digest) -> Result<(), Fault>;

    /// Stores the next bytes of the object.
    ///
    /// # Errors
    /// [`Fault::Storage`] if the flash fails.
    fn store(&mut self, bytes: &[u8]) -> Result<(), Fault>;

    /// Makes what was stored the object that [`Board::stored`] gives. The caller has checked the
    /// CRC of what it handed over.
    ///
    /// # Errors
    /// [`Fault::Storage`] if the flash does not read back what was written.
    fn end_storing(&mut self) -> Result<(), Fault>;

    /// Forgets what is stored of an object.
    ///
    /// # Errors
    /// [`Fault::NoStorage`] without a flash, [`Fault::Storage`] if it fails.
    fn forget(&mut self, object: Object) -> Result<(), Fault>;

    /// Shows text to whoever is there to read it: what a model writes without a host, at reading
    /// speed, and how fast it could; or, with a rate of 0, why it does not. A board that
    /// has nothing to show it on does nothing.
    fn write(&mut self, text: &[u8], tokens_per_second: u32);

    /// Starts the microcontroller anew. Called once the answer has left; may return, on a
    /// board that cannot.
    fn reboot(&mut self, how: Reboot);
}

/// Bytes from and to the host, without waiting.
pub trait Port {
    /// Takes bytes that have come; 0 if there are none.
    fn read(&mut self, bytes: &mut [u8]) -> usize;

    /// Sends as many of these bytes as there is room for, and returns how many.
    fn write(&mut self, bytes: &[u8]) -> usize;
}
