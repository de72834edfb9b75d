//! What is particular to a board.

pub mod ulx3s;
