//! The integer reference: the truth that every backend is held to, bit for bit.
//!
//! It follows `docs/arithmetic.md` section by section and reads as the paper
//! does; speed comes second. All arithmetic is `annulus_contract`'s.

mod ring;
#[cfg(test)]
mod tests;
mod trace;

pub use ring::LayerRing;
pub use trace::{LayerTrace, Trace};

use crate::check::CheckError;
pub use crate::config::MAX_WINDOW;
use crate::quant::{Embedding, Layer, Matrix, QuantModel};
use annulus_contract::block::{encode_bfp, encode_block, Scale};
use annulus_contract::exp2::exp2p;
use annulus_contract::feed_forward::{relu, swiglu, SwigluFormat};
use annulus_contract::fixed::sat;
use annulus_contract::hadamard::hadamard;
use annulus_contract::rope;
use annulus_contract::rsqrt::{rsqrt, Rsqrt};
use annulus_contract::stage;
use std::sync::Arc;

/// Why a stream cannot be set up: model, window, sinks or start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// The model is not well formed.
    #[error("the model is not well formed: {0}")]
    Model(#[from] CheckError),
    /// The window is empty or longer than [`MAX_WINDOW`].
    #[error("a window of {0} tokens is not within 1 to {MAX_WINDOW}")]
    Window(usize),
    /// The sinks leave no slot for the ring.
    #[error("{sinks} sinks do not fit a window of {window}: it must be larger than they are")]
    Sinks {
        /// Sink slots asked for.
        sinks: usize,
        /// The window.
        window: usize,
    },
    /// A stream with sinks must start at position 0.
    #[error("a stream with sinks starts at position 0, not at {0}")]
    Start(u32),
}

/// Why a token could not be processed. The stream is then in the middle of a
/// token: [`Reference::reset`] comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// No such symbol.
    #[error("token {token} is not in the vocabulary of {vocab}")]
    Token {
        /// The token.
        token: u32,
        /// The number of symbols.
        vocab: usize,
    },
    /// A shift that hardware cannot do: the core's sticky error.
    #[error("illegal shift by {shift} in {stage}")]
    Shift {
        /// The output stage.
        stage: &'static str,
        /// The shift it asked for.
        shift: i32,
    },
}

/// A stream of tokens through a quantized model. A clone is a snapshot: it
/// holds the rings and shares the model.
#[derive(Clone, Debug)]
pub struct Reference {
    model: Arc<QuantModel>,
    window: usize,
    sinks: usize,
    /// Position of the stream's first token.
    start: u32,
    /// Tokens taken so far (`t`).
    taken: u64,
    rings: Vec<LayerRing>,
    logits: Vec<i32>,
    trace: Option<Trace>,
}

/// A vector as a matvec reads it: int8 mantissas with one exponent, and what
/// its output stage needs to know of it.
struct Operand {
    m: Vec<i8>,
    e: u8,
    /// The fused norm's reciprocal root; one without a norm.
    norm: Rsqrt,
    /// Fraction bits of the vector; 0 under a norm, where they cancel.
    fraction_bits: u8,
}

/// A query head, ready for its dot products with keys.
struct Query {
    m: Vec<i8>,
    scale: Scale,
}

impl Reference {
    /// A stream at position 0 with an empty ring of `window` slots, the first
    /// `sinks` of which keep the stream's first tokens for ever.
    ///
    /// # Errors
    /// If the model is not well formed, or not `0 <= sinks < window <= 1024`.
    pub fn new(model: &QuantModel, window: usize, sinks: usize) -> Result<Self, ShapeError> {
        model.check()?;
        if !(1..=MAX_WINDOW).contains(&window) {
            return Err(ShapeError::Window(window));
        }
        if sinks >= window {
            return Err(ShapeError::Sinks { sinks, window });
        }
        let ring = LayerRing::new(window, model.kv_heads, model.head_size, model.value_bits);
        Ok(Reference {
            rings: vec![ring; model.layers.len()],
            logits: vec![0; model.vocab],
            model: Arc::new(model.clone()),
            window,
            sinks,
            start: 0,
            taken: 0,
            trace: None,
        })
    }

    /// Empty the ring and go back to position 0.
    pub fn reset(&mut self) {
        self.start = 0;
        self.taken = 0;
    }

    /// Empty the ring and let the next token stand at `position`.
    ///
    /// # Errors
    /// With sinks, if `position` is not 0: sinks are read relative to it.
    pub fn start_at(&mut self, position: u32) -> Result<(), ShapeError> {
        if self.sinks > 0 && position != 0 {
            return Err(ShapeError::Start(position));
        }
        self.reset();
        self.start = position;
        Ok(())
    }

    /// Position of the next token (modulo 2^32, as RoPE's phases are).
    pub fn position(&self) -> u32 {
        self.start.wrapping_add(self.taken as u32)
    }

    /// Tokens taken since the stream began.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// The model.
    pub fn model(&self) -> &QuantModel {
        &self.model
    }

    /// The ring of a layer, as the last token left it.
    ///
    /// # Panics
    /// If there is no such layer.
    pub fn ring(&self, layer: usize) -> &LayerRing {
        &self.rings[layer]
    }

    /// Keep the intermediate vectors of every token from now on, or stop.
    pub fn set_tracing(&mut self, on: bool) {
        self.trace = on.then(Trace::default);
    }

    /// Intermediate vectors of the last token, if tracing is on.
    pub fn trace(&self) -> Option<&Trace> {
        self.trace.as_ref()
    }

    /// Process a token: logits of its successor (24 bits, LF fraction bits).
    ///
    /// # Errors
    /// If the token is not in the vocabulary, or hardware could not shift so.
    pub fn step(&mut self, token: u32) -> Result<&[i32], StepError> {
        let x = self.residual(token)?;
        let model = &self.model;
        let operand = if model.final_norm {
            Operand::normalized(&x, model.eps)
        } else {
            Operand::plain(&x, model.residual_bits)
        };
        let logits = matvec("classifier", &model.classifier, &operand, model.logit_bits)?;
        self.logits = saturated(&logits, 24);
        Ok(&self.logits)
    }

    /// Process a token without its logits: all of a prompt but its last token.
    ///
    /// # Errors
    /// As [`Reference::step`].
    pub fn step_silent(&mut self, token: u32) -> Result<(), StepError> {
        self.residual(token).map(drop)
    }

    /// The residual after all blocks (int16, RF fraction bits).
    fn residual(&mut self, token: u32) -> Result<Vec<i32>, StepError> {
        let model = Arc::clone(&self.model);
        if token as usize >= model.vocab {
            return Err(StepError::Token {
                token,
                vocab: model.vocab,
            });
        }
        let mut x = embed(&model, token as usize, self.position())?;
        let mut trace = self.trace.is_some().then(Trace::default);
        for (l, layer) in model.layers.iter().enumerate() {
            let mut seen = LayerTrace::default();
            let y = self.attention(l, layer, &x, &mut seen)?;
            add(&mut x, &y);
            let y = feed_forward(&model, layer, &x, &mut seen)?;
            add(&mut x, &y);
            if let Some(trace) = &mut trace {
                trace.layers.push(seen);
            }
        }
        if let Some(trace) = &mut trace {
            trace.x_final.clone_from(&x);
        }
        self.trace = trace;
        self.taken += 1;
        Ok(x)
    }

    /// Sections 6 and 7: attention of one layer, to be added to the residual.
    fn attention(
        &mut self,
        l: usize,
        layer: &Layer,
        x: &[i32],
        seen: &mut LayerTrace,
    ) -> Result<Vec<i64>, StepError> {
        let model = Arc::clone(&self.model);
        let f = &layer.formats;
        let operand = Operand::normalized(x, model.eps);
        let mut q = saturated(&matvec("wq", &layer.wq, &operand, f.q)?, 16);
        let mut k = saturated(&matvec("wk", &layer.wk, &operand, f.k)?, 16);
        let v = saturated(&matvec("wv", &layer.wv, &operand, f.v)?, 16);

        // Once the ring has wrapped, the sinks are read with the query of the
        // last position that a full window has.
        let mut sink_q = (self.sinks > 0 && self.taken >= self.window as u64).then(|| q.clone());
        if let Some(increments) = &model.rope {
            let position = self.position();
            rope::rotate(&mut q, position, increments);
            rope::rotate(&mut k, position, increments);
            if let Some(q) = &mut sink_q {
                rope::rotate(q, self.window as u32 - 1, increments);
            }
        }

        let slot = self.slot();
        let ring = &mut self.rings[l];
        for head in 0..model.kv_heads {
            let at = head * model.head_size..(head + 1) * model.head_size;
            ring.write(slot, head, &rotated(&model, &k[at.clone()]), &v[at]);
        }

        let ring = &self.rings[l];
        let filled = (self.taken as usize + 1).min(self.window);
        let mut ao = Vec::with_capacity(model.dim);
        for (head, q_head) in q.chunks_exact(model.head_size).enumerate() {
            let at = head * model.head_size..(head + 1) * model.head_size;
            let query = Query::new(&model, q_head);
            let sink_query = sink_q.as_ref().map(|q| Query::new(&model, &q[at]));
            let kv_head = head * model.kv_heads / model.heads;
            let scores = (0..filled)
                .map(|slot| {
                    let query = sink_query
                        .as_ref()
                        .filter(|_| slot < self.sinks)
                        .unwrap_or(&query);
                    score(&model, layer, query, ring, slot, kv_head)
                })
                .collect::<Result<Vec<i32>, StepError>>()?;
            let (out, sum) = mix(&scores, ring, kv_head, model.head_size);
            ao.extend(out);
            seen.scores.push(scores);
            seen.sums.push(sum);
        }

        let y = matvec(
            "wo",
            &layer.wo,
            &Operand::plain(&ao, f.v),
            model.residual_bits,
        )?;
        if self.trace.is_some() {
            seen.x = x.to_vec();
            (seen.norm, seen.m, seen.e) = (operand.norm, operand.m, operand.e);
            (seen.q, seen.k, seen.v, seen.ao, seen.slot) = (q, k, v, ao, slot);
        }
        Ok(y)
    }

    /// Slot of the ring that the next token is written to.
    fn slot(&self) -> usize {
        let (t, w, s) = (self.taken, self.window as u64, self.sinks as u64);
        let slot = if t < w { t } else { s + (t - s) % (w - s) };
        slot as usize
    }
}

/// Section 6, step 1: a token's first residual (int16, RF fraction bits).
fn embed(model: &QuantModel, token: usize, position: u32) -> Result<Vec<i32>, StepError> {
    let mut x: Vec<i32> = match &model.embedding {
        Embedding::Tied { ig } => {
            let (row, s, mu) = model.classifier.row(token);
            let sh = legal(
                "embedding",
                stage::tied_shift(s, model.igsh, model.residual_bits),
            )?;
            row.iter()
                .zip(ig)
                .map(|(&w, &ig)| stage::tied_embedding(w, ig, mu, sh))
                .collect()
        }
        Embedding::Own {
            table,
            positions,
            fraction_bits,
        } => {
            let mut a = table_row(table, token, *fraction_bits)?;
            if let Some(positions) = positions {
                let row = position as usize % positions.rows;
                for (a, p) in a.iter_mut().zip(table_row(positions, row, *fraction_bits)?) {
                    *a += p;
                }
            }
            saturated(&a, 16)
        }
    };
    if let Some(eps) = model.embedding_norm {
        let norm = rsqrt(sum_of_squares(&x) + eps);
        let sh = stage::embedding_norm_shift(norm.k, model.igsh, model.residual_bits);
        let sh = legal("embedding norm", sh)?;
        for x in &mut x {
            *x = stage::embedding_norm(*x, norm.r, sh);
        }
    }
    Ok(x)
}

/// A row of an embedding's own table, not yet saturated.
fn table_row(table: &Matrix, row: usize, fraction_bits: u8) -> Result<Vec<i64>, StepError> {
    let (row, s, mu) = table.row(row);
    let shift = stage::row_shift(s, fraction_bits);
    if !stage::is_legal_row_shift(shift) {
        return Err(StepError::Shift {
            stage: "embedding",
            shift,
        });
    }
    Ok(row
        .iter()
        .map(|&w| stage::row_embedding(w, mu, shift))
        .collect())
}

/// Section 7: the score of a query against the key in a slot.
fn score(
    model: &QuantModel,
    layer: &Layer,
    query: &Query,
    ring: &LayerRing,
    slot: usize,
    kv_head: usize,
) -> Result<i32, StepError> {
    let (key, scale) = ring.key(slot, kv_head);
    let f = &layer.formats;
    let sh = stage::score_shift(f.q, f.k, model.hadamard_stages(), query.scale.e, scale.e);
    Ok(stage::score(
        dot(&query.m, key),
        query.scale,
        scale,
        legal("scores", sh)?,
    ))
}

/// Section 7: a head's output (int16, FV fraction bits) from its scores of the
/// slots, and the sum of its probabilities.
fn mix(scores: &[i32], ring: &LayerRing, kv_head: usize, head_size: usize) -> (Vec<i32>, u32) {
    let max = scores.iter().copied().max().unwrap_or(0);
    let mut sum = 0;
    let mut acc = vec![0; head_size];
    for (slot, &score) in scores.iter().enumerate() {
        let p = exp2p((max - score) as u32);
        sum += p;
        for (acc, &v) in acc.iter_mut().zip(ring.value(slot, kv_head)) {
            *acc += p as i32 * i32::from(v);
        }
    }
    let scale = stage::mix_scale(sum);
    (acc.iter().map(|&acc| stage::mix(acc, scale)).collect(), sum)
}

/// Section 8: the feed-forward of one layer, to be added to the residual.
fn feed_forward(
    model: &QuantModel,
    layer: &Layer,
    x: &[i32],
    seen: &mut LayerTrace,
) -> Result<Vec<i64>, StepError> {
    let f = &layer.formats;
    let operand = Operand::normalized(x, model.eps);
    let gate = saturated(&matvec("w1", &layer.w1, &operand, f.gate)?, 16);
    let (up, h): (Vec<i32>, Vec<i32>) = match &layer.w3 {
        None => (Vec::new(), gate.iter().map(|&g| relu(g)).collect()),
        Some(w3) => {
            let up = saturated(&matvec("w3", w3, &operand, f.up)?, 16);
            let format = SwigluFormat {
                gate: f.gate.into(),
                up: f.up.into(),
                hidden: f.hidden.into(),
            };
            legal("SwiGLU", format.shift())?;
            let h = gate
                .iter()
                .zip(&up)
                .map(|(&g, &u)| swiglu(g, u, format))
                .collect();
            (up, h)
        }
    };
    let y = matvec(
        "w2",
        &layer.w2,
        &Operand::plain(&h, f.hidden),
        model.residual_bits,
    )?;
    (seen.gate, seen.up, seen.h) = (gate, up, h);
    Ok(y)
}

impl Operand {
    /// Section 5: a residual under its fused RMSNorm.
    fn normalized(x: &[i32], eps: u64) -> Self {
        Operand {
            norm: rsqrt(sum_of_squares(x) + eps),
            ..Operand::plain(x, 0)
        }
    }

    /// A vector as it is, with its fraction bits.
    fn plain(x: &[i32], fraction_bits: u8) -> Self {
        let mut m = vec![0; x.len()];
        let e = encode_block(x, &mut m).e;
        Operand {
            m,
            e,
            norm: Rsqrt::ONE,
            fraction_bits,
        }
    }
}

impl Query {
    fn new(model: &QuantModel, q: &[i32]) -> Self {
        let mut m = vec![0; q.len()];
        let scale = encode_bfp(&rotated(model, q), &mut m);
        Query { m, scale }
    }
}

/// A query or key head after the Hadamard rotation, if the model has one.
fn rotated(model: &QuantModel, head: &[i32]) -> Vec<i32> {
    let mut head = head.to_vec();
    if model.hadamard {
        hadamard(&mut head);
    }
    head
}

/// Section 4: matrix times vector, requantized to `f_out` fraction bits and
/// not yet saturated.
fn matvec(
    name: &'static str,
    matrix: &Matrix,
    x: &Operand,
    f_out: u8,
) -> Result<Vec<i64>, StepError> {
    (0..matrix.rows)
        .map(|row| {
            let (w, s, mu) = matrix.row(row);
            let sh = stage::matvec_shift(x.norm.k, s, x.e, f_out, x.fraction_bits);
            Ok(stage::requantize(
                dot(w, &x.m),
                stage::m16(x.norm.r, mu),
                legal(name, sh)?,
            ))
        })
        .collect()
}

fn legal(stage: &'static str, shift: i32) -> Result<i32, StepError> {
    if stage::is_legal_shift(shift) {
        Ok(shift)
    } else {
        Err(StepError::Shift { stage, shift })
    }
}

fn dot(a: &[i8], b: &[i8]) -> i32 {
    // A product of two int8 fits int16, which compilers turn into faster code.
    a.iter()
        .zip(b)
        .map(|(&a, &b)| i32::from(i16::from(a) * i16::from(b)))
        .sum()
}

fn sum_of_squares(x: &[i32]) -> u64 {
    x.iter()
        .map(|&x| (i64::from(x) * i64::from(x)) as u64)
        .sum()
}

fn saturated(x: &[i64], bits: u32) -> Vec<i32> {
    x.iter().map(|&x| sat(x, bits) as i32).collect()
}

fn add(x: &mut [i32], y: &[i64]) {
    for (x, &y) in x.iter_mut().zip(y) {
        *x = stage::residual_add(*x, y);
    }
}
