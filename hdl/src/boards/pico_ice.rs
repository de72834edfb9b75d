//! pico-ice: an iCE40UP5K behind an RP2040.
//!
//! The RP2040 gives the clock and is the master of the SPI link; the three LEDs
//! show what the core does.

use crate::link::SpiFoldedCore;
use annulus_contract::shape::CoreShape;
use rust_hdl_core::prelude::*;

/// Yosys' commands from the top's Verilog, read with `ANNULUS_ICE40` defined, to the device's
/// cells: what `synth_ice40 -abc9` does, but for the delay of a wire, 2 ns as on a full device.
/// With the command's own, paths of many LUTs pass for short ones.
pub const SYNTHESIS: &str = "synth_ice40 -top top -device u -abc9 -spram -run begin:map_luts; \
    check -latchonly -assert; techmap -map +/ice40/latches_map.v; \
    read_verilog -D ICE40_U -icells -lib -specify +/ice40/abc9_model.v; abc9 -W 2000; \
    ice40_wrapcarry -unwrap; techmap -map +/ice40/ff_map.v; clean; opt_lut -tech ice40; \
    synth_ice40 -top top -device u -abc9 -spram -run map_cells:";

/// The ports are those of `bitstreams/pico-ice/pins.pcf`.
#[derive(LogicBlock, Default)]
pub struct PicoIce {
    /// From the RP2040's clock output.
    pub clock: Signal<In, Clock>,
    /// Serial clock, mode 0, at most a quarter as fast as `clock`.
    pub sck: Signal<In, Bit>,
    /// Chip select, active low.
    pub cs: Signal<In, Bit>,
    /// Bits from the RP2040.
    pub mosi: Signal<In, Bit>,
    /// Bits to the RP2040.
    pub miso: Signal<Out, Bit>,
    /// Lit (low) while the FPGA is configured and idle.
    pub led_green: Signal<Out, Bit>,
    /// Lit (low) while a chosen token waits to be read.
    pub led_red: Signal<Out, Bit>,
    /// Lit (low) while the RP2040 talks to the core.
    pub led_blue: Signal<Out, Bit>,
    core: SpiFoldedCore,
}

impl PicoIce {
    /// The board's top with a core of this shape.
    pub fn new(shape: &CoreShape) -> Self {
        Self {
            core: SpiFoldedCore::new(shape),
            ..Self::default()
        }
    }
}

impl Logic for PicoIce {
    #[hdl_gen]
    fn update(&mut self) {
        self.core.clock.next = self.clock.val();
        self.core.sck.next = self.sck.val();
        self.core.cs.next = self.cs.val();
        self.core.mosi.next = self.mosi.val();
        self.miso.next = self.core.miso.val();
        self.led_green.next = self.core.busy.val();
        self.led_red.next = !self.core.chosen.val();
        self.led_blue.next = self.cs.val();
    }
}
