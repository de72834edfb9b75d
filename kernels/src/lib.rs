//! CUDA kernels of Annulus, and the host that loads and launches them.

pub mod layout;
pub mod nvrtc;
pub mod program;
pub mod source;
