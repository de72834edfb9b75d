//! The core's registers and memories as the link sees them.
//!
//! Behind every link (SPI slave, UART, the simulator's parallel port) lies one
//! bus of 32-bit registers with 8-bit addresses. The memories are reached
//! through [`MEM_ADDRESS`] and [`MEM_DATA`], while the core is idle.

/// What [`ID`] reads: "ANN" and the version of this register map.
pub const ID_VALUE: u32 = 0x414e_4e01;

macro_rules! registers {
    ($($(#[$doc:meta])* $name:ident = $address:expr;)*) => {
        $($(#[$doc])* pub const $name: u8 = $address;)*
        /// Every register's name and address, in the order of the map.
        pub const ALL: &[(&str, u8)] = &[$((stringify!($name), $address)),*];
    };
}

registers! {
    /// RO. [`ID_VALUE`].
    ID = 0x00;
    /// RO. Rows of the array (bits 0-7), [`feature`] bits (8-15), largest head size (16-23).
    SHAPE = 0x01;
    /// RO. Words of the wide memory.
    CAP_MEMORY = 0x02;
    /// RO. Entries of the row scales (two rows an entry).
    CAP_SCALES = 0x03;
    /// RO. Steps.
    CAP_STEPS = 0x04;
    /// RO. Entries of the key scales (`P` slots an entry).
    CAP_KEY_SCALES = 0x05;
    /// RO. Words of 8 slots in the score buffer.
    CAP_SCORES = 0x06;
    /// RO. Elements of the residual, and of the query vector padded to words (bits 0-15);
    /// elements of the hidden vector and of the attention output (bits 16-31).
    CAP_VECTOR = 0x07;
    /// RO. Symbols.
    CAP_VOCAB = 0x08;
    /// WO. [`control`] bits; each acts once.
    CONTROL = 0x09;
    /// RO. [`status`] bits.
    STATUS = 0x0a;
    /// RO. Sticky [`crate::error`] bits, cleared by [`control::RESET`].
    ERROR = 0x0b;
    /// WO. Queues an input token (bits 0-15); bit 31: nobody wants its logits.
    TOKEN_IN = 0x0c;
    /// RO. Takes the oldest chosen token: bit 31 says that there was one.
    TOKEN_OUT = 0x0d;
    /// RW. How many more times the core may feed its own choice back.
    BUDGET = 0x0e;
    /// RW. Token that ends the run when it is chosen (bits 0-15); bit 31: there is one.
    STOP = 0x0f;
    /// RW. Token that restarts position and ring when it is chosen; bit 31: there is one.
    RESTART = 0x10;
    /// RW. `IT` (u16); 0 is greedy.
    TEMPERATURE = 0x11;
    /// RW. First half of the sampler's key.
    KEY0 = 0x12;
    /// RW. Second half of the sampler's key.
    KEY1 = 0x13;
    /// RW. Samples drawn so far in this stream.
    SAMPLES = 0x14;
    /// RW. Position of the next token, low half. (The phases are in [`region::PHASE`].)
    POSITION = 0x15;
    /// RW. Position of the next token, high half.
    POSITION_HIGH = 0x16;
    /// RW. Key ring: words' groups of `P` slots in all (bits 0-15), of sinks (16-31).
    KEY_GROUPS = 0x17;
    /// RW. Key ring: slots in the last ring group (bits 0-7), in the last sink group (8-15).
    KEY_LAST = 0x18;
    /// RW. Value ring: groups of 8 slots in all (bits 0-15), of sinks (16-31).
    VALUE_GROUPS = 0x19;
    /// RW. Value ring: slots in the last ring group (bits 0-7), in the last sink group (8-15).
    VALUE_LAST = 0x1a;
    /// RW. Bit 0: every slot of the ring has been written.
    RING_STATE = 0x1d;
    /// RW. Where the next token's key goes: group (bits 0-15) and row (16-23).
    KEY_AT = 0x1e;
    /// RW. Where its value goes: group (bits 0-15) and column (16-23).
    VALUE_AT = 0x1f;
    /// RW. Norm's epsilon (`EPS`).
    EPS = 0x20;
    /// RW. Epsilon of the norm after the embedding.
    EMBEDDING_EPS = 0x21;
    /// RW. `npos - 1`, where positions are learned.
    POSITION_MASK = 0x22;
    /// RW. Head size (bits 0-7); bit 8: Hadamard; bit 9: RoPE.
    HEAD = 0x23;
    /// RW. Which word [`MEM_DATA`] reaches: index (bits 0-19), lane (20-27), [`region`] (28-31).
    MEM_ADDRESS = 0x24;
    /// RW. The addressed word. Each access moves on: lane by lane, then index by index.
    MEM_DATA = 0x25;
    /// RO. CRC-32 of every logit since it was cleared ([`crate::crc`]).
    LOGITS_CRC = 0x26;
    /// RO. Index of the largest (perturbed) logit of the last token.
    CHOICE = 0x27;
    /// RO. Cycles with a token in the core, low half.
    CYCLES = 0x28;
    /// RO. High half.
    CYCLES_HIGH = 0x29;
    /// RO. Cycles in which the array took a word, low half.
    BUSY = 0x2a;
    /// RO. High half.
    BUSY_HIGH = 0x2b;
    /// RO. Tokens done (forward passes).
    TOKENS = 0x2c;
    /// RO. Cycles by kind of step ([`crate::step::Kind`] as offset), 16 registers.
    KIND_CYCLES = 0x30;
}

/// Bits 8 to 15 of [`SHAPE`]: what this bitstream can do beyond the minimum.
pub mod feature {
    /// Attention sinks.
    pub const SINKS: u32 = 1;
    /// Hadamard rotation of queries and keys.
    pub const HADAMARD: u32 = 2;
    /// Cycle counters by kind of step.
    pub const KIND_COUNTERS: u32 = 4;
    /// Matrices of 4-bit weights.
    pub const NIBBLES: u32 = 8;
    /// Value rings of 4-bit values; with [`NIBBLES`] or not at all.
    pub const NARROW_VALUES: u32 = 16;
}

/// Bits of [`CONTROL`].
pub mod control {
    /// Empties stream, queues and errors: position 0, ring empty, sample 0, budget 0.
    pub const RESET: u32 = 1;
    /// Clears the counters.
    pub const CLEAR_COUNTERS: u32 = 2;
    /// Clears the CRC of the logits.
    pub const CLEAR_CRC: u32 = 4;
}

/// Bits of [`STATUS`].
pub mod status {
    /// A token is in the core.
    pub const BUSY: u32 = 1;
    /// The stop token was chosen.
    pub const STOPPED: u32 = 2;
    /// The queue of input tokens is full.
    pub const INPUT_FULL: u32 = 4;
    /// At least one chosen token waits in the output queue.
    pub const OUTPUT: u32 = 8;
    /// [`super::ERROR`] is not zero.
    pub const ERROR: u32 = 16;
}

/// The memories behind [`MEM_ADDRESS`], with their lanes (32-bit words an index).
pub mod region {
    /// Weights, key ring, value ring: `2 P` lanes.
    pub const WIDE: u32 = 0;
    /// Row scales: an entry of 16 bits an index.
    pub const SCALES: u32 = 1;
    /// Steps: 8 lanes.
    pub const STEPS: u32 = 2;
    /// Embedding gains: two elements an index.
    pub const GAINS: u32 = 3;
    /// RoPE phase increments.
    pub const INCREMENT: u32 = 4;
    /// RoPE phases of the next token.
    pub const PHASE: u32 = 5;
    /// Sine (low half) and cosine (high half) at position `W - 1`, for the sinks.
    pub const FAR: u32 = 6;
    /// Key scales: `P` lanes, each `e | (mu - 5) << 5`.
    pub const KEY_SCALES: u32 = 7;
    /// RO. Logits of the last token, sign-extended.
    pub const LOGITS: u32 = 8;
    /// RO. The residual: two elements an index.
    pub const RESIDUAL: u32 = 9;
    /// Exponents of 4-bit values, of cores that have them: 2 lanes beside each word of the wide
    /// memory, under its index. A byte a slot: the low nibbles' exponent below the high ones'.
    /// Words further apart than [`crate::shape::CoreShape::exponents`] share no place.
    pub const EXPONENTS: u32 = 10;

    /// Lanes of a region on a core of `rows` rows.
    pub const fn lanes(region: u32, rows: u32) -> u32 {
        match region {
            WIDE => 2 * rows,
            STEPS => 8,
            KEY_SCALES => rows,
            EXPONENTS => 2,
            _ => 1,
        }
    }

    /// The bits of a word that a region keeps: what is written to the others is not read again.
    /// None, where it can only be read.
    pub const fn kept(region: u32) -> u32 {
        match region {
            SCALES => 0xffff,
            KEY_SCALES => 0x7f,
            LOGITS | RESIDUAL => 0,
            _ => !0,
        }
    }
}

/// The value of [`MEM_ADDRESS`] for this place.
pub const fn mem_address(region: u32, index: u32, lane: u32) -> u32 {
    region << 28 | lane << 20 | index
}
