//! A verilated core behind its SPI slave, and the wires to it.
//!
//! Time on the wires is finer than the FPGA's clock, so that any ratio and phase of the
//! two can be tried. [`uart`] has the same behind its UART.

pub mod uart;

use crate::verilated::{Build, Design, Model, Port, Progress, SimError};
use annulus_contract::link::{Master, Wire};
use annulus_contract::shape::CoreShape;
use std::convert::Infallible;

/// Units of time in a period of the FPGA's clock.
pub const CLOCK: u64 = 256;

/// Cycles after which a core without a token has done everything that it will do by itself.
const SETTLE: u64 = 64;

/// A compiled core behind an SPI slave: makes any number of instances.
#[derive(Clone)]
pub struct SpiDesign {
    design: Design,
    ports: Ports,
}

#[derive(Clone, Copy)]
struct Ports {
    sck: Port,
    cs: Port,
    mosi: Port,
    miso: Port,
    chosen: Port,
    busy: Port,
}

/// How the master's signals lie in time, in units of which [`CLOCK`] are a period of the
/// FPGA's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long SCK is low for each bit.
    pub low: u64,
    /// How long it is high.
    pub high: u64,
    /// From the first edge of the FPGA's clock to the master's first signal.
    pub phase: u64,
    /// How much older than SCK's edge the MISO is that the master takes there: the delays
    /// of pads and wires.
    pub delay: u64,
}

impl Timing {
    /// The fastest SCK that the slave is made for: a quarter of the FPGA's clock.
    pub const FASTEST: Timing = Timing {
        low: 2 * CLOCK,
        high: 2 * CLOCK,
        phase: 0,
        delay: CLOCK / 2,
    };
}

impl SpiDesign {
    /// The core of this shape, compiled on first use and cached by content.
    ///
    /// # Errors
    /// No core has this number of rows, Verilator is missing, or it refused the design.
    pub fn build(shape: &CoreShape, progress: &mut dyn FnMut(Progress)) -> Result<Self, SimError> {
        let verilog = annulus_hdl::spi_core_verilog(shape).ok_or(SimError::NoCore {
            lanes: shape.lanes(),
        })?;
        Self::of_build(
            &Build::new(&format!("spi_core{}", shape.lanes()), &verilog),
            progress,
        )
    }

    /// A core whose Verilog is given, such as a synthesized one.
    ///
    /// # Errors
    /// Verilator is missing or refused the design, or it has not the ports of a core behind an
    /// SPI slave.
    pub fn of_build(build: &Build, progress: &mut dyn FnMut(Progress)) -> Result<Self, SimError> {
        let design = build.build(progress)?;
        let ports = Ports {
            sck: design.port("sck")?,
            cs: design.port("cs")?,
            mosi: design.port("mosi")?,
            miso: design.port("miso")?,
            chosen: design.port("chosen")?,
            busy: design.port("busy")?,
        };
        Ok(Self { design, ports })
    }

    /// A core just switched on, and the wires to it.
    pub fn instance(&self, timing: Timing) -> SpiWire {
        let mut model = self.design.instance();
        model.poke(self.ports.cs, 1);
        let mut wire = SpiWire {
            model,
            ports: self.ports,
            timing,
            now: 0,
            next_edge: 0,
        };
        wire.pass(4 * CLOCK + timing.phase);
        wire
    }
}

/// A master's driver for a simulated core's registers.
pub type SpiMaster = Master<SpiWire>;

/// The wires to one simulated core.
pub struct SpiWire {
    model: Model,
    ports: Ports,
    timing: Timing,
    now: u64,
    /// When the FPGA's clock rises next.
    next_edge: u64,
}

impl SpiWire {
    /// Chip select low.
    pub fn select(&mut self) {
        self.model.poke(self.ports.cs, 0);
        self.pass(2 * CLOCK);
    }

    /// One bit out and one in.
    pub fn bit(&mut self, mosi: bool) -> bool {
        let Timing {
            low, high, delay, ..
        } = self.timing;
        self.model.poke(self.ports.mosi, mosi.into());
        self.pass(low.saturating_sub(delay));
        let miso = self.model.peek(self.ports.miso) == 1;
        self.pass(delay.min(low));
        self.model.poke(self.ports.sck, 1);
        self.pass(high);
        self.model.poke(self.ports.sck, 0);
        miso
    }

    /// Chip select high.
    pub fn deselect(&mut self) {
        self.pass(2 * CLOCK);
        self.model.poke(self.ports.cs, 1);
        self.pass(3 * CLOCK);
    }

    /// One byte out and one in.
    pub fn byte(&mut self, mosi: u8) -> u8 {
        (0..8).rev().fold(0, |miso, i| {
            miso << 1 | u8::from(self.bit(mosi >> i & 1 == 1))
        })
    }

    /// Lets the core run until a chosen token waits, for at most `cycles` cycles.
    /// Returns whether one does.
    pub fn run_until_chosen(&mut self, cycles: u64) -> bool {
        let passed = self.model.run_until(self.ports.chosen, 1, cycles);
        let passed_time = passed.unwrap_or(cycles) * CLOCK;
        self.now += passed_time;
        self.next_edge += passed_time;
        passed.is_some()
    }

    /// How the master's signals lie in time from now on.
    pub fn set_timing(&mut self, timing: Timing) {
        self.timing = timing;
    }

    /// Lets the core run for so many cycles with chip select high. Those in which no token is in
    /// it change nothing and are passed over, so that a core that waits costs no time.
    pub fn run(&mut self, cycles: u64) {
        let awake = cycles.min(SETTLE);
        self.model.run(awake);
        let mut left = cycles - awake;
        while left > 0 {
            let busy = self.model.run_until(self.ports.busy, 0, left);
            left -= busy.unwrap_or(left);
            // Between two tokens of a run the core is idle for a few cycles.
            let settle = left.min(SETTLE);
            self.model.run(settle);
            left -= settle;
            if self.model.peek(self.ports.busy) == 0 {
                break;
            }
        }
        self.now += cycles * CLOCK;
        self.next_edge += cycles * CLOCK;
    }

    /// Lets time pass, in units of which [`CLOCK`] are a cycle.
    pub fn pass(&mut self, time: u64) {
        self.now += time;
        if self.next_edge <= self.now {
            let edges = (self.now - self.next_edge) / CLOCK + 1;
            self.model.run(edges);
            self.next_edge += edges * CLOCK;
        }
    }
}

impl Wire for SpiWire {
    type Error = Infallible;

    fn exchange(&mut self, frame: &mut [u8]) -> Result<(), Infallible> {
        self.select();
        for byte in frame {
            *byte = self.byte(*byte);
        }
        self.deselect();
        Ok(())
    }
}
