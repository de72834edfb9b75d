//! How good is a quantized model? Perplexity of it and of its float32 origin on the
//! same text, at the same window, and how far their predictions differ.

use crate::float::{FloatState, StateError};
use crate::model::Model;
use crate::reference::Reference;
use crate::tokenizer::{check_utf8, Tokenizer, TokenizerError};
use serde::Serialize;
use std::error::Error;
use thiserror::Error;

/// What separates the documents of a text.
const SEPARATOR: &str = "<|endoftext|>";

/// Anything that runs a quantized model, bit for bit: the reference, a faster engine, a core.
pub trait Engine {
    /// Forgets every token: the next one has position 0.
    fn restart(&mut self) -> Result<(), Box<dyn Error + Send + Sync>>;

    /// Feeds one token and returns the logits for the next: 24 bits, `logit_bits` of them a fraction.
    fn step(&mut self, token: u32) -> Result<&[i32], Box<dyn Error + Send + Sync>>;
}

impl Engine for Reference {
    fn restart(&mut self) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.reset();
        Ok(())
    }

    fn step(&mut self, token: u32) -> Result<&[i32], Box<dyn Error + Send + Sync>> {
        Ok(Reference::step(self, token)?)
    }
}

/// What an evaluation finds. Means are over all predicted tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Report {
    /// Documents read, the last one perhaps in part.
    pub documents: usize,
    /// Tokens predicted.
    pub tokens: usize,
    /// Mean negative log-likelihood of float32, nats.
    pub loss_f32: f64,
    /// Mean negative log-likelihood of the integers, nats.
    pub loss: f64,
    /// Mean Kullback-Leibler divergence of the integers' prediction from float32's, nats.
    pub kl: f64,
    /// Share of positions at which both rank the same token first, 0 to 1.
    pub top1: f64,
}

impl Report {
    /// Perplexity of float32.
    pub fn perplexity_f32(&self) -> f64 {
        self.loss_f32.exp()
    }

    /// Perplexity of the integers.
    pub fn perplexity(&self) -> f64 {
        self.loss.exp()
    }
}

/// Why an evaluation cannot be made.
#[derive(Debug, Error)]
pub enum EvalError {
    /// The model has no float32 weights to compare with.
    #[error("{0} holds no float32 weights to compare with: evaluate its checkpoint")]
    NoFloat(String),
    /// Nothing to predict.
    #[error("the text has no token to predict")]
    NoText,
    /// The text cannot be read.
    #[error(transparent)]
    Text(#[from] TokenizerError),
    /// A window or token that float32 refuses.
    #[error(transparent)]
    Float(#[from] StateError),
    /// The engine failed.
    #[error("the engine failed: {0}")]
    Engine(Box<dyn Error + Send + Sync>),
    /// The engine's logits are not as many as the model's symbols.
    #[error("the engine gave {found} logits for a vocabulary of {vocab}")]
    Logits {
        /// Logits that came.
        found: usize,
        /// Symbols of the model.
        vocab: usize,
    },
}

/// The documents of a text as tokens, each after a BOS.
///
/// Byte pairs: what lies between separators, without the space around it.
/// Characters: one document a line, and its end is a token to be predicted too; or,
/// where texts do not end, the text as it is.
pub fn documents(tokenizer: &Tokenizer, text: &[u8]) -> Result<Vec<Vec<u32>>, TokenizerError> {
    let text = check_utf8(text)?;
    let parts = text.split(SEPARATOR);
    let documents: Vec<&str> = match tokenizer {
        Tokenizer::Chars(chars) if chars.end().is_none() => {
            return Ok(vec![tokenizer.encode(text.as_bytes(), true)?]);
        }
        Tokenizer::Chars(_) => parts.flat_map(str::lines).collect(),
        _ => parts.collect(),
    };
    let encoded = |document: &str| {
        let mut tokens = tokenizer.encode(document.as_bytes(), true)?;
        tokens.extend(tokenizer.restart());
        Ok(tokens)
    };
    documents
        .into_iter()
        .map(str::trim)
        .filter(|d| !d.is_empty())
        .map(encoded)
        .collect()
}

/// Compares `engine`, which runs `model.quant` at `window` and `sinks`, with float32
/// on the first `limit` predictions of `text`. `progress` hears how many are done, of how many.
pub fn evaluate(
    model: &Model,
    engine: &mut dyn Engine,
    text: &[u8],
    (window, sinks): (usize, usize),
    limit: Option<usize>,
    mut progress: impl FnMut(usize, usize),
) -> Result<Report, EvalError> {
    let float = model
        .float
        .as_ref()
        .ok_or_else(|| EvalError::NoFloat(model.name.clone()))?;
    let documents = documents(&model.tokenizer, text)?;
    let available: usize = documents.iter().map(|d| d.len() - 1).sum();
    let total = available.min(limit.unwrap_or(usize::MAX));
    if total == 0 {
        return Err(EvalError::NoText);
    }
    let unit = f64::from(model.quant.logit_bits).exp2().recip();
    let mut state = FloatState::new(float, window, sinks)?;
    let mut report = Report {
        documents: 0,
        tokens: 0,
        loss_f32: 0.0,
        loss: 0.0,
        kl: 0.0,
        top1: 0.0,
    };
    for document in &documents {
        if report.tokens == total {
            break;
        }
        report.documents += 1;
        state.restart();
        engine.restart().map_err(EvalError::Engine)?;
        for pair in document.windows(2).take(total - report.tokens) {
            let truth = pair[1] as usize;
            let logits = engine.step(pair[0]).map_err(EvalError::Engine)?;
            if logits.len() != float.vocab {
                return Err(EvalError::Logits {
                    found: logits.len(),
                    vocab: float.vocab,
                });
            }
            let ours = Prediction::new(logits.iter().map(|&l| f64::from(l) * unit));
            let theirs = Prediction::new(state.step(pair[0])?.iter().map(|&l| f64::from(l)));
            report.loss -= ours.log_p[truth];
            report.loss_f32 -= theirs.log_p[truth];
            report.kl += theirs.divergence(&ours);
            report.top1 += f64::from(u8::from(ours.top == theirs.top));
            report.tokens += 1;
            progress(report.tokens, total);
        }
    }
    let tokens = report.tokens as f64;
    for mean in [
        &mut report.loss,
        &mut report.loss_f32,
        &mut report.kl,
        &mut report.top1,
    ] {
        *mean /= tokens;
    }
    Ok(report)
}

/// One reading of a text that is read again and again.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pass {
    /// Position of its first token in the stream, from 0.
    pub from: u64,
    /// Tokens predicted.
    pub tokens: u64,
    /// Mean negative log-likelihood of the integers, nats.
    pub loss: f64,
    /// The same of float32.
    pub loss_f32: f64,
}

/// Reads a text `passes` times as one stream that is never restarted: what a model
/// loses far from where it began. Documents follow one another as they are encoded.
/// `progress` hears how many tokens are done, of how many.
pub fn endure(
    model: &Model,
    engine: &mut dyn Engine,
    text: &[u8],
    (window, sinks): (usize, usize),
    passes: usize,
    mut progress: impl FnMut(usize, usize),
) -> Result<Vec<Pass>, EvalError> {
    let float = model
        .float
        .as_ref()
        .ok_or_else(|| EvalError::NoFloat(model.name.clone()))?;
    let tokens = documents(&model.tokenizer, text)?.concat();
    let (Some(&first), true) = (tokens.first(), tokens.len() > 1) else {
        return Err(EvalError::NoText);
    };
    // The token that starts streams stands before the first pass alone.
    let text = &tokens[1..];
    let total = passes * text.len();
    let unit = f64::from(model.quant.logit_bits).exp2().recip();
    let mut state = FloatState::new(float, window, sinks)?;
    engine.restart().map_err(EvalError::Engine)?;
    let mut previous = first;
    let mut found = Vec::with_capacity(passes);
    for pass in 0..passes {
        let (mut loss, mut loss_f32) = (0.0, 0.0);
        for (i, &token) in text.iter().enumerate() {
            let logits = engine.step(previous).map_err(EvalError::Engine)?;
            let ours = Prediction::new(logits.iter().map(|&l| f64::from(l) * unit));
            let theirs = Prediction::new(state.step(previous)?.iter().map(|&l| f64::from(l)));
            loss -= ours.log_p[token as usize];
            loss_f32 -= theirs.log_p[token as usize];
            previous = token;
            progress(pass * text.len() + i + 1, total);
        }
        found.push(Pass {
            from: (pass * text.len()) as u64,
            tokens: text.len() as u64,
            loss: loss / text.len() as f64,
            loss_f32: loss_f32 / text.len() as f64,
        });
    }
    Ok(found)
}

/// A distribution over the next token.
struct Prediction {
    log_p: Vec<f64>,
    /// The likeliest token, the lowest of equals.
    top: usize,
}

impl Prediction {
    fn new(logits: impl Iterator<Item = f64>) -> Self {
        let mut log_p: Vec<f64> = logits.collect();
        let (top, max) = log_p
            .iter()
            .enumerate()
            .fold((0, f64::NEG_INFINITY), |best, (i, &l)| {
                if l > best.1 {
                    (i, l)
                } else {
                    best
                }
            });
        let log_sum = max + log_p.iter().map(|l| (l - max).exp()).sum::<f64>().ln();
        log_p.iter_mut().for_each(|l| *l -= log_sum);
        Self { log_p, top }
    }

    fn divergence(&self, other: &Self) -> f64 {
        self.log_p
            .iter()
            .zip(&other.log_p)
            .map(|(p, q)| p.exp() * (p - q))
            .sum()
    }
}
