//! The rehearsal site on loopback, and with fault knobs what all tests run against.

// A rig that cannot start has nobody to report to but the test that started it: it panics, and says what it wanted.
#![allow(clippy::expect_used)]

pub mod certs;
pub mod faults;
pub mod kube;
pub mod log;
#[cfg(test)]
mod probe;
pub mod registry;
pub mod server;
pub mod site;
pub mod specman;
pub mod vertex;

use std::collections::BTreeMap;
use std::sync::Arc;

/// Where containers write their log: the cluster keeps it and serves it as `pods/NAME/log`.
pub trait PodLog: Send + Sync {
    /// Appends one line, without its line ending, to the log of the pod `pod` in `hubble-system`.
    fn line(&self, pod: &str, line: &str);
}

/// The cluster's secrets, as the platform handles them.
pub trait Secrets: Send + Sync {
    /// Makes the secret, with a new uid, in place of one that is there.
    fn put_secret(&self, namespace: &str, name: &str, data: BTreeMap<String, Vec<u8>>);
    /// Whether it is there.
    fn has_secret(&self, namespace: &str, name: &str) -> bool;
}

/// What the platform does when "Contains Spectro Manifests" of a pack registry was changed; called after it is stored.
pub type OnFlag = Arc<dyn Fn(bool) + Send + Sync>;
