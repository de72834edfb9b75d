//! The CUDA path: kernels in integers only, equal to the reference bit for bit, and
//! the host that loads and launches them.
//!
//! A model is packed into a [`program::Program`], a [`device::Device`] opened, and an
//! [`engine::Engine`] runs the one on the other in one of three [`plan::Mode`]s.
//! Libraries are loaded when they are needed, so this builds everywhere; without a
//! driver every way in ends in [`device::CudaError::NoDriver`].

pub mod device;
pub mod engine;
pub mod layout;
pub mod nvrtc;
pub mod plan;
pub mod program;
pub mod search;
pub mod source;
