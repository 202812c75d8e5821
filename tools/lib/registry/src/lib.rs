//! An OCI registry as our tools speak to it: which one a reference means, who logs in to it, whom it is trusted by, and
//! requests that answer its challenge.
//!
//! Invariants: a password is tried once; credentials go to the registry's own origin, and to a token realm elsewhere only
//! by the user's word; what is sent or fetched at another origin goes without them.

pub mod ecr;
pub mod login;
mod reference;
mod registry;
mod token;

pub use reference::{BASE_PATH, Named, Reference};
pub use registry::{EXCHANGE, Fault, Registry, Scope, Terms};
