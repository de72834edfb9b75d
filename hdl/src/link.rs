//! What lies between a core's register bus and the wires of a board: the serial link of
//! [`annulus_contract::link`], which says what goes over them and why.
//!
//! [`SpiPins`] and [`UartPins`] make bits of wires; [`Frames`] makes accesses of bits and
//! knows no clock but the FPGA's, so another kind of wire needs other pins only.

mod frames;
mod held;
mod pins;
mod uart;

pub use frames::Frames;
pub use held::HeldBus;
pub use pins::SpiPins;
pub use uart::{UartPins, UartReceiver, UartTransmitter};

use crate::core::Core;
use crate::folded::FoldedCore;
use annulus_contract::shape::CoreShape;
use rust_hdl_core::prelude::*;

/// Declares a slave that is the master of a register bus: pins, and frames behind them. `out` is
/// the wire to the host and what drives it; `answers` names the pins' input for the bits that
/// are sent, if they have one; `bus` is what drives the bus: the frames, or registers behind them.
macro_rules! link {
    ($(#[$doc:meta])* $name:ident: $pins:ident {
        clock: $clock_doc:literal,
        $(in $in:ident: $in_doc:literal,)+
        out $out:ident = $part:ident.$from:ident: $out_doc:literal,
        $(answers $answers:ident,)?
        $(held $held:ident: $registers:ty,)?
        bus $bus:ident,
    }) => {
        $(#[$doc])*
        #[derive(LogicBlock, Default)]
        pub struct $name {
            #[doc = $clock_doc]
            pub clock: Signal<In, Clock>,
            $(#[doc = $in_doc] pub $in: Signal<In, Bit>,)+
            #[doc = $out_doc]
            pub $out: Signal<Out, Bit>,
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
            pins: $pins,
            frames: Frames,
            $($held: $registers,)?
        }

        impl Logic for $name {
            #[hdl_gen]
            fn update(&mut self) {
                self.pins.clock.next = self.clock.val();
                $(self.pins.$in.next = self.$in.val();)+
                $(self.pins.$answers.next = self.frames.miso.val();)?
                self.frames.clock.next = self.clock.val();
                self.frames.open.next = self.pins.open.val();
                self.frames.strobe.next = self.pins.strobe.val();
                self.frames.value.next = self.pins.value.val();
                self.frames.q.next = self.q.val();
                self.frames.busy.next = self.busy.val();
                self.frames.chosen.next = self.chosen.val();
                self.$out.next = self.$part.$from.val();
                $(
                    self.$held.clock.next = self.clock.val();
                    self.$held.write_in.next = self.frames.write.val();
                    self.$held.read_in.next = self.frames.read.val();
                    self.$held.address_in.next = self.frames.address.val();
                    self.$held.data_in.next = self.frames.data.val();
                )?
                self.write.next = self.$bus.write.val();
                self.read.next = self.$bus.read.val();
                self.address.next = self.$bus.address.val();
                self.data.next = self.$bus.data.val();
            }
        }
    };
}

link! {
    /// An SPI slave that is the master of a register bus.
    SpiLink: SpiPins {
        clock: "The FPGA's clock, at least four times as fast as SCK.",
        in sck: "Serial clock, mode 0.",
        in cs: "Chip select, active low.",
        in mosi: "Bits in.",
        out miso = frames.miso: "Bits out; low while nothing is answered.",
        bus frames,
    }
}

link! {
    /// A UART that is the master of a register bus.
    UartLink: UartPins {
        clock: "The FPGA's clock, as fast as the pins were made for.",
        in rx: "From the host.",
        out tx = pins.tx: "To the host.",
        answers miso,
        held held: HeldBus,
        bus held,
    }
}

impl UartLink {
    /// A link for a clock of so many hertz, at least
    /// [`LEAST_CLOCK`](annulus_contract::link::uart::LEAST_CLOCK).
    pub fn new(hertz: u32) -> Self {
        Self {
            pins: UartPins::new(hertz),
            ..Self::default()
        }
    }
}

/// Declares a core behind such a slave.
macro_rules! behind {
    ($(#[$doc:meta])* $name:ident $(<$($size:ident),+>)?: $core:ty, $link:ty $([$hertz:ident])? {
        $(in $in:ident: $in_doc:literal,)+
        out $out:ident: $out_doc:literal,
    }) => {
        $(#[$doc])*
        #[derive(LogicBlock, Default)]
        pub struct $name $(<$(const $size: usize),+>)? {
            /// Everything runs on its rising edge.
            pub clock: Signal<In, Clock>,
            $(#[doc = $in_doc] pub $in: Signal<In, Bit>,)+
            #[doc = $out_doc]
            pub $out: Signal<Out, Bit>,
            /// A token is in the core.
            pub busy: Signal<Out, Bit>,
            /// Attention: a chosen token waits.
            pub chosen: Signal<Out, Bit>,
            link: $link,
            core: $core,
        }

        impl $(<$(const $size: usize),+>)? $name $(<$($size),+>)? {
            /// A core with the memories that `shape` asks for; a link that counts time is told
            /// the clock in hertz.
            pub fn new(shape: &CoreShape $(, $hertz: u32)?) -> Self {
                Self { core: <$core>::new(shape), $(link: <$link>::new($hertz),)? ..Self::default() }
            }
        }

        impl $(<$(const $size: usize),+>)? Logic for $name $(<$($size),+>)? {
            #[hdl_gen]
            fn update(&mut self) {
                self.link.clock.next = self.clock.val();
                $(self.link.$in.next = self.$in.val();)+
                self.$out.next = self.link.$out.val();
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

behind! {
    /// A [`Core`] behind an SPI slave; the parameters are the core's.
    SpiCore<P, P16, SUMS, WORD, BYTES>: Core<P, P16, SUMS, WORD, BYTES>, SpiLink {
        in sck: "Serial clock, mode 0, at most a quarter as fast.",
        in cs: "Chip select, active low.",
        in mosi: "Bits in.",
        out miso: "Bits out; low while nothing is answered.",
    }
}

behind! {
    /// A [`FoldedCore`] behind an SPI slave.
    SpiFoldedCore: FoldedCore, SpiLink {
        in sck: "Serial clock, mode 0, at most a quarter as fast.",
        in cs: "Chip select, active low.",
        in mosi: "Bits in.",
        out miso: "Bits out; low while nothing is answered.",
    }
}

behind! {
    /// A [`Core`] behind a UART; the parameters are the core's.
    UartCore<P, P16, SUMS, WORD, BYTES>: Core<P, P16, SUMS, WORD, BYTES>, UartLink [hertz] {
        in rx: "From the host.",
        out tx: "To the host.",
    }
}

behind! {
    /// A [`FoldedCore`] behind a UART.
    UartFoldedCore: FoldedCore, UartLink [hertz] {
        in rx: "From the host.",
        out tx: "To the host.",
    }
}
