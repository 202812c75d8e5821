//! specman-wait
fn main() {}
