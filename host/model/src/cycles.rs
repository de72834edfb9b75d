//! The cycle model: how many cycles a core takes for a token, by position and
//! by kind of step, from the image's steps alone.
//!
//! The scan takes one word of memory a cycle. What a step costs beyond its
//! words are the waits: for the tail, which takes two results a cycle, for
//! vectors that are not complete yet, and for the group scales of 4-bit weights. The constants below are the pipeline's
//! depths; the model is held to the verilated core's own counters in tests.
//! It describes cores of two rows and more.

use crate::image::Image;
use annulus_contract::ring::Ring;
use annulus_contract::step::{Kind, Step, Wait, COLUMNS, GROUP, SCALES_A_WORD};

/// Depths of the pipeline: from the cycle in which the scan sends a row group's
/// last word to the cycle in which its first pair of results does something.
mod depth {
    /// The residual counts as written.
    pub const RESIDUAL: u64 = 16;
    /// The attention output, or ReLU's hidden vector, counts as written.
    pub const HIDDEN: u64 = 16;
    /// SwiGLU's hidden vector counts as written.
    pub const GATED: u64 = 27;
    /// The value ring is written.
    pub const VALUE: u64 = 17;
    /// The token is chosen.
    pub const LOGITS: u64 = 23;
    /// A score is written.
    pub const SCORES: u64 = 15;
    /// A head's last rotated pair is there.
    pub const HEAD: u64 = 23;
    /// From a head's last pair and the words of its first pass to its scale.
    pub const HEAD_SCALE: u64 = 6;
    /// From the first word of a head's second pass to that word's mantissas.
    pub const HEAD_ENCODE: u64 = 6;
    /// From the start of a token to its first step.
    pub const START: u64 = 3;
    /// From a token's last result to its end.
    pub const END: u64 = 2;
    /// From an embedding step to its first word: the row's address is computed.
    pub const EMBED: u64 = 3;
}

/// Cycles of one token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenCycles {
    /// All of them.
    pub total: u64,
    /// Cycles in which the array took a word.
    pub busy: u64,
    /// By kind of step, in the order of [`Kind::ALL`]: from a step's start to the next
    /// one's. Their sum is two less than `total`.
    pub by_kind: [u64; Kind::ALL.len()],
}

/// Predict the cycles of token `t` of a stream (which counts from 0 where the
/// ring is empty), with its logits or without.
pub fn token_cycles(image: &Image, t: u64, logits_wanted: bool) -> TokenCycles {
    let ring = image.ring;
    let full = t >= u64::from(ring.window);
    let slot = ring.slot(t);
    let groups = |all: u32, current: u32| u64::from(if full { all } else { current + 1 });
    let mut schedule = Schedule {
        ring,
        head_size: image.config.head_size as u64,
        key_groups: groups(ring.key_groups(), ring.key_at(slot).0),
        value_groups: groups(ring.value_groups(), ring.value_at(slot).0),
        taken: depth::START - 1,
        scan_free: 0,
        tail_free: 0,
        drained: 0,
        heads: Vec::new(),
        scores: Vec::new(),
        encoder_free: 0,
        words: 0,
    };
    let mut by_kind = [0; Kind::ALL.len()];
    // Cycles before the first step count as the embedding's.
    let (mut kind, mut since) = (Kind::Embed, 0);
    for step in &image.steps {
        let skipped =
            step.far_only && !(full && ring.sinks > 0) || step.skip_on_prefill && !logits_wanted;
        if step.kind == Kind::End {
            break;
        }
        if skipped {
            schedule.taken += 1;
            continue;
        }
        let start = schedule.run(step);
        by_kind[kind as usize] += start - since;
        (kind, since) = (step.kind, start);
    }
    let end = (schedule.taken + 1).max(schedule.drained);
    by_kind[kind as usize] += end - since;
    TokenCycles {
        total: end + depth::END,
        busy: schedule.words,
        by_kind,
    }
}

/// What happens when, in cycles since the token started.
struct Schedule {
    ring: Ring,
    head_size: u64,
    /// Groups that hold tokens.
    key_groups: u64,
    value_groups: u64,
    /// When the last step was taken.
    taken: u64,
    /// When the scan can take the next step.
    scan_free: u64,
    /// The earliest cycle for the next last word of a row group.
    tail_free: u64,
    /// When all results so far are known to be written.
    drained: u64,
    /// When each query head, and each head's scores, are known to be there.
    heads: Vec<u64>,
    scores: Vec<u64>,
    /// When the head stage can encode the next head.
    encoder_free: u64,
    /// Words taken.
    words: u64,
}

impl Schedule {
    /// Run a step: the cycle in which it starts.
    fn run(&mut self, step: &Step) -> u64 {
        let ready = match step.wait {
            Wait::None => 0,
            Wait::Drained => self.drained,
            Wait::Heads(n) => self.heads.get(usize::from(n) - 1).copied().unwrap_or(0),
            Wait::Scores(n) => self.scores.get(usize::from(n) - 1).copied().unwrap_or(0),
        };
        let start = (self.taken + 1).max(ready).max(self.scan_free);
        self.taken = start;
        if step.restart_counts {
            self.heads.clear();
            self.scores.clear();
        }
        match step.kind {
            Kind::Scores => self.scan_scores(step, start),
            _ => self.scan_rows(step, start),
        }
        start
    }

    /// Stream the keys of a head; every row has a tail of its own.
    fn scan_scores(&mut self, step: &Step, start: u64) {
        let words = self.key_groups * u64::from(step.cols);
        // Only the first group can meet the tail still at work.
        let first = (start + u64::from(step.cols)).max(self.tail_free);
        let last = first + words - u64::from(step.cols);
        self.words += words;
        self.scan_free = last;
        self.tail_free = last + 1;
        self.scores.push(last + depth::SCORES + 1);
        self.drained = self.drained.max(last + depth::SCORES + 1);
    }

    /// Stream row groups, or elements eight at a time, through the tail.
    fn scan_rows(&mut self, step: &Step, start: u64) {
        let elementwise = matches!(step.kind, Kind::Embed | Kind::Normalize);
        let rows = u64::from(step.rows);
        let (words, width, groups) = match step.kind {
            Kind::Mix => (self.value_groups, self.ring.rows.into(), step.groups.into()),
            _ if elementwise => (1, COLUMNS as u64, u64::from(step.cols)),
            _ => (
                u64::from(step.cols),
                self.ring.rows.into(),
                u64::from(step.groups),
            ),
        };
        // Words of group scales, for which the array waits.
        let scales = if step.nibbles {
            words.div_ceil((SCALES_A_WORD * GROUP / COLUMNS) as u64)
        } else {
            0
        };
        let head_stage = matches!(step.kind, Kind::Query | Kind::Key);
        let mut now = start
            + if step.kind == Kind::Embed {
                depth::EMBED
            } else {
                0
            };
        let mut pairs = 0;
        for group in 0..groups {
            now = (now + scales + words).max(self.tail_free);
            let end = rows.min((group + 1) * width);
            pairs = (end - group * width).div_ceil(2);
            self.tail_free = now + pairs;
            if head_stage {
                self.encode_heads(group * width..end, now, step);
            }
        }
        self.words += words * groups;
        self.scan_free = now;
        let depth = match step.kind {
            Kind::Mix | Kind::Relu => depth::HIDDEN,
            Kind::GateUp => depth::GATED,
            Kind::Value => depth::VALUE,
            Kind::Logits => depth::LOGITS,
            _ => depth::RESIDUAL,
        };
        let written = if head_stage {
            self.encoder_free + depth::HEAD_ENCODE - 1
        } else {
            now + depth + pairs - 1
        };
        self.drained = self.drained.max(written + 1);
    }

    /// Heads whose last row is among `rows`, a group whose last word is sent at `sent`.
    fn encode_heads(&mut self, rows: std::ops::Range<u64>, sent: u64, step: &Step) {
        let words = self.head_size.div_ceil(COLUMNS as u64);
        let ends = rows.clone().filter(|row| (row + 1) % self.head_size == 0);
        for row in ends {
            let complete = sent + depth::HEAD + (row - rows.start) / 2;
            let begin = (complete + words + depth::HEAD_SCALE).max(self.encoder_free);
            self.encoder_free = begin + words;
            if step.kind == Kind::Query && !step.far_only {
                self.heads.push(self.encoder_free + depth::HEAD_ENCODE);
            }
        }
    }
}
