//! The quantized model: integers only, independent of any core's shape.
//!
//! This is what `docs/arithmetic.md` section 3 calls the model file. The
//! quantizer makes it, the compiler packs it into an image, and the integer
//! reference and the `cpu` backend run it.

use annulus_contract::shape::CoreShape;
use annulus_contract::step::GROUP;

/// An int8 matrix with one scale a row: `weight = w * 2^-s * mu / 8`.
///
/// Its weights may be such that 4 bits hold each: then [`GROUP`] columns of a row share a
/// scale g, and `w = g * n` with n in -8..=7. That is a matter of storage: whoever
/// multiplies sees `w`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matrix {
    /// Number of outputs.
    pub rows: usize,
    /// Number of inputs.
    pub cols: usize,
    /// Weights, row-major, `rows * cols` of them, each in -127..=127.
    pub w: Vec<i8>,
    /// Exponent of each row (signed 6 bits).
    pub s: Vec<i8>,
    /// Quarter-octave multiplier of each row, 5 to 8.
    pub mu: Vec<u8>,
    /// 4-bit weights only: the scale of each group, 1 to 15, row-major;
    /// `rows * cols.div_ceil(GROUP)` of them.
    pub groups: Option<Vec<u8>>,
}

/// What a row's weights count in, `2^-s * mu / 8`.
pub fn row_scale(s: i32, mu: u8) -> f64 {
    f64::from(mu) / 8.0 * f64::from(-s).exp2()
}

/// Bits that a number is stored in: a weight of the blocks' matrices (tables and classifier
/// have 8), or a value in its ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Width {
    /// A byte.
    #[default]
    Eight,
    /// A nibble; what it counts in is stored for a group of [`GROUP`] weights, or for the
    /// values of a head and token.
    Four,
}

impl Width {
    /// How many.
    pub const fn count(self) -> u8 {
        match self {
            Width::Eight => 8,
            Width::Four => 4,
        }
    }

    /// A simulated core with what it needs for weights or values of so many bits.
    pub const fn simulated(self, core: CoreShape) -> CoreShape {
        match self {
            Width::Eight => core,
            Width::Four => core.with_nibbles(),
        }
    }
}

impl Matrix {
    /// Groups of columns a row that share a scale, where weights have 4 bits.
    pub fn groups_a_row(&self) -> usize {
        self.cols.div_ceil(GROUP)
    }

    /// The group scales of a row; none where weights have 8 bits.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row_groups(&self, row: usize) -> &[u8] {
        let a_row = self.groups_a_row();
        let groups = self.groups.as_deref();
        groups.map_or(&[], |groups| &groups[row * a_row..][..a_row])
    }

    /// Bits that a weight is stored in.
    pub fn weight_bits(&self) -> Width {
        match self.groups {
            Some(_) => Width::Four,
            None => Width::Eight,
        }
    }

    /// A row's weights, exponent and multiplier.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&self, row: usize) -> (&[i8], i8, u8) {
        (
            &self.w[row * self.cols..(row + 1) * self.cols],
            self.s[row],
            self.mu[row],
        )
    }
}

/// Fraction bits of the int16 vectors of a layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Formats {
    /// Query.
    pub q: u8,
    /// Key.
    pub k: u8,
    /// Value, and attention output.
    pub v: u8,
    /// Gate (`w1`).
    pub gate: u8,
    /// Up (`w3`).
    pub up: u8,
    /// Hidden (the gate's own format for ReLU).
    pub hidden: u8,
}

/// One transformer block. Row `head * head_size + c` of `wq`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Query projection, `dim x dim`.
    pub wq: Matrix,
    /// Key projection, `kv_heads * head_size x dim`.
    pub wk: Matrix,
    /// Value projection, `kv_heads * head_size x dim`.
    pub wv: Matrix,
    /// Output projection, `dim x dim`.
    pub wo: Matrix,
    /// Gate (SwiGLU) or first matrix (ReLU), `hidden x dim`.
    pub w1: Matrix,
    /// Down projection, `dim x hidden`.
    pub w2: Matrix,
    /// Up projection (SwiGLU only), `hidden x dim`.
    pub w3: Option<Matrix>,
    /// Fraction bits of this layer's vectors.
    pub formats: Formats,
}

impl Layer {
    /// Every matrix, with its name.
    pub fn matrices(&self) -> impl Iterator<Item = (&'static str, &Matrix)> {
        let always = [
            ("wq", &self.wq),
            ("wk", &self.wk),
            ("wv", &self.wv),
            ("wo", &self.wo),
            ("w1", &self.w1),
            ("w2", &self.w2),
        ];
        always
            .into_iter()
            .chain(self.w3.as_ref().map(|w3| ("w3", w3)))
    }
}

/// How a token becomes the first residual (`docs/arithmetic.md` section 6, step 1).
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "a model has one")]
pub enum Embedding {
    /// The classifier's rows, freed of the final norm's gain (`degain = 1`).
    Tied {
        /// `round(2^igsh / (gain_c * sqrt(dim)))`, one a column.
        ig: Vec<i16>,
    },
    /// A table of its own (`degain = 0`), perhaps with learned positions.
    Own {
        /// Token rows, `vocab x dim`.
        table: Matrix,
        /// Position rows, `npos x dim`, `npos` a power of two; row `pos mod npos`.
        positions: Option<Matrix>,
        /// Fraction bits of the sum (`embF`).
        fraction_bits: u8,
    },
}

/// A quantized model. `heads * head_size == dim`, `kv_heads` divides `heads`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuantModel {
    /// Width of the residual, at most 2,047 (`D`).
    pub dim: usize,
    /// Width of the feed-forward's hidden vector (`H`).
    pub hidden: usize,
    /// Query heads (`NH`).
    pub heads: usize,
    /// Key and value heads (`NKV`); query head h reads `h * kv_heads / heads`.
    pub kv_heads: usize,
    /// Elements a head, even, 2 to 64 (`hd`).
    pub head_size: usize,
    /// Symbols (`V`).
    pub vocab: usize,
    /// Fraction bits of the residual (`RF`).
    pub residual_bits: u8,
    /// Fraction bits of the logits (`LF`, 12).
    pub logit_bits: u8,
    /// `max(1, round(eps * dim * 4^RF))` (`EPS`).
    pub eps: u64,
    /// Rotary positions: `floor(2^32 * base^(-2c/hd) / 2 pi + 1/2)`, `hd / 2` of them (`inc`).
    pub rope: Option<Vec<u32>>,
    /// Hadamard rotation of q and k (`rot`); head sizes that are a power of two only.
    pub hadamard: bool,
    /// ReLU with one matrix in place of SwiGLU with two (`relu`).
    pub relu: bool,
    /// RMSNorm before the classifier (`finalnorm`).
    pub final_norm: bool,
    /// How a token becomes a residual (`degain`, `emb`, `wpe`, `embF`).
    pub embedding: Embedding,
    /// Shift of the embedding's gains and of its norm (`igsh`).
    pub igsh: i8,
    /// Normalise after the embedding, with this epsilon (`eps_emb`; -1 there is `None`).
    pub embedding_norm: Option<u64>,
    /// Bits that a value is stored in.
    pub value_bits: Width,
    /// The blocks.
    pub layers: Vec<Layer>,
    /// The classifier, `vocab x dim` (`cls`).
    pub classifier: Matrix,
}

impl QuantModel {
    /// Bits that a weight of the blocks' matrices is stored in; 8 where there are no blocks.
    pub fn weight_bits(&self) -> Width {
        let first = self.layers.first();
        first.map_or(Width::Eight, |layer| layer.wq.weight_bits())
    }

    /// The fewer bits of weights and values, which a simulated core is chosen by.
    pub fn narrowest(&self) -> Width {
        self.weight_bits().max(self.value_bits)
    }

    /// Butterfly stages of the Hadamard rotation: log2 of the head size, 0
    /// where there is no rotation.
    pub fn hadamard_stages(&self) -> u32 {
        if self.hadamard {
            self.head_size.ilog2()
        } else {
            0
        }
    }
}
