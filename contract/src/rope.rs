//! Rotary positions (`docs/arithmetic.md` section 6): pair `(2c, 2c + 1)` of a
//! head turns by `position * increment[c]`, a 32-bit phase that is exact for
//! ever. The increments are made offline, in the quantizer.

use crate::fixed::{rshr, sat};
use crate::trig::{cos, sin};

/// Sine and cosine of one pair's phase, units of 2^-14.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Sine, -16,384 to 16,384.
    pub sin: i32,
    /// Cosine, -16,384 to 16,384.
    pub cos: i32,
}

impl Rotation {
    /// The rotation by `phase`, 2^32 a turn.
    pub const fn by(phase: u32) -> Self {
        Rotation {
            sin: sin(phase),
            cos: cos(phase),
        }
    }

    /// Rotate a pair of int16 values, each saturated to int16.
    ///
    /// ```
    /// use annulus_contract::rope::Rotation;
    /// assert_eq!(Rotation::by(1 << 30).apply(100, 7), (-7, 100));
    /// ```
    pub const fn apply(self, a: i32, b: i32) -> (i32, i32) {
        let (sin, cos) = (self.sin as i64, self.cos as i64);
        let (a, b) = (a as i64, b as i64);
        (
            sat(rshr(a * cos - b * sin, 14), 16) as i32,
            sat(rshr(a * sin + b * cos, 14), 16) as i32,
        )
    }
}

/// Phase of a pair at `position`: what an accumulator that adds `increment`
/// once a token holds.
pub const fn phase(position: u32, increment: u32) -> u32 {
    position.wrapping_mul(increment)
}

/// Rotate every pair of a head (or of heads in a row) to `position`.
pub fn rotate(x: &mut [i32], position: u32, increments: &[u32]) {
    for head in x.chunks_exact_mut(2 * increments.len()) {
        for (pair, &increment) in head.chunks_exact_mut(2).zip(increments) {
            let rotation = Rotation::by(phase(position, increment));
            (pair[0], pair[1]) = rotation.apply(pair[0], pair[1]);
        }
    }
}
