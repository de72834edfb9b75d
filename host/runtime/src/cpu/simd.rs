//! Sixteen integers at a time: the vector operations that the engine is made
//! of, and the choice of instruction set at run time.
//!
//! [`Lanes`] is the whole interface. [`avx512`] and [`avx2`] wrap the
//! instructions of the same name, [`portable`] writes every operation as a
//! loop; all are exact and the tests hold the first two to the third. The
//! engine's loops are generic over `Lanes` and always inlined into one entry
//! function an instruction set, which alone is compiled with it enabled.
//!
//! `unsafe` is confined to this module: an instruction may be executed only on
//! a processor that has it, which an [`InstructionSet`] proves by existing.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;
#[cfg(test)]
mod tests;

/// Values a vector holds.
pub const LANES: usize = 16;

/// One vector in memory, on a cache line of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Row(pub [i32; LANES]);

/// Rows as the numbers in them.
pub fn flatten(rows: &[Row]) -> &[i32] {
    // SAFETY: a `Row` is sixteen i32 and nothing else: its alignment is its size.
    unsafe { std::slice::from_raw_parts(rows.as_ptr().cast(), rows.len() * LANES) }
}

/// 64 bytes that one dot instruction reads: lane `l` has bytes `4l..4l + 4`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Word(pub [u8; 4 * LANES]);

/// Sixteen 32-bit integers. Sums and products wrap.
///
/// Every function that takes or makes one must be `#[inline(always)]`, or it is
/// compiled without the instructions it stands for.
pub trait Lanes: Copy {
    /// The same value everywhere.
    fn splat(x: i32) -> Self;
    /// From memory.
    fn load(x: &Row) -> Self;
    /// To memory.
    fn store(self, out: &mut Row);
    /// From bytes, zero-extended.
    fn load_u8(x: &[u8; LANES]) -> Self;
    /// The low byte of each lane.
    fn store_u8(self, out: &mut [u8; LANES]);
    /// Lanes 0, 2, 4, ... 14.
    fn store_even(self, out: &mut [i32; LANES / 2]);
    /// `self + other`.
    fn add(self, other: Self) -> Self;
    /// `self - other`.
    fn sub(self, other: Self) -> Self;
    /// Low 32 bits of the product.
    fn mul(self, other: Self) -> Self;
    /// Bitwise and.
    fn and(self, other: Self) -> Self;
    /// Bitwise or.
    fn or(self, other: Self) -> Self;
    /// Bitwise exclusive or.
    fn xor(self, other: Self) -> Self;
    /// The smaller (signed).
    fn min(self, other: Self) -> Self;
    /// The larger (signed).
    fn max(self, other: Self) -> Self;
    /// Left by a count a lane; counts of 32 and more give 0.
    fn shl(self, count: Self) -> Self;
    /// Logical right by a count a lane; counts of 32 and more give 0.
    fn shr(self, count: Self) -> Self;
    /// Arithmetic right by a count a lane, 0 to 31.
    fn sar(self, count: Self) -> Self;
    /// Zero bits above the leading one; 32 for zero.
    fn leading_zeros(self) -> Self;
    /// `table[self mod 32]`.
    fn lookup(self, table: &[Row; 2]) -> Self;
    /// `table[self]`; each lane is 0 to 255.
    fn gather(self, table: &[i32; 256]) -> Self;
    /// Sum of all lanes.
    fn sum(self) -> i32;
    /// Bitwise or of all lanes.
    fn any(self) -> i32;
    /// Largest lane (signed).
    fn largest(self) -> i32;
    /// Bit `l`: whether lane `l` is the same in both.
    fn equal(self, other: Self) -> u16;
    /// Lane `2i` and `2i + 1` summed into both.
    fn add_pairs(self) -> Self;
    /// Lane `l` plus the dot product of its four bytes of `u` (unsigned) with
    /// the four bytes of `x` (signed, the first in the low byte).
    fn dot(self, u: &Word, x: i32) -> Self;
    /// Lane `l` plus the dot product of its four bytes of `v` (signed) with
    /// four bytes of `p` (0 to 127): the first four for even lanes, else the last.
    fn dot_pairs(self, p: &[u8; 8], v: &Word) -> Self;
    /// The contract's output stage: `sat(rshr(self * m, sh), bits)` with a
    /// 64-bit product; `m` is 0 to 65,535, `sh` 0 to 31, `bits` at most 32.
    fn requantize(self, m: Self, sh: Self, bits: u32) -> Self;

    /// `rshr(self, sh)` with `sh` 0 to 31, for values of at most 31 bits.
    ///
    /// Rounding is done on the doubled value, so that a shift of 0 is no
    /// special case: `((2x >> sh) + 1) >> 1`.
    #[inline(always)]
    fn rshr(self, sh: Self) -> Self {
        let one = Self::splat(1);
        self.add(self).sar(sh).add(one).sar(one)
    }

    /// `sat(self, bits)`.
    #[inline(always)]
    fn sat(self, bits: u32) -> Self {
        let top = (1 << (bits - 1)) - 1;
        self.min(Self::splat(top)).max(Self::splat(-top - 1))
    }

    /// Left by `count` (1 to 31), the bits that fall out coming in again.
    #[inline(always)]
    fn rotate_left(self, count: i32) -> Self {
        self.shl(Self::splat(count))
            .or(self.shr(Self::splat(32 - count)))
    }
}

/// A computation written once for every instruction set. `run` must be
/// `#[inline(always)]`, like all it calls with lanes.
pub trait Kernel {
    /// What it returns.
    type Output;
    /// The computation.
    fn run<L: Lanes>(self) -> Self::Output;
}

/// An instruction set that this machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstructionSet(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Portable,
}

impl InstructionSet {
    /// Every one that this machine has, the fastest first.
    pub fn available() -> Vec<Self> {
        let mut sets = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if avx512::is_available() {
                sets.push(Self(Kind::Avx512));
            }
            if avx2::is_available() {
                sets.push(Self(Kind::Avx2));
            }
        }
        sets.push(Self(Kind::Portable));
        sets
    }

    /// The fastest that this machine has.
    pub fn best() -> Self {
        Self::available()[0]
    }

    /// Its name, for reports.
    pub const fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => "AVX-512 VNNI",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "AVX2",
            Kind::Portable => "portable",
        }
    }

    /// Run a kernel with it.
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            // SAFETY: `available` makes this value only where the processor has them.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => unsafe { avx512::enter(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => unsafe { avx2::enter(kernel) },
            Kind::Portable => kernel.run::<portable::Portable>(),
        }
    }
}
