//! How far a build is, for whoever waits for it.

/// How far a build is. A design that is in the cache reports nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Another process builds the same design; waiting for it.
    Waiting,
    /// Verilator turns Verilog into C++.
    Verilating,
    /// The C++ compiler has finished `done` of `total` pieces.
    Compiling {
        /// Pieces compiled.
        done: usize,
        /// Pieces in all.
        total: usize,
    },
    /// The shared library is being linked.
    Linking,
}
