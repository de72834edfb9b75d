// docs/arithmetic.md, section by section, as the `contract` crate has it. Tables
// and constants are the contract's own: the text before this file is made of them.

// ---- 1. Primitives ------------------------------------------------------------

// Rounding shift right, halves up; a shift of zero or less is an exact shift left.
DEVICE i64 rshr(i64 x, i32 s) { return s > 0 ? (x + ((i64)1 << (s - 1))) >> s : x << -s; }

// Clamp to a signed number of `bits` bits.
DEVICE i32 sat(i64 x, i32 bits) {
    i64 top = ((i64)1 << (bits - 1)) - 1;
    return (i32)(x > top ? top : x < -top - 1 ? -top - 1 : x);
}

// Bit length.
DEVICE i32 len(u32 x) { return 32 - __clz((i32)x); }
DEVICE i32 len64(u64 x) { return 64 - __clzll((i64)x); }

// One's complement magnitude.
DEVICE u32 mag(i32 x) { return (u32)(x ^ (x >> 31)); }

// ---- 1.2 Block floating point -------------------------------------------------

struct Scale {
    i32 e, mu;
};

DEVICE i32 block_exponent(u32 magnitude) { return max(len(magnitude) - (MANTISSA_BITS - 1), 0); }

// Scale of a query or key head from its largest magnitude.
DEVICE Scale bfp_scale(u32 magnitude) {
    Scale scale = {block_exponent(magnitude), 8};
    i64 top = (1 << (MANTISSA_BITS - 1)) - 1;
    if (scale.e > 0)
        while (scale.mu > 5 && 8 * (i64)magnitude <= (scale.mu - 1) * (top << scale.e)) scale.mu--;
    return scale;
}

DEVICE i32 bfp_mantissa(i32 x, Scale scale) {
    return sat(rshr((i64)x * RC[scale.mu - 5], 7 + scale.e), MANTISSA_BITS);
}

// Mantissa of a vector between steps, whose scale is a power of two.
DEVICE i32 block_mantissa(i32 x, i32 e) { return sat(rshr(x, e), MANTISSA_BITS); }

DEVICE i32 value_mantissa(i32 v) { return sat(rshr(v, 8), 8); }

// Exponent of a head's 4-bit values from their largest magnitude, and such a value as int8.
DEVICE i32 narrow_exponent(u32 magnitude) { return max(len(magnitude) - 11, 0); }
DEVICE i32 narrow_value(i32 v, i32 e) { return sat(rshr(v, 8 + e), 4) * (1 << e); }

// ---- 2. Tables ----------------------------------------------------------------

struct Rsqrt {
    i32 r, k;
};

DEVICE Rsqrt rsqrt_of(u64 t) {
    i32 k = (len64(t) - 1) >> 1, s = 2 * k - 14;
    u32 u = (u32)(s >= 0 ? t >> s : t << -s);
    u32 i = u >> 10, f = u & 1023, here = RSQRT[i], next = RSQRT[i + 1];
    Rsqrt result = {(i32)(here - (((here - next) * f + 512) >> 10)), k};
    return result;
}

struct Recip {
    i32 r, z;
};

DEVICE Recip recip_of(u32 sum) {
    i32 z = len(sum) - 1;
    u32 u = z >= 15 ? sum >> (z - 15) : sum << (15 - z);
    u32 x = u & 0x7fff, i = x >> 10, f = x & 1023, here = RECIP[i], next = RECIP[i + 1];
    Recip result = {(i32)(here - (((here - next) * f + 512) >> 10)), z};
    return result;
}

DEVICE i32 sin_of(u32 phase) {
    u32 quadrant = phase >> 30, x = phase & (QUARTER_TURN - 1);
    if (quadrant & 1) x = QUARTER_TURN - x;
    i32 i = (i32)(x >> 24), f = (i32)(x >> 16 & 255), here = SIN[i];
    i32 v = i == 64 ? here : here + (((SIN[min(i + 1, 64)] - here) * f + 128) >> 8);
    return quadrant >= 2 ? -v : v;
}

DEVICE i32 cos_of(u32 phase) { return sin_of(phase + QUARTER_TURN); }

DEVICE i32 sigmoid_of(i32 g, i32 fraction_bits) {
    i32 shift = fraction_bits - 2, a = abs(g), i = a >> shift, f = a & ((1 << shift) - 1);
    i32 s = SIGMOID[min(i, 32)];
    if (i < 32) s += ((SIGMOID[i + 1] - s) * f + (1 << (shift - 1))) >> shift;
    return g < 0 ? 65536 - s : s;
}

DEVICE i32 exp2p(i32 d) {
    if (d >= EXP2_DEPTH) return 0;
    return (i32)rshr(EXP2[d & ((1 << SCORE_BITS) - 1)], (d >> SCORE_BITS) + 9);
}

// ---- 4. The output stage ------------------------------------------------------

// A row's constant part: its shift (but for k and e) above, its mu below.
DEVICE i32 row_shift(i32 row) { return row >> 8; }
DEVICE i32 row_mu(i32 row) { return row & 255; }

DEVICE i64 requantize(i32 acc, i32 multiplier, i32 shift) { return rshr((i64)acc * multiplier, shift); }

// ---- 6. RoPE ------------------------------------------------------------------

DEVICE void rotate_pair(i32& a, i32& b, u32 phase) {
    i64 s = sin_of(phase), c = cos_of(phase);
    i32 turned = sat(rshr(a * c - b * s, 14), 16);
    b = sat(rshr(a * s + b * c, 14), 16);
    a = turned;
}

// ---- 8. Feed-forward ----------------------------------------------------------

DEVICE i32 swiglu(i32 gate, i32 up, i32 gate_bits, i32 shift) {
    i64 silu = rshr((i64)gate * sigmoid_of(gate, gate_bits), 16);
    return sat(rshr(silu * up, shift), 16);
}

// ---- 9. Choosing a token ------------------------------------------------------

DEVICE u32 rotl(u32 x, i32 n) { return x << n | x >> (32 - n); }

DEVICE u32 prng(u32 k0, u32 k1, u32 step, u32 index) {
    u32 x = step, y = index;
    for (u32 n = 0; n < 8; n++) {
        x = rotl(x, 24) + y;
        x ^= (n & 1 ? k1 : k0) + n;
        y = rotl(y, 3) ^ x;
    }
    return y;
}

DEVICE i32 gumbel_of(u32 r) {
    u64 v = 2 * (u64)r + 1;
    i32 n = 33 - len64(v), seg = min(n, 7);
    u64 w = (v << n) & (((u64)1 << 33) - 1);
    i32 i = (i32)(w >> 27 & 31), f = (i32)(w >> 19 & 255), a = (7 - seg) * 32 + i;
    i32 here = GUMBEL[a];
    return here + (((GUMBEL[a + 1] - here) * f + 128) >> 8) + ((n - seg) << KEY_BITS);
}

// What the choice compares: the largest wins, the lowest index on ties. Never 0,
// which stands for "nothing yet".
DEVICE u64 candidate(i32 value, u32 index) { return (u64)((u32)value ^ 0x80000000u) << 32 | (0xffffffffu - index); }
DEVICE i32 candidate_index(u64 best) { return (i32)(0xffffffffu - (u32)best); }
