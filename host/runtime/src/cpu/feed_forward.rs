//! The feed-forward's nonlinearity (`docs/arithmetic.md` section 8).

use annulus_contract::feed_forward::SwigluFormat;
use annulus_contract::tables::SIGMOID;

use super::operand::Measure;
use super::simd::{Lanes, Row, LANES};

/// Segments of the sigmoid's table.
const SEGMENTS: usize = SIGMOID.len() - 1;

/// What makes the hidden vector of gate and up.
#[derive(Clone, Copy)]
pub enum Activation {
    /// ReLU of the gate; there is no up.
    Relu,
    /// SwiGLU.
    Swiglu(SwigluFormat),
}

/// The hidden vector of a layer in the gate's place; `y` holds the gate's rows
/// and then, for SwiGLU, as many of up. Returns the hidden vector's exponent.
#[inline(always)]
pub fn activate<L: Lanes>(activation: Activation, y: &mut [Row], rows: usize) -> i32 {
    let (gate, up) = y.split_at_mut(rows);
    let mut measure = Measure::<L>::new();
    match activation {
        Activation::Relu => {
            for gate in gate {
                let h = L::load(gate).max(L::splat(0));
                measure.take(h);
                h.store(gate);
            }
        }
        Activation::Swiglu(format) => {
            for (gate, up) in gate.iter_mut().zip(up) {
                let h = swiglu(L::load(gate), L::load(up), format);
                measure.take(h);
                h.store(gate);
            }
        }
    }
    measure.exponent()
}

/// The contract's `swiglu`. Every product fits 32 bits: the sigmoid of a gate
/// below zero is at most one half, so that gate times sigmoid lies within
/// -2^30 and 2^31 - 2^16.
#[inline(always)]
fn swiglu<L: Lanes>(gate: L, up: L, format: SwigluFormat) -> L {
    let silu = gate
        .mul(sigmoid(gate, format.gate as i32))
        .add(L::splat(1 << 15))
        .sar(L::splat(16));
    silu.mul(up).rshr(L::splat(format.shift())).sat(16)
}

/// The contract's `sigmoid`.
#[inline(always)]
fn sigmoid<L: Lanes>(g: L, fraction_bits: i32) -> L {
    let shift = fraction_bits - 2;
    let sign = g.sar(L::splat(31));
    let a = g.xor(sign).sub(sign);
    let i = a.shr(L::splat(shift));
    let f = a.and(L::splat((1 << shift) - 1));
    let rise = i.lookup(&RISE).mul(f).add(L::splat(1 << (shift - 1)));
    let s = i.lookup(&HERE).add(rise.sar(L::splat(shift)));
    // Beyond the table its last entry holds, by a mask of -1.
    let beyond = L::splat(SEGMENTS as i32 - 1).sub(i).sar(L::splat(31));
    let last = L::splat(SIGMOID[SEGMENTS].into());
    let s = s.add(last.sub(s).and(beyond));
    // 65536 - s below zero.
    s.xor(sign).sub(sign).add(sign.and(L::splat(65536)))
}

/// [`SIGMOID`] as a table for lookups.
static HERE: [Row; 2] = segments(0);
/// From each entry of [`SIGMOID`] to the next.
static RISE: [Row; 2] = segments(1);

/// The `order`-th difference of [`SIGMOID`], 0 or 1.
const fn segments(order: usize) -> [Row; 2] {
    let mut table = [Row([0; LANES]); 2];
    let mut i = 0;
    while i < SEGMENTS {
        let here = SIGMOID[i] as i32;
        table[i / LANES].0[i % LANES] = match order {
            0 => here,
            _ => SIGMOID[i + 1] as i32 - here,
        };
        i += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::simd::{flatten, InstructionSet, Kernel};
    use annulus_contract::feed_forward::swiglu;

    struct Activate<'a>(Activation, &'a mut [Row]);

    impl Kernel for Activate<'_> {
        type Output = i32;

        #[inline(always)]
        fn run<L: Lanes>(self) -> i32 {
            let rows = self.1.len() / 2;
            activate::<L>(self.0, self.1, rows)
        }
    }

    /// Every gate in every format, with ups from one end to the other.
    #[test]
    fn swiglu_is_the_contracts() {
        let gates: Vec<i32> = (-32768..32768).collect();
        let up = |gate: i32| (gate.wrapping_mul(40_503) as i16).into();
        let rows = |x: Vec<i32>| {
            let (rows, _) = x.as_chunks();
            rows.iter().copied().map(Row).collect::<Vec<Row>>()
        };
        let ups = rows(gates.iter().map(|&gate| up(gate)).collect());
        let input = [rows(gates.clone()), ups].concat();
        for set in InstructionSet::available() {
            for gate in 3..=14 {
                let format = SwigluFormat {
                    gate,
                    up: 12,
                    hidden: gate,
                };
                let mut y = input.clone();
                set.run(Activate(Activation::Swiglu(format), &mut y));
                for (&g, &h) in gates.iter().zip(flatten(&y)) {
                    assert_eq!(h, swiglu(g, up(g), format), "{} {g} {format:?}", set.name());
                }
            }
        }
    }
}
