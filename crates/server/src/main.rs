//! The `hexiao` binary.
fn main() {}
