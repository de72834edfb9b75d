//! Sticky error bits of the core (register [`crate::regs::ERROR`]).

/// An output stage was asked to shift left or by more than 31 bits.
pub const ILLEGAL_SHIFT: u32 = 1;
/// The sequencer fetched a step of unknown kind.
pub const BAD_STEP: u32 = 2;
/// An input token was written while the queue was full.
pub const INPUT_OVERFLOW: u32 = 4;
/// A memory was accessed while a token was in the core.
pub const BUSY_ACCESS: u32 = 8;

/// Bits and what they mean to a user, in one sentence each.
pub const MEANINGS: &[(u32, &str)] = &[
    (ILLEGAL_SHIFT, "an output shift left the range 0 to 31: the image does not fit its own number formats, quantize the model again"),
    (BAD_STEP, "the core fetched a step it does not know: load the image again"),
    (INPUT_OVERFLOW, "a token was queued while the input queue was full: wait for room"),
    (BUSY_ACCESS, "a memory was accessed while a token was in the core: wait until it is idle"),
];
