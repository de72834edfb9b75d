//! Images: a model compiled for a core's number of lanes, a window and sinks,
//! with everything that a run needs: weights, steps, tables, tokenizer, and a
//! golden run to test a core with.

mod file;
mod golden;
mod summary;

pub use crate::compile::{Config, EmbeddingConfig};
pub use annulus_contract::image::{MAGIC, VERSION};
pub use file::{is_image, ImageError};
pub use golden::Golden;
pub use summary::{CoreFit, LayerFormats, RegionBytes, StepCount, Summary};

use crate::check::CheckError;
use crate::compile::{self, CompileError, Layout, Needs};
use crate::quant::{Embedding, Layer, QuantModel};
use crate::tokenizer::Tokenizer;
use annulus_contract::regs::{self, region};
use annulus_contract::ring::Ring;
use annulus_contract::shape::CoreShape;
use annulus_contract::step::{Step, COLUMNS};

/// Tokens with a meaning of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Special {
    /// Starts a stream.
    pub bos: u32,
    /// Ends a text when it is chosen.
    pub stop: Option<u32>,
    /// Starts anew at position 0 when it is chosen.
    pub restart: Option<u32>,
}

/// A compiled model. [`Image::compile`] makes it, [`Image::from_bytes`] reads
/// it; only those make one that is consistent.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// What the model is called; may be empty.
    pub name: String,
    /// Sizes and formats.
    pub config: Config,
    /// Lanes, window and sinks.
    pub ring: Ring,
    /// Score buffers that the steps use in turn.
    pub score_buffers: usize,
    /// The program, [`annulus_contract::step::Kind::End`] included.
    pub steps: Vec<Step>,
    /// The weights' part of the wide memory, from its first word on. The rings
    /// follow and need no contents.
    pub wide: Vec<u8>,
    /// Row scales: two rows an entry, the even one in the low byte.
    pub scales: Vec<u16>,
    /// The tied embedding's gains, one a column; else none.
    pub gains: Vec<i16>,
    /// RoPE's phase increments, one a pair of a head; else none.
    pub increments: Vec<u32>,
    /// Tokens with a meaning of their own.
    pub special: Special,
    /// The longest context that the model was trained for.
    pub trained_window: usize,
    /// The model's tokenizer, where it has one.
    pub tokenizer: Option<Tokenizer>,
    /// The self-test.
    pub golden: Golden,
}

impl Image {
    /// Compile a model for a core: `window` slots (1 to 1024) in each ring, the
    /// first `sinks` of which keep a stream's first tokens.
    ///
    /// The image has no tokenizer yet: see [`Image::with_tokenizer`].
    ///
    /// # Errors
    /// If the model is not well formed, or what the core lacks, by how much.
    pub fn compile(
        model: &QuantModel,
        core: &CoreShape,
        window: usize,
        sinks: usize,
    ) -> Result<Self, CompileError> {
        let compiled = compile::compile(model, core, window, sinks)?;
        let gains = match &model.embedding {
            Embedding::Tied { ig } => ig.clone(),
            Embedding::Own { .. } => vec![],
        };
        Ok(Image {
            name: String::new(),
            config: compiled.config,
            ring: compiled.ring,
            score_buffers: compiled.score_buffers,
            steps: compiled.steps,
            wide: compiled.packed.wide,
            scales: compiled.packed.scales,
            gains,
            increments: model.rope.clone().unwrap_or_default(),
            special: Special::default(),
            trained_window: window,
            tokenizer: None,
            golden: Golden::of(model, window, sinks)?,
        })
    }

    /// The image with a tokenizer and its special tokens.
    pub fn with_tokenizer(mut self, tokenizer: Tokenizer) -> Self {
        self.special = Special {
            bos: tokenizer.bos(),
            stop: tokenizer.stop(),
            restart: tokenizer.restart(),
        };
        self.tokenizer = Some(tokenizer);
        self
    }

    /// The image with a name and the longest context that its model was trained for.
    pub fn with_origin(mut self, name: &str, trained_window: usize) -> Self {
        self.name = name.into();
        self.trained_window = trained_window;
        self
    }

    /// Multipliers of the core that the image is for.
    pub fn lanes(&self) -> usize {
        self.ring.rows as usize * COLUMNS
    }

    /// Slots of each ring.
    pub fn window(&self) -> usize {
        self.ring.window as usize
    }

    /// Slots that keep a stream's first tokens.
    pub fn sinks(&self) -> usize {
        self.ring.sinks as usize
    }

    /// Where everything lies.
    pub fn layout(&self) -> Layout {
        Layout::new(&self.config, self.ring)
    }

    /// What the image needs of a core.
    pub fn needs(&self) -> Needs {
        Needs::of(&self.config, &self.layout(), self.score_buffers)
    }

    /// Whether the image runs on `core`.
    ///
    /// # Errors
    /// What the core lacks, by name and by how much.
    pub fn check_core(&self, core: &CoreShape) -> Result<(), CompileError> {
        self.needs().check(core)
    }

    /// The registers that describe model and ring, with their values.
    pub fn registers(&self) -> Vec<(u8, u32)> {
        let c = &self.config;
        let head = c.head_size as u32 | u32::from(c.hadamard) << 8 | u32::from(c.rope) << 9;
        let mut registers = self.ring.registers().to_vec();
        registers.extend([
            (regs::EPS, c.eps as u32),
            (regs::EMBEDDING_EPS, c.embedding_norm.unwrap_or(0) as u32),
            (regs::POSITION_MASK, c.positions().saturating_sub(1) as u32),
            (regs::HEAD, head),
        ]);
        registers
    }

    /// Sine (low half) and cosine (high half) of each pair of a head at position
    /// `W - 1`; none where there are no sinks.
    pub fn far(&self) -> Vec<u32> {
        compile::far(self.ring, &self.increments)
    }

    /// What each memory holds before a run: region and words, from the region's
    /// first lane on.
    pub fn loads(&self) -> [(u32, Vec<u32>); 6] {
        let halves =
            |low: u16, high: Option<&u16>| u32::from(low) | u32::from(*high.unwrap_or(&0)) << 16;
        let gains: Vec<u16> = self.gains.iter().map(|&g| g as u16).collect();
        let wide = self
            .wide
            .chunks_exact(4)
            .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        [
            (region::WIDE, wide.collect()),
            (
                region::SCALES,
                self.scales.iter().map(|&s| s.into()).collect(),
            ),
            (
                region::STEPS,
                self.steps.iter().flat_map(Step::encode).collect(),
            ),
            (
                region::GAINS,
                gains.chunks(2).map(|g| halves(g[0], g.get(1))).collect(),
            ),
            (region::INCREMENT, self.increments.clone()),
            (region::FAR, self.far()),
        ]
    }

    /// The model that was compiled.
    ///
    /// # Errors
    /// If the weights are not those of a well-formed model; never for an image
    /// that was compiled or read.
    pub fn quant_model(&self) -> Result<QuantModel, CheckError> {
        let layout = self.layout();
        let matrix =
            |placed| compile::pack::get(self.ring.rows as usize, &self.wide, &self.scales, placed);
        let c = &self.config;
        let layers = c
            .formats
            .iter()
            .zip(&layout.layers)
            .map(|(&formats, placed)| {
                let gate_up = matrix(&placed.gate_up);
                let (w1, w3) = if c.relu {
                    (gate_up, None)
                } else {
                    let (gate, up) = compile::split(&gate_up, compile::up_fold(&formats));
                    (gate, Some(up))
                };
                Layer {
                    wq: matrix(&placed.wq),
                    wk: matrix(&placed.wk),
                    wv: matrix(&placed.wv),
                    wo: matrix(&placed.wo),
                    w1,
                    w2: matrix(&placed.down),
                    w3,
                    formats,
                }
            });
        let embedding = match (c.embedding, &layout.embedding) {
            (EmbeddingConfig::Own { fraction_bits, .. }, Some(table)) => Embedding::Own {
                table: matrix(table),
                positions: layout.positions.as_ref().map(matrix),
                fraction_bits,
            },
            _ => Embedding::Tied {
                ig: self.gains.clone(),
            },
        };
        let model = QuantModel {
            dim: c.dim,
            hidden: c.hidden,
            heads: c.heads,
            kv_heads: c.kv_heads,
            head_size: c.head_size,
            vocab: c.vocab,
            residual_bits: c.residual_bits,
            logit_bits: c.logit_bits,
            eps: c.eps,
            rope: c.rope.then(|| self.increments.clone()),
            hadamard: c.hadamard,
            relu: c.relu,
            final_norm: c.final_norm,
            embedding,
            igsh: c.igsh,
            embedding_norm: c.embedding_norm,
            value_bits: c.value_bits,
            layers: layers.collect(),
            classifier: matrix(&layout.classifier),
        };
        model.check()?;
        Ok(model)
    }
}
