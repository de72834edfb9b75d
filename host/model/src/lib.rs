//! Models on the host: importers, tokenizers, references, quantizer, compiler.

pub mod float;
pub mod quant;
