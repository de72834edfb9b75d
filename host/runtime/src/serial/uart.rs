//! A core at the other end of a UART, on a board whose USB chip is one.

use super::line::opened;
use super::local::{Breakage, LocalLine};
use super::{list, Client, Device, SerialError, UartBoard};
use annulus_contract::link::uart::{Stream, Uart, BAUD};
use serialport::SerialPort;
use std::io;
use std::time::Duration;

/// After so long without a byte no answer comes any more. A USB UART hands out what it has after
/// 16 ms at the latest; a simulated core on a busy machine takes longer.
const PATIENCE: Duration = Duration::from_millis(250);

/// A serial port to a core.
pub struct PortStream {
    port: Box<dyn SerialPort>,
    broken: Breakage,
}

/// The line to a core on a UART.
pub type UartLine = LocalLine<Uart<PortStream>>;

impl Stream for PortStream {
    type Error = ();

    fn send(&mut self, bytes: &[u8]) -> Result<(), ()> {
        self.port
            .write_all(bytes)
            .map_err(|why| self.broken.set(why))
    }

    fn receive(&mut self, bytes: &mut [u8]) -> Result<usize, ()> {
        match self.port.read(bytes) {
            Ok(0) => self.broken.set(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => return Ok(count),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => return Ok(0),
            Err(error) => self.broken.set(error),
        }
        Err(())
    }
}

impl UartBoard {
    /// A session with the board of this kind on this port; without one, with the only one that is
    /// plugged in.
    ///
    /// # Errors
    /// If there is none, it cannot be opened, or nobody answers on it.
    pub fn client(&self, port: Option<&str>) -> Result<Client<UartLine>, SerialError> {
        let port = match port {
            Some(port) => port.to_owned(),
            None => self.find()?,
        };
        Client::new(self.line(&port)?, &port)
    }

    /// The line to the core of the board of this kind on this port.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn line(&self, port: &str) -> Result<UartLine, SerialError> {
        let broken = Breakage::default();
        let stream = PortStream {
            port: opened(port, BAUD, PATIENCE)?,
            broken: broken.clone(),
        };
        let wire = Uart::new(stream);
        Ok(LocalLine::new(self.name, self.part, wire, broken))
    }

    fn find(&self) -> Result<String, SerialError> {
        let here = |device: &Device| UartBoard::on(device).is_some_and(|it| it.name == self.name);
        let ports = list().into_iter().filter(here).map(|device| device.port);
        match &ports.collect::<Vec<_>>()[..] {
            [] => Err(SerialError::NoUartBoard(self.title)),
            [port] => Ok(port.clone()),
            ports => Err(SerialError::Several(ports.join(", "))),
        }
    }
}
