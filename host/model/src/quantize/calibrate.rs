//! How strong every vector of a model becomes on the way through it.

use super::{Calibration, QuantizeError, LOGIT_BITS};
use crate::float::{FloatModel, FloatState, Site};
use annulus_contract::sample::{prng, Gumbel, Key};
use std::slice;

/// Streams of text that a model writes to calibrate itself.
const STREAMS: u32 = 8;
/// Longest of these streams, in tokens.
const STREAM_TOKENS: usize = 512;
/// Multiplications that calibration may take: a limit on its time.
const BUDGET: usize = 4_000_000_000;

/// How strong a channel, or a whole vector, becomes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reach {
    /// Largest magnitude on text.
    text: f64,
    /// Largest magnitude on tokens drawn blindly.
    noise: f64,
    /// Sum of squares on text.
    pub power: f64,
}

impl Reach {
    /// What must fit: half as much again as text reaches, and as much as noise does.
    pub fn needed(&self) -> f64 {
        (1.5 * self.text).max(self.noise)
    }

    /// What a channel becomes when its weights are scaled by `factor`.
    pub fn scale(&mut self, factor: f64) {
        self.text *= factor;
        self.noise *= factor;
        self.power *= factor * factor;
    }
}

/// What must fit for all of a vector's channels.
pub fn needed(channels: &[Reach]) -> f64 {
    channels
        .iter()
        .fold(0.0, |m: f64, channel| m.max(channel.needed()))
}

/// How strong the channels of one block's vectors become.
#[derive(Clone, Debug)]
pub struct LayerReach {
    /// Queries, however they are rotated, `dim`.
    pub q: Vec<Reach>,
    /// Keys, however they are rotated, `kv_heads * head_size`.
    pub k: Vec<Reach>,
    /// Values, and so the attention's output, `kv_heads * head_size`.
    pub v: Vec<Reach>,
    /// Scores in nats, all together.
    pub score: Reach,
    /// Gate, `hidden`.
    pub gate: Vec<Reach>,
    /// Up, `hidden`.
    pub up: Vec<Reach>,
    /// Hidden, `hidden`.
    pub hidden: Vec<Reach>,
}

/// How strong all of a model's vectors become.
#[derive(Clone, Debug)]
pub struct Reaches {
    /// The residual, all together.
    pub residual: Reach,
    /// The blocks.
    pub layers: Vec<LayerReach>,
    /// The logits in nats, all together.
    pub logits: Reach,
}

impl Reaches {
    fn new(model: &FloatModel) -> Self {
        let channels = |n: usize| vec![Reach::default(); n];
        let kv_dim = model.kv_heads * model.head_size;
        let layer = LayerReach {
            q: channels(model.dim),
            k: channels(kv_dim),
            v: channels(kv_dim),
            score: Reach::default(),
            gate: channels(model.hidden),
            up: channels(model.hidden),
            hidden: channels(model.hidden),
        };
        Self {
            residual: Reach::default(),
            layers: vec![layer; model.layers.len()],
            logits: Reach::default(),
        }
    }

    fn at(&mut self, site: Site) -> &mut [Reach] {
        match site {
            Site::Residual => slice::from_mut(&mut self.residual),
            Site::Query(l) => &mut self.layers[l].q,
            Site::Key(l) => &mut self.layers[l].k,
            Site::Value(l) => &mut self.layers[l].v,
            Site::Score(l) => slice::from_mut(&mut self.layers[l].score),
            Site::Gate(l) => &mut self.layers[l].gate,
            Site::Up(l) => &mut self.layers[l].up,
            Site::Hidden(l) => &mut self.layers[l].hidden,
            Site::Logits => slice::from_mut(&mut self.logits),
        }
    }
}

/// Runs `model` over text, its own where `calibration` has none, and over noise.
pub fn measure(model: &FloatModel, calibration: &Calibration) -> Result<Reaches, QuantizeError> {
    let mut probe = Probe {
        rotates: model.rope_base.is_some(),
        noise: false,
        overflow: None,
        reaches: Reaches::new(model),
    };
    let window = model.context.min(STREAM_TOKENS);
    let weights_a_token: usize = model
        .layers
        .iter()
        .map(|l| l.wq.len() * 3 + l.w1.len() * 3)
        .sum();
    let tokens = (BUDGET / (weights_a_token + model.embedding.len()))
        .clamp(64, STREAMS as usize * STREAM_TOKENS);
    let stream_tokens = tokens / STREAMS as usize;

    match calibration {
        Calibration::Tokens(streams) => {
            for stream in *streams {
                let mut state = FloatState::new(model, window, 0)?;
                for &token in *stream {
                    probe.step(&mut state, token)?;
                }
            }
        }
        Calibration::OwnText { bos, ends } => {
            for stream in 0..STREAMS {
                // Every other stream's ring turns many times.
                let window = if stream % 2 == 0 {
                    window
                } else {
                    window.div_ceil(8)
                };
                let mut state = FloatState::new(model, window, 0)?;
                let gumbel = Gumbel {
                    it: 1477,
                    key: Key::from(u64::from(stream)),
                    logit_bits: LOGIT_BITS.into(),
                };
                let mut token = *bos;
                for step in 0..stream_tokens {
                    let logits = probe.step(&mut state, token)?;
                    token = gumbel.choose(
                        step as u32,
                        &logits.iter().map(|&l| fixed(l)).collect::<Vec<_>>(),
                    );
                    if ends.contains(&token) {
                        state.restart();
                        token = *bos;
                    }
                }
            }
        }
    }
    probe.noise = true;
    let mut state = FloatState::new(model, window, 0)?;
    for i in 0..stream_tokens as u32 {
        let token = (u64::from(prng(Key::default(), i, 0)) * model.vocab as u64) >> 32;
        probe.step(&mut state, token as u32)?;
    }
    Ok(probe.reaches)
}

fn fixed(logit: f32) -> i32 {
    let limit = (1 << 23) as f32 - 1.0;
    (logit * (1 << LOGIT_BITS) as f32)
        .round()
        .clamp(-limit, limit) as i32
}

/// Keeps the largest magnitude of everything it is shown.
struct Probe {
    /// Pairs of queries and keys turn, so that either element may grow as long as the pair.
    rotates: bool,
    noise: bool,
    /// Where the forward pass first left float32.
    overflow: Option<Site>,
    reaches: Reaches,
}

impl Probe {
    fn step<'s>(
        &mut self,
        state: &'s mut FloatState,
        token: u32,
    ) -> Result<&'s [f32], QuantizeError> {
        let logits = state.observe_step(token, |site, vector| self.see(site, vector))?;
        match self.overflow {
            Some(site) => Err(QuantizeError::Overflow(site)),
            None => Ok(logits),
        }
    }

    fn see(&mut self, site: Site, vector: &[f32]) {
        // A maximum passes over NaN, a sum does not.
        if !vector.iter().sum::<f32>().is_finite() {
            self.overflow.get_or_insert(site);
        }
        let turns = self.rotates && matches!(site, Site::Query(_) | Site::Key(_));
        let channels = self.reaches.at(site);
        let together = channels.len() == 1;
        for (i, &x) in vector.iter().enumerate() {
            let length = if turns {
                x.hypot(vector[i ^ 1])
            } else {
                x.abs()
            };
            let channel = &mut channels[if together { 0 } else { i }];
            let held = if self.noise {
                &mut channel.noise
            } else {
                &mut channel.text
            };
            *held = held.max(f64::from(length));
            if !self.noise {
                channel.power += f64::from(x).powi(2);
            }
        }
    }
}
