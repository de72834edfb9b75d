//! The kernels' source: a header made of the contract's tables and of the layout,
//! and the files of `kernels/cuda` behind it, as one text for any compiler.

use crate::layout;
use annulus_contract::{block, exp2, rsqrt::Rsqrt, sample, tables, trig};
use std::fmt::{Display, Write};

/// The files in the order in which they need each other.
const PARTS: [(&str, &str); 4] = [
    ("platform.cuh", include_str!("../cuda/platform.cuh")),
    ("arithmetic.cuh", include_str!("../cuda/arithmetic.cuh")),
    ("steps.cuh", include_str!("../cuda/steps.cuh")),
    ("kernels.cu", include_str!("../cuda/kernels.cu")),
];

/// Names of the kernels, as a driver finds them.
pub const KERNELS: [&str; 11] = [
    "annulus_run",
    "annulus_embed",
    "annulus_embedding_norm",
    "annulus_qkv",
    "annulus_heads",
    "annulus_attention",
    "annulus_out",
    "annulus_gate_up",
    "annulus_down",
    "annulus_logits",
    "annulus_end",
];

/// The whole source.
pub fn source() -> String {
    let (platform, rest) = (PARTS[0], &PARTS[1..]);
    let mut text = String::new();
    part(&mut text, platform.0, platform.1);
    part(&mut text, "contract", &header());
    for (name, source) in rest {
        part(&mut text, name, source);
    }
    text
}

fn part(text: &mut String, name: &str, source: &str) {
    let _ = write!(text, "#line 1 \"{name}\"\n{source}\n");
}

/// Tables, constants and places.
fn header() -> String {
    let mut text = String::new();
    let fields = [
        layout::MATRIX,
        layout::LAYER,
        layout::PROGRAM,
        layout::STREAM,
    ];
    for (name, at) in fields.into_iter().flatten() {
        define(&mut text, name, at);
    }
    for (name, number) in layout::NUMBERS {
        define(&mut text, name, number);
    }
    define(&mut text, "MANTISSA_BITS", block::MANTISSA_BITS as i32);
    define(&mut text, "SCORE_BITS", exp2::SCORE_BITS as i32);
    define(&mut text, "EXP2_DEPTH", exp2::DEPTH as i32);
    define(&mut text, "KEY_BITS", sample::KEY_BITS as i32);
    define(&mut text, "RSQRT_ONE", Rsqrt::ONE.r);
    define(
        &mut text,
        "QUARTER_TURN",
        format!("{}u", trig::QUARTER_TURN),
    );
    table(&mut text, "u8", "RC", &tables::RC);
    table(&mut text, "u16", "RSQRT", &tables::RSQRT);
    table(&mut text, "u32", "RECIP", &tables::RECIP);
    table(&mut text, "u16", "SIGMOID", &tables::SIGMOID);
    table(&mut text, "u16", "SIN", &tables::SIN);
    table(&mut text, "u16", "EXP2", &tables::EXP2);
    table(&mut text, "i16", "GUMBEL", &tables::GUMBEL);
    text
}

fn define(text: &mut String, name: &str, value: impl Display) {
    let _ = writeln!(text, "#define {name} {value}");
}

fn table(text: &mut String, kind: &str, name: &str, values: &[impl Display]) {
    let _ = write!(text, "TABLE {kind} {name}[{}] = {{", values.len());
    for value in values {
        let _ = write!(text, "{value},");
    }
    text.push_str("};\n");
}
