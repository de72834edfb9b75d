//! The self-test of an image: a short run with the answers it must give.

use crate::compile::CompileError;
use crate::quant::QuantModel;
use crate::reference::Reference;
use annulus_contract::crc::Crc32;
use annulus_contract::sample::greedy;

/// A prompt, the tokens that follow it greedily, and the hash of their logits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Golden {
    /// Tokens fed from position 0; only the last one's logits are wanted.
    pub prompt: Vec<u32>,
    /// Tokens chosen greedily, the first from the prompt's last logits.
    pub tokens: Vec<u32>,
    /// CRC-32 of the logits that chose them ([`annulus_contract::crc`]).
    pub crc: u32,
}

/// Tokens of the prompt.
const PROMPT: u32 = 3;
/// Tokens chosen.
const CHOSEN: usize = 13;

impl Golden {
    /// Run the reference.
    ///
    /// # Errors
    /// If it refuses the model or the window.
    pub fn of(model: &QuantModel, window: usize, sinks: usize) -> Result<Self, CompileError> {
        let refused = |error: &dyn std::error::Error| CompileError::SelfTest(error.to_string());
        let mut reference = Reference::new(model, window, sinks).map_err(|e| refused(&e))?;
        let vocab = model.vocab as u32;
        // Spread over the vocabulary, so that a missing part of a table shows.
        let prompt: Vec<u32> = (0..PROMPT)
            .map(|i| (vocab / 2 + i * vocab / PROMPT) % vocab)
            .collect();
        let (&last, rest) = prompt.split_last().expect("the prompt is not empty");
        for &token in rest {
            reference.step_silent(token).map_err(|e| refused(&e))?;
        }
        let mut crc = Crc32::new();
        let mut tokens = Vec::with_capacity(CHOSEN);
        let mut token = last;
        for _ in 0..CHOSEN {
            let logits = reference.step(token).map_err(|e| refused(&e))?;
            crc.update_logits(logits);
            token = greedy(logits);
            tokens.push(token);
        }
        Ok(Golden {
            prompt,
            tokens,
            crc: crc.value(),
        })
    }
}
