//! Backends of Annulus and the sessions that drive them.

pub mod cpu;
pub mod driver;
