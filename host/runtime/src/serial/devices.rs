//! Serial ports, and which of them carry boards of ours.

use super::SerialError;
use annulus_contract::wire::usb;
use serde::Serialize;
use serialport::{SerialPortInfo, SerialPortType};

/// A serial port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Device {
    /// Its path.
    pub port: String,
    /// The name of the board, if it is one of ours.
    pub board: Option<String>,
    /// Vendor and product on the USB, if it is there.
    pub usb: Option<String>,
    /// What it calls itself there.
    pub product: Option<String>,
    /// Which of its interfaces there the port is.
    pub interface: Option<u8>,
    /// Its serial number there.
    pub serial: Option<String>,
    /// Why it cannot be opened, if it cannot.
    pub trouble: Option<String>,
}

/// The serial ports of this machine. None is opened or written to.
pub fn list() -> Vec<Device> {
    // Where there is no list of ports there is no port.
    if cfg!(target_os = "linux") && !std::path::Path::new("/sys/class/tty").is_dir() {
        return Vec::new();
    }
    let ports = serialport::available_ports().unwrap_or_default();
    let mut devices: Vec<Device> = devices(ports).collect();
    devices.sort_by(|a, b| (a.board.is_none(), &a.port).cmp(&(b.board.is_none(), &b.port)));
    devices
}

/// What the system says of its ports, in our words.
pub fn devices(ports: Vec<SerialPortInfo>) -> impl Iterator<Item = Device> {
    ports.into_iter().map(|info| {
        let mut device = Device {
            trouble: trouble(&info.port_name),
            port: info.port_name,
            board: None,
            usb: None,
            product: None,
            interface: None,
            serial: None,
        };
        if let SerialPortType::UsbPort(on_usb) = info.port_type {
            let ours = (on_usb.vid, on_usb.pid) == (usb::VENDOR, usb::PRODUCT);
            let name = on_usb.product.as_deref();
            // Without a udev database the spaces of a name may come as underscores.
            let name = name.and_then(|name| {
                name.strip_prefix(usb::NAME)
                    .or_else(|| name.strip_prefix(&usb::NAME.replace(' ', "_")))
            });
            device.board = name.filter(|_| ours).map(Into::into);
            device.usb = Some(format!("{:04x}:{:04x}", on_usb.vid, on_usb.pid));
            device.product = on_usb.product;
            device.interface = on_usb.interface;
            device.serial = on_usb.serial_number;
        }
        device
    })
}

/// Why the user may not open a port, as far as can be told without opening it.
#[cfg(unix)]
fn trouble(port: &str) -> Option<String> {
    use rustix::fs::{access, Access};
    let denied = access(port, Access::READ_OK | Access::WRITE_OK) == Err(rustix::io::Errno::ACCESS);
    denied.then(|| SerialError::Permission(port.into()).to_string())
}

#[cfg(not(unix))]
fn trouble(_: &str) -> Option<String> {
    None
}

/// The ports of the boards that are plugged in.
pub fn boards() -> Vec<String> {
    let devices = list().into_iter();
    let boards = devices.filter(|device| device.board.is_some());
    boards.map(|device| device.port).collect()
}

/// The port of the one board that is plugged in.
///
/// # Errors
/// If there is none, or more than one.
pub fn board() -> Result<String, SerialError> {
    only(boards())
}

/// The one of these ports.
pub(super) fn only(mut ports: Vec<String>) -> Result<String, SerialError> {
    match ports.len() {
        0 | 1 => ports.pop().ok_or(SerialError::NoBoard),
        _ => Err(SerialError::Several(ports.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serial::UartBoard;
    use serialport::UsbPortInfo;

    fn on_usb(port: &str, (vid, pid): (u16, u16), product: &str) -> SerialPortInfo {
        SerialPortInfo {
            port_name: port.into(),
            port_type: SerialPortType::UsbPort(UsbPortInfo {
                vid,
                pid,
                serial_number: Some("1".into()),
                manufacturer: None,
                product: Some(product.into()),
                interface: port.ends_with('1').then_some(1),
            }),
        }
    }

    #[test]
    fn boards_are_told_from_what_else_is_there() {
        let ours = (usb::VENDOR, usb::PRODUCT);
        let ports = vec![
            on_usb("/dev/ttyACM0", ours, "Annulus pico-ice"),
            on_usb("/dev/ttyACM1", ours, "Annulus_pico2-ice"),
            // The number is one for tests, and others use it too.
            on_usb("/dev/ttyACM2", ours, "Somebody's experiment"),
            on_usb("/dev/ttyUSB0", (0x0403, 0x6015), "ULX3S FPGA 85K v3.0.8"),
            on_usb("/dev/ttyUSB1", (0x0403, 0x6015), "FT231X USB UART"),
            // The first interface is JTAG.
            on_usb("/dev/ttyUSB10", (0x0403, 0x6010), "USB Debugger"),
            on_usb("/dev/ttyUSB11", (0x0403, 0x6010), "USB_Debugger"),
            SerialPortInfo {
                port_name: "/dev/ttyS0".into(),
                port_type: SerialPortType::Unknown,
            },
        ];
        let devices: Vec<Device> = devices(ports).collect();
        let boards: Vec<_> = devices.iter().map(|d| d.board.as_deref()).collect();
        let none = None;
        assert_eq!(
            boards,
            [
                Some("pico-ice"),
                Some("pico2-ice"),
                none,
                none,
                none,
                none,
                none,
                none
            ]
        );
        let uarts = devices.iter().map(|d| UartBoard::on(d).map(|b| b.name));
        assert_eq!(
            uarts.collect::<Vec<_>>(),
            [
                none,
                none,
                none,
                Some("ulx3s"),
                none,
                none,
                Some("tang-nano-20k"),
                none
            ]
        );
        assert_eq!(devices[0].usb.as_deref(), Some("1209:0001"));
        assert_eq!(devices[7].usb, None);
    }

    #[test]
    fn one_board_is_taken_and_of_several_none() {
        let ports = |count: usize| (0..count).map(|i| format!("/dev/ttyACM{i}")).collect();
        assert!(matches!(only(ports(0)), Err(SerialError::NoBoard)));
        assert_eq!(only(ports(1)).ok().as_deref(), Some("/dev/ttyACM0"));
        let several = only(ports(2)).map_err(|error| error.to_string());
        assert!(several.is_err_and(|error| error.contains("/dev/ttyACM0, /dev/ttyACM1")));
    }
}
