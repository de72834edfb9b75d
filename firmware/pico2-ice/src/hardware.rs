//! The RP2350's pins and peripherals, as they are wired on the pico2-ice.
//!
//! The FPGA's pins are those of the pico-ice, so that the same bitstream does for both boards, but they
//! lead elsewhere: no SPI port of the RP2350 reaches the four that are the link to the core.

use annulus_contract::wire::Reboot;
use annulus_firmware_ice::{hanged, hardware, wires_rest, BitBang, Oled, Parts, RomFlash, Screen};
use embedded_hal::spi::SpiDevice;
use rp235x_hal::clocks::{init_clocks_and_plls, Clock};
use rp235x_hal::fugit::{ExtU32, HertzU32};
use rp235x_hal::gpio::{FunctionSioInput, Pin, PinState, Pins, PullNone};
use rp235x_hal::pac;
use rp235x_hal::reboot::{RebootArch, RebootKind};
use rp235x_hal::rom_data;
use rp235x_hal::timer::CopyableTimer0;
use rp235x_hal::usb::UsbBus;
use rp235x_hal::{Sio, Timer, Watchdog, I2C};
use usb_device::bus::UsbBusAllocator;

/// The crystal.
const CRYSTAL: HertzU32 = HertzU32::MHz(12);
/// The FPGA's clock: a fifth of the system's 150 MHz, and less than what the bitstream is routed for.
const FPGA_CLOCK: HertzU32 = HertzU32::MHz(30);
/// Half a period of the link's clock, in periods of the system's. The core samples it with its own clock
/// and needs four periods of that, which is 20 of these, and its answer is three of them and the wires
/// behind: 24 leave the answer 48 ns.
const HALF_PERIOD: u32 = 12;
/// The display's wires.
const SCREEN_CLOCK: HertzU32 = HertzU32::kHz(400);
/// How long a turn of the loop may take.
const WATCHDOG_MILLIS: u32 = 4_000;

hardware! {
    /// The pins and peripherals that are not the link to the core or the host.
    Pico2Ice is "pico2-ice", by rp235x_hal, with Timer<CopyableTimer0>;
    configured through Gpio31, Gpio5, Gpio6, Gpio4, Gpio40;
    lit by Gpio1, Gpio0, Gpio9;
    clocked by Gpio21;
    rebooted by reboot;
}

fn reboot(how: Reboot) {
    match how {
        Reboot::Firmware => rp235x_hal::reset(),
        Reboot::BootLoader => rp235x_hal::reboot::reboot(
            RebootKind::BootSel {
                picoboot_disabled: false,
                msd_disabled: false,
            },
            RebootArch::Normal,
        ),
    }
}

/// Starts clocks, pins, the link and the USB.
pub fn parts(mut pac: pac::Peripherals) -> Parts<Pico2Ice, impl Screen, impl SpiDevice, UsbBus> {
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
        .gpio_output0_clock
        .configure_clock(&clocks.system_clock, FPGA_CLOCK)
    else {
        unreachable!("the frequency is a whole part of the system clock's");
    };
    let timer = Timer::new_timer0(pac.TIMER0, &mut pac.RESETS, &clocks);
    let sio = Sio::new(pac.SIO);
    let pins = Pins::new(
        pac.IO_BANK0,
        pac.PADS_BANK0,
        sio.gpio_bank0,
        &mut pac.RESETS,
    );

    let input: Pin<_, FunctionSioInput, PullNone> = pins.gpio24.reconfigure();
    let link = BitBang {
        select: high(pins.gpio25),
        clock: pins.gpio22.into_push_pull_output_in_state(PinState::Low),
        output: high(pins.gpio27),
        input,
        pause: || cortex_m::asm::delay(HALF_PERIOD),
    };
    let (sda, scl) = (
        pins.gpio2.into_pull_up_input(),
        pins.gpio3.into_pull_up_input(),
    );
    let micros = || timer.get_counter().ticks();
    let screen = Oled::new(wires_rest(micros, sda.as_input(), scl.as_input()).then(|| {
        I2C::i2c1(
            pac.I2C1,
            sda.reconfigure(),
            scl.reconfigure(),
            SCREEN_CLOCK,
            &mut pac.RESETS,
            clocks.system_clock.freq(),
        )
    }));
    let usb = UsbBusAllocator::new(UsbBus::new(
        pac.USB,
        pac.USB_DPRAM,
        clocks.usb_clock,
        true,
        &mut pac.RESETS,
    ));
    watchdog.start(WATCHDOG_MILLIS.millis());
    Parts {
        hardware: Pico2Ice {
            timer,
            watchdog,
            data: high(pins.gpio4),
            select: high(pins.gpio5),
            clock: high(pins.gpio6),
            reset: high(pins.gpio31),
            done: pins.gpio40.reconfigure(),
            green: high(pins.gpio0),
            red: high(pins.gpio1),
            blue: high(pins.gpio9),
            _fpga_clock: pins.gpio21.reconfigure(),
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
        enter_xip: rom_data::flash_enter_cmd_xip::ptr(),
    }
}
