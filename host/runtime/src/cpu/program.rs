//! A quantized model made ready for the engine: matrices packed, constant
//! parts of shifts summed, embedding rows expanded.

use annulus_contract::feed_forward::SwigluFormat;
use annulus_contract::rope::{phase, Rotation};
use annulus_contract::stage;
use annulus_model::quant::{Embedding, Layer, Matrix, QuantModel, Width};

use super::attention::RingShape;
use super::feed_forward::Activation;
use super::matrix::{PackedMatrix, SourceRow};
use super::simd::{Row, LANES};

/// One block.
pub struct PackedLayer {
    /// Queries and keys by element, then by head, then values by KV head.
    pub qkv: PackedMatrix,
    /// Attention's output projection.
    pub out: PackedMatrix,
    /// Gate, then up where there is one.
    pub gate_up: PackedMatrix,
    /// Down projection.
    pub down: PackedMatrix,
    /// Shift of the scores but for the exponents.
    pub score_shift: i32,
    /// What makes hidden of gate and up.
    pub activation: Activation,
}

/// Embedding rows, expanded by the contract's functions once and for all.
pub struct ExpandedEmbedding {
    /// By token, [`Program::dim_rows`] rows each.
    tokens: Vec<Row>,
    /// By position modulo their number (a power of two); perhaps none.
    positions: Vec<Row>,
    /// Epsilon of the norm that follows.
    pub norm: Option<u64>,
    /// The norm's shift but for `k`.
    pub norm_shift: i32,
}

/// The whole model.
pub struct Program {
    /// Elements of the residual over sixteen, rounded up.
    pub dim_rows: usize,
    /// Elements of the hidden vector over sixteen, rounded up.
    pub hidden_rows: usize,
    /// Query and key heads over sixteen, rounded up.
    pub head_rows: usize,
    /// Symbols.
    pub vocab: usize,
    /// Heads and window.
    pub shape: RingShape,
    /// Slots that keep the stream's first tokens.
    pub sinks: usize,
    /// The norm's epsilon.
    pub eps: u64,
    /// RoPE's increments, one a pair; none without RoPE.
    increments: Vec<u32>,
    /// RoPE at the window's last position, for the sinks' queries.
    pub sink_rotations: Vec<Rotation>,
    /// Bits that a value is stored in.
    pub value_bits: Width,
    /// Whether heads go through the Hadamard rotation.
    pub hadamard: bool,
    /// Whether a norm precedes the classifier.
    pub final_norm: bool,
    /// How a token becomes a residual.
    pub embedding: ExpandedEmbedding,
    /// The blocks.
    pub layers: Vec<PackedLayer>,
    /// The classifier.
    pub classifier: PackedMatrix,
}

impl Program {
    /// Pack a model that has passed its checks.
    pub fn new(model: &QuantModel, window: usize, sinks: usize) -> Self {
        let shape = RingShape {
            window,
            kv_heads: model.kv_heads,
            heads: model.heads,
            head_size: model.head_size,
        };
        let increments = model.rope.clone().unwrap_or_default();
        let classifier_bits = if model.final_norm {
            0
        } else {
            model.residual_bits
        };
        let rows = source_rows(&model.classifier, model.logit_bits, classifier_bits);
        Program {
            dim_rows: model.dim.div_ceil(LANES),
            hidden_rows: model.hidden.div_ceil(LANES),
            head_rows: head_rows(model),
            vocab: model.vocab,
            shape,
            sinks,
            eps: model.eps,
            sink_rotations: rotations(&increments, window as u32 - 1).collect(),
            increments,
            value_bits: model.value_bits,
            hadamard: model.hadamard,
            final_norm: model.final_norm,
            embedding: ExpandedEmbedding::new(model),
            layers: model.layers.iter().map(|l| pack_layer(model, l)).collect(),
            classifier: PackedMatrix::new(model.dim, &rows),
        }
    }

    /// RoPE's rotations at a position, one a pair.
    pub fn rotations(&self, position: u32) -> impl Iterator<Item = Rotation> + '_ {
        rotations(&self.increments, position)
    }

    /// Rows of the largest output of any matrix but the classifier.
    pub fn output_rows(&self) -> usize {
        let of_layer = |l: &PackedLayer| l.qkv.blocks().max(l.gate_up.blocks());
        let layers = self.layers.iter().map(of_layer).max();
        layers.unwrap_or(0).max(self.dim_rows)
    }
}

impl ExpandedEmbedding {
    fn new(model: &QuantModel) -> Self {
        let (tokens, positions) = match &model.embedding {
            Embedding::Tied { ig } => {
                let table = &model.classifier;
                let tokens = expand(table, |row, c| {
                    let (w, s, mu) = table.row(row);
                    let shift = stage::tied_shift(s, model.igsh, model.residual_bits);
                    stage::tied_embedding(w[c], ig[c], mu, shift)
                });
                (tokens, Vec::new())
            }
            Embedding::Own {
                table,
                positions,
                fraction_bits,
            } => {
                let expand_own = |table: &Matrix| {
                    expand(table, |row, c| {
                        let (w, s, mu) = table.row(row);
                        let shift = stage::row_shift(s, *fraction_bits);
                        stage::row_embedding(w[c], mu, shift) as i32
                    })
                };
                let positions = positions.as_ref().map(expand_own);
                (expand_own(table), positions.unwrap_or_default())
            }
        };
        ExpandedEmbedding {
            tokens,
            positions,
            norm: model.embedding_norm,
            norm_shift: stage::embedding_norm_shift(0, model.igsh, model.residual_bits),
        }
    }

    /// The row of a token, `rows` times sixteen elements.
    pub fn token(&self, token: u32, rows: usize) -> &[Row] {
        &self.tokens[token as usize * rows..][..rows]
    }

    /// The row of a position, to be added; none without learned positions.
    pub fn position(&self, position: u32, rows: usize) -> &[Row] {
        let count = self.positions.len() / rows;
        if count == 0 {
            return &[];
        }
        &self.positions[position as usize % count * rows..][..rows]
    }
}

/// The rows of a table, each filled up with zeros to whole [`Row`]s.
fn expand(table: &Matrix, element: impl Fn(usize, usize) -> i32) -> Vec<Row> {
    let rows = table.cols.div_ceil(LANES);
    let mut expanded = vec![Row::default(); table.rows * rows];
    for row in 0..table.rows {
        for c in 0..table.cols {
            expanded[row * rows + c / LANES].0[c % LANES] = element(row, c);
        }
    }
    expanded
}

fn rotations(increments: &[u32], position: u32) -> impl Iterator<Item = Rotation> + '_ {
    let turn = move |&increment| Rotation::by(phase(position, increment));
    increments.iter().map(turn)
}

fn head_rows(model: &QuantModel) -> usize {
    (model.heads + model.kv_heads).div_ceil(LANES)
}

fn pack_layer(model: &QuantModel, layer: &Layer) -> PackedLayer {
    let f = &layer.formats;
    let residual_bits = model.residual_bits;

    let (q, k) = (
        source_rows(&layer.wq, f.q, 0),
        source_rows(&layer.wk, f.k, 0),
    );
    let mut qkv = Vec::new();
    for c in 0..model.head_size {
        let element = |head: usize| head * model.head_size + c;
        qkv.extend((0..model.heads).map(|head| q[element(head)]));
        qkv.extend((0..model.kv_heads).map(|head| k[element(head)]));
        qkv.resize((c + 1) * head_rows(model) * LANES, None);
    }
    qkv.extend(source_rows(&layer.wv, f.v, 0));

    let mut gate_up = source_rows(&layer.w1, f.gate, 0);
    if let Some(up) = &layer.w3 {
        gate_up.resize(model.hidden.next_multiple_of(LANES), None);
        gate_up.extend(source_rows(up, f.up, 0));
    }

    let out = source_rows(&layer.wo, residual_bits, f.v);
    let down = source_rows(&layer.w2, residual_bits, f.hidden);
    PackedLayer {
        qkv: PackedMatrix::new(model.dim, &qkv),
        out: PackedMatrix::new(model.dim, &out),
        gate_up: PackedMatrix::new(model.dim, &gate_up),
        down: PackedMatrix::new(model.hidden, &down),
        score_shift: stage::score_shift(f.q, f.k, model.hadamard_stages(), 0, 0),
        activation: if model.relu {
            Activation::Relu
        } else {
            Activation::Swiglu(SwigluFormat {
                gate: f.gate.into(),
                up: f.up.into(),
                hidden: f.hidden.into(),
            })
        },
    }
}

/// A matrix's rows with what is known of their shifts: `f_out` and `f_in` are
/// the fraction bits of result and vector (0 under a fused norm).
fn source_rows(matrix: &Matrix, f_out: u8, f_in: u8) -> Vec<Option<SourceRow<'_>>> {
    let row = |r| {
        let (w, s, mu) = matrix.row(r);
        let shift = stage::matvec_shift(0, s, 0, f_out, f_in);
        Some(SourceRow { w, mu, shift })
    };
    (0..matrix.rows).map(row).collect()
}
