//! Backends of Annulus and the sessions that drive them.
//!
//! [`models`] opens a model and compiles it into an image, [`backend`] opens what
//! the image runs on, and the rest is what can be done with both: write text
//! ([`generate`]), prove backends equal ([`lockstep`]), count cycles ([`bench`]),
//! put all of them side by side ([`compare`]), measure quality ([`eval`]), and explore
//! all of these for many cores ([`explore`]).

pub mod backend;
pub mod bench;
pub mod compare;
pub mod cores;
pub mod cpu;
pub mod driver;
pub mod eval;
pub mod explore;
pub mod fetch;
pub mod flash;
pub mod generate;
pub mod lockstep;
pub mod models;
pub mod number;
pub mod sampling;
pub mod script;
pub mod serial;
pub mod text;

pub use annulus_contract::regs::feature;
pub use annulus_contract::shape::CoreShape;
pub use annulus_model::image::{Image, Summary};
pub use annulus_model::quant::Width;
pub use annulus_model::quantize::{Rotation, Scheme};
