//! The port to the host: a serial port over USB.

use annulus_contract::wire::usb;
use annulus_firmware_core::Port;
use usb_device::bus::{UsbBus, UsbBusAllocator};
use usb_device::device::{StringDescriptors, UsbDevice, UsbDeviceBuilder, UsbVidPid};
use usb_device::prelude::BuilderError;
use usbd_serial::{SerialPort, USB_CLASS_CDC};

/// Milliamperes that a board may take.
const POWER: usize = 250;

/// A serial port on a USB device of its own.
pub(crate) struct UsbPort<'a, B: UsbBus> {
    device: UsbDevice<'a, B>,
    serial: SerialPort<'a, B>,
}

impl<'a, B: UsbBus> UsbPort<'a, B> {
    /// A device that says it is this product, such as `Annulus pico-ice`.
    ///
    /// # Errors
    /// Only for descriptions that USB does not allow.
    pub fn new(bus: &'a UsbBusAllocator<B>, product: &'a str) -> Result<Self, BuilderError> {
        let serial = SerialPort::new(bus);
        let strings = StringDescriptors::default()
            .manufacturer("Annulus")
            .product(product);
        let device = UsbDeviceBuilder::new(bus, UsbVidPid(usb::VENDOR, usb::PRODUCT))
            .strings(&[strings])?
            .max_packet_size_0(64)?
            .max_power(POWER)?
            .device_class(USB_CLASS_CDC)
            .build();
        Ok(UsbPort { device, serial })
    }
}

impl<B: UsbBus> Port for UsbPort<'_, B> {
    fn read(&mut self, bytes: &mut [u8]) -> usize {
        self.device.poll(&mut [&mut self.serial]);
        self.serial.read(bytes).unwrap_or(0)
    }

    fn write(&mut self, bytes: &[u8]) -> usize {
        let written = self.serial.write(bytes).unwrap_or(0);
        // What does not leave now leaves with the next poll.
        let _ = self.serial.flush();
        written
    }
}
