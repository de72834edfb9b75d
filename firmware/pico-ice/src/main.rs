//! Firmware of the pico-ice: an RP2040 beside an iCE40UP5K.

#![no_std]
#![no_main]

mod hardware;

use annulus_firmware_ice::run;
use rp2040_hal as hal;

/// What the boot ROM loads first, to reach the rest of flash.
#[link_section = ".boot2"]
#[used]
static BOOT2_FIRMWARE: [u8; 256] = rp2040_boot2::BOOT_LOADER_W25Q080;

annulus_firmware_ice::last_words!(hal::reset);

#[hal::entry]
fn main() -> ! {
    let died = obituary().take();
    let Some(pac) = hal::pac::Peripherals::take() else {
        unreachable!("main runs once");
    };
    run(hardware::parts(pac), died)
}
