//! Where everything lies in a core's memories: weights, then key rings, then
//! value rings in the wide memory; row scales and key scales beside it.

use super::config::{Config, EmbeddingConfig};
use crate::quant::Width;
use annulus_contract::ring::Ring;
use annulus_contract::step::{self, COLUMNS};

/// A matrix in the wide memory, row group by row group, with its row scales.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Rows that count.
    pub rows: usize,
    /// Columns that count.
    pub cols: usize,
    /// First word.
    pub address: usize,
    /// First entry of the row scales.
    pub scale: usize,
    /// Weights of 4 bits.
    pub nibbles: bool,
    /// Rows of the array, `P`.
    array_rows: usize,
}

impl Placed {
    /// Words of the vector that a row meets.
    pub fn vector_words(&self) -> usize {
        self.cols.div_ceil(COLUMNS)
    }

    /// Words a row (group).
    pub fn words_a_row(&self) -> usize {
        step::words_a_row(self.cols, self.nibbles)
    }

    /// Row groups.
    pub fn groups(&self) -> usize {
        self.rows.div_ceil(self.array_rows)
    }

    /// Words in all.
    pub fn words(&self) -> usize {
        self.groups() * self.words_a_row()
    }

    /// Entries of row scales: two rows each, padding rows included.
    pub fn entries(&self) -> usize {
        (self.groups() * self.array_rows).div_ceil(2)
    }
}

/// Matrices and rings of one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerLayout {
    /// Value projection.
    pub wv: Placed,
    /// Key projection.
    pub wk: Placed,
    /// Query projection.
    pub wq: Placed,
    /// Output projection.
    pub wo: Placed,
    /// Gate and up, rows interleaved (gate alone for ReLU).
    pub gate_up: Placed,
    /// Down projection.
    pub down: Placed,
    /// First word of the key rings.
    pub key_ring: usize,
    /// First entry of the key scales.
    pub key_scales: usize,
    /// First word of the value rings.
    pub value_ring: usize,
}

/// Where everything lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// How the slots lie in their rings.
    pub ring: Ring,
    /// Token rows, where they are not the classifier's.
    pub embedding: Option<Placed>,
    /// Position rows.
    pub positions: Option<Placed>,
    /// The layers.
    pub layers: Vec<LayerLayout>,
    /// The classifier.
    pub classifier: Placed,
    /// Words of weights.
    pub weight_words: usize,
    /// Words of key rings.
    pub key_words: usize,
    /// Words of value rings.
    pub value_words: usize,
    /// Entries of row scales.
    pub scales: usize,
    /// Entries of key scales.
    pub key_scales: usize,
    /// Words of 8 columns a head.
    pub head_words: usize,
    /// Groups of `P` dimensions a head.
    pub head_groups: usize,
    /// Values of 4 bits: two groups of dimensions a word.
    pub narrow: bool,
}

impl Layout {
    /// The layout of a model of these sizes with rings like `ring`.
    pub fn new(config: &Config, ring: Ring) -> Self {
        let (dim, hidden, kv_dim) = (config.dim, config.hidden, config.kv_dim());
        let head_words = config.head_size.div_ceil(COLUMNS);
        let head_groups = config.head_size.div_ceil(ring.rows as usize);
        // Words and entries of one layer in each ring.
        let key_scales = config.kv_heads * ring.key_groups() as usize;
        let key_words = key_scales * head_words;
        let narrow = config.value_bits == Width::Four;
        let value_rows = config.kv_heads * head_groups;
        let value_words = if narrow {
            ring.value_groups() as usize * value_rows.div_ceil(2)
        } else {
            ring.value_groups() as usize * value_rows
        };

        let mut next = Placed {
            rows: 0,
            cols: 0,
            address: 0,
            scale: 0,
            nibbles: false,
            array_rows: ring.rows as usize,
        };
        let mut placed = |rows, cols, nibbles| {
            let placed = Placed {
                rows,
                cols,
                nibbles,
                ..next
            };
            next.address += placed.words();
            next.scale += placed.entries();
            placed
        };
        let embedding = match config.embedding {
            EmbeddingConfig::Tied => None,
            EmbeddingConfig::Own { .. } => Some(placed(config.vocab, dim, false)),
        };
        let positions = (config.positions() > 0).then(|| placed(config.positions(), dim, false));
        let nibbles = config.weight_bits == Width::Four;
        let mut place = |rows, cols| placed(rows, cols, nibbles);
        let mut layers: Vec<LayerLayout> = (0..config.formats.len())
            .map(|l| LayerLayout {
                wv: place(kv_dim, dim),
                wk: place(kv_dim, dim),
                wq: place(dim, dim),
                wo: place(dim, dim),
                gate_up: place(if config.relu { hidden } else { 2 * hidden }, dim),
                down: place(dim, hidden),
                key_ring: l * key_words,
                key_scales: l * key_scales,
                value_ring: l * value_words,
            })
            .collect();
        let classifier = placed(config.vocab, dim, false);

        let rings = layers.len();
        let (weight_words, scales) = (next.address, next.scale);
        let (key_words, value_words) = (rings * key_words, rings * value_words);
        for layer in &mut layers {
            layer.key_ring += weight_words;
            layer.value_ring += weight_words + key_words;
        }
        Layout {
            ring,
            embedding,
            positions,
            layers,
            classifier,
            weight_words,
            key_words,
            value_words,
            scales,
            key_scales: rings * key_scales,
            head_words,
            head_groups,
            narrow,
        }
    }

    /// Words of the wide memory in all.
    pub fn memory_words(&self) -> usize {
        self.weight_words + self.key_words + self.value_words
    }

    /// Words of the key ring of one KV head.
    pub fn key_head_words(&self) -> usize {
        self.ring.key_groups() as usize * self.head_words
    }

    /// First word of the value rings.
    pub fn value_start(&self) -> usize {
        self.weight_words + self.key_words
    }

    /// Bytes of exponents, beside the words of 4-bit values.
    pub fn exponent_bytes(&self) -> usize {
        if self.narrow {
            self.value_words * COLUMNS
        } else {
            0
        }
    }

    /// Where a KV head's values begin, in words from those of its layer, and whether in the
    /// high nibbles.
    pub fn value_head(&self, kv_head: usize) -> (usize, bool) {
        let (group, words) = (
            kv_head * self.head_groups,
            self.ring.value_groups() as usize,
        );
        if self.narrow {
            (group / 2 * words, group % 2 == 1)
        } else {
            (group * words, false)
        }
    }
}
