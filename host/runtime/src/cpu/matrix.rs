//! Matrices repacked for dot instructions: sixteen rows at once, four columns
//! at a time.

use annulus_contract::rsqrt::Rsqrt;

use super::operand::Operand;
use super::simd::{Lanes, Row, Word, LANES};

/// Blocks of sixteen rows that share one read of the vector.
const GROUP: usize = 4;

/// One row on its way into a [`PackedMatrix`].
#[derive(Clone, Copy)]
pub struct SourceRow<'a> {
    /// Weights, one a column.
    pub w: &'a [i8],
    /// Quarter-octave multiplier, 5 to 8.
    pub mu: u8,
    /// The output stage's shift but for the vector's part, `k - e`.
    pub shift: i32,
}

/// A matrix in blocks of sixteen rows; the last is filled up with zeros.
///
/// Weights are stored unsigned, 128 too large, because the dot instruction
/// multiplies unsigned by signed bytes; [`Operand`] carries what takes it off.
pub struct PackedMatrix {
    /// Columns over four, rounded up.
    column_words: usize,
    /// By group of blocks, then by column word, then by block.
    words: Vec<Word>,
    /// Multiplier of each row.
    mu: Vec<Row>,
    /// Shift of each row.
    shift: Vec<Row>,
}

impl PackedMatrix {
    /// Pack rows of `columns` weights; `None` stands for a row of zeros.
    pub fn new(columns: usize, rows: &[Option<SourceRow<'_>>]) -> Self {
        let column_words = columns.div_ceil(4);
        let blocks = rows.len().div_ceil(LANES);
        // A row of zeros yields 0 by any legal shift: a neighbor's is legal.
        let filler_shift = rows.iter().flatten().next().map_or(0, |row| row.shift);
        let mut packed = PackedMatrix {
            column_words,
            words: vec![Word([128; 4 * LANES]); blocks * column_words],
            mu: vec![Row([8; LANES]); blocks],
            shift: vec![Row([filler_shift; LANES]); blocks],
        };
        for (r, row) in rows.iter().enumerate() {
            let Some(row) = row else { continue };
            let (block, lane) = (r / LANES, r % LANES);
            packed.mu[block].0[lane] = row.mu.into();
            packed.shift[block].0[lane] = row.shift;
            let group = block / GROUP * GROUP;
            let in_group = GROUP.min(blocks - group);
            let start = group * column_words + block % GROUP;
            for (c, &w) in row.w.iter().enumerate() {
                let word = &mut packed.words[start + c / 4 * in_group];
                word.0[4 * lane + c % 4] = (w as u8) ^ 128;
            }
        }
        packed
    }

    /// Blocks of sixteen rows, what [`apply`](Self::apply) writes.
    pub fn blocks(&self) -> usize {
        self.mu.len()
    }

    /// `out = matrix * x` through the output stage, saturated to `bits`.
    /// `norm` is the norm fused into it, or one.
    #[inline(always)]
    pub fn apply<L: Lanes>(&self, x: &Operand, norm: Rsqrt, bits: u32, out: &mut [Row]) {
        let out = &mut out[..self.blocks()];
        let stages = self.mu.chunks(GROUP).zip(self.shift.chunks(GROUP));
        let words = self.words.chunks(GROUP * self.column_words);
        for ((words, (mu, shift)), out) in words.zip(stages).zip(out.chunks_mut(GROUP)) {
            let stage = Stage {
                mu,
                shift,
                norm,
                exponent: x.exponent(),
                bits,
            };
            match out.len() {
                4 => stage.apply(dots::<L, 4>(words, x), out),
                3 => stage.apply(dots::<L, 3>(words, x), out),
                2 => stage.apply(dots::<L, 2>(words, x), out),
                _ => stage.apply(dots::<L, 1>(words, x), out),
            }
        }
    }
}

/// Sums of `N` blocks of rows.
#[inline(always)]
fn dots<L: Lanes, const N: usize>(words: &[Word], x: &Operand) -> [L; N] {
    let mut sums = [L::splat(x.bias()); N];
    for (words, &x) in words.as_chunks::<N>().0.iter().zip(x.words()) {
        for (sum, word) in sums.iter_mut().zip(words) {
            *sum = sum.dot(word, i32::from_le_bytes(x));
        }
    }
    sums
}

/// The output stage of a group of blocks (`docs/arithmetic.md` section 4).
struct Stage<'a> {
    mu: &'a [Row],
    shift: &'a [Row],
    norm: Rsqrt,
    exponent: i32,
    bits: u32,
}

impl Stage<'_> {
    #[inline(always)]
    fn apply<L: Lanes, const N: usize>(&self, sums: [L; N], out: &mut [Row]) {
        let r = L::splat(self.norm.r.into());
        let shift = L::splat(i32::from(self.norm.k) - self.exponent);
        let rows = self.mu.iter().zip(self.shift).zip(out);
        for (sum, ((mu, row_shift), out)) in sums.into_iter().zip(rows) {
            let m16 = r.mul(L::load(mu)).rshr(L::splat(3));
            sum.requantize(m16, L::load(row_shift).add(shift), self.bits)
                .store(out);
        }
    }
}
