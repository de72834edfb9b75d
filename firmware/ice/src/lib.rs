//! What the pico-ice boards share: an iCE40UP5K beside a microcontroller with USB.
//!
//! A board's own crate brings its pins and peripherals as [`Hardware`]; [`IceBoard`] makes a
//! board of them, [`UsbPort`] the port to the host, and [`Obituary`] keeps what a panic said
//! until a host asks.

#![no_std]
#![forbid(unsafe_code)]

mod board;
mod configuration;
mod obituary;
mod usb;

pub use board::IceBoard;
pub use configuration::{Hardware, Line};
pub use obituary::{Obituary, Text};
pub use usb::UsbPort;
