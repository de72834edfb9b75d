//! Trains the models that Annulus ships.
fn main() {}
