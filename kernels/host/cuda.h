// CUDA on the host, as far as the kernels need it: every thread of a launch is a
// fiber of one operating system thread, and ThreadSanitizer is told what orders
// them and nothing else. A block's barrier orders the block, a fence with what
// follows it orders the grid; a shuffle orders nothing.
#pragma once

#include <cstdint>
#include <cstdlib>

#define ANNULUS_HOST
#define DEVICE static inline
#define TABLE static const
#define KERNEL extern "C" void
#define __launch_bounds__(...)
#define DYNAMIC_SHARED(name) int4* name = (int4*)emulated::shared()
#define LOOK(address) emulated::look(address)
#define YIELD() emulated::yield()

struct int4 {
    int x, y, z, w;
};

struct dim3 {
    unsigned x;
};

namespace emulated {
extern dim3 thread, block, threads, blocks;
void* shared();
void barrier();
void yield();
void fence();
unsigned look(const volatile void* address);
uint32_t shuffle(uint32_t value, int distance);
// Atomic operations, as one step; `kind`: add, exchange, maximum.
enum Atomic { ADD, EXCHANGE, MAXIMUM };
uint32_t atomic(uint32_t* at, uint32_t value, Atomic kind, bool is_signed);
uint64_t atomic(uint64_t* at, uint64_t value);
int64_t clock();
}  // namespace emulated

#define threadIdx (emulated::thread)
#define blockIdx (emulated::block)
#define blockDim (emulated::threads)
#define gridDim (emulated::blocks)

static inline void __syncthreads() { emulated::barrier(); }
static inline void __threadfence() { emulated::fence(); }
static inline int64_t clock64() { return emulated::clock(); }
static inline int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
static inline int __clzll(long long x) { return x ? __builtin_clzll((unsigned long long)x) : 64; }
static inline int min(int a, int b) { return a < b ? a : b; }
static inline int max(int a, int b) { return a > b ? a : b; }

static inline int __dp4a(int a, int b, int c) {
    uint32_t sum = (uint32_t)c;
    for (int i = 0; i < 4; i++) sum += (uint32_t)((int8_t)(a >> (8 * i)) * (int8_t)(b >> (8 * i)));
    return (int)sum;
}

static inline int __shfl_xor_sync(unsigned, int v, int d) { return (int)emulated::shuffle((uint32_t)v, d); }
static inline unsigned __shfl_xor_sync(unsigned, unsigned v, int d) { return emulated::shuffle(v, d); }
static inline unsigned long long __shfl_xor_sync(unsigned, unsigned long long v, int d) {
    uint64_t low = emulated::shuffle((uint32_t)v, d), high = emulated::shuffle((uint32_t)(v >> 32), d);
    return high << 32 | low;
}

static inline unsigned atomicAdd(unsigned* at, unsigned v) {
    return emulated::atomic(at, v, emulated::ADD, false);
}
static inline int atomicAdd(int* at, int v) {
    return (int)emulated::atomic((uint32_t*)at, (uint32_t)v, emulated::ADD, true);
}
static inline unsigned atomicExch(unsigned* at, unsigned v) {
    return emulated::atomic(at, v, emulated::EXCHANGE, false);
}
static inline int atomicMax(int* at, int v) {
    return (int)emulated::atomic((uint32_t*)at, (uint32_t)v, emulated::MAXIMUM, true);
}
static inline unsigned long long atomicMax(unsigned long long* at, unsigned long long v) {
    return emulated::atomic((uint64_t*)at, v);
}
