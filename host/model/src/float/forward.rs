//! One token at a time through a model in float32, over a ring of keys and values.

use super::matvec::{dot, Weights};
use super::{FloatLayer, FloatModel};
use std::fmt;
use thiserror::Error;

/// Where a vector that [`FloatState::observe_step`] shows comes from. The number is the layer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Site {
    /// The residual, after the embedding and after every addition.
    Residual,
    /// Queries before they are rotated, `dim`.
    Query(usize),
    /// Keys before they are rotated, `kv_heads * head_size`.
    Key(usize),
    /// Values, `kv_heads * head_size`.
    Value(usize),
    /// One head's scores over the slots in use, in nats.
    Score(usize),
    /// The gate before its activation, `hidden`.
    Gate(usize),
    /// The up projection, `hidden` (SwiGLU only).
    Up(usize),
    /// The activated hidden vector, `hidden`.
    Hidden(usize),
    /// The logits, `vocab`.
    Logits,
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Site::Residual => write!(f, "the residual"),
            Site::Query(l) => write!(f, "layer {l}'s queries"),
            Site::Key(l) => write!(f, "layer {l}'s keys"),
            Site::Value(l) => write!(f, "layer {l}'s values"),
            Site::Score(l) => write!(f, "layer {l}'s scores"),
            Site::Gate(l) => write!(f, "layer {l}'s gate"),
            Site::Up(l) => write!(f, "layer {l}'s up projection"),
            Site::Hidden(l) => write!(f, "layer {l}'s hidden vector"),
            Site::Logits => write!(f, "the logits"),
        }
    }
}

/// What a [`FloatState`] refuses.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StateError {
    /// A window of nothing.
    #[error("the window is 0 positions, but must be at least 1")]
    EmptyWindow,
    /// As many sinks as slots, or more.
    #[error("{sinks} sinks leave no slot of a window of {window} to the ring")]
    TooManySinks {
        /// Sinks asked for.
        sinks: usize,
        /// The window they were to be part of.
        window: usize,
    },
    /// A token outside the vocabulary.
    #[error("token {token} is outside the vocabulary of {vocab}")]
    UnknownToken {
        /// The token.
        token: u32,
        /// Symbols that the model has.
        vocab: usize,
    },
}

/// A stream of tokens in flight: the rings of keys and values, and the position.
///
/// Position `t` lives in slot `t mod window`; with `sinks`, the first ones keep
/// their slots for ever and the rest of the ring turns.
pub struct FloatState<'m> {
    model: &'m FloatModel,
    weights: Vec<LayerWeights>,
    classifier: Weights,
    window: usize,
    sinks: usize,
    position: u64,
    /// One ring for each layer and kv head.
    rings: Vec<Ring>,
    /// Angle a position of each pair, in radians.
    frequencies: Vec<f64>,
    scratch: Scratch,
}

/// One layer's matrices, reordered for speed.
struct LayerWeights {
    wq: Weights,
    wk: Weights,
    wv: Weights,
    wo: Weights,
    w1: Weights,
    w2: Weights,
    w3: Option<Weights>,
}

impl LayerWeights {
    fn new(layer: &FloatLayer, dim: usize, hidden: usize) -> Self {
        Self {
            wq: Weights::new(dim, &layer.wq),
            wk: Weights::new(dim, &layer.wk),
            wv: Weights::new(dim, &layer.wv),
            wo: Weights::new(dim, &layer.wo),
            w1: Weights::new(dim, &layer.w1),
            w2: Weights::new(hidden, &layer.w2),
            w3: layer.w3.as_ref().map(|w3| Weights::new(dim, w3)),
        }
    }
}

/// Keys and values of one kv head, by slot.
#[derive(Clone)]
struct Ring {
    /// A row for each slot, rotated by its own position.
    keys: Weights,
    /// `head_size x window`.
    values: Vec<f32>,
}

/// Vectors that every step overwrites.
struct Scratch {
    x: Vec<f32>,
    normed: Vec<f32>,
    q: Vec<f32>,
    sink_q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    scores: Vec<f32>,
    attended: Vec<f32>,
    projected: Vec<f32>,
    gate: Vec<f32>,
    up: Vec<f32>,
    logits: Vec<f32>,
}

/// A rotation of each pair of a head: cosine and sine.
type Rotation = Vec<(f32, f32)>;

impl<'m> FloatState<'m> {
    /// An empty stream with a ring of `window` positions, the first `sinks` of them kept for ever.
    pub fn new(model: &'m FloatModel, window: usize, sinks: usize) -> Result<Self, StateError> {
        if window == 0 {
            return Err(StateError::EmptyWindow);
        }
        if sinks >= window {
            return Err(StateError::TooManySinks { sinks, window });
        }
        let (dim, hidden, kv_dim) = (model.dim, model.hidden, model.kv_heads * model.head_size);
        let ring = Ring {
            keys: Weights::zeros(window, model.head_size),
            values: vec![0.0; model.head_size * window],
        };
        let pairs = model.head_size / 2;
        let frequency = |base: f32, pair: usize| {
            f64::from(base).powf(-2.0 * pair as f64 / model.head_size as f64)
        };
        let frequencies = model.rope_base.map_or_else(Vec::new, |base| {
            (0..pairs).map(|p| frequency(base, p)).collect()
        });
        let zeros = |n: usize| vec![0.0f32; n];
        let weights = model
            .layers
            .iter()
            .map(|layer| LayerWeights::new(layer, dim, hidden))
            .collect();
        Ok(Self {
            model,
            weights,
            classifier: Weights::new(dim, model.classifier.as_ref().unwrap_or(&model.embedding)),
            window,
            sinks,
            position: 0,
            rings: vec![ring; model.layers.len() * model.kv_heads],
            frequencies,
            scratch: Scratch {
                x: zeros(dim),
                normed: zeros(dim),
                q: zeros(dim),
                sink_q: zeros(dim),
                k: zeros(kv_dim),
                v: zeros(kv_dim),
                scores: zeros(window),
                attended: zeros(dim),
                projected: zeros(dim),
                gate: zeros(hidden),
                up: zeros(hidden),
                logits: zeros(model.vocab),
            },
        })
    }

    /// Forgets every token: the next one has position 0.
    pub fn restart(&mut self) {
        self.position = 0;
    }

    /// Tokens fed since the start.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Feeds one token and returns the logits for the next, in nats, `vocab` of them.
    pub fn step(&mut self, token: u32) -> Result<&[f32], StateError> {
        self.observe_step(token, |_, _| {})
    }

    /// As [`FloatState::step`], showing the vectors on the way to `observe`.
    pub fn observe_step(
        &mut self,
        token: u32,
        mut observe: impl FnMut(Site, &[f32]),
    ) -> Result<&[f32], StateError> {
        let model = self.model;
        let vocab = model.vocab;
        if token as usize >= vocab {
            return Err(StateError::UnknownToken { token, vocab });
        }
        self.embed(token as usize);
        observe(Site::Residual, &self.scratch.x);
        for l in 0..model.layers.len() {
            self.attention(l, &mut observe);
            observe(Site::Residual, &self.scratch.x);
            self.feed_forward(l, &mut observe);
            observe(Site::Residual, &self.scratch.x);
        }
        let s = &mut self.scratch;
        match &model.final_norm {
            Some(gain) => rms_norm(&mut s.normed, &s.x, Some(gain), model.eps),
            None => s.normed.copy_from_slice(&s.x),
        }
        self.classifier.apply(&mut s.logits, &s.normed);
        observe(Site::Logits, &s.logits);
        self.position += 1;
        Ok(&self.scratch.logits)
    }

    fn embed(&mut self, token: usize) {
        let (model, s) = (self.model, &mut self.scratch);
        s.x.copy_from_slice(&model.embedding[token * model.dim..][..model.dim]);
        if let Some(row) = model.position_row(self.position) {
            add(&mut s.x, row);
        }
        if model.embedding_norm {
            s.normed.copy_from_slice(&s.x);
            rms_norm(&mut s.x, &s.normed, None, model.eps);
        }
    }

    fn attention(&mut self, l: usize, observe: &mut impl FnMut(Site, &[f32])) {
        let model = self.model;
        let size = model.head_size;
        let t = self.position;
        // Only once the ring has turned do sinks lie further back than its length.
        let far = t >= self.window as u64 && self.sinks > 0;
        let rotation = self.rotation(t);
        let sink_rotation = far.then(|| self.rotation(self.window as u64 - 1));

        let (weights, s) = (&self.weights[l], &mut self.scratch);
        rms_norm(
            &mut s.normed,
            &s.x,
            Some(&model.layers[l].attention_norm),
            model.eps,
        );
        weights.wq.apply(&mut s.q, &s.normed);
        weights.wk.apply(&mut s.k, &s.normed);
        weights.wv.apply(&mut s.v, &s.normed);
        observe(Site::Query(l), &s.q);
        observe(Site::Key(l), &s.k);
        observe(Site::Value(l), &s.v);
        if let Some(rotation) = &sink_rotation {
            s.sink_q.copy_from_slice(&s.q);
            rotate(&mut s.sink_q, rotation);
        }
        rotate(&mut s.q, &rotation);
        rotate(&mut s.k, &rotation);

        let slot = slot_of(t, self.window, self.sinks);
        let rings = &mut self.rings[l * model.kv_heads..][..model.kv_heads];
        for ((ring, k), v) in rings
            .iter_mut()
            .zip(s.k.chunks_exact(size))
            .zip(s.v.chunks_exact(size))
        {
            ring.keys.set_row(slot, k);
            ring.values
                .iter_mut()
                .skip(slot)
                .step_by(self.window)
                .zip(v)
                .for_each(|(value, v)| *value = *v);
        }
        let used = (t + 1).min(self.window as u64) as usize;
        let scale = 1.0 / (size as f32).sqrt();
        for (head, out) in s.attended.chunks_exact_mut(size).enumerate() {
            let ring = &rings[head * model.kv_heads / model.heads];
            let scores = &mut s.scores[..used];
            ring.keys.apply(scores, &s.q[head * size..][..size]);
            if far {
                ring.keys
                    .apply(&mut scores[..self.sinks], &s.sink_q[head * size..][..size]);
            }
            scores.iter_mut().for_each(|score| *score *= scale);
            observe(Site::Score(l), scores);
            softmax(scores);
            for (out, values) in out.iter_mut().zip(ring.values.chunks_exact(self.window)) {
                *out = dot(scores, &values[..used]);
            }
        }
        weights.wo.apply(&mut s.projected, &s.attended);
        add(&mut s.x, &s.projected);
    }

    fn feed_forward(&mut self, l: usize, observe: &mut impl FnMut(Site, &[f32])) {
        let (model, weights, s) = (self.model, &self.weights[l], &mut self.scratch);
        rms_norm(
            &mut s.normed,
            &s.x,
            Some(&model.layers[l].ffn_norm),
            model.eps,
        );
        weights.w1.apply(&mut s.gate, &s.normed);
        observe(Site::Gate(l), &s.gate);
        match &weights.w3 {
            None => s.gate.iter_mut().for_each(|g| *g = g.max(0.0)),
            Some(w3) => {
                w3.apply(&mut s.up, &s.normed);
                observe(Site::Up(l), &s.up);
                for (g, u) in s.gate.iter_mut().zip(&s.up) {
                    *g = *g / (1.0 + (-*g).exp()) * u;
                }
            }
        }
        observe(Site::Hidden(l), &s.gate);
        weights.w2.apply(&mut s.projected, &s.gate);
        add(&mut s.x, &s.projected);
    }

    /// Angles are formed in float64: at position 1e9 a float32 one is radians off.
    fn rotation(&self, position: u64) -> Rotation {
        let turn = |frequency: &f64| {
            let (sin, cos) = (position as f64 * frequency).sin_cos();
            (cos as f32, sin as f32)
        };
        self.frequencies.iter().map(turn).collect()
    }
}

/// The slot of position `t` in a ring of `window` positions of which the first `sinks` never move.
fn slot_of(t: u64, window: usize, sinks: usize) -> usize {
    let (window, sinks) = (window as u64, sinks as u64);
    let slot = if t < sinks {
        t
    } else {
        sinks + (t - sinks) % (window - sinks)
    };
    slot as usize
}

/// `out = x / sqrt(mean(x^2) + eps) * gain`, without gain where there is none.
fn rms_norm(out: &mut [f32], x: &[f32], gain: Option<&[f32]>, eps: f32) {
    let scale = 1.0 / (dot(x, x) / x.len() as f32 + eps).sqrt();
    match gain {
        Some(gain) => out
            .iter_mut()
            .zip(x)
            .zip(gain)
            .for_each(|((o, x), g)| *o = x * scale * g),
        None => out.iter_mut().zip(x).for_each(|(o, x)| *o = x * scale),
    }
}

/// Turns the pairs `(2c, 2c + 1)` of every head in `x`; does nothing without rotary positions.
fn rotate(x: &mut [f32], rotation: &Rotation) {
    if rotation.is_empty() {
        return;
    }
    for head in x.chunks_exact_mut(2 * rotation.len()) {
        for (pair, (cos, sin)) in head.chunks_exact_mut(2).zip(rotation) {
            let (a, b) = (pair[0], pair[1]);
            pair[0] = a * cos - b * sin;
            pair[1] = a * sin + b * cos;
        }
    }
}

/// Scores to probabilities, in place.
fn softmax(x: &mut [f32]) {
    let max = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    x.iter_mut().for_each(|v| *v = (*v - max).exp());
    let scale = 1.0 / x.iter().sum::<f32>();
    x.iter_mut().for_each(|v| *v *= scale);
}

fn add(x: &mut [f32], y: &[f32]) {
    x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
}
