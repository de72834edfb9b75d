//! A `libcuda.so.1` for tests: the CUDA driver's interface, with a machine behind
//! it that interprets PTX on the CPU.
//!
//! Built as a shared library it takes the driver's place in a process that was
//! started with its folder in `LD_LIBRARY_PATH`, so that the host's code runs as it
//! is. The integer part of PTX is there, with shared memory, barriers, shuffles,
//! atomics, cooperative launches, streams and captured graphs. Every access is
//! checked for bounds and alignment, memory begins as garbage, and the order in
//! which warps run is drawn from `ANNULUS_EMULATOR_SEED`, some of them starving.
//!
//! What it cannot show: weak memory ordering, faults of NVIDIA's assembler, time.

pub mod driver;
pub mod machine;
pub mod memory;
pub mod ptx;
