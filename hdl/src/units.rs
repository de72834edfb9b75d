//! The units of the core, in the order in which a token meets them.

pub mod conductor;
pub mod sequencer;
pub mod scan;
pub mod memory;
pub mod operand;
pub mod array;
pub mod drain;
pub mod elements;
pub mod tail;
pub mod residual;
pub mod hidden;
pub mod rope;
pub mod heads;
pub mod rings;
pub mod scores;
pub mod mixer;
pub mod sampler;
pub mod registers;
pub mod tag;
pub mod text;
pub mod timing;
