//! What the firmware of every board does: it drives a core over its link, and talks to a
//! host in the wire protocol (`annulus_contract::wire`). No allocation, no panics, no
//! board: what a board must bring are three small things.
//!
//! - a [`Board`]: configuring the FPGA, time, the watchdog, lights, flash;
//! - an `embedded_hal::spi::SpiDevice` to the core, wrapped in [`SpiWire`] (or any other
//!   `annulus_contract::link::Wire`, such as a UART);
//! - a [`Port`] to the host: bytes in, bytes out, without waiting.
//!
//! ```ignore
//! let mut dispatcher = Dispatcher::new(board, SpiWire(spi));
//! loop {
//!     usb.poll(&mut [&mut serial]);
//!     dispatcher.poll(&mut port);
//! }
//! ```
//!
//! [`Dispatcher::poll`] does a little of everything and returns: it never waits for the host or
//! for a token, and the longest single work is a chunk of an upload (512 bytes to the FPGA or to
//! the core) or what the board's own [`Board`] methods take. Call it in a loop, as
//! often as the USB must be served. Without a host it does nothing but keep the watchdog fed;
//! [`Dispatcher::start_stored`] begins a board's life without one.
//!
//! The same crate runs inside the host: [`driver::Driver`] is how any program drives a core.

#![no_std]
#![forbid(unsafe_code)]

mod board;
mod dispatcher;
pub mod driver;
mod link;
mod loader;
mod run;
mod station;
mod upload;

pub use board::{Board, Lights, Port};
pub use dispatcher::Dispatcher;
pub use link::SpiWire;
