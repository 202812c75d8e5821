//! An OCI registry: which one a reference means, who logs in, whom to trust, what the registry has, and what its refusals
//! mean.
//!
//! Invariants: a password is tried once; credentials go only to the registry's own origin, and to another token realm only
//! if the user allows it; requests to other origins carry no credentials.

mod diagnosis;
pub mod ecr;
mod fault;
pub mod login;
mod options;
mod questions;
mod reference;
mod refusal;
mod registry;
mod token;

pub use fault::Fault;
pub use options::{PushOptions, RegistryOptions};
pub use questions::{Presence, UploadSession, digest};
pub use reference::{BASE_PATH, Environment, Reference};
pub use refusal::Refusal;
pub use registry::{EXCHANGE, Registry, RegistryConfig, Scope};

/// What the fuzz targets call of this crate's own (`fuzz/README.md`).
#[cfg(fuzzing)]
pub mod fuzzing {
    pub use crate::login::fuzzing::challenge;
    pub use crate::refusal::fuzzing::refusal;
}
