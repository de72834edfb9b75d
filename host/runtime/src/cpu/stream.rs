//! A stream's state: its rings, its place in them, and which slots count.

use super::attention::{Limits, Ring, RingShape, MASKED, VALID};
use super::simd::{Row, LANES};

/// All that a token leaves behind for the next.
#[derive(Clone)]
pub struct Stream {
    shape: RingShape,
    sinks: usize,
    /// Position of the first token.
    start: u32,
    /// Tokens taken so far.
    taken: u64,
    /// One a layer.
    rings: Vec<Ring>,
    /// Limits for the query of the token's own position.
    near: Vec<Row>,
    /// Limits for the sinks' query.
    far: Vec<Row>,
}

impl Stream {
    /// At position 0, with an empty ring a layer.
    pub fn new(shape: RingShape, sinks: usize, layers: usize) -> Self {
        let mut far = vec![Row([MASKED; LANES]); sinks.div_ceil(LANES)];
        for sink in 0..sinks {
            far[sink / LANES].0[sink % LANES] = VALID;
        }
        Stream {
            shape,
            sinks,
            start: 0,
            taken: 0,
            rings: vec![Ring::new(shape); layers],
            near: vec![Row([MASKED; LANES]); shape.blocks()],
            far,
        }
    }

    /// Whether states of one can be put into the other.
    pub fn fits(&self, other: &Self) -> bool {
        self.shape == other.shape
            && self.sinks == other.sinks
            && self.rings.len() == other.rings.len()
    }

    /// Empty the rings; the next token stands at `position`.
    pub fn start_at(&mut self, position: u32) {
        self.start = position;
        self.taken = 0;
        self.near.fill(Row([MASKED; LANES]));
    }

    /// Position of the next token.
    pub fn position(&self) -> u32 {
        self.start.wrapping_add(self.taken as u32)
    }

    /// Tokens taken so far.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Take the slot that the next token is written to, making it valid.
    pub fn claim_slot(&mut self) -> usize {
        let (t, w, s) = (self.taken, self.shape.window as u64, self.sinks as u64);
        let slot = if t < w { t } else { s + (t - s) % (w - s) } as usize;
        self.near[slot / LANES].0[slot % LANES] = VALID;
        if t == w {
            // From here on the sinks have a query of their own.
            for sink in 0..self.sinks {
                self.near[sink / LANES].0[sink % LANES] = MASKED;
            }
        }
        slot
    }

    /// Count the token whose slot was claimed.
    pub fn advance(&mut self) {
        self.taken += 1;
    }

    /// Whether the sinks have a query of their own.
    pub fn reads_sinks_apart(&self) -> bool {
        self.sinks > 0 && self.taken >= self.shape.window as u64
    }

    /// The rings, and which of their slots count for the token whose slot was
    /// claimed.
    pub fn rings_and_limits(&mut self) -> (&mut [Ring], Limits<'_>) {
        let sinks = if self.reads_sinks_apart() {
            self.far.len()
        } else {
            0
        };
        let filled = (self.taken + 1).min(self.shape.window as u64) as usize;
        let limits = Limits {
            near: &self.near[..filled.div_ceil(LANES)],
            sinks: &self.far[..sinks],
        };
        (&mut self.rings, limits)
    }
}
