//! A token's pass through the model (`docs/arithmetic.md` section 6).

use annulus_contract::block::narrow_values;
use annulus_contract::rope::Rotation;
use annulus_contract::rsqrt::{rsqrt, Rsqrt};
use annulus_model::check::MAX_HEAD_SIZE;
use annulus_model::quant::Width;

use super::attention::{Limits, Queries, Ring, RingShape, Scores};
use super::feed_forward::activate;
use super::heads::Heads;
use super::operand::{Measure, Operand};
use super::program::{PackedLayer, Program};
use super::simd::{Kernel, Lanes, Row, LANES};
use super::stream::Stream;

/// Saturation of what is added to the residual: wide enough that the sum is
/// the same as without.
const ADDEND_BITS: u32 = 17;

/// Room for the vectors of a pass, made once.
#[derive(Clone)]
pub struct Scratch {
    /// The residual.
    x: Vec<Row>,
    operand: Operand,
    /// Output of a matrix.
    y: Vec<Row>,
    rotations: Vec<Rotation>,
    heads: Heads,
    sink_heads: Heads,
    scores: Scores,
    /// Attention's output.
    attended: Vec<Row>,
    /// Logits, filled up with `i32::MIN`.
    pub logits: Vec<Row>,
    /// Logits with noise.
    pub perturbed: Vec<Row>,
}

impl Scratch {
    /// For one model and window.
    pub fn new(program: &Program) -> Self {
        let zeros = |n| vec![Row::default(); n];
        let heads = Heads::new(program.shape.head_size, program.head_rows);
        Scratch {
            x: zeros(program.dim_rows),
            operand: Operand::new(program.dim_rows.max(program.hidden_rows)),
            y: zeros(program.output_rows()),
            rotations: program.rotations(0).collect(),
            sink_heads: heads.clone(),
            heads,
            scores: Scores::new(program.shape),
            attended: zeros(program.dim_rows),
            logits: zeros(program.classifier.blocks()),
            perturbed: zeros(program.classifier.blocks()),
        }
    }
}

/// One token's pass; `WITH_LOGITS` says whether as far as the logits.
pub struct Step<'a, const WITH_LOGITS: bool> {
    /// The model.
    pub program: &'a Program,
    /// The stream.
    pub stream: &'a mut Stream,
    /// Room to work in.
    pub scratch: &'a mut Scratch,
    /// The token, in the vocabulary.
    pub token: u32,
}

impl<const WITH_LOGITS: bool> Kernel for Step<'_, WITH_LOGITS> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Step {
            program,
            stream,
            scratch,
            token,
        } = self;
        let position = stream.position();
        let slot = stream.claim_slot();
        for (turn, at) in scratch
            .rotations
            .iter_mut()
            .zip(program.rotations(position))
        {
            *turn = at;
        }
        let mut norm = embed::<L>(program, token, position, scratch);
        let (rings, limits) = stream.rings_and_limits();
        for (layer, ring) in program.layers.iter().zip(rings) {
            attention::<L>(program, layer, norm, slot, ring, limits, scratch);
            norm = add_to_residual::<L>(program, scratch);
            feed_forward::<L>(program, layer, norm, scratch);
            norm = add_to_residual::<L>(program, scratch);
        }
        if WITH_LOGITS {
            classify::<L>(program, norm, scratch);
        }
        stream.advance();
    }
}

/// The first residual, its norm and its mantissas.
#[inline(always)]
fn embed<L: Lanes>(program: &Program, token: u32, position: u32, scratch: &mut Scratch) -> Rsqrt {
    let embedding = &program.embedding;
    let rows = program.dim_rows;
    scratch.x.copy_from_slice(embedding.token(token, rows));
    for (x, position) in scratch.x.iter_mut().zip(embedding.position(position, rows)) {
        L::load(x).add(L::load(position)).store(x);
    }
    let mut measure = Measure::<L>::new();
    for x in &mut scratch.x {
        let sum = L::load(x).sat(16);
        measure.take(sum);
        sum.store(x);
    }
    if let Some(eps) = embedding.norm {
        let Rsqrt { r, k } = rsqrt(measure.squares() + eps);
        let r = L::splat(r.into());
        let shift = L::splat(embedding.norm_shift + i32::from(k));
        measure = Measure::new();
        for x in &mut scratch.x {
            let normed = L::load(x).requantize(r, shift, 16);
            measure.take(normed);
            normed.store(x);
        }
    }
    scratch.operand.encode::<L>(&scratch.x, measure.exponent());
    rsqrt(measure.squares() + program.eps)
}

/// Add a matrix's output to the residual: its new norm and mantissas.
#[inline(always)]
fn add_to_residual<L: Lanes>(program: &Program, scratch: &mut Scratch) -> Rsqrt {
    let mut measure = Measure::<L>::new();
    for (x, y) in scratch.x.iter_mut().zip(&scratch.y) {
        let sum = L::load(x).add(L::load(y)).sat(16);
        measure.take(sum);
        sum.store(x);
    }
    scratch.operand.encode::<L>(&scratch.x, measure.exponent());
    rsqrt(measure.squares() + program.eps)
}

/// From the normed residual to what attention adds to it, in `y`.
#[inline(always)]
fn attention<L: Lanes>(
    program: &Program,
    layer: &PackedLayer,
    norm: Rsqrt,
    slot: usize,
    ring: &mut Ring,
    limits: Limits<'_>,
    scratch: &mut Scratch,
) {
    let Scratch {
        operand,
        y,
        heads,
        sink_heads,
        scores,
        attended,
        ..
    } = scratch;
    layer.qkv.apply::<L>(operand, norm, 16, y);
    let (qk, values) =
        y[..layer.qkv.blocks()].split_at_mut(program.shape.head_size * program.head_rows);
    heads.encode::<L>(qk, &scratch.rotations, program.hadamard);
    if !limits.sinks.is_empty() {
        sink_heads.encode::<L>(qk, &program.sink_rotations, program.hadamard);
    }
    match program.value_bits {
        Width::Eight => {
            for value in &mut *values {
                L::load(value).rshr(L::splat(8)).sat(8).store(value);
            }
        }
        Width::Four => narrow(values, program.shape),
    }
    ring.write(slot, heads, values);
    let queries = Queries {
        near: heads,
        sinks: sink_heads,
    };
    ring.attend::<L>(queries, limits, layer.score_shift, scores, attended);
    operand.measure_and_encode::<L>(attended);
    layer.out.apply::<L>(operand, Rsqrt::ONE, ADDEND_BITS, y);
}

/// Values of 4 bits, head by head: rare, so not by lanes.
fn narrow(values: &mut [Row], shape: RingShape) {
    let (mut v, mut m) = ([0; MAX_HEAD_SIZE as usize], [0; MAX_HEAD_SIZE as usize]);
    let (v, m) = (&mut v[..shape.head_size], &mut m[..shape.head_size]);
    for head in 0..shape.kv_heads {
        let place = |c: usize| {
            let at = head * shape.head_size + c;
            (at / LANES, at % LANES)
        };
        for (c, v) in v.iter_mut().enumerate() {
            let (row, lane) = place(c);
            *v = values[row].0[lane];
        }
        narrow_values(v, m);
        for (c, &m) in m.iter().enumerate() {
            let (row, lane) = place(c);
            values[row].0[lane] = m.into();
        }
    }
}

/// From the normed residual to what the feed-forward adds to it, in `y`.
#[inline(always)]
fn feed_forward<L: Lanes>(
    program: &Program,
    layer: &PackedLayer,
    norm: Rsqrt,
    scratch: &mut Scratch,
) {
    let Scratch { operand, y, .. } = scratch;
    layer.gate_up.apply::<L>(operand, norm, 16, y);
    let exponent = activate::<L>(layer.activation, y, program.hidden_rows);
    operand.encode::<L>(&y[..program.hidden_rows], exponent);
    layer.down.apply::<L>(operand, Rsqrt::ONE, ADDEND_BITS, y);
}

/// Logits from the last residual.
#[inline(always)]
fn classify<L: Lanes>(program: &Program, norm: Rsqrt, scratch: &mut Scratch) {
    let norm = if program.final_norm { norm } else { Rsqrt::ONE };
    let logits = &mut scratch.logits;
    program
        .classifier
        .apply::<L>(&scratch.operand, norm, 24, logits);
    let used = program.vocab % LANES;
    if let (Some(last), 1..) = (logits.last_mut(), used) {
        last.0[used..].fill(i32::MIN);
    }
}
