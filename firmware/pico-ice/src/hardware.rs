//! The RP2040's pins and peripherals, as they are wired on the pico-ice.

use annulus_contract::shape::{clock, PICO_ICE};
use annulus_contract::wire::Reboot;
use annulus_firmware_ice::{Hardware, Line, Oled, Parts, RomFlash, Screen, Text};
use embedded_hal::digital::{InputPin, OutputPin};
use embedded_hal::spi::MODE_0;
use embedded_hal_bus::spi::{ExclusiveDevice, NoDelay};
use rp2040_boot2::BOOT_LOADER_W25Q080;
use rp2040_hal::clocks::{init_clocks_and_plls, Clock};
use rp2040_hal::fugit::{ExtU32, HertzU32};
use rp2040_hal::gpio::bank0::*;
use rp2040_hal::gpio::{
    DefaultTypeState, FunctionClock, FunctionSioInput, FunctionSioOutput, FunctionSpi, Pin, PinId,
    PinState, Pins, PullNone, ValidFunction,
};
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
/// How long they take to rise.
const RISING_MICROS: u64 = 100;
/// How long a turn of the loop may take.
const WATCHDOG_MILLIS: u32 = 4_000;

type Output<P> = Pin<P, FunctionSioOutput, PullNone>;
type SpiPin<P> = Pin<P, FunctionSpi, PullNone>;

/// The port to the core: output, input and clock, and chip select, active low.
type Link = ExclusiveDevice<
    Spi<Enabled, pac::SPI0, (SpiPin<Gpio7>, SpiPin<Gpio4>, SpiPin<Gpio6>), 8>,
    Output<Gpio5>,
    NoDelay,
>;

/// The pins and peripherals that are not the link to the core or the host.
pub struct PicoIce {
    timer: Timer,
    watchdog: Watchdog,
    data: Output<Gpio8>,
    select: Output<Gpio9>,
    clock: Output<Gpio10>,
    reset: Output<Gpio27>,
    done: Pin<Gpio26, FunctionSioInput, PullNone>,
    green: Output<Gpio12>,
    red: Output<Gpio13>,
    blue: Output<Gpio15>,
    /// Keeps the FPGA's clock running.
    _fpga_clock: Pin<Gpio24, FunctionClock, PullNone>,
}

/// Starts clocks, pins, the link and the USB.
pub fn parts(mut pac: pac::Peripherals) -> Parts<PicoIce, impl Screen, Link, UsbBus> {
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
    let screen = Oled::new(wires_rest(&timer, sda.as_input(), scl.as_input()).then(|| {
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

/// Whether both wires of the display are high once they have been pulled up. The port would wait for
/// ever for wires that something holds low.
fn wires_rest(timer: &Timer, mut sda: impl InputPin, mut scl: impl InputPin) -> bool {
    let start = timer.get_counter();
    while (timer.get_counter() - start).to_micros() < RISING_MICROS {}
    matches!((sda.is_high(), scl.is_high()), (Ok(true), Ok(true)))
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

impl Hardware for PicoIce {
    const NAME: &'static str = PICO_ICE;

    #[inline]
    fn set(&mut self, line: Line, high: bool) {
        let state = PinState::from(high);
        let Ok(()) = match line {
            Line::Reset => self.reset.set_state(state),
            Line::Select => self.select.set_state(state),
            Line::Clock => self.clock.set_state(state),
            Line::Data => self.data.set_state(state),
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

    fn reboot(&mut self, how: Reboot) {
        match how {
            Reboot::Firmware => rp2040_hal::reset(),
            Reboot::BootLoader => rp2040_hal::rom_data::reset_to_usb_boot(0, 0),
        }
    }
}
