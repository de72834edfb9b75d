//! AVX-512 with VNNI: a vector is one register, a dot one instruction.
//!
//! SAFETY, for every block below: the processor has the instructions, for
//! `Avx512` is made nowhere but inside [`enter`]; loads and stores go through
//! references to as many bytes as they move.

use std::arch::x86_64::*;

use super::{Kernel, Lanes, Row, Word, LANES};

/// Whether this processor has all that [`enter`] enables.
pub fn is_available() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512cd")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vnni")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("lzcnt")
}

/// Run a kernel compiled with these instructions.
///
/// # Safety
/// [`is_available`] must hold.
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512vnni")]
#[target_feature(enable = "bmi1,bmi2,lzcnt")]
pub unsafe fn enter<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Avx512>()
}

#[derive(Clone, Copy)]
pub struct Avx512(__m512i);

/// Lane-wise operations that are one instruction each.
macro_rules! lane_wise {
    ($($name:ident = $instruction:ident;)*) => {$(
        #[inline(always)]
        fn $name(self, other: Self) -> Self {
            Self(unsafe { $instruction(self.0, other.0) })
        }
    )*};
}

impl Lanes for Avx512 {
    lane_wise! {
        add = _mm512_add_epi32;
        sub = _mm512_sub_epi32;
        mul = _mm512_mullo_epi32;
        and = _mm512_and_si512;
        or = _mm512_or_si512;
        xor = _mm512_xor_si512;
        min = _mm512_min_epi32;
        max = _mm512_max_epi32;
        shl = _mm512_sllv_epi32;
        shr = _mm512_srlv_epi32;
        sar = _mm512_srav_epi32;
    }

    #[inline(always)]
    fn splat(x: i32) -> Self {
        Self(unsafe { _mm512_set1_epi32(x) })
    }

    #[inline(always)]
    fn load(x: &Row) -> Self {
        Self(unsafe { _mm512_load_si512(x.0.as_ptr().cast()) })
    }

    #[inline(always)]
    fn store(self, out: &mut Row) {
        unsafe { _mm512_store_si512(out.0.as_mut_ptr().cast(), self.0) }
    }

    #[inline(always)]
    fn load_u8(x: &[u8; LANES]) -> Self {
        Self(unsafe { _mm512_cvtepu8_epi32(_mm_loadu_si128(x.as_ptr().cast())) })
    }

    #[inline(always)]
    fn store_u8(self, out: &mut [u8; LANES]) {
        unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(self.0)) }
    }

    #[inline(always)]
    fn store_even(self, out: &mut [i32; LANES / 2]) {
        unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), _mm512_cvtepi64_epi32(self.0)) }
    }

    #[inline(always)]
    fn leading_zeros(self) -> Self {
        Self(unsafe { _mm512_lzcnt_epi32(self.0) })
    }

    #[inline(always)]
    fn lookup(self, table: &[Row; 2]) -> Self {
        let (low, high) = (Self::load(&table[0]).0, Self::load(&table[1]).0);
        Self(unsafe { _mm512_permutex2var_epi32(low, self.0, high) })
    }

    #[inline(always)]
    fn gather(self, table: &[i32; 256]) -> Self {
        // In range whatever the lanes hold, as a slice's index check would make it.
        let index = self.and(Self::splat(255)).0;
        Self(unsafe { _mm512_i32gather_epi32::<4>(index, table.as_ptr().cast()) })
    }

    #[inline(always)]
    fn sum(self) -> i32 {
        unsafe { _mm512_reduce_add_epi32(self.0) }
    }

    #[inline(always)]
    fn any(self) -> i32 {
        unsafe { _mm512_reduce_or_epi32(self.0) }
    }

    #[inline(always)]
    fn largest(self) -> i32 {
        unsafe { _mm512_reduce_max_epi32(self.0) }
    }

    #[inline(always)]
    fn equal(self, other: Self) -> u16 {
        unsafe { _mm512_cmpeq_epi32_mask(self.0, other.0) }
    }

    #[inline(always)]
    fn add_pairs(self) -> Self {
        let swapped = unsafe { _mm512_shuffle_epi32::<_MM_PERM_CDAB>(self.0) };
        self.add(Self(swapped))
    }

    #[inline(always)]
    fn dot(self, u: &Word, x: i32) -> Self {
        unsafe {
            let u = _mm512_load_si512(u.0.as_ptr().cast());
            Self(_mm512_dpbusd_epi32(self.0, u, _mm512_set1_epi32(x)))
        }
    }

    #[inline(always)]
    fn dot_pairs(self, p: &[u8; 8], v: &Word) -> Self {
        unsafe {
            let v = _mm512_load_si512(v.0.as_ptr().cast());
            let p = _mm512_set1_epi64(i64::from_le_bytes(*p));
            Self(_mm512_dpbusd_epi32(self.0, p, v))
        }
    }

    #[inline(always)]
    fn requantize(self, m: Self, sh: Self, bits: u32) -> Self {
        // Products are 64 bits wide, so the even lanes go through one register
        // and the odd lanes through another.
        let m2 = m.add(m).0;
        unsafe {
            let even = stage(
                _mm512_mul_epi32(self.0, m2),
                _mm512_and_si512(sh.0, _mm512_set1_epi64(0xffff_ffff)),
                bits,
            );
            let odd = stage(
                _mm512_mul_epi32(_mm512_srli_epi64::<32>(self.0), _mm512_srli_epi64::<32>(m2)),
                _mm512_srli_epi64::<32>(sh.0),
                bits,
            );
            Self(_mm512_mask_shuffle_epi32::<_MM_PERM_CCAA>(
                even, 0xaaaa, odd,
            ))
        }
    }
}

/// Round, shift and clamp eight doubled products, as [`Lanes::rshr`] does.
#[inline(always)]
unsafe fn stage(product2: __m512i, sh: __m512i, bits: u32) -> __m512i {
    let top = (1i64 << (bits - 1)) - 1;
    unsafe {
        let y = _mm512_srav_epi64(product2, sh);
        let y = _mm512_srai_epi64::<1>(_mm512_add_epi64(y, _mm512_set1_epi64(1)));
        let y = _mm512_min_epi64(y, _mm512_set1_epi64(top));
        _mm512_max_epi64(y, _mm512_set1_epi64(-top - 1))
    }
}
