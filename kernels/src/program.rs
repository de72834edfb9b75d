//! A quantized model as the kernels read it, and the places of a stream's memory.

use crate::layout::*;
use annulus_contract::feed_forward::SwigluFormat;
use annulus_contract::stage;
use annulus_model::check::{legal_shifts, IllegalShift};
use annulus_model::quant::{Embedding, Layer, Matrix, QuantModel, Width};
use annulus_model::reference::{Reference, ShapeError};

/// Bytes of a quad, the unit in which weights are read.
const QUAD: usize = 16;

/// Why a model cannot be packed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProgramError {
    /// The model, the window or the sinks are not well formed.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The model may ask for a shift that no backend is bound to do.
    #[error(transparent)]
    Shift(#[from] IllegalShift),
    /// More than the kernels' 32-bit places reach.
    #[error("the model takes {0} words of memory, more than the kernels can address")]
    Large(usize),
}

/// A packed model: the words that go to the device, header first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    words: Vec<i32>,
    vocab: usize,
}

impl Program {
    /// Pack a model for a window and sinks.
    ///
    /// # Errors
    /// If the model is not well formed, could ask for an illegal shift, or not
    /// `0 <= sinks < window <= 1024`.
    pub fn new(model: &QuantModel, window: usize, sinks: usize) -> Result<Self, ProgramError> {
        // The reference knows what a stream may look like.
        Reference::new(model, window, sinks)?;
        legal_shifts(model)?;
        let mut packer = Packer {
            words: vec![0; PROGRAM_WORDS.next_multiple_of(4)],
        };
        packer.pack(model, window, sinks);
        let program = Program {
            words: packer.words,
            vocab: model.vocab,
        };
        let reach = program.words.len().max(program.field(P_STREAM_WORDS));
        if reach >= 1 << 29 {
            return Err(ProgramError::Large(reach));
        }
        Ok(program)
    }

    /// The words, a multiple of four of them.
    pub fn words(&self) -> &[i32] {
        &self.words
    }

    /// A field of the header.
    pub fn field(&self, at: usize) -> usize {
        self.words[at] as usize
    }

    /// Symbols.
    pub fn vocab(&self) -> usize {
        self.vocab
    }

    /// A new stream: state, empty rings, logits of 0.
    pub fn empty_stream(&self) -> Vec<i32> {
        let mut words = vec![0; self.field(P_STREAM_WORDS)];
        words[S_STOP] = NO_TOKEN;
        words[S_RESTART] = NO_TOKEN;
        words
    }

    /// Bytes of a block's shared memory: a quad of its own, the operand, and what
    /// `placement` ([`PLACE_SCRATCH`], [`PLACE_PROGRAM`]) puts there as well.
    pub fn shared_bytes(&self, placement: i32) -> usize {
        let part = |bit, at| {
            if placement & bit != 0 {
                self.field(at)
            } else {
                0
            }
        };
        let quads = 1
            + self.field(P_OPERAND_QUADS)
            + part(PLACE_SCRATCH, P_SCRATCH_QUADS)
            + part(PLACE_PROGRAM, P_QUADS);
        quads * QUAD
    }
}

struct Packer {
    words: Vec<i32>,
}

impl Packer {
    fn pack(&mut self, model: &QuantModel, window: usize, sinks: usize) {
        let head_words = model.head_size.div_ceil(4);
        let flags = [
            (P_DIM, model.dim),
            (P_HIDDEN, model.hidden),
            (P_HEADS, model.heads),
            (P_KV_HEADS, model.kv_heads),
            (P_HEAD_SIZE, model.head_size),
            (P_HEAD_WORDS, head_words),
            (P_LAYERS, model.layers.len()),
            (P_WINDOW, window),
            (P_SINKS, sinks),
            (P_SLOT_WORDS, window.div_ceil(4)),
            (P_EPS, model.eps as usize),
            (P_EMBEDDING_EPS, model.embedding_norm.unwrap_or(0) as usize),
            (P_HADAMARD_STAGES, model.hadamard_stages() as usize),
            (P_NARROW, (model.value_bits == Width::Four).into()),
            (P_RELU, model.relu.into()),
            (P_FINAL_NORM, model.final_norm.into()),
            (P_LOGIT_BITS, model.logit_bits.into()),
            (P_OPERAND_QUADS, model.dim.max(model.hidden).div_ceil(QUAD)),
        ];
        for (at, value) in flags {
            self.words[at] = value as i32;
        }
        self.words[P_EMBEDDING_NORM_SHIFT] =
            stage::embedding_norm_shift(0, model.igsh, model.residual_bits);
        if let Some(increments) = &model.rope {
            self.words[P_INCREMENTS] = self.append(increments.iter().map(|&i| i as i32));
        }

        let classifier_bits = if model.final_norm {
            0
        } else {
            model.residual_bits
        };
        let scales = matvec_scales(&model.classifier, model.logit_bits, classifier_bits);
        let classifier = self.matrix(&[&model.classifier], scales);
        self.place(P_CLASSIFIER, classifier);
        self.embedding(model, classifier);

        let layers = self.append(std::iter::repeat_n(0, model.layers.len() * LAYER_WORDS));
        self.words[P_LAYER0] = layers;
        for (l, layer) in model.layers.iter().enumerate() {
            self.layer(layers as usize + l * LAYER_WORDS, model, layer);
        }
        self.stream(model, window, head_words);
        self.words[P_QUADS] = (self.words.len() / 4) as i32;
    }

    fn embedding(&mut self, model: &QuantModel, classifier: [i32; MATRIX_WORDS]) {
        match &model.embedding {
            Embedding::Tied { ig } => {
                let halves = ig.chunks(2).map(|pair| {
                    let high = *pair.get(1).unwrap_or(&0);
                    i32::from(pair[0]) & 0xffff | i32::from(high) << 16
                });
                self.words[P_GAINS] = self.append(halves);
                let shift = |s| stage::tied_shift(s, model.igsh, model.residual_bits);
                let mut record = classifier;
                record[M_SCALES] = self.append(scales(&model.classifier, shift));
                self.place(P_EMBEDDING, record);
            }
            Embedding::Own {
                table,
                positions,
                fraction_bits,
            } => {
                let shift = |s| stage::row_shift(s, *fraction_bits);
                let record = self.matrix(&[table], scales(table, shift));
                self.place(P_EMBEDDING, record);
                if let Some(positions) = positions {
                    self.words[P_POSITIONS] = positions.rows as i32;
                    let record = self.matrix(&[positions], scales(positions, shift));
                    self.place(P_POSITION_TABLE, record);
                }
            }
        }
    }

    fn layer(&mut self, at: usize, model: &QuantModel, layer: &Layer) {
        let f = &layer.formats;
        let residual = model.residual_bits;
        let qkv = [(&layer.wq, f.q), (&layer.wk, f.k), (&layer.wv, f.v)];
        let qkv_scales = qkv.iter().flat_map(|(m, bits)| matvec_scales(m, *bits, 0));
        let record = self.matrix(&qkv.map(|(m, _)| m), qkv_scales.collect());
        self.place(at + L_QKV, record);
        let record = self.matrix(&[&layer.wo], matvec_scales(&layer.wo, residual, f.v));
        self.place(at + L_OUT, record);
        let record = self.matrix(&[&layer.w1], matvec_scales(&layer.w1, f.gate, 0));
        self.place(at + L_GATE, record);
        self.place(at + L_UP, record);
        if let Some(up) = &layer.w3 {
            let record = self.matrix(&[up], matvec_scales(up, f.up, 0));
            self.place(at + L_UP, record);
        }
        let record = self.matrix(&[&layer.w2], matvec_scales(&layer.w2, residual, f.hidden));
        self.place(at + L_DOWN, record);
        self.words[at + L_SCORE_SHIFT] =
            stage::score_shift(f.q, f.k, model.hadamard_stages(), 0, 0);
        self.words[at + L_GATE_BITS] = f.gate.into();
        let swiglu = SwigluFormat {
            gate: f.gate.into(),
            up: f.up.into(),
            hidden: f.hidden.into(),
        };
        self.words[at + L_SWIGLU_SHIFT] = swiglu.shift();
    }

    /// Places within a stream and within the scratch memory.
    fn stream(&mut self, model: &QuantModel, window: usize, head_words: usize) {
        let (dim, heads) = (model.dim, model.heads);
        let kv_dim = model.kv_heads * model.head_size;
        let slot_words = window.div_ceil(4);
        let mut ring = Places::default();
        ring.take(model.kv_heads * window * head_words);
        self.words[P_RING_SCALES] = ring.take(model.kv_heads * window);
        self.words[P_RING_VALUES] = ring.take(kv_dim * slot_words);

        let mut scratch = Places::default();
        for (at, words) in [
            (P_AT_X, dim),
            (P_AT_EMBEDDED, dim),
            (P_AT_Q, dim + 2 * kv_dim),
            (P_AT_QUERY, 2 * heads * head_words),
            (P_AT_QUERY_SCALE, 2 * heads),
            (P_AT_SCORES, (heads * window).div_ceil(2)),
            (P_AT_P, heads * slot_words),
            (P_AT_MAX, heads),
            (P_AT_SUM, heads),
            (P_AT_AO, dim),
            (P_AT_HIDDEN, model.hidden),
        ] {
            self.words[at] = scratch.take(words);
        }

        let mut stream = Places::default();
        stream.take(STATE_WORDS);
        self.words[P_RINGS] = stream.take(ring.0 * model.layers.len());
        self.words[P_LOGITS] = stream.take(model.vocab);
        self.words[P_SCRATCH] = stream.take(scratch.0);
        self.words[P_RING_WORDS] = ring.0 as i32;
        self.words[P_SCRATCH_QUADS] = (scratch.0 / 4) as i32;
        self.words[P_STREAM_WORDS] = stream.0 as i32;
    }

    /// Matrices of the same width one below the other.
    fn matrix(&mut self, matrices: &[&Matrix], scales: Vec<i32>) -> [i32; MATRIX_WORDS] {
        let cols = matrices[0].cols;
        let quads = cols.div_ceil(QUAD);
        let mut rows = 0;
        let weights = self.words.len() as i32;
        for matrix in matrices {
            rows += matrix.rows;
            for row in matrix.w.chunks_exact(cols) {
                let padded = row.iter().copied().chain(std::iter::repeat(0));
                let bytes: Vec<u8> = padded.take(quads * QUAD).map(|w| w as u8).collect();
                let words = bytes.chunks_exact(4);
                self.words
                    .extend(words.map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]])));
            }
        }
        let mut record = [0; MATRIX_WORDS];
        record[M_WEIGHTS] = weights;
        record[M_SCALES] = self.append(scales);
        record[M_ROWS] = rows as i32;
        record[M_QUADS] = quads as i32;
        record[M_LANES_LOG2] = quads.ilog2().min(5) as i32;
        record
    }

    fn place(&mut self, at: usize, record: [i32; MATRIX_WORDS]) {
        self.words[at..at + MATRIX_WORDS].copy_from_slice(&record);
    }

    /// Words at the end, filled up to a quad; where they begin.
    fn append(&mut self, words: impl IntoIterator<Item = i32>) -> i32 {
        let at = self.words.len();
        self.words.extend(words);
        self.words.resize(self.words.len().next_multiple_of(4), 0);
        at as i32
    }
}

/// Places one behind the other, each at a quad.
#[derive(Default)]
struct Places(usize);

impl Places {
    fn take(&mut self, words: usize) -> i32 {
        let at = self.0;
        self.0 += words.next_multiple_of(4);
        at as i32
    }
}

/// Shift and `mu` of each row, in one word.
fn scales(matrix: &Matrix, shift: impl Fn(i8) -> i32) -> Vec<i32> {
    let rows = matrix.s.iter().zip(&matrix.mu);
    rows.map(|(&s, &mu)| shift(s) << 8 | i32::from(mu))
        .collect()
}

/// The same for a matrix that vectors are multiplied with: `f_out` and `f_in` are
/// the fraction bits of result and vector (0 under a fused norm).
fn matvec_scales(matrix: &Matrix, f_out: u8, f_in: u8) -> Vec<i32> {
    scales(matrix, |s| stage::matvec_shift(0, s, 0, f_out, f_in))
}
