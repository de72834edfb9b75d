//! What a link must do.

use annulus_contract::link::{LinkError, Master, Wire};

/// A core's bus of 32-bit registers with 8-bit addresses (`annulus_contract::regs`).
pub trait RegisterBus {
    /// Why the link fails.
    type Error;

    /// Read a register.
    ///
    /// # Errors
    /// If the link fails.
    fn read(&mut self, register: u8) -> Result<u32, Self::Error>;

    /// Write a register.
    ///
    /// # Errors
    /// If the link fails.
    fn write(&mut self, register: u8, value: u32) -> Result<(), Self::Error>;

    /// Read consecutive registers.
    ///
    /// # Errors
    /// If the link fails.
    fn read_range(&mut self, first: u8, words: &mut [u32]) -> Result<(), Self::Error> {
        for (register, word) in (first..).zip(words) {
            *word = self.read(register)?;
        }
        Ok(())
    }

    /// Read one register again and again, as for a memory behind it.
    ///
    /// # Errors
    /// If the link fails.
    fn read_block(&mut self, register: u8, words: &mut [u32]) -> Result<(), Self::Error> {
        for word in words {
            *word = self.read(register)?;
        }
        Ok(())
    }

    /// Write one register again and again.
    ///
    /// # Errors
    /// If the link fails.
    fn write_block(&mut self, register: u8, words: &[u32]) -> Result<(), Self::Error> {
        words
            .iter()
            .try_for_each(|&word| self.write(register, word))
    }

    /// Called where a driver has nothing to do but wait. A real core goes on by
    /// itself; a simulated one is clocked on, best until it has a token to hand
    /// out or has become idle.
    ///
    /// # Errors
    /// If the link fails.
    fn run(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

impl<W: Wire> RegisterBus for Master<W> {
    type Error = LinkError<W::Error>;

    fn read(&mut self, register: u8) -> Result<u32, Self::Error> {
        Master::read(self, register)
    }

    fn write(&mut self, register: u8, value: u32) -> Result<(), Self::Error> {
        Master::write(self, register, value)
    }

    fn read_block(&mut self, register: u8, words: &mut [u32]) -> Result<(), Self::Error> {
        Master::read_block(self, register, words)
    }

    fn write_block(&mut self, register: u8, words: &[u32]) -> Result<(), Self::Error> {
        Master::write_block(self, register, words)
    }
}
