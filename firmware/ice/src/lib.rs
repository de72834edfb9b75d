//! What the pico-ice boards share: an iCE40UP5K beside a microcontroller with USB.
//!
//! A board's own crate brings its pins and peripherals as [`Parts`], most of them declared by
//! [`hardware`], and [`run`] does the rest.
//! [`last_words`] keeps what a panic said until a host asks.

#![no_std]
#![deny(unsafe_code)]

mod bit_bang;
mod board;
mod configuration;
mod hal;
mod main_loop;
mod obituary;
#[allow(unsafe_code, reason = "the boot ROM's functions, and flash as memory")]
mod rom;
mod screen;
mod storage;
mod usb;

pub use bit_bang::BitBang;
pub use configuration::{Hardware, Line};
pub use hal::{hanged, wires_rest};
pub use main_loop::{run, Parts};
pub use obituary::{Obituary, Text};
pub use rom::RomFlash;
pub use screen::{Oled, Screen};
pub use storage::{Flash, Storage};
