//! A verilated core behind its UART, and the line to it.

use super::CLOCK;
use crate::verilated::{Build, Design, Model, Port, Progress, SimError};
use annulus_contract::link::uart::{Stream, Uart, BAUD};
use annulus_contract::link::Master;
use annulus_contract::shape::{CoreShape, TANG_NANO_20K, ULX3S};
use annulus_hdl::boards::{self, tang_nano_20k, ulx3s};
use std::collections::VecDeque;
use std::convert::Infallible;

/// Bits of a byte on the line: a start bit, eight, a stop bit.
const BITS: u64 = 10;
/// Bytes' times without a byte after which the line is given up.
const PATIENCE: u64 = 100;

/// A compiled design with a UART: makes any number of instances.
#[derive(Clone)]
pub struct UartDesign {
    design: Design,
    rx: Port,
    tx: Port,
    busy: Port,
    hertz: u32,
}

impl UartDesign {
    /// The core of this shape behind a UART, for a clock of so many hertz, compiled on first
    /// use and cached by content.
    ///
    /// # Errors
    /// No such core has this number of rows, Verilator is missing, or it refused the design.
    pub fn build(
        shape: &CoreShape,
        hertz: u32,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, SimError> {
        let verilog = annulus_hdl::uart_core_verilog(shape, hertz).ok_or(SimError::NoCore {
            lanes: shape.lanes(),
        })?;
        let name = format!("uart_core{}", shape.lanes());
        Self::of_build(
            &Build::new(&name, &verilog),
            ["rx", "tx", "busy"],
            hertz,
            progress,
        )
    }

    /// The whole top of the ULX3S with models of the device's clocks, in which a cycle of the
    /// oscillator is one of the core.
    ///
    /// # Errors
    /// Verilator is missing, or it refused the design.
    pub fn ulx3s(progress: &mut dyn FnMut(Progress)) -> Result<Self, SimError> {
        let top = boards::verilog(ULX3S).unwrap_or_default();
        let build = Build::new(ULX3S, &(top + ulx3s::MODELS));
        Self::of_build(
            &build,
            ["ftdi_txd", "ftdi_rxd", "led_busy"],
            ulx3s::CLOCK,
            progress,
        )
    }

    /// The whole top of the Tang Nano 20K.
    ///
    /// # Errors
    /// Verilator is missing, or it refused the design.
    pub fn tang_nano_20k(progress: &mut dyn FnMut(Progress)) -> Result<Self, SimError> {
        let top = boards::verilog(TANG_NANO_20K).unwrap_or_default();
        let build = Build::new(TANG_NANO_20K, &top);
        let wires = ["uart_rx", "uart_tx", "led_busy"];
        Self::of_build(&build, wires, tang_nano_20k::CLOCK, progress)
    }

    /// Any design, from its ports to the host and from it, and the light of a core at work.
    ///
    /// # Errors
    /// Verilator is missing, it refused the design, or the design has no such ports.
    pub fn of_build(
        build: &Build,
        [rx, tx, busy]: [&str; 3],
        hertz: u32,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, SimError> {
        let design = build.build(progress)?;
        let [rx, tx, busy] = [design.port(rx)?, design.port(tx)?, design.port(busy)?];
        Ok(Self {
            design,
            rx,
            tx,
            busy,
            hertz,
        })
    }

    /// A core just switched on, and the line to it. The host's clock is faster than the
    /// slave takes it to be by so many parts in a thousand.
    pub fn instance(&self, faster: i64) -> UartLine {
        let bit = u64::from(self.hertz) * CLOCK / u64::from(BAUD);
        let mut line = UartLine {
            model: self.design.instance(),
            rx: self.rx,
            tx: self.tx,
            busy: self.busy,
            bit: bit.saturating_add_signed(-(bit as i64) * faster / 1000),
            now: 0,
            edge: 0,
            arriving: None,
            received: VecDeque::new(),
        };
        // The clock of a board begins late.
        line.hold(true, 1000 * CLOCK);
        line
    }
}

/// A master's driver for a simulated core's registers over a UART.
pub type UartMaster = Master<Uart<UartLine>>;

/// A byte that is on its way from the slave.
struct Arriving {
    /// When the next bit is looked at.
    next: u64,
    /// Bits that have been, the first of them lowest.
    bits: u64,
    count: u64,
}

/// The line to one simulated core. Time is in units of which [`CLOCK`] are a cycle.
pub struct UartLine {
    model: Model,
    rx: Port,
    tx: Port,
    busy: Port,
    /// How long the host's bits take.
    bit: u64,
    now: u64,
    /// When the FPGA's clock rises next.
    edge: u64,
    arriving: Option<Arriving>,
    received: VecDeque<u8>,
}

impl UartLine {
    /// How long a bit takes.
    pub fn bit(&self) -> u64 {
        self.bit
    }

    /// Whether a token is in the core.
    pub fn busy(&self) -> bool {
        self.model.peek(self.busy) == 1
    }

    /// The host's end of the line is high, or low, for so long.
    pub fn hold(&mut self, high: bool, time: u64) {
        self.model.poke(self.rx, high.into());
        self.now += time;
        while self.edge <= self.now {
            self.model.tick();
            self.edge += CLOCK;
            self.listen();
        }
    }

    /// A byte from the host, whose stop bit is as it should be or low.
    pub fn send_byte(&mut self, byte: u8, stop: bool) {
        let bits = u64::from(byte) << 1 | u64::from(stop) << (BITS - 1);
        for i in 0..BITS {
            self.hold(bits >> i & 1 == 1, self.bit);
        }
        if !stop {
            self.hold(true, self.bit);
        }
    }

    /// Takes the slave's bits in their middle.
    fn listen(&mut self) {
        let high = self.model.peek(self.tx) == 1;
        match &mut self.arriving {
            None if !high => {
                self.arriving = Some(Arriving {
                    next: self.edge + self.bit / 2,
                    bits: 0,
                    count: 0,
                });
            }
            Some(byte) if self.edge >= byte.next => {
                byte.bits |= u64::from(high) << byte.count;
                byte.count += 1;
                byte.next += self.bit;
                if byte.count == BITS {
                    if high {
                        self.received.push_back((byte.bits >> 1) as u8);
                    }
                    self.arriving = None;
                }
            }
            _ => {}
        }
    }
}

impl Stream for UartLine {
    type Error = Infallible;

    fn send(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
        for &byte in bytes {
            self.send_byte(byte, true);
        }
        Ok(())
    }

    fn receive(&mut self, bytes: &mut [u8]) -> Result<usize, Infallible> {
        for _ in 0..PATIENCE {
            if !self.received.is_empty() {
                break;
            }
            self.hold(true, BITS * self.bit);
        }
        let count = bytes.len().min(self.received.len());
        for (byte, received) in bytes.iter_mut().zip(self.received.drain(..count)) {
            *byte = received;
        }
        Ok(count)
    }
}
