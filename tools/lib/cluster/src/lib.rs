//! The cluster as the tools see it: which one a kubeconfig means, the one client that reaches it, and the class of
//! everything that can go wrong on the way.
//!
//! Invariants: the files are read, and every mistake in them told, before anything is sent; an exec plugin gets no
//! standard input and no endless time; credentials are read anew for each request, so that a wait outlives a token; no
//! redirect is followed; TLS is this suite's own (`scar-trust`), so that a certificate which is itself the configured
//! one is trusted; kube's retry layer and its error texts are not in use.

mod access;
mod cluster;
mod connector;
mod contradiction;
mod credential;
mod error;
mod kubeconfig;
pub mod name;
mod open;
mod options;
mod plugin;
mod read;
mod refusal;
mod sender;
pub mod specman;

pub use access::Access;
pub use cluster::Cluster;
pub use error::Error;
pub use open::Opened;
pub use options::ClusterOptions;
pub use read::pause;
pub use refusal::Refusal;
pub use scar_trust::RouteOptions;
