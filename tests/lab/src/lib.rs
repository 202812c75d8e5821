//! The rehearsal site on loopback, and with fault knobs what all tests run against. Pure Rust; it needs nothing installed.
//!
//! | module | is |
//! |---|---|
//! | [`server`] | one HTTP server on a thread of its own, stopped by dropping it |
//! | [`log`] | what it received; a request that nobody scripted fails the test |
//! | [`faults`] | what goes wrong on it, on every route |
//! | [`certs`] | an authority, a good certificate, and each kind of bad one |
//! | [`proxy`] | a forward proxy for `HTTPS_PROXY` |
//! | [`registry`] | an OCI registry with the habits of Distribution 2.8 |
//! | [`vertex`] | the VerteX System API |
//! | [`kube`] | the Kubernetes API |
//! | [`specman`] | a Specman that pulls, verifies, unpacks, logs and serves |
//! | [`site`] | all of them joined; the binary `lab` runs one in the foreground |
//!
//! # A site
//!
//! [`site::Site::start`] returns when everything listens. Its settings name everything that a tool needs, and the files
//! exist.
//!
//! ```
//! use scar_lab::site::{Site, SiteOptions};
//!
//! let site = Site::start(SiteOptions { replicas: 2, ..SiteOptions::default() });
//! for (key, value) in site.environment() {
//!     // OCI_PACK_REGISTRY, VERTEX_ENDPOINT, KUBECONFIG and so on, for the environment of a tool
//!     assert!(!key.is_empty() && !value.is_empty());
//! }
//! assert_eq!(site.state()["secret"]["present"], true);
//! assert_eq!(site.requests(), Vec::<String>::new(), "no tool ran yet");
//! ```
//!
//! # A fault
//!
//! A fault is a match, how often, and an action. Later faults get what earlier ones let through, so several form a sequence.
//! A test asserts `hits()`, because without the fault it would prove nothing.
//!
//! ```
//! use scar_lab::faults::{Action, Answer, Match, Times};
//! use scar_lab::registry::{LabRegistry, RegistryOptions};
//!
//! let registry = LabRegistry::start(RegistryOptions::default());
//! let blob = Match::put("/v2/**/blobs/uploads/*");
//! let cut = registry.faults().on(blob.clone(), Times::First(1), Action::ResetAfter(1 << 20));
//! let busy = Answer::status(503).header("retry-after", "1");
//! let busy = registry.faults().on(blob, Times::First(2), Action::Answer(busy));
//! let other = Action::set_header("location", "https://elsewhere.example/");
//! registry.faults().on(Match::post("/v2/**/blobs/uploads/"), Times::Nth(3), other);
//!
//! // run the tool against registry.authority(), then:
//! assert_eq!((cut.hits(), busy.hits()), (0, 0), "no tool ran yet");
//! ```
//!
//! # The log
//!
//! ```
//! # use std::time::Duration;
//! # use scar_lab::faults::Match;
//! # use scar_lab::registry::{LabRegistry, RegistryOptions};
//! # let registry = LabRegistry::start(RegistryOptions::default());
//! let log = registry.log();
//! assert_eq!(log.lines(), Vec::<String>::new()); // "PUT /v2/… -> 201", "-> -" where no answer was given
//! assert_eq!(log.count(&Match::put("/v2/**")), 0);
//! assert_eq!(log.body_bytes(), 0);
//! assert!(log.requests().iter().all(|request| request.header("authorization").is_none()));
//! // A tool that runs beside the test is met in its middle:
//! let begun = log.wait(Duration::ZERO, |all| all.iter().any(|request| request.body_bytes > 4096));
//! assert!(!begun, "no tool ran yet");
//! ```
//!
//! The state of a server is in the part behind it: [`registry::LabRegistry::store`], [`vertex::Vertex`], [`kube::Cluster`],
//! [`specman::Specman::served`].

// A fixture that cannot start panics, and says why: only its test can report it.
#![allow(clippy::expect_used)]

pub mod certs;
pub mod faults;
pub mod kube;
pub mod log;
#[cfg(test)]
mod probe;
pub mod proxy;
pub mod registry;
pub mod server;
pub mod site;
pub mod specman;
pub mod vertex;

use std::collections::BTreeMap;
use std::sync::Arc;

/// The destination of containers' logs: the cluster stores them and serves `pods/NAME/log`.
pub trait PodLog: Send + Sync {
    /// Appends one line, without its line ending, to the log of the pod `pod` in `hubble-system`.
    fn line(&self, pod: &str, line: &str);
}

/// The platform's access to the cluster's secrets.
pub trait Secrets: Send + Sync {
    /// Creates or replaces the secret, with a new uid.
    fn put_secret(&self, namespace: &str, name: &str, data: BTreeMap<String, Vec<u8>>);
    /// Whether it exists.
    fn has_secret(&self, namespace: &str, name: &str) -> bool;
}

/// The platform's reaction to a change of "Contains Spectro Manifests"; called after it is stored.
pub type OnFlag = Arc<dyn Fn(bool) + Send + Sync>;
