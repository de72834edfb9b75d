//! Boards on serial ports: which there are, how one is spoken to, and what is done with it.

mod arrival;
mod bus;
mod client;
mod devices;
mod flow;
mod line;
mod local;
mod reply;
mod uart;
mod uart_board;

pub use arrival::await_board;
pub use bus::WireBus;
pub use client::Client;
pub use devices::{board, boards, devices, list, Device};
pub use line::{open, Line, PortLine};
pub use local::{Breakage, LocalLine};
pub use reply::{Greeting, Reply};
pub use uart::{PortStream, UartLine};
pub use uart_board::{UartBoard, UART_BOARDS};

pub use annulus_contract::wire::{Object, Place, Reboot, Request, VERSION};

use annulus_contract::wire::Fault;
use std::io;

/// Why a board cannot be spoken to, or does not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum SerialError {
    /// No such port.
    #[error("there is no serial port {0}: `annulus devices` lists those that are there")]
    NoPort(String),
    /// The user may not open it.
    #[error("no permission to open {0}: serial ports belong to the group dialout; add yourself with `sudo usermod -aG dialout $USER`, log out and in, and try again")]
    Permission(String),
    /// Another program has it.
    #[error("{0} is in use by another program: end that one, then try again")]
    InUse(String),
    /// It cannot be opened for another reason.
    #[error("{port} cannot be opened as a serial port: {why}")]
    Open {
        /// The port.
        port: String,
        /// What the system says.
        why: String,
    },
    /// The port has vanished.
    #[error("the board on {port} was unplugged ({why}): plug it in and start again")]
    Gone {
        /// The port.
        port: String,
        /// What the system says.
        why: io::Error,
    },
    /// Nothing is heard at all.
    #[error("nothing answers on {0}: is it an Annulus board, and is its firmware running?")]
    Silent(String),
    /// What is heard are no frames.
    #[error("what answers on {0} is no Annulus board: it sends bytes, but none of our protocol's")]
    Stranger(String),
    /// The board's firmware is of another version.
    #[error("the board on {port} speaks version {board} of the protocol, and this program version {VERSION}: flash the firmware that belongs to this program (`annulus flash`)")]
    Version {
        /// The port.
        port: String,
        /// The board's version.
        board: u8,
    },
    /// A board that did answer does not any more.
    #[error("the board on {0} does not answer any more: reset it, then start again")]
    NoAnswer(String),
    /// The board cannot do it; in its own words.
    #[error("the board on {port}: {fault}")]
    Fault {
        /// The port.
        port: String,
        /// What is wrong.
        fault: Fault,
    },
    /// The board answers something else than it was asked for.
    #[error("the board on {0} gives an answer that does not fit the question: is its firmware of another build? flash it again")]
    Unexpected(String),
    /// No port carries a board.
    #[error("no Annulus board is plugged in: `annulus devices` shows which serial ports there are, and --port names one")]
    NoBoard,
    /// No port carries this board.
    #[error("no {0} is plugged in: `annulus devices` shows which serial ports there are, and --port names one")]
    NoUartBoard(&'static str),
    /// Several do.
    #[error("several boards are plugged in: name one with --port ({0})")]
    Several(String),
}
