//! Damage to bytes on their way.

use annulus_model::random::Rng;

/// Flips a bit of a byte, drops it or doubles it: each once in `rate` bytes.
pub struct Noise {
    rng: Rng,
    rate: i32,
    /// Bytes that were damaged so far.
    pub hits: u64,
}

impl Noise {
    /// One in `rate`; 0 for a perfect line.
    pub fn new(rate: i32, seed: u64) -> Self {
        Noise {
            rng: Rng::new(seed),
            rate,
            hits: 0,
        }
    }

    /// What arrives of `bytes`.
    pub fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        if self.rate == 0 {
            return bytes.to_vec();
        }
        let mut out = Vec::with_capacity(bytes.len() + 4);
        for &byte in bytes {
            if self.rng.one_in(self.rate) {
                self.hits += 1;
                continue;
            }
            let mut byte = byte;
            if self.rng.one_in(self.rate) {
                self.hits += 1;
                byte ^= 1 << self.rng.within(0, 7);
            }
            out.push(byte);
            if self.rng.one_in(self.rate) {
                self.hits += 1;
                out.push(byte);
            }
        }
        out
    }
}
