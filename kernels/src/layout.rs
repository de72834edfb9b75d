//! Where everything lies in the kernels' memory, in words of 32 bits: one list for
//! both sides. The host uses the constants, the kernels get them as a header.

/// Consecutive fields: a constant each, and a list of all with their names.
macro_rules! fields {
    ($(#[$list_doc:meta])* $list:ident, $size:ident: $($(#[$doc:meta])* $name:ident: $words:expr,)*) => {
        fields!(@ 0; $($(#[$doc])* $name: $words,)*);
        $(#[$list_doc])*
        pub const $list: &[(&str, usize)] = &[$((stringify!($name), $name),)* (stringify!($size), $size)];
        /// Words in all.
        pub const $size: usize = 0 $(+ $words)*;
    };
    (@ $at:expr; $(#[$doc:meta])* $name:ident: $words:expr, $($rest:tt)*) => {
        $(#[$doc])*
        pub const $name: usize = $at;
        fields!(@ $name + $words; $($rest)*);
    };
    (@ $at:expr;) => {};
}

fields! {
    /// A matrix: int8 rows, each filled up to a multiple of sixteen, and a word a row
    /// with its shift (but for the vector's part) above and its `mu` in the low byte.
    MATRIX, MATRIX_WORDS:
    /// Where the weights begin.
    M_WEIGHTS: 1,
    /// Where the rows' words begin.
    M_SCALES: 1,
    /// Rows.
    M_ROWS: 1,
    /// Columns over sixteen, rounded up.
    M_QUADS: 1,
    /// log2 of the lanes that share a row.
    M_LANES_LOG2: 1,
}

fields! {
    /// A layer.
    LAYER, LAYER_WORDS:
    /// Queries, keys and values, one below the other.
    L_QKV: MATRIX_WORDS,
    /// Attention's output projection.
    L_OUT: MATRIX_WORDS,
    /// Gate, or ReLU's only matrix.
    L_GATE: MATRIX_WORDS,
    /// Up; the gate once more for ReLU, never read.
    L_UP: MATRIX_WORDS,
    /// Down projection.
    L_DOWN: MATRIX_WORDS,
    /// Shift of scores but for the exponents.
    L_SCORE_SHIFT: 1,
    /// Fraction bits of the gate.
    L_GATE_BITS: 1,
    /// Shift of SwiGLU's last product.
    L_SWIGLU_SHIFT: 1,
}

fields! {
    /// The program's header. `P_AT_*` are places in the scratch memory.
    PROGRAM, PROGRAM_WORDS:
    /// Width of the residual.
    P_DIM: 1,
    /// Width of the hidden vector.
    P_HIDDEN: 1,
    /// Query heads.
    P_HEADS: 1,
    /// Key and value heads.
    P_KV_HEADS: 1,
    /// Elements a head.
    P_HEAD_SIZE: 1,
    /// Words of a head's int8.
    P_HEAD_WORDS: 1,
    /// Blocks of the model.
    P_LAYERS: 1,
    /// Slots of a ring.
    P_WINDOW: 1,
    /// Slots that are never overwritten.
    P_SINKS: 1,
    /// Words of one byte a slot.
    P_SLOT_WORDS: 1,
    /// The norm's epsilon.
    P_EPS: 1,
    /// Epsilon of the norm after the embedding; 0 for none.
    P_EMBEDDING_EPS: 1,
    /// That norm's shift, but for `k`.
    P_EMBEDDING_NORM_SHIFT: 1,
    /// Butterfly stages; 0 for no rotation.
    P_HADAMARD_STAGES: 1,
    /// Values of 4 bits.
    P_NARROW: 1,
    /// ReLU in place of SwiGLU.
    P_RELU: 1,
    /// A norm before the classifier.
    P_FINAL_NORM: 1,
    /// Fraction bits of the logits.
    P_LOGIT_BITS: 1,
    /// Learned positions, a power of two; 0 for none.
    P_POSITIONS: 1,
    /// Where a tied embedding's gains begin, int16; 0 for none.
    P_GAINS: 1,
    /// Where RoPE's increments begin; 0 for none.
    P_INCREMENTS: 1,
    /// The embedding, a matrix with scales of its own.
    P_EMBEDDING: MATRIX_WORDS,
    /// The learned positions.
    P_POSITION_TABLE: MATRIX_WORDS,
    /// The classifier.
    P_CLASSIFIER: MATRIX_WORDS,
    /// Where the layers begin.
    P_LAYER0: 1,
    /// The whole program, in sixteen bytes.
    P_QUADS: 1,
    /// The longest operand, in sixteen bytes.
    P_OPERAND_QUADS: 1,
    /// The scratch memory, in sixteen bytes.
    P_SCRATCH_QUADS: 1,
    /// Words from one stream to the next.
    P_STREAM_WORDS: 1,
    /// Where a stream's rings begin.
    P_RINGS: 1,
    /// Words of a layer's ring: keys first.
    P_RING_WORDS: 1,
    /// The keys' scales in a ring.
    P_RING_SCALES: 1,
    /// The values in a ring.
    P_RING_VALUES: 1,
    /// A stream's logits.
    P_LOGITS: 1,
    /// A stream's scratch memory, where it is not in shared memory.
    P_SCRATCH: 1,
    /// The residual.
    P_AT_X: 1,
    /// The embedding before its norm.
    P_AT_EMBEDDED: 1,
    /// Queries, then keys, then 4-bit values.
    P_AT_Q: 1,
    /// Queries as int8, then the sinks' queries.
    P_AT_QUERY: 1,
    /// Their scales.
    P_AT_QUERY_SCALE: 1,
    /// Scores, int16.
    P_AT_SCORES: 1,
    /// Probabilities, int8.
    P_AT_P: 1,
    /// The largest score of a head.
    P_AT_MAX: 1,
    /// The sum of its probabilities.
    P_AT_SUM: 1,
    /// Attention's output.
    P_AT_AO: 1,
    /// The hidden vector.
    P_AT_HIDDEN: 1,
}

fields! {
    /// A stream's state; rings, logits and scratch memory follow.
    STREAM, STATE_WORDS:
    /// Blocks that have come to the barrier.
    S_ARRIVED: 1,
    /// Barriers passed.
    S_GENERATION: 1,
    /// Whether the stop token was chosen (graphs).
    S_STOPPED: 1,
    /// Passes made (graphs).
    S_PASS: 1,
    /// Tokens that the host gave (graphs).
    S_INPUTS: 1,
    /// Tokens chosen (graphs).
    S_CHOSEN: 1,
    /// Two running choices of 64 bits.
    S_BEST: 4,
    /// The last choice.
    S_TOKEN: 1,
    /// Position of the next token.
    S_POSITION: 1,
    /// Slot of the next token.
    S_SLOT: 1,
    /// Slots that hold something.
    S_FILLED: 1,
    /// Samples drawn.
    S_SAMPLES: 1,
    /// Whether to sample; greedy if not.
    S_SAMPLING: 1,
    /// Inverse temperature.
    S_IT: 1,
    /// The key's low half.
    S_K0: 1,
    /// Its high half.
    S_K1: 1,
    /// The stop token or [`NO_TOKEN`].
    S_STOP: 1,
    /// The restart token or [`NO_TOKEN`].
    S_RESTART: 1,
}

/// The words of a stream that a graph's run begins with, all zero but for the inputs.
pub const RUN_WORDS: usize = S_BEST;
/// No token at all.
pub const NO_TOKEN: i32 = -1;
/// In place of the count of a stream's choices: the kernel did not come to its end,
/// because a block waited in vain for the others of its team.
pub const UNFINISHED: i32 = -1;
/// The scratch memory is in shared memory: for teams of one block.
pub const PLACE_SCRATCH: i32 = 1;
/// The program is copied to shared memory.
pub const PLACE_PROGRAM: i32 = 2;
/// Most threads of a block.
pub const MAX_THREADS: u32 = 512;

const _: () = assert!(S_BEST.is_multiple_of(2), "64 bits want an even place");

/// Single numbers that the kernels need.
pub const NUMBERS: &[(&str, i64)] = &[
    ("UNFINISHED", UNFINISHED as i64),
    ("PLACE_SCRATCH", PLACE_SCRATCH as i64),
    ("PLACE_PROGRAM", PLACE_PROGRAM as i64),
    ("MAX_THREADS", MAX_THREADS as i64),
];
