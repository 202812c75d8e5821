//! mkmanifests
fn main() {}
