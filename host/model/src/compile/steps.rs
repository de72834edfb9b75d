//! The steps of a forward pass, in order.

use super::config::{Config, EmbeddingConfig};
use super::layout::{LayerLayout, Layout, Placed};
use crate::quant::Formats;
use annulus_contract::stage;
use annulus_contract::step::{Kind, Step, Wait};

/// Most score buffers that a core tells apart.
pub const MAX_SCORE_BUFFERS: usize = 8;

/// The program of a model that lies like `layout`, with `buffers` score
/// buffers in turn (1 to 8). The last step is [`Kind::End`]. The sizes have
/// passed [`Needs::check_encoding`](super::Needs::check_encoding), so that each
/// fits its field.
pub(crate) fn program(config: &Config, layout: &Layout, buffers: usize) -> Vec<Step> {
    let mut program = Program {
        config,
        layout,
        buffers,
        steps: Vec::new(),
    };
    program.embed();
    for (l, (placed, formats)) in layout.layers.iter().zip(&config.formats).enumerate() {
        // A prompt's token is done with the last layer once its key and value are stored.
        let skip = l + 1 == layout.layers.len();
        program.attention(placed, formats, skip);
        program.feed_forward(placed, formats, skip);
    }
    program.logits();
    program.steps.push(Step::new(Kind::End));
    program.steps
}

struct Program<'a> {
    config: &'a Config,
    layout: &'a Layout,
    buffers: usize,
    steps: Vec<Step>,
}

impl Program<'_> {
    /// Append a step with the constant part of its output shift, which the
    /// ranges of formats keep within 8 bits.
    fn push(&mut self, step: Step, shift: i32) {
        self.steps.push(Step {
            shift: shift as i8,
            ..step
        });
    }

    fn embed(&mut self) {
        let c = self.config;
        let first = Step {
            wait: Wait::Drained,
            groups: 1,
            ..Step::new(Kind::Embed)
        };
        let normed_next = c.embedding_norm.is_some();
        let row = |table: Placed, step| Step {
            groups: 1,
            rows: c.dim as u16,
            ..matrix(&table, step)
        };
        match c.embedding {
            EmbeddingConfig::Tied => {
                let step = Step {
                    gains: true,
                    embedding_eps: normed_next,
                    ..first
                };
                self.push(
                    row(self.layout.classifier, step),
                    stage::tied_shift(0, c.igsh, c.residual_bits),
                );
            }
            EmbeddingConfig::Own { fraction_bits, .. } => {
                // Without gains the product is 256 times as large.
                let shift = stage::row_shift(0, fraction_bits) + 8;
                let tables = [
                    (self.layout.embedding, false),
                    (self.layout.positions, true),
                ];
                let tables: Vec<_> = tables
                    .into_iter()
                    .filter_map(|(t, by)| Some((t?, by)))
                    .collect();
                for (i, &(table, by_position)) in tables.iter().enumerate() {
                    let embedding_eps = normed_next && i + 1 == tables.len();
                    // A position's element is added long after the token's was written:
                    // the second step reads its row's address first.
                    let wait = if by_position {
                        Wait::None
                    } else {
                        Wait::Drained
                    };
                    let step = Step {
                        wait,
                        by_position,
                        add: by_position,
                        embedding_eps,
                        ..first
                    };
                    self.push(row(table, step), shift);
                }
            }
        }
        if normed_next {
            let step = Step {
                wait: Wait::Drained,
                normed: true,
                groups: 1,
                rows: c.dim as u16,
                cols: self.layout.classifier.vector_words() as u16,
                ..Step::new(Kind::Normalize)
            };
            self.push(
                step,
                stage::embedding_norm_shift(0, c.igsh, c.residual_bits),
            );
        }
    }

    fn attention(&mut self, layer: &LayerLayout, f: &Formats, skip: bool) {
        let (c, layout) = (self.config, self.layout);
        let normed = |kind| Step {
            normed: true,
            ..Step::new(kind)
        };
        self.push(
            Step {
                wait: Wait::Drained,
                ring: layer.value_ring as u32,
                ring_stride: if layout.narrow {
                    0
                } else {
                    layout.value_head(1).0 as u16
                },
                ring_scale: layout.ring.value_groups() as u16,
                narrow: layout.narrow,
                ..matrix(&layer.wv, normed(Kind::Value))
            },
            shift(f.v, 0),
        );
        self.push(
            Step {
                ring: layer.key_ring as u32,
                ring_stride: layout.key_head_words() as u16,
                ring_scale: layer.key_scales as u16,
                ..matrix(&layer.wk, normed(Kind::Key))
            },
            shift(f.k, 0),
        );
        // The copy for the sinks comes first: heads are counted from the other.
        let query = Step {
            skip_on_prefill: skip,
            ..matrix(&layer.wq, normed(Kind::Query))
        };
        if layout.ring.sinks > 0 {
            self.push(
                Step {
                    far_only: true,
                    ..query
                },
                shift(f.q, 0),
            );
        }
        self.push(
            Step {
                restart_counts: true,
                ..query
            },
            shift(f.q, 0),
        );
        // Scores run ahead of mixes by all buffers but one, so that each mix
        // finds its scores ready.
        let ahead = self.buffers - 1;
        for i in 0..c.heads + ahead {
            if i < c.heads {
                self.scores(layer, f, i, skip);
            }
            if i >= ahead {
                self.mix(layer, i - ahead, skip);
            }
        }
        let out = Step {
            wait: Wait::Drained,
            skip_on_prefill: skip,
            ..Step::new(Kind::Out)
        };
        self.push(matrix(&layer.wo, out), shift(c.residual_bits, f.v));
    }

    fn scores(&mut self, layer: &LayerLayout, f: &Formats, head: usize, skip: bool) {
        let layout = self.layout;
        let kv_head = head * self.config.kv_heads / self.config.heads;
        let step = Step {
            wait: Wait::Heads((head + 1) as u8),
            skip_on_prefill: skip,
            address: (layer.key_ring + kv_head * layout.key_head_words()) as u32,
            cols: layout.head_words as u16,
            scale: (layer.key_scales + kv_head * layout.ring.key_groups() as usize) as u16,
            score: self.score(head),
            score_id: (head % self.buffers) as u8,
            head: head as u8,
            pair: (head * layout.head_words) as u16,
            ..Step::new(Kind::Scores)
        };
        self.push(
            step,
            stage::score_shift(f.q, f.k, self.config.hadamard_stages(), 0, 0),
        );
    }

    fn mix(&mut self, layer: &LayerLayout, head: usize, skip: bool) {
        let (c, layout) = (self.config, self.layout);
        let (values, high) = layout.value_head(head * c.kv_heads / c.heads);
        let step = Step {
            wait: Wait::Scores((head + 1) as u8),
            skip_on_prefill: skip,
            narrow: layout.narrow,
            high,
            address: (layer.value_ring + values) as u32,
            groups: layout.head_groups as u16,
            rows: c.head_size as u16,
            stride: layout.ring.value_groups() as u16,
            score: self.score(head),
            score_id: (head % self.buffers) as u8,
            pair: (head * c.head_size / 2) as u16,
            ..Step::new(Kind::Mix)
        };
        self.push(step, 0);
    }

    /// First word of a head's score buffer.
    fn score(&self, head: usize) -> u16 {
        (head % self.buffers * self.layout.ring.score_words() as usize) as u16
    }

    fn feed_forward(&mut self, layer: &LayerLayout, f: &Formats, skip: bool) {
        let c = self.config;
        let kind = if c.relu { Kind::Relu } else { Kind::GateUp };
        let mut first = Step {
            wait: Wait::Drained,
            skip_on_prefill: skip,
            normed: true,
            ..Step::new(kind)
        };
        if !c.relu {
            first.gate_bits = f.gate;
            first.hidden_shift = f.gate + f.up - f.hidden;
        }
        self.push(matrix(&layer.gate_up, first), shift(f.gate, 0));
        let down = Step {
            wait: Wait::Drained,
            skip_on_prefill: skip,
            ..Step::new(Kind::Down)
        };
        self.push(matrix(&layer.down, down), shift(c.residual_bits, f.hidden));
    }

    fn logits(&mut self) {
        let c = self.config;
        let step = Step {
            wait: Wait::Drained,
            skip_on_prefill: true,
            normed: c.final_norm,
            ..Step::new(Kind::Logits)
        };
        let f_x = if c.final_norm { 0 } else { c.residual_bits };
        self.push(
            matrix(&self.layout.classifier, step),
            shift(c.logit_bits, f_x),
        );
    }
}

/// `step` as a pass over a matrix.
fn matrix(placed: &Placed, step: Step) -> Step {
    Step {
        nibbles: placed.nibbles,
        address: placed.address as u32,
        cols: placed.vector_words() as u16,
        stride: if placed.nibbles {
            placed.words_a_row() as u16
        } else {
            0
        },
        groups: placed.groups() as u16,
        rows: placed.rows as u16,
        scale: placed.scale as u16,
        ..step
    }
}

/// The constant part of an output shift.
fn shift(f_out: u8, f_x: u8) -> i32 {
    stage::matvec_shift(0, 0, 0, f_out, f_x)
}
