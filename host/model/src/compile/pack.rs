//! Matrices into words of the wide memory and entries of row scales, and back.

use super::layout::Placed;
use crate::quant::Matrix;
use annulus_contract::step::COLUMNS;

/// Wide memory and row scales that matrices are packed into.
pub(crate) struct Packed {
    /// Rows of the array, `P`.
    pub rows: usize,
    /// Words of `8 P` bytes.
    pub wide: Vec<u8>,
    /// Row scales, two rows an entry.
    pub scales: Vec<u16>,
}

impl Packed {
    /// Zeros, for so many words and entries.
    pub fn new(rows: usize, words: usize, scales: usize) -> Self {
        Packed {
            rows,
            wide: vec![0; words * rows * COLUMNS],
            scales: vec![0; scales],
        }
    }

    /// Write a matrix to its place.
    pub fn put(&mut self, placed: &Placed, matrix: &Matrix) {
        for row in 0..matrix.rows {
            for (col, &w) in matrix.row(row).0.iter().enumerate() {
                self.wide[at(self.rows, placed, row, col)] = w as u8;
            }
        }
        // Padding rows have no weights; with their neighbor's scale they cannot
        // ask for a shift that no real row asks for.
        for padded in 0..2 * placed.entries() {
            let row = padded.min(matrix.rows - 1);
            let byte = scale_byte(matrix.s[row], matrix.mu[row]);
            self.scales[placed.scale + padded / 2] |= u16::from(byte) << (8 * (padded % 2));
        }
    }
}

/// Read a matrix from its place in packed memories that hold it.
pub(crate) fn get(rows: usize, wide: &[u8], scales: &[u16], placed: &Placed) -> Matrix {
    let mut matrix = Matrix {
        rows: placed.rows,
        cols: placed.cols,
        w: Vec::with_capacity(placed.rows * placed.cols),
        s: Vec::with_capacity(placed.rows),
        mu: Vec::with_capacity(placed.rows),
    };
    for row in 0..placed.rows {
        for col in 0..placed.cols {
            matrix.w.push(wide[at(rows, placed, row, col)] as i8);
        }
        let byte = (scales[placed.scale + row / 2] >> (8 * (row % 2))) as u8;
        let (s, mu) = scale(byte);
        matrix.s.push(s);
        matrix.mu.push(mu);
    }
    matrix
}

/// Where a weight lies: row group, word of columns, row and column in the word.
fn at(rows: usize, placed: &Placed, row: usize, col: usize) -> usize {
    let word = placed.address + row / rows * placed.words_a_row() + col / COLUMNS;
    (word * rows + row % rows) * COLUMNS + col % COLUMNS
}

/// A row's scale as a byte, `s & 63 | (mu - 5) << 6`.
fn scale_byte(s: i8, mu: u8) -> u8 {
    s as u8 & 63 | (mu - 5) << 6
}

/// Exponent and multiplier of a row from its byte.
pub(crate) fn scale(byte: u8) -> (i8, u8) {
    ((byte << 2) as i8 >> 2, (byte >> 6) + 5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_survive_their_byte() {
        for s in -32..32 {
            for mu in 5..=8 {
                assert_eq!(scale(scale_byte(s, mu)), (s, mu));
            }
        }
    }
}
