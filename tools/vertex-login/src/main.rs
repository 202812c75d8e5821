//! vertex-login
fn main() {}
