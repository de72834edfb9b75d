//! The RP2040's pins and peripherals, as they are wired on the pico-ice.

use annulus_contract::shape::{clock, PICO_ICE};
use annulus_contract::wire::Reboot;
use annulus_firmware_ice::{hanged, hardware, wires_rest, Oled, Parts, RomFlash, Screen};
use embedded_hal::spi::MODE_0;
use embedded_hal_bus::spi::{ExclusiveDevice, NoDelay};
use rp2040_boot2::BOOT_LOADER_W25Q080;
use rp2040_hal::clocks::{init_clocks_and_plls, Clock};
use rp2040_hal::fugit::{ExtU32, HertzU32};
use rp2040_hal::gpio::bank0::{Gpio4, Gpio5, Gpio6, Gpio7};
use rp2040_hal::gpio::{FunctionSpi, Pin, Pins, PullNone};
use rp2040_hal::pac;
use rp2040_hal::rom_data;
use rp2040_hal::spi::{Enabled, Spi};
use rp2040_hal::usb::UsbBus;
use rp2040_hal::{Sio, Timer, Watchdog, I2C};
use usb_device::bus::UsbBusAllocator;

/// The crystal.
const CRYSTAL: HertzU32 = HertzU32::MHz(12);
/// The FPGA's clock, which the bitstream is routed for: a quarter of the system's 125 MHz.
const FPGA_CLOCK: HertzU32 = HertzU32::Hz(clock::PICO_ICE);
/// The link to the core. The core samples SCK with its clock and needs four periods of it, and
/// its answer is three of them and the wires behind: 125 MHz / 18 leaves the answer 35 ns, where
/// the next faster divider would leave 16. The port rounds down to what its divider can do.
const LINK_CLOCK: HertzU32 = HertzU32::MHz(7);
/// The display's wires.
const SCREEN_CLOCK: HertzU32 = HertzU32::kHz(400);
/// How long a turn of the loop may take.
const WATCHDOG_MILLIS: u32 = 4_000;

type SpiPin<P> = Pin<P, FunctionSpi, PullNone>;

/// The port to the core: output, input and clock, and chip select, active low.
type Link = ExclusiveDevice<
    Spi<Enabled, pac::SPI0, (SpiPin<Gpio7>, SpiPin<Gpio4>, SpiPin<Gpio6>), 8>,
    Output<Gpio5>,
    NoDelay,
>;

hardware! {
    /// The pins and peripherals that are not the link to the core or the host.
    PicoIce is PICO_ICE, by rp2040_hal, with Timer;
    configured through Gpio27, Gpio9, Gpio10, Gpio8, Gpio26;
    lit by Gpio13, Gpio12, Gpio15;
    clocked by Gpio24;
    rebooted by reboot;
}

fn reboot(how: Reboot) {
    match how {
        Reboot::Firmware => rp2040_hal::reset(),
        Reboot::BootLoader => rom_data::reset_to_usb_boot(0, 0),
    }
}

/// Starts clocks, pins, the link and the USB.
pub fn parts(mut pac: pac::Peripherals) -> Parts<PicoIce, impl Screen, Link, UsbBus> {
    let hanged = hanged(pac.WATCHDOG.reason().read().timer().bit_is_set());
    let mut watchdog = Watchdog::new(pac.WATCHDOG);
    let Ok(mut clocks) = init_clocks_and_plls(
        CRYSTAL.to_Hz(),
        pac.XOSC,
        pac.CLOCKS,
        pac.PLL_SYS,
        pac.PLL_USB,
        &mut pac.RESETS,
        &mut watchdog,
    ) else {
        unreachable!("the frequencies are constants");
    };
    let Ok(()) = clocks
        .gpio_output2_clock
        .configure_clock(&clocks.system_clock, FPGA_CLOCK)
    else {
        unreachable!("the frequency is a whole part of the system clock's");
    };
    let timer = Timer::new(pac.TIMER, &mut pac.RESETS, &clocks);
    let sio = Sio::new(pac.SIO);
    let pins = Pins::new(
        pac.IO_BANK0,
        pac.PADS_BANK0,
        sio.gpio_bank0,
        &mut pac.RESETS,
    );

    let wires = (
        pins.gpio7.reconfigure(),
        pins.gpio4.reconfigure(),
        pins.gpio6.reconfigure(),
    );
    let spi = Spi::<_, _, _, 8>::new(pac.SPI0, wires).init(
        &mut pac.RESETS,
        clocks.peripheral_clock.freq(),
        LINK_CLOCK,
        MODE_0,
    );
    let Ok(link) = ExclusiveDevice::new_no_delay(spi, high(pins.gpio5));
    let (sda, scl) = (
        pins.gpio0.into_pull_up_input(),
        pins.gpio1.into_pull_up_input(),
    );
    let micros = || timer.get_counter().ticks();
    let screen = Oled::new(wires_rest(micros, sda.as_input(), scl.as_input()).then(|| {
        I2C::i2c0(
            pac.I2C0,
            sda.reconfigure(),
            scl.reconfigure(),
            SCREEN_CLOCK,
            &mut pac.RESETS,
            &clocks.system_clock,
        )
    }));
    let usb = UsbBusAllocator::new(UsbBus::new(
        pac.USBCTRL_REGS,
        pac.USBCTRL_DPRAM,
        clocks.usb_clock,
        true,
        &mut pac.RESETS,
    ));
    watchdog.start(WATCHDOG_MILLIS.millis());
    Parts {
        hardware: PicoIce {
            timer,
            watchdog,
            data: high(pins.gpio8),
            select: high(pins.gpio9),
            clock: high(pins.gpio10),
            reset: high(pins.gpio27),
            done: pins.gpio26.reconfigure(),
            green: high(pins.gpio12),
            red: high(pins.gpio13),
            blue: high(pins.gpio15),
            _fpga_clock: pins.gpio24.reconfigure(),
        },
        flash: rom_flash(),
        screen,
        link,
        usb,
        hanged,
    }
}

/// The boot ROM's way to write flash.
fn rom_flash() -> RomFlash {
    RomFlash {
        connect: rom_data::connect_internal_flash::ptr(),
        exit_xip: rom_data::flash_exit_xip::ptr(),
        erase: rom_data::flash_range_erase::ptr(),
        program: rom_data::flash_range_program::ptr(),
        flush_cache: rom_data::flash_flush_cache::ptr(),
        enter_xip: second_stage(),
    }
}

/// A copy of the second boot stage in RAM: it makes the flash readable as fast as it was before. The
/// ROM's own function would leave it slow.
fn second_stage() -> unsafe extern "C" fn() {
    static mut STAGE: [u32; 64] = [0; 64];
    // Safety: it is written here, once, before anyone calls it. The stage runs wherever it lies, and
    // returns to whoever calls it; the lowest bit of its address says that it is Thumb code.
    unsafe {
        let stage = (&raw mut STAGE).cast::<u8>();
        stage.copy_from_nonoverlapping(BOOT_LOADER_W25Q080.as_ptr(), 256);
        core::mem::transmute::<*mut u8, unsafe extern "C" fn()>(stage.add(1))
    }
}
