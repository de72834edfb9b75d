//! The steps a core runs for each token, and how they are encoded.
//!
//! A program is a list of steps in the order of the forward pass, closed by
//! [`Kind::End`]. Each step is one pass of the dot array over a memory with one
//! kind of tail behind it, in [`WORDS`] little-endian words of 32 bits. The
//! core runs the whole list once a token.
//!
//! `P` is the number of rows of the core's array (lanes / 8), [`COLUMNS`] its
//! columns. Matrices lie in the wide memory row group by row group: word
//! `group * cols + c` holds rows `group * P ..`, columns `8 c ..`; the byte of
//! row r, column j of a word is byte `8 r + j`. Rows and columns are padded with
//! zeros.
//!
//! A matrix of 4-bit weights ([`Step::nibbles`]) lies in the same rows of 64 bits, each now
//! 16 nibbles, the first in the low half of byte 0. A row group begins with a word of group
//! scales: nibble j of a row is the scale of its columns `16 j ..`; words of weights follow,
//! [`GROUP`] columns each; after [`SCALES_A_WORD`] of them comes the next word of scales.
//! The weight is nibble times scale.
//!
//! A ring of 4-bit values ([`Step::narrow`]) holds two row groups in a word, a slot's nibbles of
//! both in one byte: the row groups of a layer's heads are counted through, and the odd ones have
//! the high nibbles. Beside the word lies a byte a slot with the exponents of both nibbles
//! ([`crate::regs::region::EXPONENTS`]). The value is nibble times two to that power.

/// Columns of the array: int8 mantissas of the vector used each cycle.
pub const COLUMNS: usize = 8;

/// Columns that share a scale where weights have 4 bits: those of a word.
pub const GROUP: usize = 2 * COLUMNS;

/// Least and largest 4-bit weight, in its group's scale.
pub const NIBBLE: [i8; 2] = [-8, 7];

/// Least and largest scale of a group, in the row's scale: a weight stays an int8.
pub const GROUP_SCALE: [u8; 2] = [1, 15];

/// Group scales of a row in a word, one a word of weights.
pub const SCALES_A_WORD: usize = 16;

/// Words of a row (group) of `cols` columns: of weights, and of group scales where weights
/// have 4 bits.
///
/// ```
/// use annulus_contract::step::words_a_row;
/// assert_eq!(words_a_row(96, false), 12);
/// assert_eq!(words_a_row(96, true), 1 + 6);
/// assert_eq!(words_a_row(257, true), 2 + 17);
/// ```
pub const fn words_a_row(cols: usize, nibbles: bool) -> usize {
    if nibbles {
        let weights = cols.div_ceil(GROUP);
        weights + weights.div_ceil(SCALES_A_WORD)
    } else {
        cols.div_ceil(COLUMNS)
    }
}

/// 32-bit words of an encoded step.
pub const WORDS: usize = 8;

/// Where the fields of an encoded step lie: what [`Step::encode`] and the
/// generated hardware both go by.
pub mod field {
    /// A field of an encoded step.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Field {
        /// Its name, as the hardware spells it.
        pub name: &'static str,
        /// Lowest bit, counted from bit 0 of word 0.
        pub low: u32,
        /// Width in bits.
        pub bits: u32,
    }

    impl Field {
        /// Writes the low bits of `value` into this field of `words`.
        pub(super) const fn put(
            self,
            mut words: [u32; super::WORDS],
            value: u32,
        ) -> [u32; super::WORDS] {
            words[(self.low / 32) as usize] |= (value & self.mask()) << (self.low % 32);
            words
        }

        /// Reads this field of `words`.
        pub(super) const fn get(self, words: &[u32; super::WORDS]) -> u32 {
            words[(self.low / 32) as usize] >> (self.low % 32) & self.mask()
        }

        const fn mask(self) -> u32 {
            u32::MAX >> (32 - self.bits)
        }
    }

    macro_rules! fields {
        ($($id:ident $name:literal $word:literal $low:literal $bits:literal;)*) => {
            $(pub(super) const $id: Field = Field { name: $name, low: 32 * $word + $low, bits: $bits };)*
            /// Every field.
            pub const ALL: &[Field] = &[$($id),*];
        };
    }

    // name, word, lowest bit in it, bits; no field crosses a word
    fields! {
        KIND "kind" 0 0 4;
        WAIT "wait" 0 4 2;
        WAIT_COUNT "wait_count" 0 6 8;
        FAR_ONLY "far_only" 0 14 1;
        SKIP_ON_PREFILL "skip_on_prefill" 0 15 1;
        NORMED "normed" 0 16 1;
        RESTART_COUNTS "restart_counts" 0 17 1;
        EMBEDDING_EPS "embedding_eps" 0 18 1;
        BY_POSITION "by_position" 0 19 1;
        ADD "add" 0 20 1;
        GAINS "gains" 0 21 1;
        NIBBLES "nibbles" 0 22 1;
        NARROW "narrow" 0 23 1;
        HIGH "high" 0 24 1;
        ADDRESS "address" 1 0 20;
        HIDDEN_SHIFT "hidden_shift" 1 20 5;
        COLS "cols" 2 0 10;
        GROUPS "groups" 2 10 13;
        ROWS "rows" 3 0 14;
        STRIDE "stride" 3 16 16;
        SCALE "scale" 4 0 16;
        SHIFT "shift" 4 16 8;
        GATE_BITS "gate_bits" 4 24 4;
        RING "ring" 5 0 20;
        RING_STRIDE "ring_stride" 6 0 16;
        RING_SCALE "ring_scale" 6 16 16;
        SCORE "score" 7 0 10;
        SCORE_ID "score_id" 7 10 3;
        HEAD "head" 7 13 8;
        PAIR "pair" 7 21 10;
    }
}

/// What a step does with the sums of its dot products.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// No more steps: the token is done.
    End = 0,
    /// One row of a table, element by element, becomes (or is added to) the residual.
    Embed = 1,
    /// The residual is normalized in place (microGPT's norm after the embedding).
    Normalize = 2,
    /// Query heads: rotated, encoded, to the query buffer.
    Query = 3,
    /// Key heads: rotated, encoded, to the key ring.
    Key = 4,
    /// Value heads: encoded, to the value ring.
    Value = 5,
    /// One query head against its key ring: scores and their maximum.
    Scores = 6,
    /// One head's probabilities against its value ring: attention output.
    Mix = 7,
    /// Attention output times `wo`, added to the residual.
    Out = 8,
    /// Gate and up rows, interleaved, through SwiGLU to the hidden vector.
    GateUp = 9,
    /// Gate rows through ReLU to the hidden vector.
    Relu = 10,
    /// Hidden vector times `w2`, added to the residual.
    Down = 11,
    /// Logits, and the choice of the next token.
    Logits = 12,
}

impl Kind {
    /// Every kind, in the order of its code.
    pub const ALL: [Kind; 13] = [
        Kind::End,
        Kind::Embed,
        Kind::Normalize,
        Kind::Query,
        Kind::Key,
        Kind::Value,
        Kind::Scores,
        Kind::Mix,
        Kind::Out,
        Kind::GateUp,
        Kind::Relu,
        Kind::Down,
        Kind::Logits,
    ];

    /// The name used in reports and traces.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::End => "idle",
            Kind::Embed => "embed",
            Kind::Normalize => "normalize",
            Kind::Query => "query",
            Kind::Key => "key",
            Kind::Value => "value",
            Kind::Scores => "scores",
            Kind::Mix => "mix",
            Kind::Out => "out",
            Kind::GateUp => "gate_up",
            Kind::Relu => "relu",
            Kind::Down => "down",
            Kind::Logits => "logits",
        }
    }
}

/// What must have happened before a step may start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wait {
    /// Nothing: it follows at once.
    #[default]
    None,
    /// Every earlier step has written its last result (a vector's exponent is known).
    Drained,
    /// So many query heads of this layer are in the query buffer.
    Heads(u8),
    /// So many heads of this layer have their scores and maximum.
    Scores(u8),
}

/// A step. Fields that a kind does not use are zero.
///
/// | field | Embed | Normalize | matvec kinds | Scores | Mix |
/// | --- | --- | --- | --- | --- | --- |
/// | `address` | table | - | matrix | key ring of the KV head | value ring of the KV head |
/// | `cols` | words a row | words of the residual | words a row | words a head | - (valid slots decide) |
/// | `groups` | 1 | 1 | row groups | - (valid slots decide) | row groups a head |
/// | `rows` | `dim` | `dim` | rows | - | `head_size` |
/// | `scale` | row scales | - | row scales | key scales | - |
///
/// A row scale is one byte, `s & 63 | (mu - 5) << 6`; two rows make an entry of
/// 16 bits (the even row in the low byte) and `scale` counts entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// What the step does.
    pub kind: Kind,
    /// What it waits for.
    pub wait: Wait,
    /// Runs only when sinks are in use and the position has passed the window: the
    /// second copy of the queries, rotated at position `W - 1`.
    pub far_only: bool,
    /// Does not run for a token whose logits nobody wants.
    pub skip_on_prefill: bool,
    /// The residual's reciprocal root (`R`, `k`) multiplies the outputs.
    pub normed: bool,
    /// First step of a layer's attention: head and score counts start at 0 here.
    pub restart_counts: bool,
    /// The norm that follows this step's vector uses the embedding's epsilon.
    pub embedding_eps: bool,
    /// Embed: the row is the position's (mod `npos`), not the token's.
    pub by_position: bool,
    /// Embed: add to the residual instead of replacing it.
    pub add: bool,
    /// Embed: multiply by the table of gains (`ig`) instead of by 256.
    pub gains: bool,
    /// Matvec kinds: the matrix has 4-bit weights.
    pub nibbles: bool,
    /// Value, Mix: the ring has 4-bit values.
    pub narrow: bool,
    /// Mix, 4-bit values: the head's first row group has the high nibbles of its words.
    pub high: bool,
    /// First word in the wide memory (20 bits).
    pub address: u32,
    /// Words of 8 columns a row, of the vector that it meets (10 bits).
    pub cols: u16,
    /// Row groups (13 bits).
    pub groups: u16,
    /// Rows that count (14 bits).
    pub rows: u16,
    /// Mix, 4-bit weights: words from one row group (of 4-bit values: from one pair of them) to
    /// the next (16 bits); elsewhere it is `cols`.
    pub stride: u16,
    /// First entry of the row scales, or of the key scales (16 bits).
    pub scale: u16,
    /// Constant part of the output shift (signed 8 bits).
    pub shift: i8,
    /// SwiGLU: fraction bits of the gate (4 bits).
    pub gate_bits: u8,
    /// SwiGLU: `FG + FU - FH` (5 bits).
    pub hidden_shift: u8,
    /// Key, Value: first word of the layer's ring. (20 bits)
    pub ring: u32,
    /// Key, Value: words from one KV head to the next (16 bits); not of 4-bit values.
    pub ring_stride: u16,
    /// Key: first entry of the layer's key scales (16 bits). Value: words from one
    /// row group of a head to the next, of 4-bit values from one pair of them.
    pub ring_scale: u16,
    /// Scores, Mix: first word of the head's score buffer, 8 slots a word (10 bits).
    pub score: u16,
    /// Scores, Mix: which running maximum (0 to 7).
    pub score_id: u8,
    /// Scores: the query head (8 bits).
    pub head: u8,
    /// Mix: first element pair of the attention output. Scores: first word in the
    /// query buffer (10 bits).
    pub pair: u16,
}

impl Step {
    /// A step of this kind with every other field zero.
    pub const fn new(kind: Kind) -> Self {
        Step {
            kind,
            wait: Wait::None,
            far_only: false,
            skip_on_prefill: false,
            normed: false,
            restart_counts: false,
            embedding_eps: false,
            by_position: false,
            add: false,
            gains: false,
            nibbles: false,
            narrow: false,
            high: false,
            address: 0,
            cols: 0,
            groups: 0,
            rows: 0,
            stride: 0,
            scale: 0,
            shift: 0,
            gate_bits: 0,
            hidden_shift: 0,
            ring: 0,
            ring_stride: 0,
            ring_scale: 0,
            score: 0,
            score_id: 0,
            head: 0,
            pair: 0,
        }
    }

    /// The words the core fetches. A value too wide for its field loses its high bits;
    /// the compiler checks before.
    pub const fn encode(&self) -> [u32; WORDS] {
        let (wait, count) = match self.wait {
            Wait::None => (0, 0),
            Wait::Drained => (1, 0),
            Wait::Heads(n) => (2, n),
            Wait::Scores(n) => (3, n),
        };
        let words = [0; WORDS];
        let words = field::KIND.put(words, self.kind as u32);
        let words = field::WAIT.put(words, wait);
        let words = field::WAIT_COUNT.put(words, count as u32);
        let words = field::FAR_ONLY.put(words, self.far_only as u32);
        let words = field::SKIP_ON_PREFILL.put(words, self.skip_on_prefill as u32);
        let words = field::NORMED.put(words, self.normed as u32);
        let words = field::RESTART_COUNTS.put(words, self.restart_counts as u32);
        let words = field::EMBEDDING_EPS.put(words, self.embedding_eps as u32);
        let words = field::BY_POSITION.put(words, self.by_position as u32);
        let words = field::ADD.put(words, self.add as u32);
        let words = field::GAINS.put(words, self.gains as u32);
        let words = field::NIBBLES.put(words, self.nibbles as u32);
        let words = field::NARROW.put(words, self.narrow as u32);
        let words = field::HIGH.put(words, self.high as u32);
        let words = field::ADDRESS.put(words, self.address);
        let words = field::HIDDEN_SHIFT.put(words, self.hidden_shift as u32);
        let words = field::COLS.put(words, self.cols as u32);
        let words = field::GROUPS.put(words, self.groups as u32);
        let words = field::ROWS.put(words, self.rows as u32);
        let words = field::STRIDE.put(words, self.stride as u32);
        let words = field::SCALE.put(words, self.scale as u32);
        let words = field::SHIFT.put(words, self.shift as u8 as u32);
        let words = field::GATE_BITS.put(words, self.gate_bits as u32);
        let words = field::RING.put(words, self.ring);
        let words = field::RING_STRIDE.put(words, self.ring_stride as u32);
        let words = field::RING_SCALE.put(words, self.ring_scale as u32);
        let words = field::SCORE.put(words, self.score as u32);
        let words = field::SCORE_ID.put(words, self.score_id as u32);
        let words = field::HEAD.put(words, self.head as u32);
        field::PAIR.put(words, self.pair as u32)
    }

    /// The step that these words encode; `None` where the kind is unknown.
    pub const fn decode(words: &[u32; WORDS]) -> Option<Step> {
        let code = field::KIND.get(words) as usize;
        if code >= Kind::ALL.len() {
            return None;
        }
        let count = field::WAIT_COUNT.get(words) as u8;
        Some(Step {
            kind: Kind::ALL[code],
            wait: match field::WAIT.get(words) {
                0 => Wait::None,
                1 => Wait::Drained,
                2 => Wait::Heads(count),
                _ => Wait::Scores(count),
            },
            far_only: field::FAR_ONLY.get(words) == 1,
            skip_on_prefill: field::SKIP_ON_PREFILL.get(words) == 1,
            normed: field::NORMED.get(words) == 1,
            restart_counts: field::RESTART_COUNTS.get(words) == 1,
            embedding_eps: field::EMBEDDING_EPS.get(words) == 1,
            by_position: field::BY_POSITION.get(words) == 1,
            add: field::ADD.get(words) == 1,
            gains: field::GAINS.get(words) == 1,
            nibbles: field::NIBBLES.get(words) == 1,
            narrow: field::NARROW.get(words) == 1,
            high: field::HIGH.get(words) == 1,
            address: field::ADDRESS.get(words),
            hidden_shift: field::HIDDEN_SHIFT.get(words) as u8,
            cols: field::COLS.get(words) as u16,
            groups: field::GROUPS.get(words) as u16,
            rows: field::ROWS.get(words) as u16,
            stride: field::STRIDE.get(words) as u16,
            scale: field::SCALE.get(words) as u16,
            shift: field::SHIFT.get(words) as u8 as i8,
            gate_bits: field::GATE_BITS.get(words) as u8,
            ring: field::RING.get(words),
            ring_stride: field::RING_STRIDE.get(words) as u16,
            ring_scale: field::RING_SCALE.get(words) as u16,
            score: field::SCORE.get(words) as u16,
            score_id: field::SCORE_ID.get(words) as u8,
            head: field::HEAD.get(words) as u8,
            pair: field::PAIR.get(words) as u16,
        })
    }
}
