// The entry points. One kernel runs a whole stream (persistent) or many of them
// (batched, a stream a block); the others are one step each, for a CUDA graph.

// A stream's place, as it was left and as it is kept between launches.
struct Place {
    i32 position, slot, filled;
    u32 samples;
};

DEVICE Place place_of(const i32* stream) {
    Place place = {stream[S_POSITION], stream[S_SLOT], stream[S_FILLED], (u32)stream[S_SAMPLES]};
    return place;
}

DEVICE void keep_place(i32* stream, Place place) {
    stream[S_POSITION] = place.position;
    stream[S_SLOT] = place.slot;
    stream[S_FILLED] = place.filled;
    stream[S_SAMPLES] = (i32)place.samples;
}

// What a token's steps need to know of its place in the ring.
DEVICE void enter(Pass& p, Place place) {
    i32 window = p.program[P_WINDOW];
    p.position = place.position;
    p.slot = place.slot;
    p.filled = min(place.filled + 1, window);
    p.sinks_apart = p.program[P_SINKS] > 0 && place.filled == window;
}

// The place after a token whose logits nobody wanted.
DEVICE Place advanced(const Pass& p, Place place) {
    i32 next = place.slot + 1;
    place.slot = next == p.program[P_WINDOW] ? p.program[P_SINKS] : next;
    place.filled = p.filled;
    place.position++;
    return place;
}

// The place after a token, `chosen` being its successor: the restart token empties
// the ring, and the count of samples goes on.
DEVICE Place after_choice(const Pass& p, Place place, i32 chosen) {
    place = advanced(p, place);
    place.samples++;
    if (chosen == p.stream[S_RESTART]) place.position = place.slot = place.filled = 0;
    return place;
}

// A block's view of a stream. Its memory is, in order: a word of its own, the
// operand, and what `placement` puts there as well.
DEVICE Pass view(const i32* program, i32* stream, int4* shared, i32 rank, i32 team, u32 patience, i32 placement) {
    Pass p;
    p.timed_out = (i32*)shared;
    p.operand = shared + 1;
    int4* rest = p.operand + program[P_OPERAND_QUADS];
    p.scratch = stream + program[P_SCRATCH];
    if (placement & PLACE_SCRATCH) {
        p.scratch = (i32*)rest;
        rest += program[P_SCRATCH_QUADS];
    }
    p.program = program;
    if (placement & PLACE_PROGRAM) {
        i32 quads = program[P_QUADS];
        for (i32 i = (i32)threadIdx.x; i < quads; i += (i32)blockDim.x) rest[i] = ((const int4*)program)[i];
        p.program = (const i32*)rest;
        __syncthreads();
    }
    p.stream = stream;
    p.rank = rank;
    p.team = team;
    p.patience = patience;
    p.position = p.slot = p.filled = 0;
    p.sinks_apart = false;
    return p;
}

// The whole token loop, sampling included: `team` blocks a stream. Pass i takes
// input[i], or, beyond `inputs`, the last choice; the first `silent` passes have
// no logits. `output` and `clocks` have `capacity` entries a stream, of which the
// first counts the others, or is UNFINISHED.
KERNEL __launch_bounds__(MAX_THREADS)
    annulus_run(const i32* program, i32* streams, const i32* input, i32* output, u32* clocks, i32 team, i32 inputs,
                i32 passes, i32 silent, i32 capacity, u32 patience, i32 placement) {
    DYNAMIC_SHARED(shared);
    i32 index = (i32)blockIdx.x / team, rank = (i32)blockIdx.x % team;
    i32* stream = streams + (i64)index * program[P_STREAM_WORDS];
    Pass p = view(program, stream, shared, rank, team, patience, placement);
    Place place = place_of(stream);
    i32 token = stream[S_TOKEN], chosen = 0;
    bool leader = thread_of(p) == 0;
    i64 clock = clock64();
    output += (i64)index * capacity;
    clocks += (i64)index * capacity;
    if (leader) output[0] = UNFINISHED;

    for (i32 pass = 0; pass < passes; pass++) {
        enter(p, place);
        empty_best(p, place.samples);
        step_embed(p, pass < inputs ? input[pass] : token);
        if (!team_sync(p)) return;
        if (p.program[P_EMBEDDING_EPS]) {
            step_embedding_norm(p);
            if (!team_sync(p)) return;
        }
        for (i32 layer = 0; layer < p.program[P_LAYERS]; layer++) {
            step_qkv(p, layer);
            if (!team_sync(p)) return;
            step_heads(p, layer);
            if (!team_sync(p)) return;
            step_attention(p, layer);
            if (!team_sync(p)) return;
            step_out(p, layer);
            if (!team_sync(p)) return;
            step_gate_up(p, layer);
            if (!team_sync(p)) return;
            step_down(p, layer);
            if (!team_sync(p)) return;
        }
        if (pass < silent) {
            place = advanced(p, place);
            continue;
        }
        step_logits(p, place.samples);
        if (!team_sync(p)) return;
        token = candidate_index(*best_of(p, place.samples));
        if (leader) {
            i64 now = clock64();
            output[1 + chosen] = token;
            clocks[1 + chosen] = (u32)(now - clock);
            clock = now;
        }
        chosen++;
        place = after_choice(p, place, token);
        if (token == p.stream[S_STOP]) break;
    }
    if (leader) {
        keep_place(stream, place);
        stream[S_TOKEN] = token;
        output[0] = chosen;
    }
}

// ---- A step a kernel ----------------------------------------------------------------

DEVICE Pass resumed(const i32* program, i32* stream, int4* shared) {
    Pass p = view(program, stream, shared, (i32)blockIdx.x, (i32)gridDim.x, 0, 0);
    enter(p, place_of(stream));
    return p;
}

#define GRAPH_KERNEL(name, step)                                                              \
    KERNEL __launch_bounds__(MAX_THREADS) name(const i32* program, i32* stream, i32 layer) {  \
        DYNAMIC_SHARED(shared);                                                               \
        if (stream[S_STOPPED]) return;                                                        \
        Pass p = resumed(program, stream, shared);                                            \
        step(p, layer);                                                                       \
    }

GRAPH_KERNEL(annulus_qkv, step_qkv)
GRAPH_KERNEL(annulus_heads, step_heads)
GRAPH_KERNEL(annulus_attention, step_attention)
GRAPH_KERNEL(annulus_out, step_out)
GRAPH_KERNEL(annulus_gate_up, step_gate_up)
GRAPH_KERNEL(annulus_down, step_down)

KERNEL __launch_bounds__(MAX_THREADS) annulus_embed(const i32* program, i32* stream, const i32* input) {
    DYNAMIC_SHARED(shared);
    if (stream[S_STOPPED]) return;
    Pass p = resumed(program, stream, shared);
    i32 pass = stream[S_PASS];
    empty_best(p, (u32)stream[S_SAMPLES]);
    step_embed(p, pass < stream[S_INPUTS] ? input[pass] : stream[S_TOKEN]);
}

KERNEL __launch_bounds__(MAX_THREADS) annulus_embedding_norm(const i32* program, i32* stream) {
    DYNAMIC_SHARED(shared);
    if (stream[S_STOPPED]) return;
    step_embedding_norm(resumed(program, stream, shared));
}

KERNEL __launch_bounds__(MAX_THREADS) annulus_logits(const i32* program, i32* stream) {
    DYNAMIC_SHARED(shared);
    if (stream[S_STOPPED]) return;
    step_logits(resumed(program, stream, shared), (u32)stream[S_SAMPLES]);
}

// The end of a pass, with a choice or (`silent`) without: one thread's work.
KERNEL __launch_bounds__(MAX_THREADS) annulus_end(const i32* program, i32* stream, i32* output, i32 silent) {
    DYNAMIC_SHARED(shared);
    if (threadIdx.x > 0 || stream[S_STOPPED]) return;
    Pass p = resumed(program, stream, shared);
    Place place = place_of(stream);
    stream[S_PASS]++;
    output[0] = stream[S_CHOSEN];
    if (silent) {
        keep_place(stream, advanced(p, place));
        return;
    }
    i32 token = candidate_index(*best_of(p, place.samples));
    output[0] = ++stream[S_CHOSEN];
    output[stream[S_CHOSEN]] = token;
    stream[S_TOKEN] = token;
    keep_place(stream, after_choice(p, place, token));
    if (token == stream[S_STOP]) stream[S_STOPPED] = 1;
}
