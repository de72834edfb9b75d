//! From SPI wires to bits in the FPGA's clock.

use crate::leaf;
use rust_hdl_core::prelude::*;

leaf! {
    /// Samples the wires through two registers each. `strobe` marks each rising edge of SCK
    /// within a frame, with the bit at MOSI in `value`; both edges of SCK must be seen, hence
    /// a clock at least four times as fast.
    pub struct SpiPins {
        in clock: Clock,
        in sck: Bit,
        in cs: Bit,
        in mosi: Bit,
        out open: Bit,
        out strobe: Bit,
        out value: Bit,
    }
    verilog(_this) {
        "
reg [2:0] sck_seen;     // the third is the one before, to find edges
reg [1:0] selected_seen, mosi_seen;
always @(posedge clock) begin
    sck_seen <= {sck_seen[1:0], sck};
    selected_seen <= {selected_seen[0], !cs};
    mosi_seen <= {mosi_seen[0], mosi};
end
always @(*) open = selected_seen[1];
always @(*) strobe = open && sck_seen[1] && !sck_seen[2];
always @(*) value = mosi_seen[1];
".into()
    }
}
