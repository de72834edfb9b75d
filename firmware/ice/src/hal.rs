//! What the boards' modules of pins and peripherals share.

use crate::obituary::Text;
use embedded_hal::digital::InputPin;

/// How long the display's wires take to rise, in microseconds.
const RISING: u64 = 100;

/// What the last life died of, if the watchdog ended it.
pub fn hanged(by_watchdog: bool) -> Option<Text> {
    let text = "the watchdog ended a turn of the loop that took too long";
    by_watchdog.then(|| Text::try_from(text).ok()).flatten()
}

/// Whether both wires of the display are high once they have been pulled up. The port would wait for
/// ever for wires that something holds low.
pub fn wires_rest(
    micros: impl Fn() -> u64,
    mut sda: impl InputPin,
    mut scl: impl InputPin,
) -> bool {
    let start = micros();
    while micros() - start < RISING {}
    matches!((sda.is_high(), scl.is_high()), (Ok(true), Ok(true)))
}

/// Declares a board's [`Hardware`](crate::Hardware): a struct of its pins and clocks, by their numbers.
///
/// A macro, because the crates for the two microcontrollers have the same names for different types. It
/// also gives the module `Output`, the type of a driven pin, and `high`, which makes one.
#[macro_export]
macro_rules! hardware {
    (
        $(#[$doc:meta])*
        $board:ident is $name:expr, by $hal:ident, with $timer:ty;
        configured through $reset:ident, $select:ident, $clock:ident, $data:ident, $done:ident;
        lit by $red:ident, $green:ident, $blue:ident;
        clocked by $fpga_clock:ident;
        rebooted by $reboot:expr;
    ) => {
        /// An output of the microcontroller.
        type Output<P> =
            $hal::gpio::Pin<P, $hal::gpio::FunctionSioOutput, $hal::gpio::PullNone>;

        $(#[$doc])*
        pub struct $board {
            timer: $timer,
            watchdog: $hal::Watchdog,
            reset: Output<$hal::gpio::bank0::$reset>,
            select: Output<$hal::gpio::bank0::$select>,
            clock: Output<$hal::gpio::bank0::$clock>,
            data: Output<$hal::gpio::bank0::$data>,
            done: $hal::gpio::Pin<
                $hal::gpio::bank0::$done,
                $hal::gpio::FunctionSioInput,
                $hal::gpio::PullNone,
            >,
            red: Output<$hal::gpio::bank0::$red>,
            green: Output<$hal::gpio::bank0::$green>,
            blue: Output<$hal::gpio::bank0::$blue>,
            /// Keeps the FPGA's clock running.
            _fpga_clock: $hal::gpio::Pin<
                $hal::gpio::bank0::$fpga_clock,
                $hal::gpio::FunctionClock,
                $hal::gpio::PullNone,
            >,
        }

        /// An output that begins high.
        fn high<P>(
            pin: $hal::gpio::Pin<
                P,
                <P as $hal::gpio::DefaultTypeState>::Function,
                <P as $hal::gpio::DefaultTypeState>::PullType,
            >,
        ) -> Output<P>
        where
            P: $hal::gpio::PinId
                + $hal::gpio::DefaultTypeState
                + $hal::gpio::ValidFunction<$hal::gpio::FunctionSioOutput>,
        {
            pin.into_pull_type()
                .into_push_pull_output_in_state($hal::gpio::PinState::High)
        }

        impl $crate::Hardware for $board {
            const NAME: &'static str = $name;

            #[inline]
            fn set(&mut self, line: $crate::Line, high: bool) {
                use ::embedded_hal::digital::OutputPin;
                let state = $hal::gpio::PinState::from(high);
                let Ok(()) = match line {
                    $crate::Line::Reset => self.reset.set_state(state),
                    $crate::Line::Select => self.select.set_state(state),
                    $crate::Line::Clock => self.clock.set_state(state),
                    $crate::Line::Data => self.data.set_state(state),
                    $crate::Line::Red => self.red.set_state(state),
                    $crate::Line::Green => self.green.set_state(state),
                    $crate::Line::Blue => self.blue.set_state(state),
                };
            }

            fn configured(&mut self) -> bool {
                use ::embedded_hal::digital::InputPin;
                let Ok(high) = self.done.is_high();
                high
            }

            fn micros(&mut self) -> u64 {
                self.timer.get_counter().ticks()
            }

            fn feed(&mut self) {
                self.watchdog.feed();
            }

            fn reboot(&mut self, how: ::annulus_contract::wire::Reboot) {
                $reboot(how)
            }
        }
    };
}
