//! The boards without a microcontroller of ours: a core behind the UART of a USB bridge.

use super::Device;
use annulus_contract::shape;

/// Such a board.
#[derive(Debug)]
pub struct UartBoard {
    /// Its name, as in [`annulus_contract::shape::BOARDS`].
    pub name: &'static str,
    /// What its makers call it.
    pub title: &'static str,
    /// The part that its bitstreams are for.
    pub part: &'static str,
    /// What openFPGALoader calls it.
    pub programmer: &'static str,
    /// Vendor and product of the bridge.
    usb: (u16, u16),
    /// What the bridge's product string begins with.
    product: &'static str,
    /// Which of the bridge's interfaces is the UART, where there are several.
    interface: Option<u8>,
}

/// All of them.
pub static UART_BOARDS: [UartBoard; 2] = [
    UartBoard {
        name: shape::ULX3S,
        title: "ULX3S",
        part: "LFE5U-85F",
        programmer: "ulx3s",
        usb: (0x0403, 0x6015),
        product: "ULX3S",
        interface: None,
    },
    UartBoard {
        name: shape::TANG_NANO_20K,
        title: "Tang Nano 20K",
        part: "GW2A-18",
        programmer: "tangnano20k",
        // A BL616 that passes for an FT2232: JTAG, and the UART.
        usb: (0x0403, 0x6010),
        product: "USB Debugger",
        interface: Some(1),
    },
];

impl UartBoard {
    /// The board of this name, if it is one of these.
    pub fn named(name: &str) -> Option<&'static Self> {
        UART_BOARDS.iter().find(|board| board.name == name)
    }

    /// The board whose UART this port may be: whether a core is behind it, only asking would tell.
    pub fn on(device: &Device) -> Option<&'static Self> {
        let carries = |board: &&UartBoard| {
            let usb = format!("{:04x}:{:04x}", board.usb.0, board.usb.1);
            // Without a udev database the spaces of a name may come as underscores.
            let product = device
                .product
                .as_deref()
                .unwrap_or_default()
                .replace('_', " ");
            device.usb.as_ref() == Some(&usb)
                && product.starts_with(board.product)
                && board
                    .interface
                    .is_none_or(|it| device.interface == Some(it))
        };
        UART_BOARDS.iter().find(carries)
    }
}
