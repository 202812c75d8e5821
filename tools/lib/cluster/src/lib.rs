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
mod pods;
mod read;
mod sender;

pub use access::Access;
pub use cluster::Cluster;
pub use error::Error;
pub use open::Opened;
pub use options::ClusterOptions;
pub use pods::replicas;
pub use read::pause;
pub use scar_trust::RouteOptions;

use scar_tool::Failure;

/// Runs `work` to its end on this thread. Look-ups and plugins that are still under way then are left to themselves,
/// for a name server that does not answer must not hold up the end of the process.
///
/// # Errors
/// Those of `work`; exit 1 where the system gives no means to wait for network and time.
pub fn run<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::io("set up the network", &error))?;
    let result = runtime.block_on(work);
    runtime.shutdown_background();
    result
}
