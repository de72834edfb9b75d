//! An SPI port made of pins, where the wires lead to none of the microcontroller's own ports.

use core::convert::Infallible;
use embedded_hal::digital::{InputPin, OutputPin};
use embedded_hal::spi::{ErrorType, Operation, SpiDevice};

/// SPI in mode 0, most significant bits first.
///
/// The clock is as fast as the processor moves the pins, but that it rests in each of its halves for
/// as long as `pause` takes.
pub struct BitBang<Select, Clock, Output, Input, Pause> {
    /// Chip select, active low; high to begin with.
    pub select: Select,
    /// The clock; low to begin with.
    pub clock: Clock,
    /// To the other end.
    pub output: Output,
    /// From there.
    pub input: Input,
    /// Takes as long as half a period at least.
    pub pause: Pause,
}

impl<S, C, O, I, P> BitBang<S, C, O, I, P>
where
    C: OutputPin<Error = Infallible>,
    O: OutputPin<Error = Infallible>,
    I: InputPin<Error = Infallible>,
    P: FnMut(),
{
    fn byte(&mut self, byte: u8) -> u8 {
        let mut received = 0;
        for bit in (0..8).rev() {
            let Ok(()) = self.output.set_state((byte >> bit & 1 == 1).into());
            (self.pause)();
            // The other end changes its bit after the clock rises, so this is still the last one's.
            let Ok(high) = self.input.is_high();
            received = received << 1 | u8::from(high);
            let Ok(()) = self.clock.set_high();
            (self.pause)();
            let Ok(()) = self.clock.set_low();
        }
        received
    }
}

impl<S, C, O, I, P> ErrorType for BitBang<S, C, O, I, P> {
    type Error = Infallible;
}

impl<S, C, O, I, P> SpiDevice for BitBang<S, C, O, I, P>
where
    S: OutputPin<Error = Infallible>,
    C: OutputPin<Error = Infallible>,
    O: OutputPin<Error = Infallible>,
    I: InputPin<Error = Infallible>,
    P: FnMut(),
{
    fn transaction(&mut self, operations: &mut [Operation<'_, u8>]) -> Result<(), Infallible> {
        self.select.set_low()?;
        for operation in operations {
            match operation {
                Operation::Read(bytes) => {
                    bytes.iter_mut().for_each(|byte| *byte = self.byte(0));
                }
                Operation::Write(bytes) => bytes.iter().for_each(|&byte| {
                    self.byte(byte);
                }),
                Operation::Transfer(read, write) => {
                    for i in 0..read.len().max(write.len()) {
                        let byte = self.byte(write.get(i).copied().unwrap_or(0));
                        if let Some(place) = read.get_mut(i) {
                            *place = byte;
                        }
                    }
                }
                Operation::TransferInPlace(bytes) => {
                    bytes.iter_mut().for_each(|byte| *byte = self.byte(*byte));
                }
                // Nobody here asks for one: half a period for each nanosecond is enough.
                Operation::DelayNs(count) => (0..*count).for_each(|_| (self.pause)()),
            }
        }
        self.select.set_high()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::cell::RefCell;
    use std::rc::Rc;
    use std::vec::Vec;

    /// The other end: it keeps what it hears, and says the complement of the byte before.
    #[derive(Default)]
    struct Other {
        selected: bool,
        clock: bool,
        output: bool,
        input: bool,
        bits: u32,
        shift: u8,
        saying: u8,
        heard: Vec<u8>,
        faults: u32,
        pauses: u32,
    }

    impl Other {
        fn rise(&mut self) {
            self.faults += u32::from(!self.selected || self.pauses == 0);
            self.shift = self.shift << 1 | u8::from(self.output);
            self.bits += 1;
            if self.bits.is_multiple_of(8) {
                self.heard.push(self.shift);
                self.saying = !self.shift;
            }
            self.input = self.saying >> 7 == 1;
            self.saying <<= 1;
        }
    }

    /// A pin of the port: what changing it does.
    struct Pin(Rc<RefCell<Other>>, fn(&mut Other, bool));

    impl embedded_hal::digital::ErrorType for Pin {
        type Error = Infallible;
    }

    impl OutputPin for Pin {
        fn set_low(&mut self) -> Result<(), Infallible> {
            self.1(&mut self.0.borrow_mut(), false);
            Ok(())
        }

        fn set_high(&mut self) -> Result<(), Infallible> {
            self.1(&mut self.0.borrow_mut(), true);
            Ok(())
        }
    }

    impl InputPin for Pin {
        fn is_high(&mut self) -> Result<bool, Infallible> {
            Ok(self.0.borrow().input)
        }

        fn is_low(&mut self) -> Result<bool, Infallible> {
            Ok(!self.0.borrow().input)
        }
    }

    #[test]
    fn bytes_go_both_ways_while_the_other_end_is_selected() {
        let other = Rc::new(RefCell::new(Other::default()));
        let pin = |change| Pin(other.clone(), change);
        let mut port = BitBang {
            select: pin(|other, high| other.selected = !high),
            clock: pin(|other, high| {
                if high && !other.clock {
                    other.rise();
                }
                (other.clock, other.pauses) = (high, 0);
            }),
            output: pin(|other, high| {
                // A bit changes while the clock is low, and long before it rises.
                other.faults += u32::from(other.clock || other.pauses != 0);
                other.output = high;
            }),
            input: pin(|_, _| ()),
            pause: || other.borrow_mut().pauses += 1,
        };
        let mut frame = [0x80, 0x01, 0xa5, 0x00, 0xff];
        port.transfer_in_place(&mut frame).unwrap();
        assert_eq!(frame[1..], [0x7f, 0xfe, 0x5a, 0xff]);
        let mut read = [0; 3];
        port.transfer(&mut read, &[0x33]).unwrap();
        assert_eq!(read, [0x00, 0xcc, 0xff]);
        port.write(&[7, 8]).unwrap();
        port.read(&mut read).unwrap();
        assert_eq!(read, [0xf7, 0xff, 0xff]);
        let other = other.borrow();
        let heard = [0x80, 1, 0xa5, 0, 0xff, 0x33, 0, 0, 7, 8, 0, 0, 0];
        assert_eq!(other.heard, heard);
        assert_eq!(
            (other.faults, other.selected, other.clock),
            (0, false, false)
        );
    }
}
