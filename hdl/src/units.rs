//! The units of the core, in the order in which a token meets them.

pub mod array;
pub mod conductor;
pub mod drain;
pub mod elements;
pub mod heads;
pub mod hidden;
pub mod memory;
pub mod mixer;
pub mod operand;
pub mod registers;
pub mod residual;
pub mod rings;
pub mod rope;
pub mod sampler;
pub mod scan;
pub mod scores;
pub mod sequencer;
pub mod tag;
pub mod tail;
pub mod text;
pub mod timing;
