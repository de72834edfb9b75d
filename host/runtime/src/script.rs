//! What a board is to write without a host, made from an image, a prompt and a way of choosing.

use crate::generate::{prompt_tokens, GenerateError};
use crate::sampling::Sampling;
use annulus_contract::flash::Slot;
use annulus_contract::script::{Script, MAX_PROMPT, MAX_SPELLING};
use annulus_contract::wire::{Digest, Object};
use annulus_model::image::Image;

/// Why there is no script.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// The prompt or the way of sampling cannot be used.
    #[error(transparent)]
    Generate(#[from] GenerateError),
    /// A host would have to choose.
    #[error("a board without a host cannot cut its choice: leave --top-k and --top-p out")]
    NeedsHost,
    /// The prompt has too many tokens.
    #[error("the prompt has {0} tokens, and a board keeps {MAX_PROMPT} of them: shorten it")]
    Prompt(usize),
    /// The vocabulary is too large.
    #[error("the spellings of the vocabulary take {0} bytes, and a board has room for {room}", room = Slot::of(Object::Script).room())]
    Room(usize),
}

/// The script for an image as it is stored.
///
/// # Errors
/// If a board could not follow it.
pub fn script(image: &Image, prompt: &[u8], sampling: &Sampling) -> Result<Vec<u8>, ScriptError> {
    if sampling.needs_host() {
        return Err(ScriptError::NeedsHost);
    }
    let tokens = prompt_tokens(image, prompt)?;
    if tokens.len() > MAX_PROMPT {
        return Err(ScriptError::Prompt(tokens.len()));
    }
    let tokenizer = image.tokenizer.as_ref().ok_or(GenerateError::NoTokenizer)?;
    let gumbel = sampling.gumbel(image).map_err(GenerateError::from)?;
    let spelling = |previous, token| tokenizer.decode(previous, token).unwrap_or_default();
    let vocab = 0..tokenizer.vocab() as u32;
    let bos = tokenizer.bos();
    let mut spellings = Vec::new();
    for token in vocab.clone() {
        let spelling = spelling(None, token);
        let spelling = spelling.get(..MAX_SPELLING).unwrap_or(spelling);
        spellings.push(spelling.len() as u8);
        spellings.extend(spelling);
    }
    let bare = |token| spelling(Some(bos), token) != spelling(None, token);
    // Tokens of a core have 16 bits.
    let short = |token: u32| token as u16;
    let script = Script {
        image: Digest::of(&image.to_bytes()),
        it: gumbel.map_or(0, |gumbel| gumbel.it),
        key: sampling.seed,
        stop: image.special.stop.map(short),
        restart: image.special.restart.map(short),
        bare_after: vocab.clone().any(bare).then_some(short(bos)),
        prompt: &words(&tokens),
        spellings: &spellings,
    };
    let mut bytes = vec![0; Slot::of(Object::Script).room()];
    let length = postcard::to_slice(&script, &mut bytes).map(|bytes| bytes.len());
    bytes.truncate(length.map_err(|_| ScriptError::Room(spellings.len()))?);
    Ok(bytes)
}

fn words(tokens: &[u32]) -> Vec<u8> {
    let bytes = tokens.iter().map(|&token| (token as u16).to_le_bytes());
    bytes.flatten().collect()
}
