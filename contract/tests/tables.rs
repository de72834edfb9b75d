//! The tables equal the normative file, and the file is the one that was agreed on.

use annulus_contract::tables::*;
use sha2::{Digest, Sha256};

const LUTS: &[u8] = include_bytes!("../../tests/vectors/luts.json");

fn stored(name: &str) -> Vec<i64> {
    let luts: serde_json::Value = serde_json::from_slice(LUTS).unwrap();
    luts[name]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_i64().unwrap())
        .collect()
}

fn widened<T: Copy + Into<i64>>(table: &[T]) -> Vec<i64> {
    table.iter().map(|&v| v.into()).collect()
}

#[test]
fn file_is_the_normative_one() {
    let digest: String = Sha256::digest(LUTS)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    assert_eq!(digest, LUTS_SHA256);
}

#[test]
fn tables_equal_the_file() {
    assert_eq!(widened(&RSQRT), stored("rsqrt"));
    assert_eq!(widened(&RECIP), stored("recip"));
    assert_eq!(widened(&SIGMOID), stored("sigmoid"));
    assert_eq!(widened(&SIN), stored("sin")[..65]);
    assert_eq!(stored("sin")[65], stored("sin")[64]);
    assert_eq!(widened(&EXP2), stored("exp2"));
    assert_eq!(widened(&GUMBEL), stored("gumbel"));
}

/// Every entry lies within half a unit of its definition. f64 is exact enough
/// to check that (53 bits against 17); `tables.py` makes them in 60 digits.
#[test]
fn tables_follow_their_definitions() {
    let near = |table: &[i64], first: usize, definition: &dyn Fn(f64) -> f64| {
        for (i, &got) in table.iter().enumerate().skip(first) {
            let want = definition(i as f64);
            assert!(
                (got as f64 - want).abs() <= 0.5 + 1e-6,
                "entry {i}: {got}, not {want}"
            );
        }
    };
    near(&widened(&RSQRT), 16, &|i| (16.0 * 2f64.powi(30) / i).sqrt());
    near(&widened(&RECIP), 0, &|i| 65536.0 * 32.0 / (32.0 + i));
    near(&widened(&SIGMOID), 0, &|i| {
        (65536.0 / (1.0 + (-i / 4.0).exp())).min(65535.0)
    });
    near(&widened(&SIN), 0, &|i| {
        16384.0 * (std::f64::consts::FRAC_PI_2 * i / 64.0).sin()
    });
    near(&widened(&EXP2), 0, &|i| 65024.0 * (-i / 32.0).exp2());
    near(&widened(&GUMBEL[..256]), 0, &|a| {
        let v = (1.0 + a % 32.0 / 32.0) * ((a / 32.0).floor() - 8.0).exp2();
        -2048.0 * (-(-v).ln_1p() / std::f64::consts::LN_2).log2()
    });
    near(&widened(&GUMBEL), 256, &|_| -2048.0 * 10f64.log2());
    near(&widened(&RC), 0, &|i| 1024.0 / (5.0 + i));
}
