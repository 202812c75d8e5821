//! scar-secret-rm
fn main() {}
