//! The digital twins as boards on serial ports: switched on, and their FPGAs configured.

use crate::backend::{BackendError, Board, Kind};
use crate::flash::elf;
use crate::serial::{open, Client, Line, PortLine, UartBoard, UartLine};
use annulus_contract::shape::{self, CoreShape, PICO_ICE};
use annulus_contract::wire::{Fault, Object, Place};
use annulus_sim::progress;
use annulus_sim::twin::{blank_bitstream, find_firmware, Twin, TwinError, UartTwin};
use std::io;
use std::path::Path;
use std::time::Duration;

/// The board whose twin has a microcontroller, and is meant where none is named.
pub const BOARD: &str = PICO_ICE;
/// Bytes of its microcontroller's flash.
const FLASH_SIZE: usize = 4 << 20;

/// The core that these backends have, if the twin is among them and no board is named.
pub fn core(kinds: &[Kind]) -> Option<CoreShape> {
    shape::of_board(BOARD).filter(|_| kinds.contains(&Kind::Twin))
}

/// The line to a twin. The board is switched off with it.
pub struct TwinLine<L, T> {
    line: L,
    twin: T,
}

impl<L, T> TwinLine<L, T> {
    /// The board at the other end.
    pub fn twin(&self) -> &T {
        &self.twin
    }
}

impl<L: Line, T> Line for TwinLine<L, T> {
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
pub fn connect(twin: Twin) -> Result<Board<TwinLine<PortLine, Twin>>, BackendError> {
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

/// Switch a twin of a board without a microcontroller of ours on. The core is built on first use,
/// with its progress on the terminal.
///
/// # Errors
/// If the core cannot be built, or there is no pseudo-terminal.
pub fn start_uart(board: &UartBoard) -> Result<UartTwin, BackendError> {
    let Some(core) = shape::of_board(board.name) else {
        unreachable!("a preset");
    };
    let name = format!("core of the {}", board.title);
    Ok(UartTwin::start(&core, &mut progress::on_terminal(&name))?)
}

/// Drive the core of a twin of such a board.
///
/// # Errors
/// If it does not answer.
pub fn connect_uart(
    board: &UartBoard,
    twin: UartTwin,
) -> Result<Board<TwinLine<UartLine, UartTwin>>, BackendError> {
    let port = twin.port().to_string_lossy().into_owned();
    let line = board.line(&port)?;
    Board::new(Kind::Twin, Client::new(TwinLine { line, twin }, &port)?)
}
