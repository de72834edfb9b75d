//! Sine and cosine of a 32-bit phase (`docs/arithmetic.md` section 2.3).

use crate::tables::SIN;

/// A quarter of a turn; 2^32 is a whole one.
pub const QUARTER_TURN: u32 = 1 << 30;

/// Sine of `phase` (2^32 = one turn) in units of 2^-14, -16,384 to 16,384.
///
/// ```
/// use annulus_contract::trig::sin;
/// assert_eq!((sin(0), sin(1 << 30), sin(1 << 31), sin(3 << 30)), (0, 16384, 0, -16384));
/// ```
pub const fn sin(phase: u32) -> i32 {
    let quadrant = phase >> 30;
    let x = phase & (QUARTER_TURN - 1);
    let x = if quadrant & 1 == 1 {
        QUARTER_TURN - x
    } else {
        x
    };
    let (i, f) = ((x >> 24) as usize, (x >> 16 & 255) as i32);
    let here = SIN[i] as i32;
    let v = if i == 64 {
        here
    } else {
        here + (((SIN[i + 1] as i32 - here) * f + 128) >> 8)
    };
    if quadrant >= 2 {
        -v
    } else {
        v
    }
}

/// Cosine of `phase` (2^32 = one turn) in units of 2^-14.
///
/// ```
/// use annulus_contract::trig::cos;
/// assert_eq!((cos(0), cos(1 << 30), cos(1 << 31)), (16384, 0, -16384));
/// ```
pub const fn cos(phase: u32) -> i32 {
    sin(phase.wrapping_add(QUARTER_TURN))
}
