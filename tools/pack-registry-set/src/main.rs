//! pack-registry-set
fn main() {}
