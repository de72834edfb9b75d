//! What an image needs of a core, and what a core is short of.

use super::config::Config;
use super::layout::Layout;
use super::CompileError;
use crate::quant::Width;
use annulus_contract::regs::feature;
use annulus_contract::shape::CoreShape;
use annulus_contract::step::{Kind, Step, COLUMNS};
use serde::Serialize;

/// What an image needs of a core of its number of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Needs {
    /// Rows of the array.
    pub rows: usize,
    /// Words of the wide memory.
    pub memory: usize,
    /// Entries of row scales.
    pub scales: usize,
    /// Steps.
    pub steps: usize,
    /// Entries of key scales.
    pub key_scales: usize,
    /// Words of the score buffer.
    pub score_words: usize,
    /// Elements of the residual.
    pub residual: usize,
    /// Elements of the query vector, heads padded to words.
    pub query: usize,
    /// Elements of the hidden vector and of the attention output, the larger.
    pub hidden: usize,
    /// Symbols.
    pub vocab: usize,
    /// Largest head size.
    pub head_size: usize,
    /// Words of 4-bit values, each with exponents beside it.
    pub exponents: usize,
    /// Bits of [`feature`].
    pub features: u32,
    /// Sizes that only the step encoding limits.
    #[serde(skip)]
    encoded: Encoded,
}

/// Sizes that are fields of steps, whatever the core holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Encoded {
    heads: usize,
    positions: usize,
    groups: usize,
    ring_words: usize,
    query_words: usize,
}

impl Needs {
    /// What a model of these sizes needs when it lies like `layout`, its scores
    /// in `buffers` buffers.
    pub fn of(config: &Config, layout: &Layout, buffers: usize) -> Self {
        let rows = layout.ring.rows as usize;
        let mut features = 0;
        if layout.ring.sinks > 0 {
            features |= feature::SINKS;
        }
        if config.hadamard {
            features |= feature::HADAMARD;
        }
        if config.weight_bits == Width::Four {
            features |= feature::NIBBLES;
        }
        if config.value_bits == Width::Four {
            features |= feature::NARROW_VALUES;
        }
        let query_words = config.heads * layout.head_words;
        let widest = config.vocab.max(2 * config.hidden).max(config.dim);
        Needs {
            rows,
            memory: layout.memory_words(),
            scales: layout.scales,
            steps: steps(config, layout),
            key_scales: layout.key_scales,
            score_words: buffers * layout.ring.score_words() as usize,
            residual: config.dim,
            query: query_words * COLUMNS,
            hidden: config.hidden.max(config.dim),
            vocab: config.vocab,
            head_size: config.head_size,
            exponents: if layout.narrow { layout.value_words } else { 0 },
            features,
            encoded: Encoded {
                heads: config.heads,
                positions: config.positions(),
                groups: widest.div_ceil(rows),
                ring_words: layout.key_head_words().max(layout.value_head(1).0),
                query_words,
            },
        }
    }

    /// Refuse sizes that no core runs because a step's fields cannot hold them.
    ///
    /// # Errors
    /// The first such size.
    pub fn check_encoding(&self) -> Result<(), CompileError> {
        let e = &self.encoded;
        let limits = [
            ("words of wide memory", self.memory, 1 << 20),
            ("entries of row scales", self.scales, 1 << 16),
            ("entries of key scales", self.key_scales, 1 << 16),
            ("words of scores", self.score_words, 1 << 10),
            ("elements of the hidden vector", self.hidden, 1 << 13),
            ("symbols", self.vocab, (1 << 14) - 1),
            ("learned positions", e.positions, 1 << 14),
            ("heads", e.heads, 255),
            ("row groups of a matrix", e.groups, (1 << 13) - 1),
            ("words of a head's ring", e.ring_words, (1 << 16) - 1),
            ("words of queries", e.query_words, 1 << 10),
        ];
        // Columns of the hidden vector and rows of gate and up share its limit.
        let hidden = (self.hidden.div_ceil(COLUMNS) < 1 << 10) && 2 * self.hidden < 1 << 14;
        match limits.into_iter().find(|(_, need, limit)| need > limit) {
            Some((what, need, limit)) => Err(CompileError::Encoding { what, need, limit }),
            None if !hidden => Err(CompileError::Encoding {
                what: "elements of the hidden vector",
                need: self.hidden,
                limit: (1 << 13) - 8,
            }),
            None => Ok(()),
        }
    }

    /// Whether `core` has all of it.
    ///
    /// # Errors
    /// The first thing that it lacks, by name and by how much.
    pub fn check(&self, core: &CoreShape) -> Result<(), CompileError> {
        self.check_core(core, None)
    }

    /// [`Needs::check`], with the longest window that would fit, if that is known.
    pub(super) fn check_core(
        &self,
        core: &CoreShape,
        fitting_window: Option<usize>,
    ) -> Result<(), CompileError> {
        if self.rows != core.rows as usize {
            return Err(CompileError::Lanes {
                image: self.rows * COLUMNS,
                core: core.lanes() as usize,
            });
        }
        if self.head_size > core.max_head as usize {
            return Err(CompileError::HeadSize {
                head_size: self.head_size,
                max: core.max_head as usize,
            });
        }
        for (bit, name, cure) in [
            (
                feature::HADAMARD,
                "Hadamard rotation",
                "quantize the model without it (--no-hadamard)",
            ),
            (feature::SINKS, "attention sinks", "use no sinks"),
            (
                feature::NIBBLES,
                "4-bit weights",
                "quantize the model with 8 (--weight-bits 8)",
            ),
            (
                feature::NARROW_VALUES,
                "rings of 4-bit values",
                "quantize the model with 8 (--value-bits 8)",
            ),
        ] {
            if self.features & bit & !core.features != 0 {
                return Err(CompileError::Feature { name, cure });
            }
        }
        if self.memory > core.memory as usize {
            let bytes = core.word_bytes() as usize;
            return Err(CompileError::Memory {
                need: self.memory * bytes,
                have: core.memory as usize * bytes,
                fitting_window,
            });
        }
        let capacities = [
            ("entries of row scales", self.scales, core.scales, None),
            ("steps", self.steps, core.steps, None),
            (
                "entries of key scales",
                self.key_scales,
                core.key_scales,
                fitting_window,
            ),
            (
                "words of scores",
                self.score_words,
                core.score_words,
                fitting_window,
            ),
            (
                "elements of the residual",
                self.residual,
                core.residual,
                None,
            ),
            (
                "elements of queries (heads padded to 8)",
                self.query,
                core.residual,
                None,
            ),
            (
                "elements of the hidden vector",
                self.hidden,
                core.hidden,
                None,
            ),
            ("symbols", self.vocab, core.vocab, None),
            (
                "words of 4-bit values",
                self.exponents,
                core.exponents(),
                fitting_window,
            ),
        ];
        match capacities.into_iter().find(|c| c.1 > c.2 as usize) {
            None => Ok(()),
            Some((what, need, have, fitting_window)) => Err(CompileError::Capacity {
                what,
                need,
                have: have as usize,
                fitting_window,
            }),
        }
    }
}

/// Steps of a program, as [`super::steps`] makes it.
fn steps(config: &Config, layout: &Layout) -> usize {
    let far = usize::from(layout.ring.sinks > 0);
    // Value, key, query; scores and mix of each head; out, gate and up, down.
    let layer = 3 + far + 2 * config.heads + 3;
    let embed =
        1 + usize::from(config.positions() > 0) + usize::from(config.embedding_norm.is_some());
    embed + layer * config.formats.len() + 2
}

/// Score buffers that fit a core of so many score words: one at least, and no
/// more than there are heads.
pub(crate) fn score_buffers(config: &Config, layout: &Layout, score_words: u32) -> usize {
    let fit = score_words as usize / layout.ring.score_words() as usize;
    fit.min(config.heads)
        .clamp(1, super::steps::MAX_SCORE_BUFFERS)
}

/// How many steps of each kind a program has, in the order of their codes.
pub(crate) fn steps_by_kind(steps: &[Step]) -> Vec<(Kind, usize)> {
    Kind::ALL
        .into_iter()
        .map(|kind| (kind, steps.iter().filter(|step| step.kind == kind).count()))
        .filter(|&(_, count)| count > 0)
        .collect()
}
