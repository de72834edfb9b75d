//! Matrices into words of the wide memory and entries of row scales, and back.

use super::layout::Placed;
use crate::quant::Matrix;
use annulus_contract::step::{COLUMNS, GROUP, SCALES_A_WORD};

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
            let weights = matrix.row(row).0;
            match matrix.row_groups(row) {
                [] => {
                    for (col, &w) in weights.iter().enumerate() {
                        self.wide[at(self.rows, placed, row, col)] = w as u8;
                    }
                }
                groups => {
                    for (group, (weights, &g)) in weights.chunks(GROUP).zip(groups).enumerate() {
                        let (scale, words) = nibbles_at(self.rows, placed, row, group);
                        put_nibble(&mut self.wide, scale, g);
                        for (j, &w) in weights.iter().enumerate() {
                            let n = w.checked_div(g as i8).unwrap_or(0);
                            put_nibble(&mut self.wide, words + j, n as u8);
                        }
                    }
                }
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
        groups: placed.nibbles.then(Vec::new),
    };
    for row in 0..placed.rows {
        match &mut matrix.groups {
            None => {
                for col in 0..placed.cols {
                    matrix.w.push(wide[at(rows, placed, row, col)] as i8);
                }
            }
            Some(groups) => {
                for group in 0..placed.cols.div_ceil(GROUP) {
                    let (scale, words) = nibbles_at(rows, placed, row, group);
                    let g = get_nibble(wide, scale);
                    let columns = GROUP.min(placed.cols - group * GROUP);
                    let weight = |j| weight(get_nibble(wide, words + j), g);
                    matrix.w.extend((0..columns).map(weight));
                    groups.push(g);
                }
            }
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

/// The nibbles, counted from the memory's first, of a group's scale and of its first weight.
fn nibbles_at(rows: usize, placed: &Placed, row: usize, group: usize) -> (usize, usize) {
    let first = placed.address + row / rows * placed.words_a_row();
    let scales = first + group / SCALES_A_WORD * (1 + SCALES_A_WORD);
    let in_word = group % SCALES_A_WORD;
    let nibble = |word: usize| (word * rows + row % rows) * GROUP;
    (nibble(scales) + in_word, nibble(scales + 1 + in_word))
}

fn put_nibble(wide: &mut [u8], at: usize, nibble: u8) {
    wide[at / 2] |= (nibble & 15) << (4 * (at % 2));
}

fn get_nibble(wide: &[u8], at: usize) -> u8 {
    wide[at / 2] >> (4 * (at % 2)) & 15
}

/// The weight of a nibble in a group of scale `g` (0 to 15).
pub(crate) fn weight(nibble: u8, g: u8) -> i8 {
    signed(nibble) * g as i8
}

/// The number that the low four bits are.
pub(crate) fn signed(nibble: u8) -> i8 {
    (nibble << 4) as i8 >> 4
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
    fn nibbles_have_a_sign() {
        let signed: Vec<i8> = (0..16).map(|nibble| weight(nibble, 1)).collect();
        assert_eq!(signed[..9], [0, 1, 2, 3, 4, 5, 6, 7, -8]);
        assert_eq!((signed[15], weight(8, 15), weight(7, 15)), (-1, -120, 105));
    }

    #[test]
    fn scales_survive_their_byte() {
        for s in -32..32 {
            for mu in 5..=8 {
                assert_eq!(scale(scale_byte(s, mu)), (s, mu));
            }
        }
    }
}
