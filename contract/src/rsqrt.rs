//! Reciprocal square root (`docs/arithmetic.md` section 2.1), for RMSNorm.

use crate::fixed::len;
use crate::tables::RSQRT;

/// `1 / sqrt(t) ~ r * 2^-(15 + k)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rsqrt {
    /// 16,384 to 32,768.
    pub r: u16,
    /// 0 to 20.
    pub k: u8,
}

impl Rsqrt {
    /// Exactly one: what a step without a norm uses.
    pub const ONE: Rsqrt = Rsqrt { r: 32768, k: 0 };
}

impl Default for Rsqrt {
    fn default() -> Self {
        Rsqrt::ONE
    }
}

/// Reciprocal square root of `t`, 1 to 2^41 - 1 (a sum of squares plus
/// epsilon, so never 0). Relative error at most 3.9e-4.
///
/// ```
/// use annulus_contract::rsqrt::{rsqrt, Rsqrt};
/// assert_eq!(rsqrt(3), Rsqrt { r: 18919, k: 0 });
/// assert_eq!(rsqrt(65535), Rsqrt { r: 16384, k: 7 });
/// assert_eq!(rsqrt(65536), Rsqrt { r: 32768, k: 8 });
/// ```
pub const fn rsqrt(t: u64) -> Rsqrt {
    debug_assert!(t >= 1 && t < 1 << 41);
    let k = (len(t) - 1) >> 1;
    let shift = 2 * k as i32 - 14;
    // Truncating: u lies in 2^14 .. 2^16.
    let u = if shift >= 0 { t >> shift } else { t << -shift } as u32;
    let (i, f) = ((u >> 10) as usize, u & 1023);
    let (here, next) = (RSQRT[i] as u32, RSQRT[i + 1] as u32);
    Rsqrt {
        r: (here - (((here - next) * f + 512) >> 10)) as u16,
        k: k as u8,
    }
}
