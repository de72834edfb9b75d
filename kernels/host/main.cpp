// Runs `annulus_run` on the host: `kernels CASE SEED`. A case is a file of 32-bit
// words, written by the test that starts this (kernels/tests/sanitized.rs): the
// lengths and numbers of `Case`, then the program, the streams and the inputs. The
// tokens go to standard output; a race makes ThreadSanitizer speak up.

#include "cuda.h"

#include "annulus.cu"

#include <ucontext.h>

#include <cstdio>
#include <functional>
#include <memory>
#include <vector>

#if defined(__SANITIZE_THREAD__)
extern "C" {
void* __tsan_get_current_fiber();
void* __tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void* fiber);
void __tsan_switch_to_fiber(void* fiber, unsigned flags);
void __tsan_acquire(void* address);
void __tsan_release(void* address);
}
#define UNSEEN __attribute__((no_sanitize("thread"), noinline))
#else
static void* __tsan_get_current_fiber() { return nullptr; }
static void* __tsan_create_fiber(unsigned) { return nullptr; }
static void __tsan_destroy_fiber(void*) {}
static void __tsan_switch_to_fiber(void*, unsigned) {}
static void __tsan_acquire(void*) {}
static void __tsan_release(void*) {}
#define UNSEEN
#endif

namespace emulated {

// A switch that orders nothing.
const unsigned NO_ORDER = 1;
const size_t STACK = 256 << 10;

enum State { READY, AT_BARRIER, AT_SHUFFLE, SHUFFLED, DONE };

struct Fiber {
    ucontext_t context;
    std::unique_ptr<char[]> stack;
    void* sanitizer;
    unsigned thread, block;
    State state;
    uint32_t value;
};

dim3 thread, block, threads, blocks;
static std::vector<Fiber> fibers;
static std::vector<std::vector<int4>> memories;
static Fiber* current;
static ucontext_t scheduler;
static void* scheduler_fiber;
static std::function<void()> kernel;
static char grid_order, end_order;
static std::vector<char> block_orders;
static int64_t ticks;
static uint64_t random_state;

UNSEEN static unsigned random_below(unsigned n) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (unsigned)((random_state >> 11) % n);
}

UNSEEN static void back() {
    __tsan_switch_to_fiber(scheduler_fiber, NO_ORDER);
    swapcontext(&current->context, &scheduler);
}

UNSEEN void* shared() { return memories[current->block].data(); }

UNSEEN void barrier() {
    char* order = &block_orders[current->block];
    __tsan_release(order);
    current->state = AT_BARRIER;
    back();
    __tsan_acquire(order);
}

UNSEEN void yield() { back(); }

// A fence orders what came before it with what others do after theirs. (It is taken
// to order more than hardware does: what it cannot show is a fence too few.)
UNSEEN void fence() {
    __tsan_release(&grid_order);
    __tsan_acquire(&grid_order);
}

UNSEEN unsigned look(const volatile void* address) { return *(const volatile unsigned*)address; }

UNSEEN uint32_t shuffle(uint32_t value, int distance) {
    current->value = value;
    current->state = AT_SHUFFLE;
    back();
    Fiber* warp = current - current->thread % 32;
    uint32_t result = warp[(current->thread % 32) ^ (unsigned)distance].value;
    current->state = SHUFFLED;
    back();
    return result;
}

UNSEEN uint32_t atomic(uint32_t* at, uint32_t value, Atomic kind, bool is_signed) {
    uint32_t old = *at;
    bool larger = is_signed ? (int32_t)value > (int32_t)old : value > old;
    *at = kind == ADD ? old + value : kind == EXCHANGE || larger ? value : old;
    return old;
}

UNSEEN uint64_t atomic(uint64_t* at, uint64_t value) {
    uint64_t old = *at;
    if (value > old) *at = value;
    return old;
}

UNSEEN int64_t clock() { return ++ticks; }

UNSEEN static void enter() {
    kernel();
    __tsan_release(&end_order);
    current->state = DONE;
    back();
}

// A fiber's turn.
UNSEEN static void resume(Fiber& fiber) {
    current = &fiber;
    thread.x = fiber.thread;
    block.x = fiber.block;
    __tsan_switch_to_fiber(fiber.sanitizer, NO_ORDER);
    swapcontext(&scheduler, &fiber.context);
}

// A warp's turn, its lanes in some order; whether any of them moved.
UNSEEN static bool resume_warp(Fiber* warp) {
    bool moved = false;
    unsigned first = random_below(32);
    for (unsigned i = 0; i < 32; i++) {
        Fiber& fiber = warp[(first + i) % 32];
        if (fiber.state != READY) continue;
        resume(fiber);
        moved = true;
    }
    for (State state : {AT_SHUFFLE, SHUFFLED}) {
        unsigned waiting = 0;
        for (unsigned i = 0; i < 32; i++) waiting += warp[i].state == state;
        if (waiting < 32) continue;
        for (unsigned i = 0; i < 32; i++) warp[i].state = READY;
        moved = true;
    }
    return moved;
}

// Runs a launch; false where its threads wait for ever.
UNSEEN static bool launch(unsigned block_count, unsigned thread_count, size_t shared_bytes,
                          std::function<void()> body) {
    kernel = body;
    blocks.x = block_count;
    threads.x = thread_count;
    memories.assign(block_count, std::vector<int4>(shared_bytes / sizeof(int4), int4{-77, -77, -77, -77}));
    block_orders.assign(block_count, 0);
    fibers = std::vector<Fiber>(block_count * thread_count);
    scheduler_fiber = __tsan_get_current_fiber();
    for (size_t i = 0; i < fibers.size(); i++) {
        Fiber& fiber = fibers[i];
        fiber.stack.reset(new char[STACK]);
        fiber.sanitizer = __tsan_create_fiber(0);
        fiber.thread = (unsigned)i % thread_count;
        fiber.block = (unsigned)i / thread_count;
        fiber.state = READY;
        getcontext(&fiber.context);
        fiber.context.uc_stack = {fiber.stack.get(), 0, STACK};
        fiber.context.uc_link = nullptr;
        makecontext(&fiber.context, enter, 0);
    }
    unsigned warps = (unsigned)fibers.size() / 32;
    for (;;) {
        bool moved = false, done = true;
        unsigned first = random_below(warps);
        for (unsigned i = 0; i < warps; i++) {
            if (warps > 1 && random_below(4) == 0) {
                moved = true;  // it starves for a while
                continue;
            }
            moved |= resume_warp(&fibers[(first + i) % warps * 32]);
        }
        for (unsigned b = 0; b < block_count; b++) {
            Fiber* start = &fibers[b * thread_count];
            unsigned waiting = 0;
            for (unsigned i = 0; i < thread_count; i++) waiting += start[i].state == AT_BARRIER;
            if (waiting < thread_count) continue;
            for (unsigned i = 0; i < thread_count; i++) start[i].state = READY;
            moved = true;
        }
        for (Fiber& fiber : fibers) done &= fiber.state == DONE;
        if (done) break;
        if (!moved) return false;
    }
    __tsan_acquire(&end_order);
    for (Fiber& fiber : fibers) __tsan_destroy_fiber(fiber.sanitizer);
    return true;
}

}  // namespace emulated

struct Case {
    uint32_t program_words, stream_words, streams, inputs;
    uint32_t team, threads, shared_bytes, placement, passes, silent;
};

int main(int argc, char** argv) {
    Case c;
    FILE* file = argc == 3 ? fopen(argv[1], "rb") : nullptr;
    if (!file || fread(&c, sizeof c, 1, file) != 1) {
        fprintf(stderr, "usage: kernels CASE SEED\n");
        return 2;
    }
    emulated::random_state = strtoull(argv[2], nullptr, 10) * 0x9e3779b97f4a7c15ull | 1;
    auto read = [&](size_t words) {
        // In quads, so that places of a program are places of memory.
        std::vector<int4> quads((words + 3) / 4);
        if (words && fread(quads.data(), 4, words, file) != words) exit(2);
        return quads;
    };
    auto program = read(c.program_words), streams = read((size_t)c.stream_words * c.streams);
    auto input = read(c.inputs);
    uint32_t capacity = c.passes + 1;
    std::vector<int> output(capacity * c.streams);
    std::vector<unsigned> clocks(capacity * c.streams);
    i32 *words = (i32*)program.data(), *state = (i32*)streams.data(), *given = (i32*)input.data();
    bool ended = emulated::launch(c.streams * c.team, c.threads, c.shared_bytes, [&] {
        annulus_run(words, state, given, output.data(), clocks.data(), (i32)c.team, (i32)c.inputs, (i32)c.passes,
                    (i32)c.silent, (i32)capacity, 1u << 20, (i32)c.placement);
    });
    if (!ended) {
        fprintf(stderr, "threads wait for ever\n");
        return 3;
    }
    for (uint32_t s = 0; s < c.streams; s++) {
        const int* row = &output[s * capacity];
        if (row[0] == UNFINISHED) fprintf(stderr, "blocks waited in vain\n");
        for (i32 i = 1; i <= row[0]; i++) printf("%d ", row[i]);
        printf("\n");
    }
    return 0;
}
