//! ocipush
fn main() {}
