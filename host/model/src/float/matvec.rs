//! Products of a matrix or a vector with a vector, in float32.
//!
//! Float addition is not associative, so a compiler keeps the order it is given. Both
//! products are written as many independent sums side by side, which it can put into
//! vector registers.

/// Sums side by side.
const LANES: usize = 32;

/// A matrix in the order that its product reads it: blocks of [`LANES`] outputs, and in each
/// all inputs in turn with one weight for every output. The last block is filled with zeros.
#[derive(Clone)]
pub struct Weights {
    cols: usize,
    blocks: Vec<[f32; LANES]>,
}

impl Weights {
    /// A matrix of zeros.
    pub fn zeros(rows: usize, cols: usize) -> Self {
        Self {
            cols,
            blocks: vec![[0.0; LANES]; rows.div_ceil(LANES) * cols],
        }
    }

    /// Reorders a row-major matrix with `cols` inputs.
    pub fn new(cols: usize, w: &[f32]) -> Self {
        let mut weights = Self::zeros(w.len() / cols, cols);
        w.chunks_exact(cols)
            .enumerate()
            .for_each(|(r, row)| weights.set_row(r, row));
        weights
    }

    /// Replaces the weights of output `r`.
    pub fn set_row(&mut self, r: usize, row: &[f32]) {
        for (block, w) in self.blocks[r / LANES * self.cols..].iter_mut().zip(row) {
            block[r % LANES] = *w;
        }
    }

    /// `y = W x`, for the first `y.len()` outputs.
    pub fn apply(&self, y: &mut [f32], x: &[f32]) {
        for (y, block) in y.chunks_mut(LANES).zip(self.blocks.chunks_exact(self.cols)) {
            let mut sums = [0.0; LANES];
            for (x, weights) in x.iter().zip(block) {
                for (sum, w) in sums.iter_mut().zip(weights) {
                    *sum += x * w;
                }
            }
            y.copy_from_slice(&sums[..y.len()]);
        }
    }
}

/// The dot product of two equally long vectors.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; LANES / 2];
    let (a_chunks, b_chunks) = (a.chunks_exact(sums.len()), b.chunks_exact(sums.len()));
    let rest = a_chunks.remainder().iter().zip(b_chunks.remainder());
    let rest: f32 = rest.map(|(a, b)| a * b).sum();
    for (a, b) in a_chunks.zip(b_chunks) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_counts_every_element() {
        for n in 1..70 {
            let x: Vec<f32> = (0..n).map(|i| i as f32).collect();
            let w: Vec<f32> = (0..(n + 3) * n).map(|i| (i % 7) as f32 - 3.0).collect();
            let mut y = vec![0.0; n + 3];
            Weights::new(n, &w).apply(&mut y, &x);
            for (row, y) in w.chunks(n).zip(y) {
                let expected: f32 = row.iter().zip(&x).map(|(a, b)| a * b).sum();
                assert_eq!((y, dot(row, &x)), (expected, expected), "size {n}");
            }
        }
    }
}
