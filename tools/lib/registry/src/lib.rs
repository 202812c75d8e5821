//! An OCI registry as our tools speak to it: which one a reference means, who logs in to it, whom it is trusted by, and
//! requests that answer its challenge, what it has, and what its refusals mean.
//!
//! Invariants: a password is tried once; credentials go to the registry's own origin, and to a token realm elsewhere only
//! by the user's word; what is sent or fetched at another origin goes without them.

mod diagnosis;
pub mod ecr;
mod fault;
pub mod login;
mod questions;
mod reference;
mod refusal;
mod registry;
mod token;

pub use fault::Fault;
pub use questions::{Opened, Presence, digest};
pub use reference::{BASE_PATH, Named, Reference};
pub use refusal::Refusal;
pub use registry::{EXCHANGE, Registry, Scope, Terms};
