//! What every board's `main` comes down to.

use crate::board::IceBoard;
use crate::configuration::Hardware;
use crate::obituary::Text;
use crate::rom::RomFlash;
use crate::screen::Screen;
use crate::usb::UsbPort;
use annulus_contract::wire::usb::NAME;
use annulus_firmware_core::{Dispatcher, SpiWire};
use embedded_hal::spi::SpiDevice;
use heapless::String;
use usb_device::bus::{UsbBus, UsbBusAllocator};

/// What a board's own crate brings.
pub struct Parts<H, S, L, U: UsbBus> {
    /// Pins and clocks.
    pub hardware: H,
    /// The microcontroller's flash.
    pub flash: RomFlash,
    /// What shows text without a host.
    pub screen: S,
    /// The port to the core.
    pub link: L,
    /// The port to the host.
    pub usb: UsbBusAllocator<U>,
    /// What the last life died of, if the watchdog ended it.
    pub hanged: Option<Text>,
}

/// Runs a board whose firmware died of this before it started.
pub fn run<H: Hardware, S: Screen, L: SpiDevice, U: UsbBus>(
    parts: Parts<H, S, L, U>,
    died: Option<Text>,
) -> ! {
    let mut product: String<32> = String::new();
    // Names of boards are short.
    let _ = product
        .push_str(NAME)
        .and_then(|()| product.push_str(H::NAME));
    let Ok(mut port) = UsbPort::new(&parts.usb, &product) else {
        unreachable!("the description is a constant");
    };
    let died = died.or(parts.hanged);
    let board = IceBoard::new(parts.hardware, parts.flash, parts.screen, died);
    let mut dispatcher = Dispatcher::new(board, SpiWire(parts.link));
    dispatcher.start_stored();
    loop {
        dispatcher.poll(&mut port);
    }
}
