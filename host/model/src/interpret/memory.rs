//! The memories behind the link, and noise to begin with.

use crate::random::Rng;
use annulus_contract::regs::{feature, region};
use annulus_contract::rope::Rotation;
use annulus_contract::shape::CoreShape;
use annulus_contract::step::{COLUMNS, WORDS};

#[derive(Clone, Debug)]
pub(super) struct Memory {
    rows: usize,
    pub wide: Vec<u8>,
    pub scales: Vec<u16>,
    pub steps: Vec<[u32; WORDS]>,
    pub gains: Vec<i16>,
    pub increments: Vec<u32>,
    pub phases: Vec<u32>,
    pub far: Vec<u32>,
    /// `P` to an entry, `e | (mu - 5) << 5`.
    pub key_scales: Vec<u8>,
    /// 8 to a word of 4-bit values; none where the core has no such values.
    exponents: Vec<u8>,
}

impl Memory {
    pub fn new(shape: &CoreShape) -> Self {
        let mut rng = Rng::new(u64::from(shape.rows));
        let mut noise = vec![0u8; shape.memory_bytes() as usize];
        // A short period is noise enough.
        let period: Vec<u8> = (0..4099).map(|_| rng.bits() as u8).collect();
        for (byte, noise) in noise.iter_mut().zip(period.iter().cycle()) {
            *byte = *noise;
        }
        let pairs = shape.max_head as usize / 2;
        Memory {
            rows: shape.rows as usize,
            wide: noise,
            scales: (0..shape.scales).map(|_| rng.bits() as u16).collect(),
            steps: vec![[0; WORDS]; shape.steps as usize],
            gains: (0..shape.residual).map(|_| rng.bits() as i16).collect(),
            increments: (0..pairs).map(|_| rng.bits()).collect(),
            phases: (0..pairs).map(|_| rng.bits()).collect(),
            far: (0..pairs).map(|_| rng.bits()).collect(),
            key_scales: (0..shape.key_scales * shape.rows)
                .map(|_| rng.bits() as u8 & 127)
                .collect(),
            exponents: if shape.has(feature::NARROW_VALUES) {
                let bytes = shape.exponents() as usize * COLUMNS;
                (0..bytes).map(|_| rng.bits() as u8 & 0x77).collect()
            } else {
                vec![]
            },
        }
    }

    /// A word of the wide memory: rows of 8 columns.
    pub fn word(&self, address: usize) -> &[u8] {
        let bytes = self.rows * COLUMNS;
        &self.wide[address * bytes..][..bytes]
    }

    /// One byte of a word.
    pub fn byte_mut(&mut self, address: usize, row: usize, column: usize) -> &mut u8 {
        &mut self.wide[(address * self.rows + row) * COLUMNS + column]
    }

    /// The place of a word's exponents.
    fn exponents_at(&self, address: usize) -> usize {
        address * COLUMNS % self.exponents.len().max(1)
    }

    /// The exponents beside a word of 4-bit values, a byte a slot.
    pub fn exponents(&self, address: usize) -> &[u8] {
        let at = self.exponents_at(address);
        &self.exponents[at..][..COLUMNS]
    }

    /// One of them.
    pub fn exponent_mut(&mut self, address: usize, column: usize) -> &mut u8 {
        let at = self.exponents_at(address) + column;
        &mut self.exponents[at]
    }

    /// Exponent and multiplier of row `row` of the matrix whose scales start at `first`.
    pub fn row_scale(&self, first: u16, row: usize) -> (i8, u8) {
        let entry = self.scales[first as usize + row / 2];
        crate::compile::pack::scale((entry >> (8 * (row % 2))) as u8)
    }

    /// The far rotation of a pair.
    pub fn far_rotation(&self, pair: usize) -> Rotation {
        let word = self.far[pair];
        Rotation {
            sin: (word as i16).into(),
            cos: ((word >> 16) as i16).into(),
        }
    }

    pub fn step_phases(&mut self) {
        for (phase, increment) in self.phases.iter_mut().zip(&self.increments) {
            *phase = phase.wrapping_add(*increment);
        }
    }

    /// A 32-bit lane of a region, as the link reads it; 0 where there is none.
    pub fn read(&self, region: u32, index: usize, lane: usize) -> u32 {
        let pair = |values: &[i16]| {
            let half = |i: usize| values.get(i).map_or(0, |&v| u32::from(v as u16));
            half(2 * index) | half(2 * index + 1) << 16
        };
        match region {
            region::WIDE => {
                let at = (index * 2 * self.rows + lane) * 4;
                let bytes = self.wide.get(at..at + 4).and_then(|b| b.try_into().ok());
                bytes.map_or(0, u32::from_le_bytes)
            }
            region::SCALES => self.scales.get(index).map_or(0, |&s| s.into()),
            region::STEPS => self.steps.get(index).map_or(0, |step| step[lane]),
            region::GAINS => pair(&self.gains),
            region::INCREMENT => at(&self.increments, index),
            region::PHASE => at(&self.phases, index),
            region::FAR => at(&self.far, index),
            region::KEY_SCALES => self
                .key_scales
                .get(index * self.rows + lane)
                .map_or(0, |&s| s.into()),
            region::EXPONENTS => {
                let at = self.exponents_at(index) + 4 * lane;
                let bytes = self.exponents.get(at..at + 4);
                let bytes = bytes.and_then(|b| b.try_into().ok());
                bytes.map_or(0, u32::from_le_bytes)
            }
            _ => 0,
        }
    }

    /// Write a 32-bit lane of a region; what is not there is ignored.
    pub fn write(&mut self, region: u32, index: usize, lane: usize, value: u32) {
        fn put<T>(values: &mut [T], index: usize, value: T) {
            if let Some(place) = values.get_mut(index) {
                *place = value;
            }
        }
        match region {
            region::WIDE => {
                let at = (index * 2 * self.rows + lane) * 4;
                if let Some(bytes) = self.wide.get_mut(at..at + 4) {
                    bytes.copy_from_slice(&value.to_le_bytes());
                }
            }
            region::SCALES => put(&mut self.scales, index, value as u16),
            region::STEPS => {
                if let Some(step) = self.steps.get_mut(index) {
                    step[lane] = value;
                }
            }
            region::GAINS => {
                put(&mut self.gains, 2 * index, value as i16);
                put(&mut self.gains, 2 * index + 1, (value >> 16) as i16);
            }
            region::INCREMENT => put(&mut self.increments, index, value),
            region::PHASE => put(&mut self.phases, index, value),
            region::FAR => put(&mut self.far, index, value),
            region::KEY_SCALES => put(
                &mut self.key_scales,
                index * self.rows + lane,
                value as u8 & 127,
            ),
            region::EXPONENTS => {
                let at = self.exponents_at(index) + 4 * lane;
                if let Some(bytes) = self.exponents.get_mut(at..at + 4) {
                    bytes.copy_from_slice(&value.to_le_bytes());
                }
            }
            _ => {}
        }
    }
}

fn at(words: &[u32], index: usize) -> u32 {
    words.get(index).copied().unwrap_or(0)
}
