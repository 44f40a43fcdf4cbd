//! The memring binary.
fn main() {}
