//! The digital twin as a board on a serial port: switched on, and its FPGA configured.

use crate::backend::{BackendError, Board, Kind};
use crate::flash::elf;
use crate::serial::{open, Client, Line, PortLine};
use annulus_contract::shape::{self, CoreShape};
use annulus_contract::wire::{Fault, Object, Place};
use annulus_sim::progress;
use annulus_sim::twin::{blank_bitstream, find_firmware, Twin, TwinError};
use std::io;
use std::path::Path;
use std::time::Duration;

/// The board that there is a twin of.
pub const BOARD: &str = "pico-ice";
/// Bytes of its microcontroller's flash.
const FLASH_SIZE: usize = 4 << 20;

/// The core that these backends have, if the twin is among them: there is one only.
pub fn core(kinds: &[Kind]) -> Option<CoreShape> {
    shape::of_board(BOARD).filter(|_| kinds.contains(&Kind::Twin))
}

/// A twin's serial port. The board is switched off with it.
pub struct TwinLine {
    line: PortLine,
    twin: Twin,
}

impl TwinLine {
    /// The board at the other end.
    pub fn twin(&self) -> &Twin {
        &self.twin
    }
}

impl Line for TwinLine {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.line.send(bytes)
    }

    fn receive(&mut self, bytes: &mut [u8], patience: Duration) -> io::Result<usize> {
        self.line.receive(bytes, patience)
    }
}

/// Switch a twin on, with this firmware, or the one that `./x firmware` has built. The core is built
/// on first use, with its progress on the terminal.
///
/// # Errors
/// If a tool or the firmware is missing, or it does not come up.
pub fn start(firmware: Option<&Path>) -> Result<Twin, BackendError> {
    start_with(&flash_of(firmware)?, true)
}

/// The same with this at the beginning of its flash, and a display or none.
///
/// # Errors
/// As for [`start`].
pub fn start_with(flash: &[u8], screen: bool) -> Result<Twin, BackendError> {
    let Some(core) = core(&[Kind::Twin]) else {
        unreachable!("a preset");
    };
    let name = format!("core of the {BOARD}");
    let twin = Twin::start(flash, screen, &core, &mut progress::on_terminal(&name))?;
    Ok(twin)
}

/// What firmware puts into flash, from its beginning on: that of this ELF file, or what
/// `./x firmware` has built.
///
/// # Errors
/// If it is missing, or none.
pub fn flash_of(firmware: Option<&Path>) -> Result<Vec<u8>, TwinError> {
    let path = &match firmware {
        Some(path) => path.to_owned(),
        None => find_firmware()?,
    };
    let wrong = |reason: String| TwinError::Firmware {
        file: path.clone(),
        reason,
    };
    let file = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let segments = elf::segments(&file).map_err(|reason| wrong(reason.into()))?;
    let mut flash = Vec::new();
    for segment in segments {
        let from = (segment.address - elf::FLASH.start) as usize;
        let to = from + segment.bytes.len();
        if to > FLASH_SIZE {
            return Err(wrong("it is larger than the board's flash".into()));
        }
        flash.resize(flash.len().max(to), 0xff);
        flash[from..to].copy_from_slice(&segment.bytes);
    }
    Ok(flash)
}

/// Greet a twin, and configure its FPGA if nobody has.
///
/// # Errors
/// If it does not answer, or no core does.
pub fn connect(twin: Twin) -> Result<Board<TwinLine>, BackendError> {
    let port = twin.port().to_string_lossy().into_owned();
    let line = open(&port)?;
    let mut client = Client::new(TwinLine { line, twin }, &port)?;
    if client.greeting().core == Err(Fault::NotConfigured) {
        let bitstream = blank_bitstream();
        client.upload(Object::Bitstream, Place::Live, &bitstream, |_| ())?;
        client.greet()?;
    }
    Board::new(Kind::Twin, client)
}
