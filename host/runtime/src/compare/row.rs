//! A row: what ran, and that its tokens are those of the `cpu` backend.

use super::energy::Energy;
use super::figures::{Figures, Runs};
use super::{Outcome, Row};
use crate::backend::Kind;
use std::error::Error;

pub(super) type Boxed = Box<dyn Error + Send + Sync>;

/// A row that has not run yet.
pub(super) struct Unfinished {
    backend: &'static str,
    variant: String,
    device: String,
}

pub(super) fn row(kind: Kind, variant: &str, device: String) -> Unfinished {
    Unfinished {
        backend: kind.name(),
        variant: variant.into(),
        device,
    }
}

impl Unfinished {
    pub(super) fn with(self, result: Outcome) -> Row {
        Row {
            backend: self.backend,
            variant: self.variant,
            device: self.device,
            result,
        }
    }

    pub(super) fn could_not_run(self, why: &dyn std::fmt::Display) -> Row {
        self.with(Outcome::CouldNotRun(why.to_string()))
    }

    /// The row of what was measured, if its tokens are the expected ones.
    pub(super) fn finish(
        self,
        measured: Result<(Runs, Energy), Boxed>,
        expected: &[u32],
        figures: impl FnOnce(&Runs, Energy) -> Figures,
    ) -> Row {
        let (runs, energy) = match measured {
            Ok(measured) => measured,
            Err(why) => return self.could_not_run(&why),
        };
        match first_difference(&runs.tokens, expected) {
            Some(what) => self.with(Outcome::Differs(what)),
            None => {
                let figures = figures(&runs, energy);
                self.with(Outcome::Ran(Box::new(figures)))
            }
        }
    }
}

fn first_difference(tokens: &[u32], expected: &[u32]) -> Option<String> {
    if tokens == expected {
        return None;
    }
    let at = tokens.iter().zip(expected).position(|(a, b)| a != b);
    Some(match at {
        Some(at) => format!("token {at} is {}, but {} on cpu", tokens[at], expected[at]),
        None => format!("{} tokens, but {} on cpu", tokens.len(), expected.len()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_named() {
        assert_eq!(first_difference(&[1, 2], &[1, 2]), None);
        let other = first_difference(&[1, 3], &[1, 2]).unwrap();
        assert_eq!(other, "token 1 is 3, but 2 on cpu");
        let short = first_difference(&[1], &[1, 2]).unwrap();
        assert_eq!(short, "1 tokens, but 2 on cpu");
    }
}
