//! Block floating point (`docs/arithmetic.md` sections 1.1 and 1.2): a vector
//! as int8 mantissas that share one scale, `x ~ m * 2^e * mu / 8`.
//!
//! The scale depends on the largest magnitude alone, which hardware keeps as a
//! running maximum while the vector is written.

use crate::fixed::{len, mag, rshr, sat};
use crate::tables::RC;

/// The scale `2^e * mu / 8` of a block of mantissas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scale {
    /// Exponent, 0 to 14 (0..=8 for int16 vectors; 5 bits in the key ring).
    pub e: u8,
    /// Quarter-octave multiplier, 5 to 8 (2 bits in the key ring).
    pub mu: u8,
}

/// Bits of the mantissas everywhere in this version.
pub const MANTISSA_BITS: u32 = 8;

/// Scale of [`block`](encode_block), from the largest magnitude of the vector:
/// a power of two, `mu` = 8. The bitwise OR of all magnitudes serves as well
/// as their maximum, for only the leading one counts.
///
/// ```
/// use annulus_contract::block::block_scale;
/// assert_eq!(block_scale(127).e, 0);
/// assert_eq!(block_scale(128).e, 1);
/// assert_eq!(block_scale(32767).e, 8);
/// ```
#[inline]
pub const fn block_scale(max_magnitude: u32) -> Scale {
    Scale {
        e: exponent(max_magnitude, MANTISSA_BITS),
        mu: 8,
    }
}

/// Scale of [`bfp`](encode_bfp) for mantissas of `bits` bits, from the largest
/// magnitude of the vector: the finest of `mu` = 5, 6, 7, 8 that still holds it.
///
/// ```
/// use annulus_contract::block::bfp_scale;
/// // 150 = 127 * 2 * 5/8 rounded down to 158 still fits mu = 5.
/// let scale = bfp_scale(150, 8);
/// assert_eq!((scale.e, scale.mu), (1, 5));
/// ```
#[inline]
pub const fn bfp_scale(max_magnitude: u32, bits: u32) -> Scale {
    let e = exponent(max_magnitude, bits);
    let top = (1u64 << (bits - 1)) - 1;
    let mut mu = 8;
    if e > 0 {
        // From coarse to fine: the last one that fits is the smallest.
        while mu > 5 && 8 * max_magnitude as u64 <= (mu - 1) as u64 * (top << e) {
            mu -= 1;
        }
    }
    Scale { e, mu }
}

/// Mantissa of `x` (24 bits signed) in `scale`, `bits` bits signed.
///
/// ```
/// use annulus_contract::block::{mantissa, Scale};
/// assert_eq!(mantissa(150, Scale { e: 1, mu: 5 }, 8), 120);
/// assert_eq!(mantissa(150, Scale { e: 1, mu: 8 }, 8), 75);
/// ```
#[inline]
pub const fn mantissa(x: i32, scale: Scale, bits: u32) -> i8 {
    // RC[8] = 128 makes the second form of the text (rshr(x, e)) a case of the first.
    let product = x as i64 * RC[scale.mu as usize - 5] as i64;
    sat(rshr(product, 7 + scale.e as i32), bits) as i8
}

/// `block(x)`: vectors between steps (residual, attention output, hidden).
/// Writes the mantissas of `x` to `m`, which has the same length.
pub fn encode_block(x: &[i32], m: &mut [i8]) -> Scale {
    encode(x, m, block_scale(max_magnitude(x)), MANTISSA_BITS)
}

/// `bfp(x, 8)`: query and key heads. Writes the mantissas of `x` to `m`, which
/// has the same length.
pub fn encode_bfp(x: &[i32], m: &mut [i8]) -> Scale {
    encode(
        x,
        m,
        bfp_scale(max_magnitude(x), MANTISSA_BITS),
        MANTISSA_BITS,
    )
}

/// Largest magnitude of a vector, what its scale is chosen from.
pub fn max_magnitude(x: &[i32]) -> u32 {
    x.iter().fold(0, |max, &v| max.max(mag(v)))
}

/// The value `vm` that the value ring holds for `v` (int16 with FV fraction
/// bits): int8, in units of 2^8.
///
/// ```
/// use annulus_contract::block::value_mantissa;
/// assert_eq!((value_mantissa(127), value_mantissa(128), value_mantissa(32767)), (0, 1, 127));
/// ```
#[inline]
pub const fn value_mantissa(v: i32) -> i8 {
    sat(rshr(v as i64, 8), 8) as i8
}

/// The values that a ring of 4-bit values holds for a head's `v` (int16 with FV fraction
/// bits): `n * 2^e` with n of 4 bits and one e for the head, 0 to 4. They are int8 in units of
/// 2^8 as [`value_mantissa`]'s are, and whoever multiplies sees no difference.
///
/// ```
/// use annulus_contract::block::narrow_values;
/// let mut m = [0; 4];
/// narrow_values(&[25_600, -900, 3_200, -32_768], &mut m);
/// assert_eq!(m, [96, 0, 16, -128]);
/// narrow_values(&[1_800, -2_048, 127, 128], &mut m);
/// assert_eq!(m, [7, -8, 0, 1]);
/// ```
pub fn narrow_values(v: &[i32], m: &mut [i8]) {
    let e = narrow_exponent(v);
    for (m, &v) in m.iter_mut().zip(v) {
        *m = narrow_value(v, e) << e;
    }
}

/// The exponent of a head's 4-bit values, 0 to 4.
pub fn narrow_exponent(v: &[i32]) -> u8 {
    exponent(max_magnitude(v), 12)
}

/// `v` as a 4-bit number n of exponent `e`, that of its head.
pub const fn narrow_value(v: i32, e: u8) -> i8 {
    sat(rshr(v as i64, 8 + e as i32), 4) as i8
}

const fn exponent(max_magnitude: u32, bits: u32) -> u8 {
    len(max_magnitude as u64).saturating_sub(bits - 1) as u8
}

fn encode(x: &[i32], m: &mut [i8], scale: Scale, bits: u32) -> Scale {
    debug_assert_eq!(x.len(), m.len());
    for (m, &x) in m.iter_mut().zip(x) {
        *m = mantissa(x, scale, bits);
    }
    scale
}
