//! Logistic function (`docs/arithmetic.md` section 2.4).

use crate::tables::SIGMOID;

/// Fewest fraction bits that [`sigmoid`] takes.
pub const MIN_FRACTION_BITS: u32 = 3;
/// Most fraction bits that [`sigmoid`] takes.
pub const MAX_FRACTION_BITS: u32 = 14;

/// Logistic function of `g` (int16, `fg` = 3 to 14 fraction bits), 1 to
/// 65,535 in units of 2^-16.
///
/// ```
/// use annulus_contract::sigmoid::sigmoid;
/// assert_eq!(sigmoid(0, 12), 32768);
/// assert_eq!(sigmoid(500, 12) + sigmoid(-500, 12), 65536);
/// ```
pub const fn sigmoid(g: i32, fg: u32) -> u32 {
    debug_assert!(fg >= MIN_FRACTION_BITS && fg <= MAX_FRACTION_BITS);
    let shift = fg - 2;
    let a = g.unsigned_abs();
    let (i, f) = ((a >> shift) as usize, a & ((1 << shift) - 1));
    let s = if i >= 32 {
        SIGMOID[32] as u32
    } else {
        let here = SIGMOID[i] as u32;
        here + (((SIGMOID[i + 1] as u32 - here) * f + (1 << (shift - 1))) >> shift)
    };
    if g < 0 {
        65536 - s
    } else {
        s
    }
}
