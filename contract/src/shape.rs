//! The shape of a core: how wide its array is and what its memories hold.
//!
//! The generator builds a core from it, the compiler checks a model against it,
//! and a driver reads it back from the registers of the core it talks to.

use crate::regs::{self, feature};
use crate::step::COLUMNS;
use serde::{Deserialize, Serialize};

/// Rows of the array, features and capacities of a core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CoreShape {
    /// Rows of the array, `P`: 1 or an even number.
    pub rows: u32,
    /// [`feature`] bits.
    pub features: u32,
    /// Largest head size.
    pub max_head: u32,
    /// Words of `8 P` bytes in the wide memory.
    pub memory: u32,
    /// Entries of the row scales (two rows each).
    pub scales: u32,
    /// Steps, [`crate::step::Kind::End`] included.
    pub steps: u32,
    /// Entries of the key scales (`P` slots each).
    pub key_scales: u32,
    /// Words of 8 slots in the score buffer.
    pub score_words: u32,
    /// Elements of the residual, and of the query vector padded to words.
    pub residual: u32,
    /// Elements of the hidden vector, and of the attention output.
    pub hidden: u32,
    /// Symbols.
    pub vocab: u32,
}

impl CoreShape {
    /// Multipliers: weights and mantissas that meet each cycle.
    pub const fn lanes(&self) -> u32 {
        self.rows * COLUMNS as u32
    }

    /// Bytes of a word of the wide memory.
    pub const fn word_bytes(&self) -> u32 {
        self.lanes()
    }

    /// Bytes of the wide memory.
    pub const fn memory_bytes(&self) -> u64 {
        self.memory as u64 * self.word_bytes() as u64
    }

    /// Whether the core has all of these [`feature`] bits.
    pub const fn has(&self, features: u32) -> bool {
        self.features & features == features
    }

    /// This core with decoders for 4-bit weights and values: an option of the cores of two rows
    /// and more, which no preset takes. A core of one row always has them for weights, and never for values.
    pub const fn with_nibbles(self) -> CoreShape {
        let more = if self.rows > 1 {
            feature::NIBBLES | feature::NARROW_VALUES
        } else {
            feature::NIBBLES
        };
        CoreShape {
            features: self.features | more,
            ..self
        }
    }

    /// Words of 4-bit values that a core with such rings holds exponents for: a word's lie at
    /// its address modulo this, a power of two. Keys of 8 bits take twice as much memory as
    /// values of 4, so it is half of the memory.
    pub const fn exponents(&self) -> u32 {
        self.memory.next_power_of_two() / 2
    }

    /// What register [`regs::SHAPE`] reads.
    pub const fn shape_register(&self) -> u32 {
        self.rows | self.features << 8 | self.max_head << 16
    }

    /// What register [`regs::CAP_VECTOR`] reads.
    pub const fn vector_register(&self) -> u32 {
        self.residual | self.hidden << 16
    }

    /// The shape that a core's read-only registers tell: `read` reads one.
    ///
    /// # Errors
    /// The first error of `read`.
    pub fn read<E>(mut read: impl FnMut(u8) -> Result<u32, E>) -> Result<CoreShape, E> {
        let shape = read(regs::SHAPE)?;
        let vector = read(regs::CAP_VECTOR)?;
        Ok(CoreShape {
            rows: shape & 0xff,
            features: shape >> 8 & 0xff,
            max_head: shape >> 16 & 0xff,
            memory: read(regs::CAP_MEMORY)?,
            scales: read(regs::CAP_SCALES)?,
            steps: read(regs::CAP_STEPS)?,
            key_scales: read(regs::CAP_KEY_SCALES)?,
            score_words: read(regs::CAP_SCORES)?,
            residual: vector & 0xffff,
            hidden: vector >> 16,
            vocab: read(regs::CAP_VOCAB)?,
        })
    }
}

/// A shape that can be asked for by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preset {
    /// A number of lanes ("64") for a simulated core, else a board ("ulx3s").
    pub name: &'static str,
    /// What it is.
    pub shape: CoreShape,
    /// Hertz at which the board's top runs; a simulated core has no clock.
    pub clock: Option<u32>,
}

/// Name of the board with an RP2040 and an iCE40UP5K.
pub const PICO_ICE: &str = "pico-ice";
/// Name of the board with an ECP5-85F and no microcontroller.
pub const ULX3S: &str = "ulx3s";
/// Name of the board with a GW2AR-18 and no microcontroller of ours.
pub const TANG_NANO_20K: &str = "tang-nano-20k";

const ALL_FEATURES: u32 = feature::SINKS | feature::HADAMARD | feature::KIND_COUNTERS;

/// A simulated core: memories as generous as the step encoding makes useful.
const fn simulated(name: &'static str, rows: u32, memory: u32) -> Preset {
    Preset {
        name,
        shape: CoreShape {
            rows,
            features: ALL_FEATURES,
            max_head: 64,
            memory,
            scales: 16384,
            steps: 1024,
            key_scales: 32768 / rows.next_power_of_two(),
            score_words: 512,
            residual: 1024,
            hidden: 4096,
            vocab: 4096,
        },
        clock: None,
    }
}

/// The simulated cores, by lanes. All hold stories260K with a window of 512.
pub const SIMULATED: [Preset; 5] = [
    {
        // The smallest datapath leaves out what an iCE40UP5K has no room for.
        let mut preset = simulated("8", 1, 65536);
        preset.shape.features = feature::NIBBLES;
        preset.shape.max_head = 16;
        preset
    },
    simulated("16", 2, 32768),
    simulated("48", 6, 12288),
    simulated("64", 8, 8192),
    // Values of short heads fill half of each word here.
    simulated("128", 16, 8192),
];

/// The core of one row with the memories of an iCE40UP5K.
const SMALL: CoreShape = CoreShape {
    rows: 1,
    features: feature::NIBBLES,
    max_head: 16,
    memory: 16384,
    scales: 1024,
    steps: 96,
    key_scales: 1024,
    score_words: 32,
    residual: 128,
    hidden: 512,
    vocab: 256,
};

/// The cores that are built for boards.
pub const BOARDS: [Preset; 3] = [
    Preset {
        // iCE40UP5K: four SPRAMs of 32 KiB are the wide memory.
        name: PICO_ICE,
        shape: SMALL,
        clock: Some(clock::PICO_ICE),
    },
    Preset {
        // ECP5-85F: 192 of 208 block RAMs are the wide memory.
        name: ULX3S,
        shape: CoreShape {
            rows: 8,
            features: ALL_FEATURES,
            max_head: 64,
            memory: 6144,
            scales: 2048,
            steps: 256,
            key_scales: 1024,
            score_words: 256,
            residual: 256,
            hidden: 1024,
            vocab: 1024,
        },
        clock: Some(clock::ULX3S),
    },
    Preset {
        // GW2AR-18: 32 of 46 block RAMs are the wide memory.
        name: TANG_NANO_20K,
        shape: CoreShape {
            memory: 8192,
            steps: 128,
            ..SMALL
        },
        clock: Some(clock::TANG_NANO_20K),
    },
];

/// The simulated core with so many lanes.
///
/// ```
/// let core = annulus_contract::shape::with_lanes(48).unwrap();
/// assert_eq!((core.rows, core.lanes()), (6, 48));
/// assert_eq!(annulus_contract::shape::with_lanes(32), None);
/// ```
pub fn with_lanes(lanes: u32) -> Option<CoreShape> {
    let preset = SIMULATED.iter().find(|p| p.shape.lanes() == lanes)?;
    Some(preset.shape)
}

/// Hertz at which the tops of boards run: what a bitstream is routed for, what a
/// board's firmware drives, and what turns a simulated cycle into a derived second.
pub mod clock {
    /// pico-ice: a quarter of the RP2040's 125 MHz.
    pub const PICO_ICE: u32 = 31_250_000;
    /// ULX3S: the FPGA's own PLL, from 25 MHz.
    pub const ULX3S: u32 = 65_000_000;
    /// Tang Nano 20K: the board's oscillator.
    pub const TANG_NANO_20K: u32 = 27_000_000;
}

/// The clock in hertz of the board of this name.
pub fn clock_of_board(name: &str) -> Option<u32> {
    BOARDS.iter().find(|p| p.name == name)?.clock
}

/// The core of the board of this name.
pub fn of_board(name: &str) -> Option<CoreShape> {
    Some(BOARDS.iter().find(|p| p.name == name)?.shape)
}
