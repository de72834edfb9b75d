//! The RP2350's pins and peripherals, as they are wired on the pico2-ice.
//!
//! The FPGA's configuration port and the link to the core are the same wires here: GP4 is data to the
//! port and, once the FPGA is configured, data from the core. So those pins belong to the SPI
//! port, and are taken from it while a bitstream is sent.

use annulus_contract::wire::Reboot;
use annulus_firmware_ice::{Hardware, Line, Parts, RomFlash, Text};
use core::convert::Infallible;
use embedded_hal::digital::{ErrorType, InputPin, OutputPin};
use embedded_hal::spi::MODE_0;
use embedded_hal_bus::spi::{ExclusiveDevice, NoDelay};
use rp235x_hal::clocks::{init_clocks_and_plls, Clock};
use rp235x_hal::fugit::{ExtU32, HertzU32};
use rp235x_hal::gpio::bank0::*;
use rp235x_hal::gpio::{
    DefaultTypeState, FunctionClock, FunctionSioInput, FunctionSioOutput, FunctionSpi, Pin, PinId,
    PinState, Pins, PullNone, ValidFunction,
};
use rp235x_hal::pac;
use rp235x_hal::reboot::{reboot, RebootArch, RebootKind};
use rp235x_hal::rom_data;
use rp235x_hal::spi::{Enabled, Spi};
use rp235x_hal::timer::CopyableTimer0;
use rp235x_hal::usb::UsbBus;
use rp235x_hal::{Sio, Timer, Watchdog};
use usb_device::bus::UsbBusAllocator;

/// The crystal.
const CRYSTAL: HertzU32 = HertzU32::MHz(12);
/// The FPGA's clock: a fifth of the system's 150 MHz.
const FPGA_CLOCK: HertzU32 = HertzU32::MHz(30);
/// The link to the core: less than a quarter of that. The port rounds down to what its divider can do.
const LINK_CLOCK: HertzU32 = HertzU32::MHz(7);
/// How long a turn of the loop may take.
const WATCHDOG_MILLIS: u32 = 4_000;

/// Pins of the wires that configuration port and link share.
const DATA: u32 = 4;
const SELECT: u32 = 5;
const CLOCK: u32 = 6;

type Output<P> = Pin<P, FunctionSioOutput, PullNone>;
type SpiPin<P> = Pin<P, FunctionSpi, PullNone>;

/// The port to the core: output, input and clock, and chip select, active low.
type Link = ExclusiveDevice<
    Spi<Enabled, pac::SPI0, (SpiPin<Gpio7>, SpiPin<Gpio4>, SpiPin<Gpio6>), 8>,
    Select,
    NoDelay,
>;

/// The pins and peripherals that are not the link to the core or the host.
pub struct Pico2Ice {
    timer: Timer<CopyableTimer0>,
    watchdog: Watchdog,
    reset: Output<Gpio31>,
    done: Pin<Gpio40, FunctionSioInput, PullNone>,
    green: Output<Gpio0>,
    red: Output<Gpio1>,
    blue: Output<Gpio9>,
    /// The select pin, which is driven as [`Select`].
    _select: Output<Gpio5>,
    /// Keeps the FPGA's clock running.
    _fpga_clock: Pin<Gpio21, FunctionClock, PullNone>,
}

/// Drives a shared pin, which cannot fail.
fn drive(pin: u32, high: bool) -> Result<(), Infallible> {
    // Safety: these registers change the bits that are one in what is written, at once, and
    // nobody else drives these pins.
    let sio = unsafe { &*pac::SIO::PTR };
    if high {
        sio.gpio_out_set().write(|w| unsafe { w.bits(1 << pin) });
    } else {
        sio.gpio_out_clr().write(|w| unsafe { w.bits(1 << pin) });
    }
    Ok(())
}

/// Chip select of the link, which is that of the configuration port too.
pub struct Select;

impl ErrorType for Select {
    type Error = Infallible;
}

impl OutputPin for Select {
    fn set_low(&mut self) -> Result<(), Infallible> {
        drive(SELECT, false)
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        drive(SELECT, true)
    }
}

/// Starts clocks, pins, the link and the USB.
pub fn parts(mut pac: pac::Peripherals) -> Parts<Pico2Ice, (), Link, UsbBus> {
    let hanged = pac
        .WATCHDOG
        .reason()
        .read()
        .timer()
        .bit_is_set()
        .then(|| Text::try_from("the watchdog ended a turn of the loop that took too long"))
        .and_then(Result::ok);
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
    let Ok(link) = ExclusiveDevice::new_no_delay(spi, Select);
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
            reset: high(pins.gpio31),
            done: pins.gpio40.reconfigure(),
            green: high(pins.gpio0),
            red: high(pins.gpio1),
            blue: high(pins.gpio9),
            _select: high(pins.gpio5),
            _fpga_clock: pins.gpio21.reconfigure(),
        },
        flash: rom_flash(),
        screen: (),
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

/// An output that begins high.
fn high<P>(
    pin: Pin<P, <P as DefaultTypeState>::Function, <P as DefaultTypeState>::PullType>,
) -> Output<P>
where
    P: PinId + DefaultTypeState + ValidFunction<FunctionSioOutput>,
{
    pin.into_pull_type()
        .into_push_pull_output_in_state(PinState::High)
}

impl Hardware for Pico2Ice {
    const NAME: &'static str = "pico2-ice";

    #[inline]
    fn set(&mut self, line: Line, high: bool) {
        let state = PinState::from(high);
        let Ok(()) = match line {
            Line::Reset => self.reset.set_state(state),
            Line::Select => drive(SELECT, high),
            Line::Clock => drive(CLOCK, high),
            Line::Data => drive(DATA, high),
            Line::Red => self.red.set_state(state),
            Line::Green => self.green.set_state(state),
            Line::Blue => self.blue.set_state(state),
        };
    }

    fn configured(&mut self) -> bool {
        let Ok(high) = self.done.is_high();
        high
    }

    fn micros(&mut self) -> u64 {
        self.timer.get_counter().ticks()
    }

    fn feed(&mut self) {
        self.watchdog.feed();
    }

    fn configuring(&mut self, on: bool) {
        for pin in [DATA, CLOCK] {
            let Ok(()) = drive(pin, true);
            // Safety: the pins belong to the link, which rests while a bitstream is sent.
            let (bank, sio) = unsafe { (&*pac::IO_BANK0::PTR, &*pac::SIO::PTR) };
            sio.gpio_oe_set().write(|w| unsafe { w.bits(1 << pin) });
            bank.gpio(pin as usize).gpio_ctrl().modify(|_, w| {
                if on {
                    w.funcsel().sio()
                } else {
                    w.funcsel().spi()
                }
            });
        }
    }

    fn reboot(&mut self, how: Reboot) {
        match how {
            Reboot::Firmware => rp235x_hal::reset(),
            Reboot::BootLoader => reboot(
                RebootKind::BootSel {
                    picoboot_disabled: false,
                    msd_disabled: false,
                },
                RebootArch::Normal,
            ),
        }
    }
}
