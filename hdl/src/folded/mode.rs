//! What the machine writes with the tail's `go`: where elements come from and what scales them.

/// Nothing: the machine takes the array's sums.
pub const OFF: u32 = 0;
/// Sums; each has a row scale.
pub const ROWS: u32 = 1;
/// Sums; each has a key scale.
pub const KEYS: u32 = 2;
/// Sums as they are.
pub const SUMS: u32 = 3;
/// Elements of the vector memory.
pub const VECTOR: u32 = 4;
/// To be added: results saturate to 16 bits instead of 24.
pub const SHORT: u32 = 8;
