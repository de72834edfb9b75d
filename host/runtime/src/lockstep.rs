//! Proof that backends are equal: one token at a time through all of them, and
//! every choice and every logit compared.

use crate::backend::{Backend, BackendError, Choice, Kind};
use serde::Serialize;
use std::fmt;

/// Where two backends differ first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Forward passes before it.
    pub position: usize,
    /// The token that was processed.
    pub token: u32,
    /// Index of the logit that differs; `None` where the logits are equal and the
    /// choices differ.
    pub logit: Option<usize>,
    /// A backend and its value.
    pub one: (&'static str, i64),
    /// Another and its value.
    pub other: (&'static str, i64),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at position {} (token {}) ", self.position, self.token)?;
        match self.logit {
            Some(index) => write!(f, "logit {index}")?,
            None => f.write_str("the chosen token")?,
        }
        write!(
            f,
            " is {} on {} and {} on {}",
            self.one.1, self.one.0, self.other.1, self.other.0
        )
    }
}

/// What a comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Agreement {
    /// Positions at which choice and all logits were compared.
    pub positions: usize,
    /// Logits compared.
    pub logits: u64,
    /// How often the restart token was chosen.
    pub restarts: usize,
    /// The first difference; nothing is compared after it.
    pub difference: Option<Difference>,
}

/// Run `passes` forward passes on all backends: the prompt but its last token
/// without logits, then that token and the choices that follow. Nothing stops a
/// run but a difference; without a prompt there is nothing to run. `progress` hears how many passes are done.
///
/// # Errors
/// If a backend fails.
pub fn compare(
    backends: &mut [Box<dyn Backend>],
    prompt: &[u32],
    passes: usize,
    choice: Choice,
    mut progress: impl FnMut(usize),
) -> Result<Agreement, BackendError> {
    let Some((&last, prompt)) = prompt.split_last() else {
        return Ok(Agreement::default());
    };
    let silent = prompt.len().min(passes);
    for backend in backends.iter_mut() {
        backend.set_choice(Choice {
            stop: None,
            ..choice
        })?;
        backend.reset()?;
        backend.prefill(&prompt[..silent])?;
    }
    let mut agreement = Agreement::default();
    let mut token = last;
    for position in silent..passes {
        let mut answers = Vec::with_capacity(backends.len());
        for backend in backends.iter_mut() {
            let chosen = backend.step(token)?;
            answers.push(Answer {
                kind: backend.kind(),
                chosen,
                logits: backend.logits()?,
            });
        }
        let Some((first, others)) = answers.split_first() else {
            break;
        };
        agreement.difference = others
            .iter()
            .find_map(|other| first.difference(other, position, token));
        if agreement.difference.is_some() {
            break;
        }
        agreement.positions += 1;
        agreement.logits += first.logits.len() as u64;
        agreement.restarts += usize::from(choice.restart == Some(first.chosen));
        token = first.chosen;
        progress(position + 1);
    }
    Ok(agreement)
}

/// What a backend makes of a token.
struct Answer {
    kind: Kind,
    chosen: u32,
    logits: Vec<i32>,
}

impl Answer {
    fn difference(&self, other: &Answer, position: usize, token: u32) -> Option<Difference> {
        let at = |logit, one: i64, two: i64| Difference {
            position,
            token,
            logit,
            one: (self.kind.name(), one),
            other: (other.kind.name(), two),
        };
        let logit = self
            .logits
            .iter()
            .zip(&other.logits)
            .position(|(a, b)| a != b);
        if let Some(index) = logit {
            return Some(at(
                Some(index),
                self.logits[index].into(),
                other.logits[index].into(),
            ));
        }
        (self.chosen != other.chosen).then(|| at(None, self.chosen.into(), other.chosen.into()))
    }
}
