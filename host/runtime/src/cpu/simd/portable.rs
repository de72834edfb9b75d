//! Every operation as a loop: what runs where there is no better, and what the
//! others are tested against.

use std::array::from_fn;

use annulus_contract::fixed::{rshr, sat};

use super::{Lanes, Row, Word, LANES};

#[derive(Clone, Copy)]
pub struct Portable([i32; LANES]);

impl Portable {
    #[inline(always)]
    fn zip(mut self, other: Self, f: impl Fn(i32, i32) -> i32) -> Self {
        for (x, y) in self.0.iter_mut().zip(other.0) {
            *x = f(*x, y);
        }
        self
    }
}

impl Lanes for Portable {
    #[inline(always)]
    fn splat(x: i32) -> Self {
        Self([x; LANES])
    }

    #[inline(always)]
    fn load(x: &Row) -> Self {
        Self(x.0)
    }

    #[inline(always)]
    fn store(self, out: &mut Row) {
        out.0 = self.0;
    }

    #[inline(always)]
    fn load_u8(x: &[u8; LANES]) -> Self {
        Self(x.map(i32::from))
    }

    #[inline(always)]
    fn store_u8(self, out: &mut [u8; LANES]) {
        *out = self.0.map(|x| x as u8);
    }

    #[inline(always)]
    fn store_even(self, out: &mut [i32; LANES / 2]) {
        *out = from_fn(|i| self.0[2 * i]);
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.zip(other, i32::wrapping_add)
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.zip(other, i32::wrapping_sub)
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self.zip(other, i32::wrapping_mul)
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        self.zip(other, |a, b| a & b)
    }

    #[inline(always)]
    fn or(self, other: Self) -> Self {
        self.zip(other, |a, b| a | b)
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        self.zip(other, |a, b| a ^ b)
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        self.zip(other, i32::min)
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        self.zip(other, i32::max)
    }

    #[inline(always)]
    fn shl(self, count: Self) -> Self {
        self.zip(count, |x, n| x.checked_shl(n as u32).unwrap_or(0))
    }

    #[inline(always)]
    fn shr(self, count: Self) -> Self {
        self.zip(count, |x, n| {
            (x as u32).checked_shr(n as u32).unwrap_or(0) as i32
        })
    }

    #[inline(always)]
    fn sar(self, count: Self) -> Self {
        self.zip(count, |x, n| x >> (n & 31))
    }

    #[inline(always)]
    fn leading_zeros(self) -> Self {
        Self(self.0.map(|x| x.leading_zeros() as i32))
    }

    #[inline(always)]
    fn lookup(self, table: &[Row; 2]) -> Self {
        Self(
            self.0
                .map(|i| table[i as usize / LANES % 2].0[i as usize % LANES]),
        )
    }

    #[inline(always)]
    fn gather(self, table: &[i32; 256]) -> Self {
        Self(self.0.map(|i| table[i as usize]))
    }

    #[inline(always)]
    fn sum(self) -> i32 {
        self.0.into_iter().fold(0, i32::wrapping_add)
    }

    #[inline(always)]
    fn any(self) -> i32 {
        self.0.into_iter().fold(0, |any, x| any | x)
    }

    #[inline(always)]
    fn largest(self) -> i32 {
        self.0.into_iter().fold(i32::MIN, i32::max)
    }

    #[inline(always)]
    fn equal(self, other: Self) -> u16 {
        (0..LANES).fold(0, |bits, l| bits | u16::from(self.0[l] == other.0[l]) << l)
    }

    #[inline(always)]
    fn add_pairs(self) -> Self {
        Self(from_fn(|l| self.0[l].wrapping_add(self.0[l ^ 1])))
    }

    #[inline(always)]
    fn dot(self, u: &Word, x: i32) -> Self {
        let x = x.to_le_bytes().map(|x| i16::from(x as i8));
        let mut sums = self.0;
        for (sum, u) in sums.iter_mut().zip(u.0.as_chunks::<4>().0) {
            let product = |i: usize| i32::from(i16::from(u[i])) * i32::from(x[i]);
            let dot = (product(0) + product(1)) + (product(2) + product(3));
            *sum = sum.wrapping_add(dot);
        }
        Self(sums)
    }

    #[inline(always)]
    fn dot_pairs(self, p: &[u8; 8], v: &Word) -> Self {
        Self(from_fn(|l| {
            (0..4).fold(self.0[l], |sum, i| {
                sum + i32::from(p[l % 2 * 4 + i]) * i32::from(v.0[4 * l + i] as i8)
            })
        }))
    }

    #[inline(always)]
    fn requantize(self, m: Self, sh: Self, bits: u32) -> Self {
        let mut out = self;
        for (x, (m, sh)) in out.0.iter_mut().zip(m.0.into_iter().zip(sh.0)) {
            *x = sat(rshr(i64::from(*x) * i64::from(m), sh), bits) as i32;
        }
        out
    }
}
