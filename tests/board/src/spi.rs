//! The verilated core's wires as an `embedded-hal` SPI port, and an FPGA that may be empty.

use crate::board::Fpga;
use annulus_contract::link::Wire;
use annulus_sim::link::SpiWire;
use embedded_hal::spi::{ErrorType, Operation, SpiDevice};
use std::convert::Infallible;

/// A port to the simulated core: what firmware sees of it.
pub struct Spi(pub SpiWire);

impl ErrorType for Spi {
    type Error = Infallible;
}

impl SpiDevice for Spi {
    fn transaction(&mut self, operations: &mut [Operation<'_, u8>]) -> Result<(), Infallible> {
        let wire = &mut self.0;
        wire.select();
        for operation in operations {
            match operation {
                Operation::Read(bytes) => {
                    bytes.iter_mut().for_each(|byte| *byte = wire.byte(0));
                }
                Operation::Write(bytes) => bytes.iter().for_each(|&byte| {
                    wire.byte(byte);
                }),
                Operation::Transfer(read, write) => {
                    for i in 0..read.len().max(write.len()) {
                        let byte = wire.byte(write.get(i).copied().unwrap_or(0));
                        if let Some(place) = read.get_mut(i) {
                            *place = byte;
                        }
                    }
                }
                Operation::TransferInPlace(bytes) => {
                    bytes.iter_mut().for_each(|byte| *byte = wire.byte(*byte));
                }
                Operation::DelayNs(_) => wire.pass(annulus_sim::link::CLOCK),
            }
        }
        wire.deselect();
        Ok(())
    }
}

/// A wire that leads to a core only while the FPGA is configured.
pub struct Gate<W> {
    /// The wire.
    pub wire: W,
    /// The FPGA.
    pub fpga: Fpga,
}

impl<W: Wire> Wire for Gate<W> {
    type Error = W::Error;

    fn exchange(&mut self, frame: &mut [u8]) -> Result<(), W::Error> {
        if self.fpga.is_configured() {
            return self.wire.exchange(frame);
        }
        frame.fill(0);
        Ok(())
    }
}
