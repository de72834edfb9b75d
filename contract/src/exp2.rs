//! Powers of two below one (`docs/arithmetic.md` section 2.5), the softmax's
//! exponential: scores are base-2 logarithms.

use crate::fixed::rshr;
use crate::tables::EXP2;

/// Fraction bits of a score (`SF`).
pub const SCORE_BITS: u32 = 5;
/// The probability of the largest score, `exp2p(0)`.
pub const ONE: u32 = 127;
/// From this distance on a probability is 0, so hardware reads a ROM of 256.
pub const DEPTH: u32 = 256;

/// `127 * 2^(-d / 32)`, rounded: the unnormalized probability (0 to 127) of a
/// score that lies `d` (5 fraction bits) below the largest.
///
/// ```
/// use annulus_contract::exp2::exp2p;
/// assert_eq!((exp2p(0), exp2p(1), exp2p(32), exp2p(255), exp2p(256)), (127, 124, 64, 1, 0));
/// ```
pub const fn exp2p(d: u32) -> u32 {
    if d >= DEPTH {
        return 0;
    }
    let (n, f) = (d >> SCORE_BITS, d & ((1 << SCORE_BITS) - 1));
    rshr(EXP2[f as usize] as i64, n as i32 + 9) as u32
}
