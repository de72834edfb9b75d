//! AVX2: a vector is two registers of eight lanes. There is no dot of bytes
//! that does not saturate, so bytes are widened to pairs of 16 bits.
//!
//! SAFETY, for every block below: the processor has the instructions, for
//! `Avx2` is made nowhere but inside [`enter`]; loads and stores go through
//! references to as many bytes as they move.

use std::arch::x86_64::*;

use super::{Kernel, Lanes, Row, Word, LANES};

/// Whether this processor has all that [`enter`] enables.
pub fn is_available() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("lzcnt")
}

/// Run a kernel compiled with these instructions.
///
/// # Safety
/// [`is_available`] must hold.
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt")]
pub unsafe fn enter<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Avx2>()
}

/// Lanes 0 to 7 and 8 to 15.
#[derive(Clone, Copy)]
pub struct Avx2(__m256i, __m256i);

/// Lane-wise operations that are one instruction each.
macro_rules! lane_wise {
    ($($name:ident = $instruction:ident;)*) => {$(
        #[inline(always)]
        fn $name(self, other: Self) -> Self {
            unsafe { Self($instruction(self.0, other.0), $instruction(self.1, other.1)) }
        }
    )*};
}

/// Folds of all lanes by an operation, given for both register widths.
macro_rules! fold_lanes {
    ($($name:ident = $wide:ident, $narrow:ident;)*) => {$(
        #[inline(always)]
        fn $name(self) -> i32 {
            unsafe {
                let x = $wide(self.0, self.1);
                let x = $narrow(_mm256_castsi256_si128(x), _mm256_extracti128_si256::<1>(x));
                let x = $narrow(x, _mm_shuffle_epi32::<0b01_00_11_10>(x));
                let x = $narrow(x, _mm_shuffle_epi32::<0b10_11_00_01>(x));
                _mm_cvtsi128_si32(x)
            }
        }
    )*};
}

impl Lanes for Avx2 {
    lane_wise! {
        add = _mm256_add_epi32;
        sub = _mm256_sub_epi32;
        mul = _mm256_mullo_epi32;
        and = _mm256_and_si256;
        or = _mm256_or_si256;
        xor = _mm256_xor_si256;
        min = _mm256_min_epi32;
        max = _mm256_max_epi32;
        shl = _mm256_sllv_epi32;
        shr = _mm256_srlv_epi32;
        sar = _mm256_srav_epi32;
    }

    #[inline(always)]
    fn splat(x: i32) -> Self {
        let x = unsafe { _mm256_set1_epi32(x) };
        Self(x, x)
    }

    #[inline(always)]
    fn load(x: &Row) -> Self {
        let x: *const __m256i = x.0.as_ptr().cast();
        unsafe { Self(_mm256_load_si256(x), _mm256_load_si256(x.add(1))) }
    }

    #[inline(always)]
    fn store(self, out: &mut Row) {
        let out: *mut __m256i = out.0.as_mut_ptr().cast();
        unsafe {
            _mm256_store_si256(out, self.0);
            _mm256_store_si256(out.add(1), self.1);
        }
    }

    #[inline(always)]
    fn load_u8(x: &[u8; LANES]) -> Self {
        unsafe {
            let x = _mm_loadu_si128(x.as_ptr().cast());
            Self(
                _mm256_cvtepu8_epi32(x),
                _mm256_cvtepu8_epi32(_mm_srli_si128::<8>(x)),
            )
        }
    }

    #[inline(always)]
    fn store_u8(self, out: &mut [u8; LANES]) {
        unsafe {
            // Low bytes only, so that neither pack saturates; both work in
            // halves of a register, which the permutation undoes.
            let low = self.and(Self::splat(255));
            let pairs = _mm256_packus_epi32(low.0, low.1);
            let bytes = _mm256_packus_epi16(pairs, pairs);
            let order = _mm256_setr_epi32(0, 4, 1, 5, 0, 4, 1, 5);
            let bytes = _mm256_permutevar8x32_epi32(bytes, order);
            _mm_storeu_si128(out.as_mut_ptr().cast(), _mm256_castsi256_si128(bytes));
        }
    }

    #[inline(always)]
    fn store_even(self, out: &mut [i32; LANES / 2]) {
        unsafe {
            let even = _mm256_shuffle_ps::<0b10_00_10_00>(
                _mm256_castsi256_ps(self.0),
                _mm256_castsi256_ps(self.1),
            );
            let even = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_castps_si256(even));
            _mm256_storeu_si256(out.as_mut_ptr().cast(), even);
        }
    }

    #[inline(always)]
    fn leading_zeros(self) -> Self {
        let mut x = Row::default();
        self.store(&mut x);
        x.0 = x.0.map(|x| x.leading_zeros() as i32);
        Self::load(&x)
    }

    #[inline(always)]
    fn lookup(self, table: &[Row; 2]) -> Self {
        let index = self.and(Self::splat(31));
        let table = table.as_ptr().cast();
        unsafe {
            Self(
                _mm256_i32gather_epi32::<4>(table, index.0),
                _mm256_i32gather_epi32::<4>(table, index.1),
            )
        }
    }

    #[inline(always)]
    fn gather(self, table: &[i32; 256]) -> Self {
        // In range whatever the lanes hold, as a slice's index check would make it.
        let index = self.and(Self::splat(255));
        let table = table.as_ptr();
        unsafe {
            Self(
                _mm256_i32gather_epi32::<4>(table, index.0),
                _mm256_i32gather_epi32::<4>(table, index.1),
            )
        }
    }

    fold_lanes! {
        sum = _mm256_add_epi32, _mm_add_epi32;
        any = _mm256_or_si256, _mm_or_si128;
        largest = _mm256_max_epi32, _mm_max_epi32;
    }

    #[inline(always)]
    fn equal(self, other: Self) -> u16 {
        unsafe {
            let low = _mm256_castsi256_ps(_mm256_cmpeq_epi32(self.0, other.0));
            let high = _mm256_castsi256_ps(_mm256_cmpeq_epi32(self.1, other.1));
            _mm256_movemask_ps(low) as u16 | (_mm256_movemask_ps(high) as u16) << 8
        }
    }

    #[inline(always)]
    fn add_pairs(self) -> Self {
        let swapped = unsafe {
            Self(
                _mm256_shuffle_epi32::<0b10_11_00_01>(self.0),
                _mm256_shuffle_epi32::<0b10_11_00_01>(self.1),
            )
        };
        self.add(swapped)
    }

    #[inline(always)]
    fn dot(self, u: &Word, x: i32) -> Self {
        let u: *const __m256i = u.0.as_ptr().cast();
        unsafe {
            let x = _mm256_set1_epi32(x);
            let x_even = _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(x));
            let x_odd = _mm256_srai_epi16::<8>(x);
            Self(
                dot(self.0, _mm256_load_si256(u), x_even, x_odd),
                dot(self.1, _mm256_load_si256(u.add(1)), x_even, x_odd),
            )
        }
    }

    #[inline(always)]
    fn dot_pairs(self, p: &[u8; 8], v: &Word) -> Self {
        let v: *const __m256i = v.0.as_ptr().cast();
        unsafe {
            let p = _mm256_set1_epi64x(i64::from_le_bytes(*p));
            Self(
                dot_probabilities(self.0, p, _mm256_load_si256(v)),
                dot_probabilities(self.1, p, _mm256_load_si256(v.add(1))),
            )
        }
    }

    #[inline(always)]
    fn requantize(self, m: Self, sh: Self, bits: u32) -> Self {
        let m = m.add(m);
        unsafe {
            Self(
                requantize(self.0, m.0, sh.0, bits),
                requantize(self.1, m.1, sh.1, bits),
            )
        }
    }
}

/// Eight lanes of [`Lanes::dot`], the bytes of `x` given as 16-bit numbers.
#[inline(always)]
unsafe fn dot(sum: __m256i, u: __m256i, x_even: __m256i, x_odd: __m256i) -> __m256i {
    // Bytes 0 and 2 of a lane stay where they are as 16-bit numbers, bytes 1
    // and 3 are shifted into their place: sums never leave their lane.
    unsafe {
        let even = _mm256_and_si256(u, _mm256_set1_epi16(255));
        let odd = _mm256_srli_epi16::<8>(u);
        let sum = _mm256_add_epi32(sum, _mm256_madd_epi16(even, x_even));
        _mm256_add_epi32(sum, _mm256_madd_epi16(odd, x_odd))
    }
}

/// Eight lanes of [`Lanes::dot_pairs`].
#[inline(always)]
unsafe fn dot_probabilities(sum: __m256i, p: __m256i, v: __m256i) -> __m256i {
    // p is at most 127: two products sum to at most 32,512 in magnitude, so
    // that the saturating instruction is exact here.
    unsafe {
        let pairs = _mm256_maddubs_epi16(p, v);
        _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
    }
}

/// Eight lanes of [`Lanes::requantize`], the multiplier doubled.
#[inline(always)]
unsafe fn requantize(acc: __m256i, m2: __m256i, sh: __m256i, bits: u32) -> __m256i {
    unsafe {
        let even = stage(
            _mm256_mul_epi32(acc, m2),
            _mm256_and_si256(sh, _mm256_set1_epi64x(0xffff_ffff)),
            bits,
        );
        let odd = stage(
            _mm256_mul_epi32(_mm256_srli_epi64::<32>(acc), _mm256_srli_epi64::<32>(m2)),
            _mm256_srli_epi64::<32>(sh),
            bits,
        );
        _mm256_blend_epi32::<0b1010_1010>(even, _mm256_slli_epi64::<32>(odd))
    }
}

/// Round, shift and clamp four doubled products, as [`Lanes::rshr`] does.
#[inline(always)]
unsafe fn stage(product2: __m256i, sh: __m256i, bits: u32) -> __m256i {
    // No arithmetic shift of 64 bits here: products (50 bits) are made positive
    // for a logical one by an offset that is taken off again.
    const OFFSET: i64 = 1 << 62;
    let top = (1i64 << (bits - 1)) - 1;
    unsafe {
        let offset = _mm256_set1_epi64x(OFFSET);
        let y = _mm256_srlv_epi64(_mm256_add_epi64(product2, offset), sh);
        let y = _mm256_sub_epi64(y, _mm256_srlv_epi64(offset, sh));
        // Clamp before halving, for then the low 32 bits, all that are kept,
        // are the same by a logical shift.
        let y = _mm256_add_epi64(y, _mm256_set1_epi64x(1));
        let high = _mm256_set1_epi64x(2 * top + 1);
        let low = _mm256_set1_epi64x(-2 * top - 2);
        let y = _mm256_blendv_epi8(y, high, _mm256_cmpgt_epi64(y, high));
        let y = _mm256_blendv_epi8(y, low, _mm256_cmpgt_epi64(low, y));
        _mm256_srli_epi64::<1>(y)
    }
}
