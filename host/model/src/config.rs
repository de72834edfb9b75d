//! The shapes that Annulus runs, and the check every importer makes before it
//! believes a header.

use std::ops::RangeInclusive;
use thiserror::Error;

/// Most elements of a residual: sums of squares must fit 41 bits.
pub const MAX_DIM: u64 = 2047;
/// Most elements of a hidden vector: dot products must fit 32 bits with room.
pub const MAX_HIDDEN: u64 = 8192;
/// Most blocks.
pub const MAX_LAYERS: u64 = 256;
/// Fewest and most symbols.
pub const VOCAB: RangeInclusive<u64> = 16..=4096;
/// Fewest and most elements a head; the number must also be even.
pub const HEAD_SIZE: RangeInclusive<u64> = 2..=64;
/// Longest context that a checkpoint may declare.
pub const MAX_CONTEXT: u64 = 1 << 20;
/// Largest ring a core can hold, in positions.
pub const MAX_WINDOW: usize = 1024;

/// A shape that no core runs, named after the field at fault.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum ShapeError {
    /// A number outside the range that the arithmetic allows.
    #[error("{field} is {value}, but must be {min} to {max}")]
    OutOfRange {
        /// Name of the field.
        field: &'static str,
        /// What it holds.
        value: i64,
        /// Smallest value allowed.
        min: u64,
        /// Largest value allowed.
        max: u64,
    },
    /// A number that another must divide and does not.
    #[error("{field} is {value}, which {divisor_field} ({divisor}) does not divide")]
    NotDivisible {
        /// Name of the field to divide.
        field: &'static str,
        /// What it holds.
        value: u64,
        /// Name of the divisor.
        divisor_field: &'static str,
        /// What that holds.
        divisor: u64,
    },
    /// An odd head size: rotary positions turn pairs of elements.
    #[error("the head size is {0}, but must be even")]
    OddHeadSize(u64),
    /// A list of weights whose length is not what the shape asks for.
    #[error("{field} holds {found} numbers, but the shape asks for {expected}")]
    Length {
        /// Name of the weights.
        field: String,
        /// How many there are.
        found: usize,
        /// How many there should be.
        expected: usize,
    },
    /// A weight that is NaN or infinite.
    #[error("{field}[{index}] is {value}")]
    NotFinite {
        /// Name of the weights.
        field: String,
        /// Index of the weight, row-major.
        index: usize,
        /// `NaN` or an infinity.
        value: f32,
    },
    /// An epsilon or a rotary base that is no positive number.
    #[error("{field} is {value}, but must be a positive number")]
    NotPositive {
        /// Name of the field.
        field: &'static str,
        /// What it holds.
        value: f32,
    },
}

/// The numbers that fix the size of every tensor of a model. Signed, because a
/// header may hold anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Width of the residual.
    pub dim: i64,
    /// Width of the hidden vector.
    pub hidden: i64,
    /// Number of blocks.
    pub layers: i64,
    /// Query heads.
    pub heads: i64,
    /// Key and value heads.
    pub kv_heads: i64,
    /// Symbols.
    pub vocab: i64,
    /// The longest context the checkpoint was trained for.
    pub context: i64,
}

impl Shape {
    /// Elements a head; meaningful once [`Shape::check`] has passed.
    pub fn head_size(&self) -> i64 {
        self.dim / self.heads
    }

    /// Refuses a shape that no core runs. After it every product of two of the
    /// shape's numbers fits 32 bits.
    pub fn check(&self) -> Result<(), ShapeError> {
        let within = |field, value: i64, min: u64, max: u64| match u64::try_from(value) {
            Ok(v) if (min..=max).contains(&v) => Ok(v),
            _ => Err(ShapeError::OutOfRange {
                field,
                value,
                min,
                max,
            }),
        };
        let divides = |field, value: u64, divisor_field, divisor: u64| {
            if value.is_multiple_of(divisor) {
                Ok(())
            } else {
                Err(ShapeError::NotDivisible {
                    field,
                    value,
                    divisor_field,
                    divisor,
                })
            }
        };
        let dim = within("dim", self.dim, 2, MAX_DIM)?;
        within("hidden", self.hidden, 1, MAX_HIDDEN)?;
        within("layers", self.layers, 1, MAX_LAYERS)?;
        let heads = within("heads", self.heads, 1, MAX_DIM)?;
        let kv_heads = within("kv_heads", self.kv_heads, 1, MAX_DIM)?;
        within("vocab", self.vocab, *VOCAB.start(), *VOCAB.end())?;
        within("context", self.context, 1, MAX_CONTEXT)?;
        divides("dim", dim, "heads", heads)?;
        divides("heads", heads, "kv_heads", kv_heads)?;
        let head_size = dim / heads;
        within(
            "head size",
            head_size as i64,
            *HEAD_SIZE.start(),
            *HEAD_SIZE.end(),
        )?;
        if !head_size.is_multiple_of(2) {
            return Err(ShapeError::OddHeadSize(head_size));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORIES: Shape = Shape {
        dim: 64,
        hidden: 172,
        layers: 5,
        heads: 8,
        kv_heads: 4,
        vocab: 512,
        context: 512,
    };

    #[test]
    fn real_and_odd_shapes_pass() {
        for (dim, heads) in [(64, 8), (24, 4), (48, 1), (96, 2), (6, 1), (2, 1)] {
            let shape = Shape {
                dim,
                heads,
                kv_heads: 1,
                hidden: 173,
                ..STORIES
            };
            assert_eq!(shape.check(), Ok(()), "{shape:?}");
        }
    }

    #[test]
    fn faults_name_their_field() {
        let cases = [
            (
                Shape { dim: -1, ..STORIES },
                "dim is -1, but must be 2 to 2047",
            ),
            (
                Shape {
                    heads: 7,
                    ..STORIES
                },
                "dim is 64, which heads (7) does not divide",
            ),
            (
                Shape {
                    kv_heads: 3,
                    ..STORIES
                },
                "heads is 8, which kv_heads (3) does not divide",
            ),
            (
                Shape {
                    vocab: 4097,
                    ..STORIES
                },
                "vocab is 4097, but must be 16 to 4096",
            ),
            (
                Shape {
                    heads: 64,
                    kv_heads: 1,
                    ..STORIES
                },
                "head size is 1, but must be 2 to 64",
            ),
            (
                Shape {
                    dim: 65,
                    heads: 13,
                    kv_heads: 13,
                    ..STORIES
                },
                "the head size is 5, but must be even",
            ),
            (
                Shape {
                    hidden: i64::MAX,
                    ..STORIES
                },
                "hidden is 9223372036854775807, but must be 1 to 8192",
            ),
            (
                Shape {
                    heads: 0,
                    ..STORIES
                },
                "heads is 0, but must be 1 to 2047",
            ),
        ];
        for (shape, sentence) in cases {
            assert_eq!(shape.check().unwrap_err().to_string(), sentence);
        }
    }
}
