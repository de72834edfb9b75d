//! The stream of bytes to a board.

use super::SerialError;
use serialport::{ErrorKind, SerialPort};
use std::io;
use std::time::Duration;

/// Bits a second. USB and pseudo-terminals do not care.
const BAUD: u32 = 115_200;
/// How long a board may take to make room for bytes.
const WRITE_PATIENCE: Duration = Duration::from_secs(5);

/// Bytes to and from a board.
pub trait Line {
    /// Sends all of these bytes.
    ///
    /// # Errors
    /// If the port has vanished. Bytes that nobody takes in time may be dropped.
    fn send(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Waits for bytes, but no longer than this, and returns how many there are; 0 where
    /// none have come.
    ///
    /// # Errors
    /// If the port has vanished.
    fn receive(&mut self, bytes: &mut [u8], patience: Duration) -> io::Result<usize>;
}

/// A serial port.
pub struct PortLine(Box<dyn SerialPort>);

/// Opens a serial port for oneself alone.
///
/// # Errors
/// If there is none, or it is someone else's.
pub fn open(port: &str) -> Result<PortLine, SerialError> {
    opened(port, BAUD, WRITE_PATIENCE).map(PortLine)
}

/// A serial port at so many bits a second, which waits no longer than this.
pub(super) fn opened(
    port: &str,
    baud: u32,
    patience: Duration,
) -> Result<Box<dyn SerialPort>, SerialError> {
    let opened = serialport::new(port, baud).timeout(patience).open();
    opened.map_err(
        |error| match (error.kind, std::path::Path::new(port).exists()) {
            (ErrorKind::Io(io::ErrorKind::NotFound), _) | (_, false) => {
                SerialError::NoPort(port.into())
            }
            (ErrorKind::Io(io::ErrorKind::PermissionDenied), _) => {
                SerialError::Permission(port.into())
            }
            (ErrorKind::NoDevice, _) => SerialError::InUse(port.into()),
            _ => SerialError::Open {
                port: port.into(),
                why: error.description,
            },
        },
    )
}

impl Line for PortLine {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.set_timeout(WRITE_PATIENCE)?;
        match self.0.write_all(bytes) {
            // A board that takes nothing will not answer either, and that is found out.
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(()),
            other => other,
        }
    }

    fn receive(&mut self, bytes: &mut [u8], patience: Duration) -> io::Result<usize> {
        self.0.set_timeout(patience)?;
        match self.0.read(bytes) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
                ) =>
            {
                Ok(0)
            }
            other => other,
        }
    }
}
