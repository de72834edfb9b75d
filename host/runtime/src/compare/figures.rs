//! What a row reports, and how it is made of the times of its runs.

use super::energy::Energy;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::time::Duration;

/// Hexadecimal digits of a hash that are shown.
const HASH_DIGITS: usize = 16;

/// Where a row's figures come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Evidence {
    /// Timed on the device itself.
    Measured,
    /// Cycles counted by the simulated core; nothing is said about seconds.
    Simulated,
    /// Simulated cycles over a clock that was given.
    Derived,
    /// Run on an interpreter of GPU code: tokens count, times do not.
    Emulated,
}

/// A median with its extremes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// Of at least one value; `None` of none.
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        Some(Spread {
            median: quantile(&values, 0.5)?,
            min: *values.first()?,
            max: *values.last()?,
        })
    }
}

/// The value that a share of the sorted values does not exceed.
pub(super) fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

/// What a row found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// Tokens a second of one stream.
    pub tokens_per_second: Option<Spread>,
    /// Tokens a second of all streams together, where there are several.
    pub aggregate_tokens_per_second: Option<Spread>,
    /// Streams at once.
    pub streams: usize,
    /// From an empty stream through the prompt to the first choice.
    pub first_token_us: Option<f64>,
    /// Time of a token: half of them take no longer.
    pub token_us_p50: Option<f64>,
    /// Time of a token: of a hundred, one takes longer.
    pub token_us_p99: Option<f64>,
    /// Where the times of single tokens were taken.
    pub token_clock: &'static str,
    /// Cycles of the core or of the multiprocessor.
    pub cycles_per_token: Option<f64>,
    /// Energy, or why it is not known.
    pub energy: Energy,
    /// For rows of one thread: the share of the time in which it had the processor.
    /// Well below 1, other work was in the way, and the rates are too low.
    pub processor_share: Option<f64>,
    /// Where the figures come from.
    pub evidence: Evidence,
    /// SHA-256 of the tokens of the first stream, its beginning.
    pub token_hash: String,
    /// What was chosen, such as blocks and threads.
    pub detail: String,
}

/// Times and tokens of the runs of a row.
#[derive(Default)]
pub(super) struct Runs {
    pub(super) tokens: Vec<u32>,
    /// Tokens a second, of each run.
    pub(super) rates: Vec<f64>,
    /// Seconds of single tokens, of an own run.
    pub(super) single: Vec<f64>,
    pub(super) first_token: Option<Duration>,
    pub(super) cycles_per_token: Option<f64>,
    /// Share of the runs' time in which this thread had the processor.
    pub(super) processor_share: Option<f64>,
    /// Cycles of the prompt and the first token.
    pub(super) first_cycles: Option<f64>,
    /// Cycles of single tokens.
    pub(super) cycles: Vec<f64>,
}

/// The figures that every row has.
pub(super) fn figures(runs: &Runs, energy: Energy) -> Figures {
    let single = sorted(&runs.single);
    Figures {
        tokens_per_second: Spread::of(runs.rates.clone()),
        aggregate_tokens_per_second: None,
        streams: 1,
        first_token_us: runs.first_token.map(|time| time.as_secs_f64() * 1e6),
        token_us_p50: quantile(&single, 0.5).map(|s| s * 1e6),
        token_us_p99: quantile(&single, 0.99).map(|s| s * 1e6),
        token_clock: "the host, a token at a time",
        cycles_per_token: runs.cycles_per_token,
        energy,
        processor_share: None,
        evidence: Evidence::Simulated,
        token_hash: hash(&runs.tokens),
        detail: String::new(),
    }
}

pub(super) fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

pub(super) fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

pub(super) fn hash(tokens: &[u32]) -> String {
    let mut sha = Sha256::new();
    tokens
        .iter()
        .for_each(|token| sha.update(token.to_le_bytes()));
    let mut text: String = sha.finalize().iter().map(|b| format!("{b:02x}")).collect();
    text.truncate(HASH_DIGITS);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_quantiles() {
        let spread = Spread::of(vec![3.0, 1.0, 2.0]).unwrap();
        assert_eq!((spread.median, spread.min, spread.max), (2.0, 1.0, 3.0));
        assert_eq!(Spread::of(vec![]), None);
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(quantile(&hundred, 0.99), Some(99.0));
        assert_eq!(quantile(&[7.0], 0.5), Some(7.0));
    }
}
