//! Firmware of the pico2-ice: an RP2350 beside an iCE40UP5K.
//!
//! Nobody has run it yet: it is held to compile. It is the pico-ice's but for pins and peripherals.

#![no_std]
#![no_main]

mod hardware;

use annulus_firmware_ice::run;
use rp235x_hal as hal;

/// What the boot ROM looks for: a program for the Arm cores.
#[link_section = ".start_block"]
#[used]
static IMAGE_DEF: hal::block::ImageDef = hal::block::ImageDef::secure_exe();

annulus_firmware_ice::last_words!(hal::reset);

#[hal::entry]
fn main() -> ! {
    let died = obituary().take();
    let Some(pac) = hal::pac::Peripherals::take() else {
        unreachable!("main runs once");
    };
    run(hardware::parts(pac), died)
}
