// A token's pass: the steps of docs/architecture.md, each spread over the warps
// of a team of blocks. Steps meet in memory; between two of them lies a barrier
// of the team, or the end of a kernel.

// ---- The team -------------------------------------------------------------------

// One block's part in one pass of one stream.
struct Pass {
    const i32* program;  // the model: header, layers, matrices
    i32* stream;         // what a stream keeps: state, rings, logits
    i32* scratch;        // what steps hand to each other
    i32* timed_out;      // a word that the block shares
    int4* operand;       // the vector that the block multiplies with, shared as well
    i32 rank, team;      // this block's place among the blocks of its stream
    u32 patience;        // polls of a barrier before it gives up
    i32 position, slot, filled;
    bool sinks_apart;  // the ring has wrapped: sinks have a query of their own
};

DEVICE i32 lane_of() { return (i32)(threadIdx.x & 31); }
DEVICE i32 warp_of(const Pass& p) { return (i32)((p.rank * blockDim.x + threadIdx.x) >> 5); }
DEVICE i32 warps_of(const Pass& p) { return (i32)((p.team * blockDim.x) >> 5); }
DEVICE i32 thread_of(const Pass& p) { return (i32)(p.rank * blockDim.x + threadIdx.x); }
DEVICE i32 threads_of(const Pass& p) { return (i32)(p.team * blockDim.x); }

// Wait for all blocks of the team, but not for ever: false where one never came.
DEVICE bool team_sync(const Pass& p) {
    __syncthreads();
    if (p.team == 1) return true;
    if (threadIdx.x == 0) {
        u32* arrived = (u32*)p.stream + S_ARRIVED;
        u32* generation = (u32*)p.stream + S_GENERATION;
        u32 now = LOOK(generation), polls = 0;
        __threadfence();
        if (atomicAdd(arrived, 1u) == (u32)p.team - 1) {
            atomicExch(arrived, 0u);
            __threadfence();
            atomicAdd(generation, 1u);
        } else {
            while (LOOK(generation) == now && polls < p.patience) {
                polls++;
                YIELD();
            }
        }
        __threadfence();
        *p.timed_out = polls == p.patience;
    }
    __syncthreads();
    return !*p.timed_out;
}

// ---- Dot products -----------------------------------------------------------------

struct Matrix {
    const int4* weights;  // rows of `quads` times sixteen int8, the last filled up with zeros
    const i32* scales;    // one a row
    i32 rows, quads;
    i32 lanes_log2;  // lanes of a warp that share a row
};

DEVICE Matrix matrix_at(const i32* program, const i32* record) {
    Matrix m = {(const int4*)(program + record[M_WEIGHTS]), program + record[M_SCALES], record[M_ROWS],
                record[M_QUADS], record[M_LANES_LOG2]};
    return m;
}

// Calls `body` with a row for every lane of every warp, in step. Rows at and
// beyond `rows` come to some lanes, so that the warp stays together.
template <class Body>
DEVICE void each_row(i32 warp, i32 warps, i32 rows, i32 lanes_log2, Body body) {
    i32 rows_a_warp = 32 >> lanes_log2;
    for (i32 first = warp * rows_a_warp; first < rows; first += warps * rows_a_warp)
        body(first + (lane_of() >> lanes_log2));
}

// The first of the lanes that share a row: it has the sum and hands it on.
DEVICE bool leads_row(i32 lanes_log2) { return (lane_of() & ((1 << lanes_log2) - 1)) == 0; }

DEVICE i32 row_sum(i32 acc, i32 lanes_log2) {
    for (i32 o = 1 << lanes_log2 >> 1; o > 0; o >>= 1) acc += __shfl_xor_sync(FULL, acc, o);
    return acc;
}

DEVICE i32 dot16(int4 a, int4 b, i32 acc) {
    acc = __dp4a(a.x, b.x, acc);
    acc = __dp4a(a.y, b.y, acc);
    acc = __dp4a(a.z, b.z, acc);
    return __dp4a(a.w, b.w, acc);
}

DEVICE i32 row_dot(const Matrix& m, const int4* operand, i32 row) {
    i32 acc = 0, lanes = 1 << m.lanes_log2;
    if (row < m.rows)
        for (i32 i = lane_of() & (lanes - 1); i < m.quads; i += lanes)
            acc = dot16(m.weights[(i64)row * m.quads + i], operand[i], acc);
    return row_sum(acc, m.lanes_log2);
}

// What the output stage needs to know of the vector.
struct Operand {
    i32 r, k, e;
};

// Section 5: a vector as int8 in the block's memory; with `eps`, under its norm.
DEVICE Operand load_operand(const Pass& p, const i32* x, i32 n, u32 eps) {
    u64 squares = 0;
    u32 magnitudes = 0;
    for (i32 i = lane_of(); i < n; i += 32) {
        i32 v = x[i];
        magnitudes |= mag(v);
        squares += (u64)((i64)v * v);
    }
    Operand operand = {RSQRT_ONE, 0, block_exponent(warp_or(magnitudes))};
    if (eps) {
        Rsqrt norm = rsqrt_of(warp_sum(squares) + eps);
        operand.r = norm.r;
        operand.k = norm.k;
    }
    i32 words = (n + 15) / 16 * 4;
    for (i32 i = (i32)threadIdx.x; i < words; i += (i32)blockDim.x) {
        u32 word = 0;
        for (i32 j = 0; j < 4; j++)
            if (4 * i + j < n) word |= (u32)(u8)block_mantissa(x[4 * i + j], operand.e) << (8 * j);
        ((u32*)p.operand)[i] = word;
    }
    __syncthreads();
    return operand;
}

// Section 4: the output stage, not yet saturated.
DEVICE i64 output(i32 acc, i32 row, Operand operand) {
    i32 multiplier = (i32)rshr((i64)operand.r * row_mu(row), 3);
    return requantize(acc, multiplier, row_shift(row) + operand.k - operand.e);
}

// ---- The steps --------------------------------------------------------------------

// Section 6, step 1: the token's row, or what the norm after the embedding reads.
DEVICE void step_embed(const Pass& p, i32 token) {
    const i32* program = p.program;
    i32 dim = program[P_DIM], positions = program[P_POSITIONS];
    const i32* record = program + P_EMBEDDING;
    const i8* weights = (const i8*)(program + record[M_WEIGHTS]) + (i64)token * record[M_QUADS] * 16;
    i32 row = program[record[M_SCALES] + token];
    const i16* gains = (const i16*)(program + program[P_GAINS]);
    const i8* position_weights = weights;
    i32 position_row = 0;
    if (positions) {
        i32 at = p.position & (positions - 1);
        record = program + P_POSITION_TABLE;
        position_weights = (const i8*)(program + record[M_WEIGHTS]) + (i64)at * record[M_QUADS] * 16;
        position_row = program[record[M_SCALES] + at];
    }
    i32* x = p.scratch + program[program[P_EMBEDDING_EPS] ? P_AT_EMBEDDED : P_AT_X];
    for (i32 c = thread_of(p); c < dim; c += threads_of(p)) {
        i64 product = (i64)weights[c] * row_mu(row);
        if (program[P_GAINS]) product *= gains[c];
        i64 sum = rshr(product, row_shift(row));
        if (positions) sum += rshr((i64)position_weights[c] * row_mu(position_row), row_shift(position_row));
        x[c] = sat(sum, 16);
    }
}

DEVICE void step_embedding_norm(const Pass& p) {
    const i32* program = p.program;
    const i32* a = p.scratch + program[P_AT_EMBEDDED];
    i32* x = p.scratch + program[P_AT_X];
    i32 dim = program[P_DIM];
    u64 squares = 0;
    for (i32 c = lane_of(); c < dim; c += 32) squares += (u64)((i64)a[c] * a[c]);
    Rsqrt norm = rsqrt_of(warp_sum(squares) + (u32)program[P_EMBEDDING_EPS]);
    i32 shift = program[P_EMBEDDING_NORM_SHIFT] + norm.k;
    for (i32 c = thread_of(p); c < dim; c += threads_of(p)) x[c] = sat(rshr((i64)a[c] * norm.r, shift), 16);
}

// A layer's ring: keys by KV head and slot, their scales alike, values by KV head,
// element and slot, so that the mix is a dot product as well.
DEVICE i32* ring_of(const Pass& p, i32 layer) {
    return p.stream + p.program[P_RINGS] + (i64)layer * p.program[P_RING_WORDS];
}

DEVICE const i32* layer_of(const Pass& p, i32 layer) {
    return p.program + p.program[P_LAYER0] + layer * LAYER_WORDS;
}

DEVICE void step_qkv(const Pass& p, i32 layer) {
    const i32* program = p.program;
    i32 dim = program[P_DIM], head_size = program[P_HEAD_SIZE];
    i32 kv_dim = program[P_KV_HEADS] * head_size, value_bytes = program[P_SLOT_WORDS] * 4, slot = p.slot;
    i32* q = p.scratch + program[P_AT_Q];
    i8* values = (i8*)(ring_of(p, layer) + program[P_RING_VALUES]);
    Matrix m = matrix_at(program, layer_of(p, layer) + L_QKV);
    Operand operand = load_operand(p, p.scratch + program[P_AT_X], dim, (u32)program[P_EPS]);
    each_row(warp_of(p), warps_of(p), m.rows, m.lanes_log2, [&](i32 row) {
        i32 acc = row_dot(m, p.operand, row);
        if (!leads_row(m.lanes_log2) || row >= m.rows) return;
        i32 y = sat(output(acc, m.scales[row], operand), 16);
        i32 value = row - dim - kv_dim;
        if (value < 0 || program[P_NARROW])
            q[row] = y;  // queries, then keys; 4-bit values wait for their head's largest
        else
            values[(i64)value * value_bytes + slot] = (i8)value_mantissa(y);
    });
}

// 4-bit values of a head: the ring holds them as int8.
DEVICE void narrow_head(const Pass& p, i32 layer, i32 head) {
    const i32* program = p.program;
    i32 head_size = program[P_HEAD_SIZE], value_bytes = program[P_SLOT_WORDS] * 4, first = 2 * lane_of();
    const i32* v = p.scratch + program[P_AT_Q] + (program[P_HEADS] + program[P_KV_HEADS] + head) * head_size;
    bool mine = first < head_size;
    i32 a = mine ? v[first] : 0, b = mine ? v[first + 1] : 0;
    i32 e = narrow_exponent((u32)warp_max((i32)max(mag(a), mag(b))));
    if (!mine) return;
    i8* values = (i8*)(ring_of(p, layer) + program[P_RING_VALUES]) + (i64)(head * head_size + first) * value_bytes + p.slot;
    values[0] = (i8)narrow_value(a, e);
    values[value_bytes] = (i8)narrow_value(b, e);
}

// RoPE, Hadamard and int8 for every query and key head, a warp a head; 4-bit values.
DEVICE void step_heads(const Pass& p, i32 layer) {
    const i32* program = p.program;
    i32 heads = program[P_HEADS], kv_heads = program[P_KV_HEADS], head_size = program[P_HEAD_SIZE];
    i32 words = program[P_HEAD_WORDS], stages = program[P_HADAMARD_STAGES], window = program[P_WINDOW];
    const u32* increments = (const u32*)program + program[P_INCREMENTS];
    bool rope = program[P_INCREMENTS] != 0;
    const i32* q = p.scratch + program[P_AT_Q];
    i32* ring = ring_of(p, layer);
    i32 items = heads + kv_heads + (p.sinks_apart ? heads : 0), pair = lane_of();
    i32 narrow = program[P_NARROW] ? kv_heads : 0;

    for (i32 item = warp_of(p); item < items + narrow; item += warps_of(p)) {
        if (item >= items) {
            narrow_head(p, layer, item - items);
            continue;
        }
        bool sink = item >= heads + kv_heads;
        bool key = item >= heads && !sink;
        i32 head = sink ? item - heads - kv_heads : key ? item - heads : item;
        const i32* source = q + (key ? item : head) * head_size;
        i32 a = 0, b = 0;
        if (2 * pair < head_size) {
            a = source[2 * pair];
            b = source[2 * pair + 1];
            if (rope) rotate_pair(a, b, (u32)(sink ? window - 1 : p.position) * increments[pair]);
        }
        if (stages > 0) {
            i32 sum = a + b;
            b = a - b;
            a = sum;
            for (i32 stride = 1; stride < 1 << (stages - 1); stride *= 2) {
                i32 other_a = __shfl_xor_sync(FULL, a, stride), other_b = __shfl_xor_sync(FULL, b, stride);
                bool low = (pair & stride) == 0;
                a = low ? a + other_a : other_a - a;
                b = low ? b + other_b : other_b - b;
            }
        }
        Scale scale = bfp_scale((u32)warp_max((i32)max(mag(a), mag(b))));
        u16 both = (u16)((bfp_mantissa(a, scale) & 255) | (bfp_mantissa(b, scale) & 255) << 8);
        i32 *mantissas, *scales;
        if (key) {
            i64 at = (i64)head * window + p.slot;
            mantissas = ring + at * words;
            scales = ring + program[P_RING_SCALES] + at;
        } else {
            i32 at = (sink ? heads : 0) + head;
            mantissas = p.scratch + program[P_AT_QUERY] + at * words;
            scales = p.scratch + program[P_AT_QUERY_SCALE] + at;
        }
        if (pair < 2 * words) ((u16*)mantissas)[pair] = both;
        if (pair == 0) {
            *scales = scale.e << 8 | scale.mu;
            if (!key && !sink) {
                p.scratch[program[P_AT_MAX] + head] = -32768;
                p.scratch[program[P_AT_SUM] + head] = 0;
            }
        }
    }
}

// Section 7, whole heads a block: scores, probabilities, mix.
DEVICE void step_attention(const Pass& p, i32 layer) {
    const i32* program = p.program;
    i32 heads = program[P_HEADS], kv_heads = program[P_KV_HEADS], head_size = program[P_HEAD_SIZE];
    i32 window = program[P_WINDOW], sinks = program[P_SINKS], words = program[P_HEAD_WORDS];
    i32 slot_words = program[P_SLOT_WORDS], filled = p.filled;
    i32 score_shift = layer_of(p, layer)[L_SCORE_SHIFT];
    i32 *maxima = p.scratch + program[P_AT_MAX], *sums = p.scratch + program[P_AT_SUM];
    const i32* queries = p.scratch + program[P_AT_QUERY];
    const i32* query_scales = p.scratch + program[P_AT_QUERY_SCALE];
    i16* scores = (i16*)(p.scratch + program[P_AT_SCORES]);
    i32* probabilities = p.scratch + program[P_AT_P];
    i32* ao = p.scratch + program[P_AT_AO];
    const i32* ring = ring_of(p, layer);
    const i32* key_scales = ring + program[P_RING_SCALES];
    const i32* values = ring + program[P_RING_VALUES];
    // This block's heads are rank, rank + team, ...
    i32 mine = heads > p.rank ? (heads - p.rank - 1) / p.team + 1 : 0;
    i32 warp = (i32)threadIdx.x >> 5, warps = (i32)blockDim.x >> 5, lane = lane_of();

    // Scores, a lane a slot.
    i32 chunks = (filled + 31) / 32;
    for (i32 item = warp; item < mine * chunks; item += warps) {
        i32 head = p.rank + item / chunks * p.team, slot = item % chunks * 32 + lane;
        i32 score = -32768;
        if (slot < filled) {
            i32 query = p.sinks_apart && slot < sinks ? heads + head : head;
            i64 at = (i64)(head * kv_heads / heads) * window + slot;
            i32 acc = 0;
            for (i32 i = 0; i < words; i++) acc = __dp4a(queries[query * words + i], ring[at * words + i], acc);
            i32 qs = query_scales[query], ks = key_scales[at];
            i32 shift = score_shift - (qs >> 8) - (ks >> 8);
            score = sat(rshr((i64)acc * (qs & 255) * (ks & 255), shift), 16);
            scores[(i64)head * window + slot] = (i16)score;
        }
        score = warp_max(score);
        if (lane == 0) atomicMax(maxima + head, score);
    }
    __syncthreads();

    // Probabilities, a lane four slots.
    i32 filled_words = (filled + 3) / 4;
    chunks = (filled_words + 31) / 32;
    for (i32 item = warp; item < mine * chunks; item += warps) {
        i32 head = p.rank + item / chunks * p.team, word = item % chunks * 32 + lane;
        i32 highest = maxima[head], sum = 0;
        if (word < filled_words) {
            u32 packed = 0;
            for (i32 j = 0; j < 4; j++) {
                i32 slot = 4 * word + j;
                if (slot < filled) {
                    i32 probability = exp2p(highest - scores[(i64)head * window + slot]);
                    sum += probability;
                    packed |= (u32)probability << (8 * j);
                }
            }
            probabilities[(i64)head * slot_words + word] = (i32)packed;
        }
        sum = warp_sum(sum);
        if (lane == 0) atomicAdd(sums + head, sum);
    }
    __syncthreads();

    // The mix: rows are elements of heads, columns slots.
    i32 lanes_log2 = min(len((u32)(filled_words - 1) >> 2), 5), lanes = 1 << lanes_log2;
    i32 rows = mine * head_size;
    each_row(warp, warps, rows, lanes_log2, [&](i32 row) {
        i32 head = p.rank + row / head_size * p.team, element = row % head_size, acc = 0;
        if (row < rows) {
            const i32* v = values + ((i64)(head * kv_heads / heads) * head_size + element) * slot_words;
            const i32* probability = probabilities + (i64)head * slot_words;
            for (i32 i = lane & (lanes - 1); i < filled_words; i += lanes) acc = __dp4a(v[i], probability[i], acc);
        }
        acc = row_sum(acc, lanes_log2);
        if (!leads_row(lanes_log2) || row >= rows) return;
        Recip reciprocal = recip_of((u32)sums[head]);
        ao[head * head_size + element] = sat(requantize(acc, (i32)rshr(reciprocal.r, 1), reciprocal.z + 7), 16);
    });
}

// Rows times a plain vector, added to the residual.
DEVICE void add_to_residual(const Pass& p, const i32* record, const i32* vector, i32 n) {
    i32* x = p.scratch + p.program[P_AT_X];
    Matrix m = matrix_at(p.program, record);
    Operand operand = load_operand(p, vector, n, 0);
    each_row(warp_of(p), warps_of(p), m.rows, m.lanes_log2, [&](i32 row) {
        i32 acc = row_dot(m, p.operand, row);
        if (leads_row(m.lanes_log2) && row < m.rows)
            x[row] = sat(x[row] + output(acc, m.scales[row], operand), 16);
    });
}

DEVICE void step_out(const Pass& p, i32 layer) {
    add_to_residual(p, layer_of(p, layer) + L_OUT, p.scratch + p.program[P_AT_AO], p.program[P_DIM]);
}

// Section 8: gate and up of a unit in one go, SwiGLU or ReLU.
DEVICE void step_gate_up(const Pass& p, i32 layer) {
    const i32* program = p.program;
    const i32* record = layer_of(p, layer);
    i32* hidden = p.scratch + program[P_AT_HIDDEN];
    i32 gate_bits = record[L_GATE_BITS], shift = record[L_SWIGLU_SHIFT];
    bool relu = program[P_RELU] != 0;
    Matrix gate = matrix_at(program, record + L_GATE), up = matrix_at(program, record + L_UP);
    Operand operand = load_operand(p, p.scratch + program[P_AT_X], program[P_DIM], (u32)program[P_EPS]);
    each_row(warp_of(p), warps_of(p), gate.rows, gate.lanes_log2, [&](i32 row) {
        i32 gate_acc = row_dot(gate, p.operand, row), up_acc = relu ? 0 : row_dot(up, p.operand, row);
        if (!leads_row(gate.lanes_log2) || row >= gate.rows) return;
        i32 g = sat(output(gate_acc, gate.scales[row], operand), 16);
        if (relu)
            hidden[row] = max(g, 0);
        else
            hidden[row] = swiglu(g, sat(output(up_acc, up.scales[row], operand), 16), gate_bits, shift);
    });
}

DEVICE void step_down(const Pass& p, i32 layer) {
    add_to_residual(p, layer_of(p, layer) + L_DOWN, p.scratch + p.program[P_AT_HIDDEN], p.program[P_HIDDEN]);
}

// Where the running choice of a pass lies. Two take turns, so that one can be
// emptied while others still read the last one.
DEVICE u64* best_of(const Pass& p, u32 sample) { return (u64*)(p.stream + S_BEST) + (sample & 1); }

DEVICE void empty_best(const Pass& p, u32 sample) {
    if (thread_of(p) == 0) *best_of(p, sample) = 0;
}

// The classifier, and with it the running choice.
DEVICE void step_logits(const Pass& p, u32 sample) {
    const i32* program = p.program;
    i32* logits = p.stream + program[P_LOGITS];
    bool gumbel = p.stream[S_SAMPLING] != 0;
    u32 k0 = (u32)p.stream[S_K0], k1 = (u32)p.stream[S_K1];
    i32 it = p.stream[S_IT], logit_shift = program[P_LOGIT_BITS] - 1;
    Matrix m = matrix_at(program, program + P_CLASSIFIER);
    u32 eps = program[P_FINAL_NORM] ? (u32)program[P_EPS] : 0;
    Operand operand = load_operand(p, p.scratch + program[P_AT_X], program[P_DIM], eps);
    u64 best = 0;
    each_row(warp_of(p), warps_of(p), m.rows, m.lanes_log2, [&](i32 row) {
        i32 acc = row_dot(m, p.operand, row);
        if (!leads_row(m.lanes_log2) || row >= m.rows) return;
        i32 logit = sat(output(acc, m.scales[row], operand), 24);
        logits[row] = logit;
        i32 value = logit;
        if (gumbel) value = (i32)rshr((i64)logit * it, logit_shift) + gumbel_of(prng(k0, k1, sample, (u32)row));
        u64 offered = candidate(value, (u32)row);
        best = offered > best ? offered : best;
    });
    best = warp_max(best);
    if (lane_of() == 0 && best) atomicMax(best_of(p, sample), best);
}
