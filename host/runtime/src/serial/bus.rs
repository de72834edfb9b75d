//! A core's registers through its board: for what a driver does one register at a time.

use super::{Client, Line, SerialError};
use annulus_contract::link::advance;
use annulus_contract::regs;
use annulus_contract::wire::{Request, CORE_REGISTERS, MAX_WORDS};
use annulus_firmware_core::driver::RegisterBus;

/// The register bus of a board's core.
pub struct WireBus<L> {
    client: Client<L>,
    /// Where [`regs::MEM_DATA`] is. Requests say it themselves, so that one that is repeated
    /// goes to the same place.
    address: u32,
    rows: u32,
}

impl<L: Line> WireBus<L> {
    /// The bus behind a board.
    ///
    /// # Errors
    /// If no core answers on the board.
    pub fn new(client: Client<L>) -> Result<Self, SerialError> {
        let shape = client.greeting().shape();
        let shape = shape.map_err(|fault| SerialError::Fault {
            port: client.port().into(),
            fault,
        })?;
        Ok(WireBus {
            client,
            address: 0,
            rows: shape.rows,
        })
    }

    /// The session with the board.
    pub fn client(&mut self) -> &mut Client<L> {
        &mut self.client
    }
}

impl<L: Line> RegisterBus for WireBus<L> {
    type Error = SerialError;

    fn read(&mut self, register: u8) -> Result<u32, SerialError> {
        let mut word = [0];
        self.read_range(register, &mut word)?;
        Ok(word[0])
    }

    fn write(&mut self, register: u8, value: u32) -> Result<(), SerialError> {
        if register == regs::MEM_ADDRESS {
            self.address = value;
            return Ok(());
        }
        self.client
            .order(&Request::WriteRegister { register, value })
    }

    fn read_range(&mut self, first: u8, words: &mut [u32]) -> Result<(), SerialError> {
        // What a core is does not change, and the board has said it.
        if let ([word], Ok(known)) = (&mut *words, self.client.greeting().core) {
            if let Some(at) = CORE_REGISTERS.iter().position(|&r| r == first) {
                *word = known[at];
                return Ok(());
            }
        }
        self.client.read_registers(first, words)
    }

    fn read_block(&mut self, register: u8, words: &mut [u32]) -> Result<(), SerialError> {
        if register != regs::MEM_DATA {
            return words
                .iter_mut()
                .try_for_each(|word| self.read(register).map(|value| *word = value));
        }
        words.chunks_mut(MAX_WORDS).try_for_each(|words| {
            self.client.read_memory(self.address, words)?;
            self.address = advance(self.address, words.len() as u32, self.rows);
            Ok(())
        })
    }

    fn write_block(&mut self, register: u8, words: &[u32]) -> Result<(), SerialError> {
        if register != regs::MEM_DATA {
            return words
                .iter()
                .try_for_each(|&word| self.write(register, word));
        }
        words.chunks(MAX_WORDS).try_for_each(|words| {
            self.client.write_memory(self.address, words)?;
            self.address = advance(self.address, words.len() as u32, self.rows);
            Ok(())
        })
    }
}
