//! Verilog in, a running model out.
//!
//! ```no_run
//! use annulus_sim::verilated::{Build, SimError};
//!
//! # fn main() -> Result<(), SimError> {
//! let verilog = "module top(input clock, output reg [7:0] count);
//!     initial count = 0;
//!     always @(posedge clock) count <= count + 1;
//! endmodule";
//! let design = Build::new("counter", verilog).build(&mut |_| ())?;
//! let mut model = design.instance();
//! let count = model.port("count")?;
//! model.run(5);
//! assert_eq!(model.peek(count), 5);
//! # Ok(())
//! # }
//! ```
//!
//! The steps, a file each: [`Build`] asks Verilator for C++ (`toolchain`), reads the ports from
//! the header it wrote (`ports`), compiles all of it with a fixed shim of nine functions
//! (`compile`, `shim.cpp`) into a shared library kept in a cache (`cache`), and [`Design`] loads
//! that library and makes [`Model`]s of it (`model`). [`lint`] and [`Coverage`] stand beside.

mod build;
pub mod cache;
mod compile;
mod coverage;
mod error;
mod lint;
mod model;
mod ports;
mod progress;
mod toolchain;

pub use build::{Build, Trace};
pub use coverage::{Coverage, CoverageKind, CoveragePoint};
pub use error::SimError;
pub use lint::{lint, Warning};
pub use model::{Design, Model, Port};
pub use progress::Progress;
