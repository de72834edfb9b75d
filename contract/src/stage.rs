//! The output stages (`docs/arithmetic.md` sections 4, 6 and 7): what turns a
//! finished integer sum into the next vector. Every one is a product, one
//! rounding shift of 0 to [`MAX_SHIFT`] and perhaps a saturation.

use crate::block::Scale;
use crate::exp2::SCORE_BITS;
use crate::fixed::{rshr, sat};
use crate::recip::recip;

/// The widest legal shift: hardware has one-directional shifters of five
/// stages. A core that meets any other shift raises its sticky error.
pub const MAX_SHIFT: i32 = 31;

/// Whether hardware can shift by `sh`.
pub const fn is_legal_shift(sh: i32) -> bool {
    0 <= sh && sh <= MAX_SHIFT
}

/// The multiplier of a matvec row, `M16`, u16 (0 to 32,768): the norm's
/// reciprocal root `r` (16,384 to 32,768) times the row's `mu` (5 to 8).
///
/// ```
/// assert_eq!(annulus_contract::stage::m16(29129, 6), 21847);
/// assert_eq!(annulus_contract::stage::m16(32768, 8), 32768);
/// ```
pub const fn m16(r: u16, mu: u8) -> u16 {
    rshr(r as i64 * mu as i64, 3) as u16
}

/// Shift of a matvec row, `15 + k + s - e - F_out + F_x`.
///
/// `k`: of the fused norm, else 0. `s`: the row's exponent. `e`: the input
/// block's. `f_x`: fraction bits of the input, 0 where the norm is fused.
pub const fn matvec_shift(k: u8, s: i8, e: u8, f_out: u8, f_x: u8) -> i32 {
    15 + k as i32 + s as i32 - e as i32 - f_out as i32 + f_x as i32
}

/// A matvec row's result `rshr(acc * M16, sh)`, not yet saturated (see [`sat`]):
/// 16 bits for q, k, v, gate and up, 24 bits for logits; a residual addend is
/// saturated by [`residual_add`] only.
///
/// ```
/// use annulus_contract::stage::{m16, matvec_shift, requantize};
/// let sh = |s| matvec_shift(11, s, 3, 10, 0);
/// assert_eq!(requantize(-10784, m16(29129, 6), sh(6)), -449);
/// assert_eq!(requantize(9736, m16(29129, 7), sh(5)), 947);
/// assert_eq!(requantize(5838, m16(29129, 5), sh(3)), 1622);
/// ```
#[inline]
pub const fn requantize(acc: i32, m16: u16, sh: i32) -> i64 {
    rshr(acc as i64 * m16 as i64, sh)
}

/// The residual plus a matvec's result, int16.
#[inline]
pub const fn residual_add(x: i32, y: i64) -> i32 {
    sat(x as i64 + y, 16) as i32
}

/// Shift of the tied embedding, `s + 3 + igsh - RF`.
pub const fn tied_shift(s: i8, igsh: i8, residual_bits: u8) -> i32 {
    s as i32 + 3 + igsh as i32 - residual_bits as i32
}

/// One element of a tied embedding: weight times the column's inverse gain
/// `ig` times the row's `mu`, int16 with RF fraction bits.
#[inline]
pub const fn tied_embedding(w: i8, ig: i16, mu: u8, sh: i32) -> i32 {
    sat(rshr(w as i64 * ig as i64 * mu as i64, sh), 16) as i32
}

/// Shift of a row of an embedding's own table, `s + 3 - embF`. Here only a
/// left shift of up to 8 is legal as well: see [`is_legal_row_shift`].
pub const fn row_shift(s: i8, fraction_bits: u8) -> i32 {
    s as i32 + 3 - fraction_bits as i32
}

/// Whether hardware can shift a row of an embedding table by `sh`: -8 to 31.
pub const fn is_legal_row_shift(sh: i32) -> bool {
    -8 <= sh && sh <= MAX_SHIFT
}

/// One element of a token's or a position's row, not yet saturated: their sum is.
#[inline]
pub const fn row_embedding(w: i8, mu: u8, sh: i32) -> i64 {
    rshr(w as i64 * mu as i64, sh)
}

/// Shift of the norm after the embedding, `15 + k - igsh - RF`.
pub const fn embedding_norm_shift(k: u8, igsh: i8, residual_bits: u8) -> i32 {
    15 + k as i32 - igsh as i32 - residual_bits as i32
}

/// One element of the normalized embedding, int16 with RF fraction bits.
#[inline]
pub const fn embedding_norm(a: i32, r: u16, sh: i32) -> i32 {
    sat(rshr(a as i64 * r as i64, sh), 16) as i32
}

/// Shift of a score, `FQ + FK - 5 + 6 + rot * log2(hd) - eq - ek`.
///
/// `hadamard_stages`: log2 of the head size where q and k are rotated, else 0.
pub const fn score_shift(fq: u8, fk: u8, hadamard_stages: u32, eq: u8, ek: u8) -> i32 {
    fq as i32 + fk as i32 - SCORE_BITS as i32 + 6 + hadamard_stages as i32 - eq as i32 - ek as i32
}

/// A score from the dot product `d` (22 bits) of a query and a key: int16,
/// base-2 logarithm with 5 fraction bits.
#[inline]
pub const fn score(d: i32, query: Scale, key: Scale, sh: i32) -> i32 {
    sat(rshr(d as i64 * query.mu as i64 * key.mu as i64, sh), 16) as i32
}

/// The attention output stage's multiplier and shift, from the sum `z` of the
/// probabilities (127 to 2^17): `rshr(r, 1)` (u16) and `z + 7` (13 to 23).
pub const fn mix_scale(sum: u32) -> (u16, i32) {
    let reciprocal = recip(sum);
    (rshr(reciprocal.r as i64, 1) as u16, reciprocal.z as i32 + 7)
}

/// One element of a head's output from the sum `acc` (25 bits) of probability
/// times value: int16 with FV fraction bits.
#[inline]
pub const fn mix(acc: i32, (multiplier, sh): (u16, i32)) -> i32 {
    sat(requantize(acc, multiplier, sh), 16) as i32
}
