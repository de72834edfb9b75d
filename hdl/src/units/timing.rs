//! The clock of the pipeline: how many cycles after the scan sent a word each
//! thing happens. Everything that is in step with the data counts from here.

use crate::cells::{Dot8, Recip, Requantize, RowScale, SumP8, SwiGlu};

/// The word and its eight mantissas reach the array.
pub const OPERAND: usize = 3;
/// Its products reach the accumulators.
pub const PRODUCTS: usize = OPERAND + Dot8::LATENCY;
/// The sums of a row group stand in the array.
pub const SUMS: usize = PRODUCTS + 1;
/// The drain learns of a row group.
pub const DRAIN: usize = 6;
/// The first pair of sums enters the tail.
pub const TAIL: usize = SUMS + 1;
/// It leaves, requantized.
pub const RESULT: usize = TAIL + Requantize::LATENCY;
/// Value, attention output and residual are written.
pub const WRITTEN: usize = RESULT + 1;
/// SwiGLU's results are written.
pub const HIDDEN_WRITTEN: usize = WRITTEN + SwiGlu::LATENCY;
/// From the cycle in which a unit says `retire` to the first word of a step
/// that waited for it.
pub const RETIRE_TO_SCAN: usize = 3;

// The row scales and the sum of the probabilities must be in time for the tail.
const _: () = assert!(DRAIN + 2 + RowScale::LATENCY == TAIL);
const _: () = assert!(OPERAND + SumP8::LATENCY + 1 + Recip::LATENCY <= TAIL);
