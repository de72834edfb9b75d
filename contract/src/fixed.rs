//! Fixed-point primitives (`docs/arithmetic.md` section 1): the only rounding
//! and the only saturation in the whole system.

/// Rounding shift right: half a unit is added, then the arithmetic shift
/// truncates, so halves go up (toward plus infinity). A shift of zero or less
/// is an exact shift left.
///
/// ```
/// use annulus_contract::fixed::rshr;
/// assert_eq!(rshr(5, 1), 3);
/// assert_eq!(rshr(-5, 1), -2);
/// assert_eq!(rshr(-1, 1), 0);
/// assert_eq!(rshr(-12, 3), -1);
/// assert_eq!(rshr(-4, 3), 0);
/// assert_eq!(rshr(3, -2), 12);
/// ```
#[inline]
pub const fn rshr(x: i64, s: i32) -> i64 {
    if s > 0 {
        (x + (1 << (s - 1))) >> s
    } else {
        x << -s
    }
}

/// Clamp to a signed number of `bits` bits: `-2^(bits-1) ..= 2^(bits-1) - 1`.
///
/// ```
/// use annulus_contract::fixed::sat;
/// assert_eq!((sat(32768, 16), sat(-32769, 16), sat(5, 16)), (32767, -32768, 5));
/// ```
#[inline]
pub const fn sat(x: i64, bits: u32) -> i64 {
    let top = (1 << (bits - 1)) - 1;
    if x > top {
        top
    } else if x < -top - 1 {
        -top - 1
    } else {
        x
    }
}

/// Bit length of `x`: the position of its leading one plus one, and 0 for 0.
///
/// ```
/// use annulus_contract::fixed::len;
/// assert_eq!((len(0), len(1), len(127), len(128)), (0, 1, 7, 8));
/// ```
#[inline]
pub const fn len(x: u64) -> u32 {
    u64::BITS - x.leading_zeros()
}

/// One's complement magnitude: `x` or, below zero, `!x`. So -128 has
/// magnitude 127 and fits int8 as 127 does.
///
/// ```
/// use annulus_contract::fixed::mag;
/// assert_eq!((mag(127), mag(-128), mag(0), mag(-1)), (127, 127, 0, 0));
/// ```
#[inline]
pub const fn mag(x: i32) -> u32 {
    (x ^ (x >> 31)) as u32
}
