//! Reciprocal (`docs/arithmetic.md` section 2.2), for the softmax's sum.

use crate::fixed::len;
use crate::tables::RECIP;

/// `1 / Z ~ r * 2^-(16 + z)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recip {
    /// 32,768 to 65,536 (17 bits).
    pub r: u32,
    /// 0 to 17.
    pub z: u8,
}

/// Reciprocal of `sum`, 1 to 2^18 - 1. Relative error at most 2.6e-4.
///
/// ```
/// use annulus_contract::recip::{recip, Recip};
/// assert_eq!(recip(129), Recip { r: 65039, z: 7 });
/// assert_eq!(recip(65535), Recip { r: 32769, z: 15 });
/// assert_eq!(recip(130048), Recip { r: 33028, z: 16 });
/// ```
pub const fn recip(sum: u32) -> Recip {
    debug_assert!(sum >= 1 && sum < 1 << 18);
    let z = len(sum as u64) - 1;
    let u = if z >= 15 {
        sum >> (z - 15)
    } else {
        sum << (15 - z)
    };
    let x = u & 0x7fff;
    let (i, f) = ((x >> 10) as usize, x & 1023);
    let (here, next) = (RECIP[i], RECIP[i + 1]);
    Recip {
        r: here - (((here - next) * f + 512) >> 10),
        z: z as u8,
    }
}
