//! The feed-forward's nonlinearity (`docs/arithmetic.md` section 8).

use crate::fixed::{rshr, sat};
use crate::sigmoid::sigmoid;

/// Fraction bits of gate, up and hidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SwigluFormat {
    /// Gate (`FG`), 3 to 14.
    pub gate: u32,
    /// Up (`FU`).
    pub up: u32,
    /// Hidden (`FH`).
    pub hidden: u32,
}

impl SwigluFormat {
    /// Shift of the last product, `FG + FU - FH`; legal from 0 to 31.
    pub const fn shift(self) -> i32 {
        self.gate as i32 + self.up as i32 - self.hidden as i32
    }
}

/// SwiGLU of a gate and an up value (int16 each): `g * sigmoid(g) * u`, int16.
///
/// ```
/// use annulus_contract::feed_forward::{swiglu, SwigluFormat};
/// let format = SwigluFormat { gate: 12, up: 12, hidden: 11 };
/// assert_eq!(swiglu(-23277, 2480, format), -24);
/// ```
pub const fn swiglu(gate: i32, up: i32, format: SwigluFormat) -> i32 {
    let silu = rshr(gate as i64 * sigmoid(gate, format.gate) as i64, 16);
    sat(rshr(silu * up as i64, format.shift()), 16) as i32
}

/// ReLU: `max(0, gate)`; the hidden vector keeps the gate's format.
pub const fn relu(gate: i32) -> i32 {
    if gate < 0 {
        0
    } else {
        gate
    }
}
