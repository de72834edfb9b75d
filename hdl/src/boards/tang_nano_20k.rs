//! The Tang Nano 20K with a GW2AR-18.
//!
//! The core runs at the rate of the board's oscillator; the link is the UART of the board's
//! USB bridge; three LEDs show what the core does.

use crate::link::UartFoldedCore;
use annulus_contract::link::uart::LEAST_CLOCK;
use annulus_contract::shape::{clock, CoreShape};
use rust_hdl_core::prelude::*;

/// The board's oscillator and the core's clock, in hertz.
pub const CLOCK: u32 = clock::TANG_NANO_20K;
const _: () = assert!(CLOCK >= LEAST_CLOCK);

/// The ports are those of `bitstreams/tang-nano-20k/pins.cst`.
#[derive(LogicBlock, Default)]
pub struct TangNano20k {
    /// The board's oscillator.
    pub clock: Signal<In, Clock>,
    /// From the USB bridge.
    pub uart_rx: Signal<In, Bit>,
    /// To the USB bridge.
    pub uart_tx: Signal<Out, Bit>,
    /// Lit (low) while the FPGA is configured.
    pub led_configured: Signal<Out, Bit>,
    /// Lit (low) while a token is in the core.
    pub led_busy: Signal<Out, Bit>,
    /// Lit (low) while a chosen token waits to be read.
    pub led_chosen: Signal<Out, Bit>,
    core: UartFoldedCore,
}

impl TangNano20k {
    /// The board's top with a core of this shape, of one row.
    pub fn new(shape: &CoreShape) -> Self {
        Self {
            core: UartFoldedCore::new(shape, CLOCK),
            ..Self::default()
        }
    }
}

impl Logic for TangNano20k {
    #[hdl_gen]
    fn update(&mut self) {
        self.core.clock.next = self.clock.val();
        self.core.rx.next = self.uart_rx.val();
        self.uart_tx.next = self.core.tx.val();
        self.led_configured.next = false;
        self.led_busy.next = !self.core.busy.val();
        self.led_chosen.next = !self.core.chosen.val();
    }
}
