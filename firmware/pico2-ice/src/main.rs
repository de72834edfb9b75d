//! Firmware of the pico2-ice: an RP2350 beside an iCE40UP5K.
//!
//! Nobody has run it yet: it is held to compile. It is the pico-ice's but for pins and peripherals.

#![no_std]
#![no_main]

mod hardware;

use annulus_firmware_core::{Dispatcher, SpiWire};
use annulus_firmware_ice::{IceBoard, Obituary, UsbPort};
use core::mem::MaybeUninit;
use core::panic::PanicInfo;
use cortex_m_rt::{exception, ExceptionFrame};
use embedded_hal_bus::spi::ExclusiveDevice;
use hardware::Peripherals;
use rp235x_hal as hal;

/// What the boot ROM looks for: a program for the Arm cores.
#[link_section = ".start_block"]
#[used]
static IMAGE_DEF: hal::block::ImageDef = hal::block::ImageDef::secure_exe();

/// What the firmware died of the last time.
#[link_section = ".uninit.OBITUARY"]
static mut OBITUARY: MaybeUninit<Obituary> = MaybeUninit::uninit();

/// The place for last words.
fn obituary() -> &'static mut Obituary {
    // Safety: every pattern of bits is a value of it; and it is used at the very beginning and
    // at the very end of a life, with nothing after that, so that no two references meet.
    unsafe { (*(&raw mut OBITUARY)).assume_init_mut() }
}

#[hal::entry]
fn main() -> ! {
    let died = obituary().take();
    let Some(pac) = hal::pac::Peripherals::take() else {
        unreachable!("main runs once");
    };
    let Peripherals {
        hardware,
        spi,
        select,
        usb,
        hanged,
    } = Peripherals::new(pac);
    let died = died.or(hanged);
    let Ok(core) = ExclusiveDevice::new_no_delay(spi, select);
    let Ok(mut port) = UsbPort::new(&usb, "Annulus pico2-ice") else {
        unreachable!("the description is a constant");
    };
    let mut dispatcher = Dispatcher::new(IceBoard::new(hardware, died), SpiWire(core));
    loop {
        dispatcher.poll(&mut port);
    }
}

/// A panic is told to the next host that says hello.
#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    obituary().write(info);
    hal::reset()
}

/// So is what no program can go on after.
#[exception]
unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
    obituary().write(format_args!("hard fault at {:#010x}", frame.pc()));
    hal::reset()
}
