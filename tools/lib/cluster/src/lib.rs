//! The cluster: which one a kubeconfig names, its client, and the class of each error.
//!
//! Invariants: all files are read, and all their errors reported, before anything is sent; an exec plugin gets no standard
//! input and limited time; credentials are read again for each request, because a wait outlives a token; redirects are not
//! followed; TLS is `scar-trust`'s, so that a certificate that is itself configured is trusted; kube's retries and error
//! texts are not used.

mod access;
mod cluster;
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
mod specman_options;

pub use access::Access;
pub use cluster::Cluster;
pub use error::Error;
pub use open::Opened;
pub use options::ClusterOptions;
pub use refusal::Refusal;
pub use scar_trust::RouteOptions;
pub use specman_options::SpecmanOptions;

/// What the fuzz targets call of this crate's own (`fuzz/README.md`).
#[cfg(fuzzing)]
pub mod fuzzing {
    pub use crate::kubeconfig::fuzzing::kubeconfig;
    pub use crate::plugin::fuzzing::credential;

    /// Parses the API server's refusal of a request for a log, and of the deletion of a secret.
    pub fn status(body: &[u8]) {
        for (method, path) in [("GET", "/api/v1/namespaces/n/pods/p/log"), ("DELETE", "/api/v1/namespaces/n/secrets/s")] {
            _ = crate::Refusal::read(
                http::StatusCode::FORBIDDEN,
                &scar_http::words(body),
                body,
                &crate::Access::of(method, path),
            );
        }
    }
}
