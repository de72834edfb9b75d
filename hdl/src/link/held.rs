//! Registers between a link and a core that lies far from it.

use crate::leaf;
use rust_hdl_core::prelude::*;

leaf! {
    /// The bus one cycle later: frames say late in a cycle what they want, and on a large
    /// device the core's registers need the next one to hear it.
    pub struct HeldBus {
        in clock: Clock,
        in write_in: Bit,
        in read_in: Bit,
        in address_in: Bits<8>,
        in data_in: Bits<32>,
        out write: Bit,
        out read: Bit,
        out address: Bits<8>,
        out data: Bits<32>,
    }
    verilog(_this) {
        "
always @(posedge clock) begin
    write <= write_in;
    read <= read_in;
    address <= address_in;
    data <= data_in;
end
".into()
    }
}
