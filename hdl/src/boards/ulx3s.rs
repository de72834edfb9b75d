//! The ULX3S with an ECP5-85F.
//!
//! A PLL makes the core's clock of the board's oscillator; the link is the UART of the board's
//! USB bridge; three LEDs show what the core does.

use crate::leaf;
use crate::link::UartCore;
use annulus_contract::link::uart::LEAST_CLOCK;
use annulus_contract::shape::{clock, CoreShape};
use annulus_contract::step::COLUMNS;
use rust_hdl_core::prelude::*;

/// The board's oscillator, in hertz.
pub const OSCILLATOR: u32 = 25_000_000;
/// The core's clock, in hertz.
pub const CLOCK: u32 = clock::ULX3S;
const _: () = assert!(CLOCK >= LEAST_CLOCK);

/// The PLL's own oscillator runs at so many times the board's, which it is compared with undivided,
const VCO_TIMES: u32 = CLOCK * VCO_OVER_CORE / OSCILLATOR;
/// and so many times the core's clock.
const VCO_OVER_CORE: u32 = 10;
const _: () = {
    let vco = OSCILLATOR * VCO_TIMES;
    assert!(
        vco == CLOCK * VCO_OVER_CORE,
        "the PLL cannot make this clock"
    );
    assert!(
        400_000_000 <= vco && vco <= 800_000_000,
        "out of the PLL's range"
    );
};

/// What Verilator needs beside the top: models of the device's cells.
pub const MODELS: &str = include_str!("ulx3s/models.v");

leaf! {
    /// The core's clock. It stands still until the PLL has been locked for a while, so that
    /// registers keep their values from configuration and need no reset.
    pub struct CoreClock {
        in oscillator: Clock,
        out core: Clock,
        out running: Bit,
    }
    verilog(_this) {
        format!("
wire made, compared, locked;
(* ICP_CURRENT = \"12\", LPF_RESISTOR = \"8\", MFG_ENABLE_FILTEROPAMP = \"1\", MFG_GMCREF_SEL = \"2\" *)
EHXPLLL #(.CLKI_DIV(1), .CLKFB_DIV(1), .FEEDBK_PATH(\"CLKOP\"), .INTFB_WAKE(\"DISABLED\"),
    .PLLRST_ENA(\"DISABLED\"), .STDBY_ENABLE(\"DISABLED\"), .DPHASE_SOURCE(\"DISABLED\"),
    .CLKOP_ENABLE(\"ENABLED\"), .OUTDIVIDER_MUXA(\"DIVA\"),
    .CLKOP_DIV({VCO_TIMES}), .CLKOP_CPHASE({}), .CLKOP_FPHASE(0),
    .CLKOS_ENABLE(\"ENABLED\"), .OUTDIVIDER_MUXB(\"DIVB\"),
    .CLKOS_DIV({VCO_OVER_CORE}), .CLKOS_CPHASE({}), .CLKOS_FPHASE(0)
) pll (.CLKI(oscillator), .CLKFB(compared), .CLKOP(compared), .CLKOS(made), .LOCK(locked),
    .RST(1'b0), .STDBY(1'b0), .PLLWAKESYNC(1'b0), .ENCLKOP(1'b0), .ENCLKOS(1'b0),
    .PHASESEL0(1'b0), .PHASESEL1(1'b0), .PHASEDIR(1'b1), .PHASESTEP(1'b1), .PHASELOADREG(1'b1));

reg [1:0] lock;
reg [7:0] waited;
always @(posedge oscillator) begin
    lock <= {{lock[0], locked}};
    if (!lock[1]) waited <= 0;
    else if (!running) waited <= waited + 8'd1;
end
always @(*) running = waited[7];
DCCA gate(.CLKI(made), .CE(running), .CLKO(core));
", VCO_TIMES - 1, VCO_OVER_CORE - 1)
    }
}

/// The ports are those of `bitstreams/ulx3s/pins.lpf`.
#[derive(LogicBlock, Default)]
pub struct Ulx3s {
    /// The board's oscillator.
    pub clock: Signal<In, Clock>,
    /// From the USB bridge.
    pub ftdi_txd: Signal<In, Bit>,
    /// To the USB bridge.
    pub ftdi_rxd: Signal<Out, Bit>,
    /// Lit while the FPGA is configured and the core's clock runs.
    pub led_clock: Signal<Out, Bit>,
    /// Lit while a token is in the core.
    pub led_busy: Signal<Out, Bit>,
    /// Lit while a chosen token waits to be read.
    pub led_chosen: Signal<Out, Bit>,
    /// High, or the ESP32 beside the FPGA does not start.
    pub wifi_gpio0: Signal<Out, Bit>,
    core_clock: CoreClock,
    core: UartCore<8, 128, 256, 512, 64>,
}

impl Ulx3s {
    /// The board's top with a core of this shape, of eight rows.
    pub fn new(shape: &CoreShape) -> Self {
        Self {
            core: UartCore::new(shape, CLOCK),
            ..Self::default()
        }
    }
}

impl Logic for Ulx3s {
    #[hdl_gen]
    fn update(&mut self) {
        self.core_clock.oscillator.next = self.clock.val();
        self.core.clock.next = self.core_clock.core.val();
        self.core.rx.next = self.ftdi_txd.val();
        self.ftdi_rxd.next = self.core.tx.val();
        self.led_clock.next = self.core_clock.running.val();
        self.led_busy.next = self.core.busy.val();
        self.led_chosen.next = self.core.chosen.val();
        self.wifi_gpio0.next = true;
    }
}

/// Where the block RAMs of an ECP5-85F lie: four rows across the device, in each a block at
/// each of these columns. The four sites of a group are told apart by a number.
const BLOCK_RAM_ROWS: [usize; 4] = [22, 46, 70, 82];
const BLOCK_RAM_GROUPS: [usize; 13] = [4, 13, 22, 31, 40, 49, 58, 69, 78, 87, 96, 105, 114];
const BLOCK_RAM_IN_GROUP: [usize; 4] = [0, 2, 4, 6];

/// Words of eight bits that a block RAM holds.
const BLOCK_RAM_WORDS: u32 = 2048;

/// Places for the block RAMs of the wide memory, which fills nearly all that there are: the
/// name of a cell in the top's netlist, and its site for nextpnr's attribute `BEL`.
///
/// Each row of block RAMs serves two rows of the array, one to its left and one to its
/// right, and keeps the four sites between them for other memories.
///
/// # Panics
/// With more than 8 rows or 6144 words: the device has no such places.
pub fn floorplan(shape: &CoreShape) -> Vec<(String, String)> {
    let (rows, banks) = (
        shape.rows as usize,
        shape.memory.div_ceil(BLOCK_RAM_WORDS) as usize,
    );
    let sites = |y: usize| {
        let groups = BLOCK_RAM_GROUPS.into_iter();
        groups.flat_map(move |x| {
            (0..4).map(move |i| format!("X{}/Y{y}/EBR{i}", x + BLOCK_RAM_IN_GROUP[i]))
        })
    };
    assert!(rows <= 2 * BLOCK_RAM_ROWS.len() && banks <= 3);
    let mut places = vec![];
    for row in 0..rows {
        let mut sites: Vec<String> = sites(BLOCK_RAM_ROWS[row / 2]).collect();
        if row % 2 == 1 {
            sites.reverse();
        }
        for (block, site) in (0..banks * COLUMNS).zip(sites) {
            let (byte, bank) = (block / banks, block % banks);
            let cell = COLUMNS * bank + byte;
            places.push((format!("core.core.memory.mem_{row}.0.{cell}"), site));
        }
    }
    places
}
