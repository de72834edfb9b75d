//! A core's stream as it can be saved and restored.

use super::{CoreDriver, DriverError, RegisterBus, Result};
use annulus_contract::regs::{mem_address, region};
use annulus_contract::ring::Ring;
use annulus_firmware_core::driver::STREAM;
use annulus_model::image::Config;

/// A stream: key and value rings, position, and the sampler's count. It can be
/// restored on any core of as many lanes that runs the same image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    config: Config,
    ring: Ring,
    /// Words of the rings in the wide memory.
    rings: Vec<u32>,
    key_scales: Vec<u32>,
    /// Of 4-bit values.
    exponents: Vec<u32>,
    phases: Vec<u32>,
    registers: [u32; STREAM.len()],
}

impl Snapshot {
    /// Position of the next token.
    pub fn position(&self) -> u64 {
        u64::from(self.registers[0]) | u64::from(self.registers[1]) << 32
    }
}

impl<B: RegisterBus> CoreDriver<B>
where
    B::Error: std::error::Error + 'static,
{
    /// Save the stream; the core must be idle.
    ///
    /// # Errors
    /// If nothing is loaded or the link fails.
    pub fn save(&mut self) -> Result<Snapshot, B> {
        let image = self.loaded()?;
        let (config, ring, layout) = (image.config.clone(), image.ring, image.layout());
        let pairs = image.increments.len();
        let lanes = region::lanes(region::WIDE, ring.rows) as usize;
        let words = (layout.key_words + layout.value_words) * lanes;
        let exponents = layout.exponent_bytes() / 4;
        let mut registers = [0; STREAM.len()];
        for (value, register) in registers.iter_mut().zip(STREAM) {
            *value = self.core.read(register)?;
        }
        Ok(Snapshot {
            rings: self.read_memory(region::WIDE, layout.weight_words as u32, words)?,
            key_scales: self.read_memory(
                region::KEY_SCALES,
                0,
                layout.key_scales * ring.rows as usize,
            )?,
            exponents: self.read_memory(
                region::EXPONENTS,
                layout.value_start() as u32,
                exponents,
            )?,
            phases: self.read_memory(region::PHASE, 0, pairs)?,
            config,
            ring,
            registers,
        })
    }

    /// Go on where a stream was saved. The token to feed next is the caller's to know.
    ///
    /// # Errors
    /// If the snapshot belongs to another image, or the link fails.
    pub fn restore(&mut self, snapshot: &Snapshot) -> Result<(), B> {
        let image = self.loaded()?;
        if (&image.config, image.ring) != (&snapshot.config, snapshot.ring) {
            return Err(DriverError::Snapshot);
        }
        let layout = image.layout();
        let (rings, values) = (layout.weight_words as u32, layout.value_start() as u32);
        self.reset()?;
        let parts = [
            (mem_address(region::WIDE, rings, 0), &snapshot.rings),
            (mem_address(region::KEY_SCALES, 0, 0), &snapshot.key_scales),
            (
                mem_address(region::EXPONENTS, values, 0),
                &snapshot.exponents,
            ),
            (mem_address(region::PHASE, 0, 0), &snapshot.phases),
        ];
        for (address, words) in parts {
            self.core.write_memory(address, words)?;
        }
        for (&value, register) in snapshot.registers.iter().zip(STREAM) {
            self.core.write(register, value)?;
        }
        Ok(())
    }
}
