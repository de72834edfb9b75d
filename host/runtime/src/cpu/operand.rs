//! Vectors as matrices read them: int8 mantissas under one exponent
//! (`docs/arithmetic.md` sections 1.2 and 5).

use annulus_contract::block::block_scale;

use super::simd::{Lanes, Row, LANES};

/// What is learned of a vector while it is written: enough for its exponent
/// and for its norm.
pub struct Measure<L> {
    any: L,
    squares_low: L,
    squares_high: L,
}

impl<L: Lanes> Measure<L> {
    /// Of no elements.
    #[inline(always)]
    pub fn new() -> Self {
        let zero = L::splat(0);
        Measure {
            any: zero,
            squares_low: zero,
            squares_high: zero,
        }
    }

    /// Take sixteen elements (int16) in.
    #[inline(always)]
    pub fn take(&mut self, x: L) {
        self.any = self.any.or(x.xor(x.sar(L::splat(31))));
        // A square is up to 2^30. Its halves are summed apart: at 2,047
        // elements neither sum leaves 32 bits.
        let square = x.mul(x);
        self.squares_low = self.squares_low.add(square.and(L::splat(0xffff)));
        self.squares_high = self.squares_high.add(square.shr(L::splat(16)));
    }

    /// Sum of the squares.
    #[inline(always)]
    pub fn squares(&self) -> u64 {
        ((self.squares_high.sum() as u64) << 16) + self.squares_low.sum() as u64
    }

    /// Exponent of the vector as a block.
    #[inline(always)]
    pub fn exponent(&self) -> i32 {
        // The leading one of all magnitudes is that of the largest.
        block_scale(self.any.any() as u32).e.into()
    }
}

/// A vector in block floating point, `m * 2^exponent`.
#[derive(Clone)]
pub struct Operand {
    /// Mantissas (int8), filled up with zeros.
    m: Vec<[u8; LANES]>,
    exponent: i32,
    /// -128 times the sum of the mantissas: takes off what the weights and
    /// keys are stored too large by.
    bias: i32,
}

impl Operand {
    /// Room for vectors of up to `rows` times sixteen elements.
    pub fn new(rows: usize) -> Self {
        Operand {
            m: vec![[0; LANES]; rows],
            exponent: 0,
            bias: 0,
        }
    }

    /// Encode a vector (int16) whose exponent is known.
    #[inline(always)]
    pub fn encode<L: Lanes>(&mut self, x: &[Row], exponent: i32) {
        self.exponent = exponent;
        let shift = L::splat(exponent);
        let mut sum = L::splat(0);
        for (m, x) in self.m.iter_mut().zip(x) {
            let mantissas = L::load(x).rshr(shift).sat(8);
            mantissas.store_u8(m);
            sum = sum.add(mantissas);
        }
        self.bias = sum.sum().wrapping_mul(-128);
    }

    /// Encode a vector (int16) that was not measured while it was written.
    #[inline(always)]
    pub fn measure_and_encode<L: Lanes>(&mut self, x: &[Row]) {
        let mut measure = Measure::<L>::new();
        for x in x {
            measure.take(L::load(x));
        }
        self.encode::<L>(x, measure.exponent());
    }

    /// Mantissas, four a word.
    #[inline(always)]
    pub fn words(&self) -> &[[u8; 4]] {
        self.m.as_flattened().as_chunks().0
    }

    /// Exponent.
    #[inline(always)]
    pub fn exponent(&self) -> i32 {
        self.exponent
    }

    /// What a dot product with bytes that are 128 too large starts from.
    #[inline(always)]
    pub fn bias(&self) -> i32 {
        self.bias
    }
}
