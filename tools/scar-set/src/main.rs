//! scar-set
fn main() {}
