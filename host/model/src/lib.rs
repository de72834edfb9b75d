//! Models on the host: importers, tokenizers, references, quantizer, compiler.

pub mod check;
pub mod compile;
pub mod config;
pub mod cycles;
pub mod eval;
pub mod float;
pub mod image;
pub mod import;
pub mod interpret;
pub mod model;
pub mod quant;
pub mod quantize;
pub mod random;
pub mod reference;
pub mod sampler;
pub mod tokenizer;
