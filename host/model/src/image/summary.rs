//! What `inspect` tells about an image.

use super::{Config, Image};
use crate::compile::{steps_by_kind, Layout, Needs};
use annulus_contract::ring::Ring;
use annulus_contract::shape::{CoreShape, BOARDS, SIMULATED};
use serde::Serialize;

/// Everything about an image that is worth showing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Name of the model.
    pub name: String,
    /// Lanes that it is compiled for.
    pub lanes: usize,
    /// Slots of each ring.
    pub window: usize,
    /// Slots that keep a stream's first tokens.
    pub sinks: usize,
    /// The longest context that the model was trained for.
    pub trained_window: usize,
    /// Weights in all matrices.
    pub parameters: u64,
    /// Sizes and flags.
    pub config: Config,
    /// Number of layers.
    pub layers: usize,
    /// Fraction bits of each layer's vectors.
    pub formats: Vec<LayerFormats>,
    /// Multiply-accumulates of a token with the ring full, divided by the lanes.
    pub ideal_cycles: f64,
    /// Bytes on chip, by region.
    pub bytes: RegionBytes,
    /// Steps of the program, by kind.
    pub steps: Vec<StepCount>,
    /// What the image needs of a core.
    pub needs: Needs,
    /// On which cores the model fits with this window.
    pub cores: Vec<CoreFit>,
    /// CRC-32 of the self-test's logits.
    pub self_test: String,
}

/// Fraction bits of one layer's vectors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LayerFormats {
    /// Query.
    pub q: u8,
    /// Key.
    pub k: u8,
    /// Value and attention output.
    pub v: u8,
    /// Gate.
    pub gate: u8,
    /// Up.
    pub up: u8,
    /// Hidden.
    pub hidden: u8,
}

/// Bytes of each region, padding included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RegionBytes {
    /// Weights.
    pub weights: usize,
    /// Key rings.
    pub keys: usize,
    /// Value rings.
    pub values: usize,
    /// Row scales.
    pub scales: usize,
    /// Key scales (7 bits each, counted as bytes).
    pub key_scales: usize,
    /// Steps.
    pub steps: usize,
    /// Embedding gains, phase increments and far rotations.
    pub tables: usize,
}

/// How many steps of a kind there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StepCount {
    /// Name of the kind.
    pub kind: &'static str,
    /// Steps of it.
    pub count: usize,
}

/// Whether a core holds the model with this window.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CoreFit {
    /// A number of lanes for a simulated core, else a board.
    pub core: &'static str,
    /// Whether it fits.
    pub fits: bool,
    /// Why not.
    pub reason: Option<String>,
    /// Part of the wide memory that it takes; above 1 it does not fit.
    pub memory_use: f64,
}

impl Image {
    /// What there is to tell about the image.
    pub fn summary(&self) -> Summary {
        let layout = self.layout();
        let word = self.lanes();
        let c = &self.config;
        Summary {
            name: self.name.clone(),
            lanes: self.lanes(),
            window: self.window(),
            sinks: self.sinks(),
            trained_window: self.trained_window,
            parameters: c.parameters(),
            layers: c.formats.len(),
            formats: c
                .formats
                .iter()
                .map(|f| LayerFormats {
                    q: f.q,
                    k: f.k,
                    v: f.v,
                    gate: f.gate,
                    up: f.up,
                    hidden: f.hidden,
                })
                .collect(),
            ideal_cycles: self.macs(self.window()) as f64 / word as f64,
            bytes: RegionBytes {
                weights: layout.weight_words * word,
                keys: layout.key_words * word,
                values: layout.value_words * word + layout.exponent_bytes(),
                scales: 2 * layout.scales,
                key_scales: layout.key_scales * self.ring.rows as usize,
                steps: 32 * self.steps.len(),
                tables: 2 * self.gains.len() + 4 * self.increments.len() + 4 * self.far().len(),
            },
            steps: steps_by_kind(&self.steps)
                .into_iter()
                .map(|(kind, count)| StepCount {
                    kind: kind.name(),
                    count,
                })
                .collect(),
            needs: self.needs(),
            cores: SIMULATED
                .iter()
                .map(|core| self.fit(core.name, self.config.narrowest().simulated(core.shape)))
                .chain(BOARDS.iter().map(|core| self.fit(core.name, core.shape)))
                .collect(),
            self_test: format!("{:08x}", self.golden.crc),
            config: c.clone(),
        }
    }

    /// Multiply-accumulates of a token with `slots` tokens in the ring: what an
    /// ideal core divides by its lanes.
    pub fn macs(&self, slots: usize) -> u64 {
        let c = &self.config;
        let matrices = if c.relu { 2 } else { 3 };
        let layer = 2 * c.dim * c.dim + 2 * c.dim * c.kv_dim() + matrices * c.dim * c.hidden;
        let attention = 2 * c.dim * slots;
        (c.formats.len() * (layer + attention) + c.vocab * c.dim) as u64
    }

    fn fit(&self, name: &'static str, core: CoreShape) -> CoreFit {
        let ring = Ring {
            rows: core.rows,
            ..self.ring
        };
        let layout = Layout::new(&self.config, ring);
        let buffers = crate::compile::score_buffers(&self.config, &layout, core.score_words);
        let reason = Needs::of(&self.config, &layout, buffers).check(&core).err();
        CoreFit {
            core: name,
            fits: reason.is_none(),
            reason: reason.map(|error| error.to_string()),
            memory_use: layout.memory_words() as f64 / f64::from(core.memory),
        }
    }
}
