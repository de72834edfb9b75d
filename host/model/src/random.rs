//! Test support: random small quantized models, legal in every shift, whose
//! vectors use most of their int16 range.
//!
//! Tests of the reference, the `cpu` backend and the hardware share them: a
//! [`Shape`] says what the model looks like, a seed fills it.

use crate::check::legal_shifts;
use crate::quant::{Embedding, Formats, Layer, Matrix, QuantModel, Width};
use annulus_contract::sample::{prng, Key};
use annulus_contract::step::{GROUP, GROUP_SCALE, NIBBLE};

/// A reproducible stream of random numbers: the contract's generator, counting.
#[derive(Clone, Debug)]
pub struct Rng {
    key: Key,
    drawn: u32,
}

impl Rng {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Self {
        Rng {
            key: seed.into(),
            drawn: 0,
        }
    }

    /// 32 random bits.
    pub fn bits(&mut self) -> u32 {
        self.drawn = self.drawn.wrapping_add(1);
        prng(self.key, self.drawn, 0)
    }

    /// Uniform in `low..=high`.
    pub fn within(&mut self, low: i32, high: i32) -> i32 {
        let span = (i64::from(high) - i64::from(low) + 1) as u64;
        (i64::from(low) + ((u64::from(self.bits()) * span) >> 32) as i64) as i32
    }

    /// True once in `n` draws.
    pub fn one_in(&mut self, n: i32) -> bool {
        self.within(1, n) == 1
    }

    /// One of `choices`, which is not empty.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.within(0, choices.len() as i32 - 1) as usize]
    }

    /// A weight, -127 to 127, roughly normal with a deviation of 45.
    fn weight(&mut self) -> i8 {
        let sum: i32 = (0..4).map(|_| self.within(-39, 39)).sum();
        sum.clamp(-127, 127) as i8
    }
}

/// What a random model looks like. `dim` is `heads * head_size`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Blocks.
    pub layers: usize,
    /// Width of the hidden vector; may be odd.
    pub hidden: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Elements a head, even.
    pub head_size: usize,
    /// Symbols.
    pub vocab: usize,
    /// Rotary positions.
    pub rope: bool,
    /// Hadamard rotation; only where `head_size` is a power of two.
    pub hadamard: bool,
    /// ReLU in place of SwiGLU.
    pub relu: bool,
    /// Norm before the classifier.
    pub final_norm: bool,
    /// The embedding is the classifier's table.
    pub tied: bool,
    /// Learned positions (a power of two), with a table of its own only.
    pub positions: Option<usize>,
    /// Norm after the embedding, with a table of its own only.
    pub embedding_norm: bool,
    /// Vectors, scores and logits so large that they saturate.
    pub saturating: bool,
    /// The blocks' matrices have 4-bit weights.
    pub nibbles: bool,
    /// The rings have 4-bit values.
    pub narrow: bool,
}

impl Shape {
    /// A Llama as small as they come: what tests vary.
    pub const LLAMA: Shape = Shape {
        layers: 1,
        hidden: 16,
        heads: 2,
        kv_heads: 1,
        head_size: 8,
        vocab: 24,
        rope: true,
        hadamard: true,
        relu: false,
        final_norm: true,
        tied: true,
        positions: None,
        embedding_norm: false,
        saturating: false,
        nibbles: false,
        narrow: false,
    };

    /// A random shape of at most 64 columns, with 8-bit weights and values.
    pub fn random(rng: &mut Rng) -> Self {
        let head_size = rng.pick(&[2, 4, 6, 8, 10, 16, 24, 32, 48, 64]);
        let heads = rng.within(1, (64 / head_size as i32).min(8)) as usize;
        let divisors: Vec<usize> = (1..=heads).filter(|d| heads.is_multiple_of(*d)).collect();
        let tied = rng.one_in(2);
        Shape {
            layers: rng.within(1, 3) as usize,
            hidden: rng.within(1, 96) as usize,
            heads,
            kv_heads: rng.pick(&divisors),
            head_size,
            vocab: rng.within(16, 80) as usize,
            rope: !rng.one_in(3),
            hadamard: head_size.is_power_of_two() && !rng.one_in(3),
            relu: rng.one_in(3),
            final_norm: !rng.one_in(3),
            tied,
            positions: (!tied && rng.one_in(2)).then(|| 1 << rng.within(0, 5)),
            embedding_norm: !tied && rng.one_in(3),
            saturating: rng.one_in(8),
            nibbles: false,
            narrow: false,
        }
    }

    /// Width of the residual.
    pub fn dim(&self) -> usize {
        self.heads * self.head_size
    }

    /// A model of this shape, legal in every shift.
    ///
    /// # Panics
    /// If the shape itself is not legal (see the fields).
    pub fn model(&self, seed: u64) -> QuantModel {
        let mut rng = Rng::new(seed);
        let model = self.fill(&mut rng);
        model.check().expect("the shape is legal");
        legal_shifts(&model).expect("scales are chosen within what can be shifted");
        model
    }

    fn fill(&self, rng: &mut Rng) -> QuantModel {
        let (dim, residual_bits) = (self.dim(), rng.within(9, 11) as u8);
        let layers = (0..self.layers)
            .map(|_| self.layer(rng, residual_bits))
            .collect();
        let logit_bits = 12;
        // Logits of about 2^14, or beyond 2^23.
        let size = if self.saturating { 24 } else { 14 };
        let classifier = if self.final_norm {
            normed(rng, self.vocab, dim, logit_bits, size)
        } else {
            plain(
                rng,
                self.vocab,
                dim,
                (residual_bits, 11),
                (logit_bits, size),
            )
        };
        let (embedding, igsh) = self.embedding(rng, residual_bits, &classifier);
        QuantModel {
            dim,
            hidden: self.hidden,
            heads: self.heads,
            kv_heads: self.kv_heads,
            head_size: self.head_size,
            vocab: self.vocab,
            residual_bits,
            logit_bits,
            // Saturating logits need rows of s = -8, legal from k = 5 on.
            eps: rng.within(if self.saturating { 1024 } else { 1 }, 2000) as u64,
            rope: self.rope.then(|| self.increments(rng)),
            hadamard: self.hadamard,
            relu: self.relu,
            final_norm: self.final_norm,
            embedding,
            igsh,
            embedding_norm: self.embedding_norm.then(|| rng.within(1, 20000) as u64),
            value_bits: if self.narrow {
                Width::Four
            } else {
                Width::Eight
            },
            layers,
            classifier,
        }
    }

    fn layer(&self, rng: &mut Rng, residual_bits: u8) -> Layer {
        let (dim, kv_dim) = (self.dim(), self.kv_heads * self.head_size);
        let bits = |rng: &mut Rng| rng.within(9, 13) as u8;
        let (q, k) = self.query_key_bits(rng);
        let (v, gate) = (bits(rng), bits(rng));
        let up = bits(rng);
        // SwiGLU's products of 2^11 and 2^11 come to about 2^10.
        let hidden = if self.relu { gate } else { gate + up - 12 };
        // Deviations of 2^11 peak below 2^15; of 2^14 they do not.
        let size = if self.saturating { 14 } else { 11 };
        let mut layer = Layer {
            wq: normed(rng, dim, dim, q, size),
            wk: normed(rng, kv_dim, dim, k, size),
            wv: normed(rng, kv_dim, dim, v, size),
            wo: plain(rng, dim, dim, (v, 10), (residual_bits, size - 2)),
            w1: normed(rng, self.hidden, dim, gate, size),
            w2: plain(
                rng,
                dim,
                self.hidden,
                (hidden, 10),
                (residual_bits, size - 2),
            ),
            w3: (!self.relu).then(|| normed(rng, self.hidden, dim, up, size)),
            formats: Formats {
                q,
                k,
                v,
                gate,
                up: if self.relu { 0 } else { up },
                hidden,
            },
        };
        if self.nibbles {
            let always = [&mut layer.wq, &mut layer.wk, &mut layer.wv, &mut layer.wo];
            let others = [&mut layer.w1, &mut layer.w2];
            for matrix in always.into_iter().chain(others).chain(&mut layer.w3) {
                nibbles(rng, matrix);
            }
        }
        layer
    }

    /// Fraction bits of queries and keys of about 2^11: scores of a few units,
    /// as far as the scores' shifts stay legal, or scores that saturate.
    fn query_key_bits(&self, rng: &mut Rng) -> (u8, u8) {
        let stages = if self.hadamard {
            self.head_size.ilog2() as i32
        } else {
            0
        };
        let (least, most) = (15 + stages, 30 - stages);
        let sum = if self.saturating {
            least
        } else {
            most.min(24) - rng.within(0, 2)
        };
        let q = sum / 2 + rng.within(-1, 1);
        (q as u8, (sum - q) as u8)
    }

    fn embedding(&self, rng: &mut Rng, residual_bits: u8, classifier: &Matrix) -> (Embedding, i8) {
        let dim = self.dim();
        if self.tied {
            // Weights of 45 * 2^-s times gains of 2^13 come to about 2^10; no
            // two rows' s differ by more than 2, so shifts stay near 11.
            let igsh = residual_bits as i8 + 8 - classifier.s[0];
            let gain = |rng: &mut Rng| (rng.within(4096, 16384) * rng.pick(&[-1, 1, 1, 1])) as i16;
            (
                Embedding::Tied {
                    ig: (0..dim).map(|_| gain(rng)).collect(),
                },
                igsh,
            )
        } else {
            let fraction_bits = if self.embedding_norm {
                13
            } else {
                residual_bits
            };
            let table = |rng: &mut Rng, rows| {
                // Row shifts s + 3 - embF of -5 to -1.
                let mut table = weights(rng, rows, dim);
                table.s = (0..rows)
                    .map(|_| fraction_bits as i8 - 3 - rng.within(1, 5) as i8)
                    .collect();
                table
            };
            let positions = self.positions.map(|rows| table(rng, rows));
            let embedding = Embedding::Own {
                table: table(rng, self.vocab),
                positions,
                fraction_bits,
            };
            // Behind a norm, elements of about one: log2 of sqrt(dim).
            (embedding, (dim.ilog2() as i8 + 1) / 2)
        }
    }

    /// Phase increments of base 10,000, as the quantizer makes them.
    fn increments(&self, rng: &mut Rng) -> Vec<u32> {
        let base = rng.pick(&[100.0, 10_000.0, 500_000.0]);
        let turn = 2f64.powi(32) / std::f64::consts::TAU;
        (0..self.head_size / 2)
            .map(|c| {
                (turn * f64::powf(base, -2.0 * c as f64 / self.head_size as f64)).round() as u32
            })
            .collect()
    }
}

/// A random model of a random [`Shape`].
pub fn random_model(seed: u64) -> QuantModel {
    Shape::random(&mut Rng::new(!seed)).model(seed)
}

/// A matrix behind a norm: inputs of length one, outputs of about `2^size`
/// with `f_out` fraction bits.
fn normed(rng: &mut Rng, rows: usize, cols: usize, f_out: u8, size: i32) -> Matrix {
    // Outputs are 45 * mu/8 * 2^(f_out - s), and 45 * mu/8 is about 2^5.
    scaled(rng, rows, cols, i32::from(f_out) + 5 - size)
}

/// A matrix on a plain vector: inputs of about `2^in` with `f_in` fraction
/// bits, outputs of about `2^out` with `f_out`.
fn plain(
    rng: &mut Rng,
    rows: usize,
    cols: usize,
    (f_in, size_in): (u8, i32),
    (f_out, size_out): (u8, i32),
) -> Matrix {
    let fan_in = (cols.ilog2() as i32 + 1) / 2;
    let s = fan_in + 5 + size_in - size_out + i32::from(f_out) - i32::from(f_in);
    // 15 + s - e - f_out + f_in must not fall below 0 at e = 8.
    scaled(
        rng,
        rows,
        cols,
        s.max(i32::from(f_out) - i32::from(f_in) - 6),
    )
}

fn scaled(rng: &mut Rng, rows: usize, cols: usize, s: i32) -> Matrix {
    let mut matrix = weights(rng, rows, cols);
    matrix.s = (0..rows).map(|_| (s + rng.within(-1, 1)) as i8).collect();
    matrix
}

fn weights(rng: &mut Rng, rows: usize, cols: usize) -> Matrix {
    Matrix {
        rows,
        cols,
        w: (0..rows * cols).map(|_| rng.weight()).collect(),
        s: vec![0; rows],
        mu: (0..rows).map(|_| rng.within(5, 8) as u8).collect(),
        groups: None,
    }
}

/// Other weights for a matrix, of 4 bits and about as large.
fn nibbles(rng: &mut Rng, matrix: &mut Matrix) {
    let [least, most] = GROUP_SCALE;
    let mut all = Vec::with_capacity(matrix.rows * matrix.groups_a_row());
    for row in matrix.w.chunks_exact_mut(matrix.cols) {
        for group in row.chunks_mut(GROUP) {
            let g = rng.within(least.into(), most.into()) as i8;
            group
                .iter_mut()
                .for_each(|w| *w = g * rng.within(NIBBLE[0].into(), NIBBLE[1].into()) as i8);
            all.push(g as u8);
        }
    }
    matrix.groups = Some(all);
}
