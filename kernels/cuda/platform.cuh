// What the kernels need of a compiler. CUDA's own meaning, unless a host build
// (kernels/host) has defined another one before.

#ifndef ANNULUS_HOST
#define DYNAMIC_SHARED(name) extern __shared__ int4 name[]
#define LOOK(address) (*(volatile unsigned*)(address))
#define YIELD() ((void)0)
#define DEVICE static __device__ __forceinline__
#define TABLE static __device__ const
#define KERNEL extern "C" __global__ void
#endif

typedef signed char i8;
typedef unsigned char u8;
typedef short i16;
typedef unsigned short u16;
typedef int i32;
typedef unsigned int u32;
typedef long long i64;
typedef unsigned long long u64;

#define FULL 0xffffffffu

// Sum, OR and maximum over a warp; every lane gets the result. Integers only,
// so the order does not matter.

DEVICE i32 warp_sum(i32 v) {
    for (int o = 16; o > 0; o >>= 1) v += __shfl_xor_sync(FULL, v, o);
    return v;
}

DEVICE u64 warp_sum(u64 v) {
    for (int o = 16; o > 0; o >>= 1) v += __shfl_xor_sync(FULL, v, o);
    return v;
}

DEVICE u32 warp_or(u32 v) {
    for (int o = 16; o > 0; o >>= 1) v |= __shfl_xor_sync(FULL, v, o);
    return v;
}

DEVICE i32 warp_max(i32 v) {
    for (int o = 16; o > 0; o >>= 1) v = max(v, __shfl_xor_sync(FULL, v, o));
    return v;
}

DEVICE u64 warp_max(u64 v) {
    for (int o = 16; o > 0; o >>= 1) {
        u64 other = __shfl_xor_sync(FULL, v, o);
        v = other > v ? other : v;
    }
    return v;
}
