//! What lies between a core's register bus and the wires of a board: the serial link of
//! [`annulus_contract::link`], which says what goes over them and why.
//!
//! [`SpiPins`] makes bits of wires; [`Frames`] makes accesses of bits and knows no clock
//! but the FPGA's, so another kind of wire needs other pins only.

mod frames;
mod pins;

pub use frames::Frames;
pub use pins::SpiPins;

use crate::core::Core;
use crate::folded::FoldedCore;
use annulus_contract::shape::CoreShape;
use rust_hdl_core::prelude::*;

/// An SPI slave that is the master of a register bus.
#[derive(LogicBlock, Default)]
pub struct SpiLink {
    /// The FPGA's clock, at least four times as fast as SCK.
    pub clock: Signal<In, Clock>,
    /// Serial clock, mode 0.
    pub sck: Signal<In, Bit>,
    /// Chip select, active low.
    pub cs: Signal<In, Bit>,
    /// Bits in.
    pub mosi: Signal<In, Bit>,
    /// Bits out; low while nothing is answered.
    pub miso: Signal<Out, Bit>,
    /// Strobe: write `data` to register `address`.
    pub write: Signal<Out, Bit>,
    /// Strobe: read register `address`.
    pub read: Signal<Out, Bit>,
    /// Register.
    pub address: Signal<Out, Bits<8>>,
    /// What to write.
    pub data: Signal<Out, Bits<32>>,
    /// What was last read; holds until the next read.
    pub q: Signal<In, Bits<32>>,
    /// A token is in the core.
    pub busy: Signal<In, Bit>,
    /// A chosen token waits.
    pub chosen: Signal<In, Bit>,
    pins: SpiPins,
    frames: Frames,
}

impl Logic for SpiLink {
    #[hdl_gen]
    fn update(&mut self) {
        self.pins.clock.next = self.clock.val();
        self.pins.sck.next = self.sck.val();
        self.pins.cs.next = self.cs.val();
        self.pins.mosi.next = self.mosi.val();
        self.frames.clock.next = self.clock.val();
        self.frames.open.next = self.pins.open.val();
        self.frames.strobe.next = self.pins.strobe.val();
        self.frames.value.next = self.pins.value.val();
        self.frames.q.next = self.q.val();
        self.frames.busy.next = self.busy.val();
        self.frames.chosen.next = self.chosen.val();
        self.miso.next = self.frames.miso.val();
        self.write.next = self.frames.write.val();
        self.read.next = self.frames.read.val();
        self.address.next = self.frames.address.val();
        self.data.next = self.frames.data.val();
    }
}

/// Declares a core behind an SPI slave.
macro_rules! behind_spi {
    ($(#[$doc:meta])* $name:ident $(<$($size:ident),+>)?: $core:ty) => {
        $(#[$doc])*
        #[derive(LogicBlock, Default)]
        pub struct $name $(<$(const $size: usize),+>)? {
            /// Everything runs on its rising edge.
            pub clock: Signal<In, Clock>,
            /// Serial clock, mode 0, at most a quarter as fast.
            pub sck: Signal<In, Bit>,
            /// Chip select, active low.
            pub cs: Signal<In, Bit>,
            /// Bits in.
            pub mosi: Signal<In, Bit>,
            /// Bits out; low while nothing is answered.
            pub miso: Signal<Out, Bit>,
            /// A token is in the core.
            pub busy: Signal<Out, Bit>,
            /// Attention: a chosen token waits.
            pub chosen: Signal<Out, Bit>,
            link: SpiLink,
            core: $core,
        }

        impl $(<$(const $size: usize),+>)? $name $(<$($size),+>)? {
            /// A core with the memories that `shape` asks for, behind an SPI slave.
            pub fn new(shape: &CoreShape) -> Self {
                Self { core: <$core>::new(shape), ..Self::default() }
            }
        }

        impl $(<$(const $size: usize),+>)? Logic for $name $(<$($size),+>)? {
            #[hdl_gen]
            fn update(&mut self) {
                self.link.clock.next = self.clock.val();
                self.link.sck.next = self.sck.val();
                self.link.cs.next = self.cs.val();
                self.link.mosi.next = self.mosi.val();
                self.miso.next = self.link.miso.val();
                self.core.clock.next = self.clock.val();
                self.core.write.next = self.link.write.val();
                self.core.read.next = self.link.read.val();
                self.core.address.next = self.link.address.val();
                self.core.data.next = self.link.data.val();
                self.link.q.next = self.core.q.val();
                self.link.busy.next = self.core.busy.val();
                self.busy.next = self.core.busy.val();
                self.link.chosen.next = self.core.chosen.val();
                self.chosen.next = self.core.chosen.val();
            }
        }
    };
}

behind_spi! {
    /// A [`Core`] behind an SPI slave; the parameters are the core's.
    SpiCore<P, P16, SUMS, WORD, BYTES>: Core<P, P16, SUMS, WORD, BYTES>
}

behind_spi! {
    /// A [`FoldedCore`] behind an SPI slave.
    SpiFoldedCore: FoldedCore
}
