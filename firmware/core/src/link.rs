//! The link to the core: frames of `annulus_contract::link` over an SPI port.

use annulus_contract::link::Wire;
use embedded_hal::spi::SpiDevice;

/// An SPI port with its chip select, as a wire to the core: mode 0, most significant bit first,
/// SCK at most a quarter of the core's clock (`annulus_contract::link`).
#[derive(Debug)]
pub struct SpiWire<S>(pub S);

impl<S: SpiDevice> Wire for SpiWire<S> {
    type Error = S::Error;

    fn exchange(&mut self, frame: &mut [u8]) -> Result<(), S::Error> {
        self.0.transfer_in_place(frame)
    }
}
