//! Faults planted in the kernels: the gates must catch every one of them. A faulty
//! source goes through the compiler, and its PTX through the emulator, whose tokens
//! and logits must then differ from the reference's.

mod emulator;

use annulus_kernels::device::{Device, PTX_ARCH};
use annulus_kernels::{nvrtc, source};
use emulator::{inside, odd_shapes, succeeded, Case, Folder, PLANS};

/// Name, what the source says, and what the fault makes of it.
const FAULTS: [(&str, &str, &str); 26] = [
    (
        "rounding dropped",
        "(x + ((i64)1 << (s - 1))) >> s",
        "x >> s",
    ),
    (
        "saturation one too high",
        "x > top ? top :",
        "x > top ? top + 1 :",
    ),
    (
        "magnitude of two's complement",
        "(u32)(x ^ (x >> 31))",
        "(u32)abs(x)",
    ),
    (
        "scale one step too coarse",
        "8 * (i64)magnitude <= ",
        "8 * (i64)magnitude < 7 * ",
    ),
    (
        "root truncated",
        "rsqrt_of(u64 t) {\n    i32 k = (len64(t) - 1) >> 1",
        "rsqrt_of(u64 t) {\n    i32 k = len64(t) >> 1",
    ),
    (
        "sine of the wrong quadrant",
        "if (quadrant & 1) x =",
        "if (quadrant & 2) x =",
    ),
    (
        "sigmoid not mirrored",
        "return g < 0 ? 65536 - s : s;",
        "return s;",
    ),
    (
        "probabilities doubled",
        "(d >> SCORE_BITS) + 9",
        "(d >> SCORE_BITS) + 8",
    ),
    (
        "noise of a wrong segment",
        "((n - seg) << KEY_BITS)",
        "(n << KEY_BITS)",
    ),
    (
        "ties to the highest index",
        "(0xffffffffu - index)",
        "index",
    ),
    (
        "keys of the wrong KV head",
        "i64 at = (i64)(head * kv_heads / heads) * window + slot;",
        "i64 at = (i64)(head % kv_heads) * window + slot;",
    ),
    (
        "sinks one too many",
        "p.sinks_apart && slot < sinks",
        "p.sinks_apart && slot <= sinks",
    ),
    (
        "4-bit values a step too coarse",
        "len(magnitude) - 11",
        "len(magnitude) - 10",
    ),
    (
        "4-bit values without their exponent",
        "sat(rshr(v, 8 + e), 4) * (1 << e)",
        "sat(rshr(v, 8 + e), 4)",
    ),
    ("sinks overwritten", "p.program[P_SINKS] : next", "0 : next"),
    (
        "ring never full",
        "min(place.filled + 1, window)",
        "min(place.filled + 1, window - 1)",
    ),
    (
        "restart keeps the ring",
        "place.position = place.slot = place.filled = 0",
        "place.position = 0",
    ),
    ("stop overrun", "if (token == p.stream[S_STOP]) break;", ""),
    (
        "graph does not stop",
        "if (token == stream[S_STOP]) stream[S_STOPPED] = 1;",
        "",
    ),
    ("samples not counted", "    place.samples++;\n", ""),
    (
        "Hadamard stage skipped",
        "for (i32 stride = 1; stride <",
        "for (i32 stride = 2; stride <",
    ),
    (
        "positions not wrapped",
        "p.position & (positions - 1)",
        "p.position & positions",
    ),
    (
        "maximum not reset",
        "p.scratch[program[P_AT_MAX] + head] = -32768;",
        "",
    ),
    (
        "operand without a barrier",
        "    __syncthreads();\n    return operand;",
        "    return operand;",
    ),
    (
        "probabilities without a barrier",
        "        if (lane == 0) atomicAdd(sums + head, sum);\n    }\n    __syncthreads();",
        "        if (lane == 0) atomicAdd(sums + head, sum);\n    }",
    ),
    (
        "grid barrier one block early",
        "== (u32)p.team - 1)",
        "== (u32)p.team - 2)",
    ),
];

/// A fault that needs a certain order of warps is looked for in several.
const ORDERS: [u64; 3] = [1, 2, 3];

#[test]
#[ignore = "ten minutes; ./x test --full"]
fn all_planted_faults_are_caught() {
    if !nvrtc::is_present() {
        eprintln!("SKIPPED: this test needs NVRTC: ./x test brings it (tools/cuda.txt)");
        return;
    }
    let (source, folder) = (source::source(), Folder::new("mutants"));
    let ptx = folder.file("faulty.ptx");
    // Without a fault the test passes, so that it fails for the fault alone.
    succeeded(&folder.run("chosen_cases_on_the_emulator", ORDERS[0], None));
    let mut missed = vec![];
    for (name, right, wrong) in FAULTS {
        assert!(
            source.contains(right),
            "{name}: the source no longer has {right:?}"
        );
        let faulty = source.replacen(right, wrong, 1);
        let code = nvrtc::ptx(&faulty, PTX_ARCH).unwrap_or_else(|e| panic!("{name}: {e}"));
        std::fs::write(&ptx, code).expect("a file of ours");
        let caught = ORDERS.iter().any(|&order| {
            let run = folder.run("chosen_cases_on_the_emulator", order, Some(&ptx));
            !run.status.success()
        });
        eprintln!("{name}: {}", if caught { "caught" } else { "MISSED" });
        if !caught {
            missed.push(name);
        }
    }
    assert!(missed.is_empty(), "not caught: {missed:?}");
}

/// The faults' cases: few, so that many faults can be tried.
#[test]
fn chosen_cases_on_the_emulator() {
    if !inside() {
        return;
    }
    let device = Device::open().unwrap();
    let cases = (0..8).map(Case::random).chain(odd_shapes());
    for case in cases {
        for plan in [PLANS[0], PLANS[2], PLANS[3]] {
            case.check(&device, plan);
        }
    }
}
