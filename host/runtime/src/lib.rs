//! Backends of Annulus and the sessions that drive them.
//!
//! [`models`] opens a model and compiles it into an image, [`backend`] opens what
//! the image runs on, and the rest is what can be done with both: write text
//! ([`generate`]), prove backends equal ([`lockstep`]), count cycles ([`bench`]),
//! measure quality ([`eval`]).

pub mod backend;
pub mod bench;
pub mod cores;
pub mod cpu;
pub mod driver;
pub mod eval;
pub mod fetch;
pub mod generate;
pub mod lockstep;
pub mod models;
pub mod sampling;
pub mod text;

pub use annulus_contract::regs::feature;
pub use annulus_contract::shape::CoreShape;
pub use annulus_model::image::{Image, Summary};
