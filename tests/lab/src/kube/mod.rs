//! The lab's Kubernetes API: as much of a cluster as the migration touches, complete enough for kubectl and kube-rs.
//!
//! Objects have uids, resource versions, finalizers and preconditions; refusals are `Status`
//! objects in the words of a real server; a small controller makes the pods of a StatefulSet; a
//! pod's log has instances, rotations and follow streams that can be cut. Left out: protobuf (but for reviews),
//! YAML bodies, field ownership of server-side apply, exec, and port-forward over SPDY.
//!
//! ```
//! use scar_lab::PodLog as _;
//! use scar_lab::certs::Certs;
//! use scar_lab::kube::{Ca, Cluster, Kubeconfig, Login, PodState};
//! use scar_lab::server::{Listener, Server};
//!
//! let (certs, cluster) = (Certs::new(&[]), Cluster::start());
//! cluster.add_specman(1);
//! let tls = certs.server().server_config_with_clients(certs.ca_pem(), false);
//! let server = Server::start(scar_lab::kube::router(cluster.clone()), Listener::tls(tls));
//! let mut config = Kubeconfig::new(&server.url(), Ca::Inline(certs.ca_pem().into()));
//! config.login = Login::Token(cluster.token()); // then config.write(path), and run a tool
//!
//! cluster.line("specman-0", r#"time="2024-12-06T12:43:14Z" level=info msg="Persisting 0.0.0""#);
//! cluster.restart_container("specman-0"); // the line is in the previous log now
//! cluster.set_pod("specman-0", PodState::CrashLoopBackOff);
//! ```

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::any;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

mod access;
mod admission;
mod containers;
mod discovery;
mod drive;
mod forward;
mod kubeconfig;
mod kubelet;
mod logs;
mod objects;
mod patch;
mod pods;
mod protobuf;
mod resource;
mod serve;
mod site;
mod status;
mod table;
mod watch_stream;
mod write;

pub use access::{Access, Rule};
pub use admission::Webhook;
pub use kubeconfig::{Ca, Kubeconfig, Login};
pub use kubelet::Kubelet;
pub use pods::{Cut, PodState};

use resource::Resource;

/// Specman's namespace, which methods with only a pod's name mean.
pub const SPECMAN_NAMESPACE: &str = "hubble-system";

/// The user of [`Cluster::token`].
pub const ADMIN: &str = "kubernetes-admin";

/// A cluster. Open watches and log streams see every change at once.
pub struct Cluster {
    state: Mutex<State>,
    /// Counts changes, for streams.
    changes: watch::Sender<u64>,
    /// The same, for the threads of a test.
    settled: Condvar,
}

/// Everything behind the lock.
struct State {
    objects: objects::Objects,
    pods: pods::Pods,
    users: access::Users,
    access: Access,
    /// The admission webhook and its name.
    webhook: Option<(String, Webhook)>,
    new_pods: PodState,
    controller_paused: bool,
    split_lines: bool,
    kubelet: Kubelet,
    /// What listens on the ports of the pods of `hubble-system`, by pod and port.
    ports: BTreeMap<(String, u16), SocketAddr>,
}

impl Cluster {
    /// A cluster with its namespaces, a node and a storage class, one admin token and no Specman.
    pub fn start() -> Arc<Self> {
        let state = State {
            objects: objects::Objects::new(),
            pods: pods::Pods::new(),
            users: access::Users::default(),
            access: Access::Everything,
            webhook: None,
            new_pods: PodState::Running,
            controller_paused: false,
            split_lines: false,
            kubelet: Kubelet::Well,
            ports: BTreeMap::new(),
        };
        let cluster = Arc::new(Self { state: Mutex::new(state), changes: watch::Sender::new(0), settled: Condvar::new() });
        cluster.furnish();
        cluster.add_token(&format!("k8s-{}", uid()), ADMIN);
        cluster
    }

    /// A token of [`ADMIN`].
    ///
    /// # Panics
    /// If all such tokens were revoked.
    pub fn token(&self) -> String {
        let state = self.lock();
        let mut tokens = state.users.tokens.iter();
        let found = tokens.find(|(_, user)| *user == ADMIN);
        found.map(|(token, _)| token.clone()).expect("a token of the admin")
    }

    /// Makes `token` identify `user`.
    pub fn add_token(&self, token: &str, user: &str) {
        self.change(|state| drop(state.users.tokens.insert(token.into(), user.into())));
    }

    /// Revokes `token`.
    pub fn revoke_token(&self, token: &str) {
        self.change(|state| drop(state.users.tokens.remove(token)));
    }

    /// Sets whether a verified client certificate identifies a client; the default is yes.
    pub fn accept_certificates(&self, accept: bool) {
        self.change(|state| state.users.certificates_refused = !accept);
    }

    /// Sets whether a request without credentials is `system:anonymous` instead of a 401; the default is a 401.
    pub fn accept_anonymous(&self, accept: bool) {
        self.change(|state| state.users.anonymous = accept);
    }

    /// Sets the permissions of all users.
    pub fn set_access(&self, access: Access) {
        self.change(|state| state.access = access);
    }

    /// Sets the webhook that is asked about every write and connection, or removes it.
    pub fn set_webhook(&self, webhook: Option<(&str, Webhook)>) {
        self.change(|state| state.webhook = webhook.map(|(name, webhook)| (name.to_owned(), webhook)));
    }

    /// Stores an object, or replaces one (which keeps its uid unless `object` has one). `plural` is the resource,
    /// `namespace` empty for a cluster resource.
    ///
    /// # Panics
    /// If the lab has no such resource.
    pub fn put(&self, plural: &str, namespace: &str, name: &str, mut object: Value) -> Value {
        let resource = Resource::named(plural).expect("a resource of the lab");
        self.change(|state| {
            if let Some(old) = state.objects.get(resource.plural, namespace, name)
                && object["metadata"]["uid"].is_null()
            {
                object["metadata"]["uid"] = old["metadata"]["uid"].clone();
            }
            state.objects.put(resource, namespace, name, object);
            pods::reconcile(state);
            state.objects.get(resource.plural, namespace, name).cloned().unwrap_or_default()
        })
    }

    /// An object as it is stored.
    pub fn object(&self, plural: &str, namespace: &str, name: &str) -> Option<Value> {
        let resource = Resource::named(plural)?;
        self.lock().objects.get(resource.plural, namespace, name).cloned()
    }

    /// Changes an object behind the client's back; returns false if it does not exist.
    pub fn edit(&self, plural: &str, namespace: &str, name: &str, edit: impl FnOnce(&mut Value)) -> bool {
        let Some(mut object) = self.object(plural, namespace, name) else { return false };
        edit(&mut object);
        let gone = !object["metadata"]["deletionTimestamp"].is_null()
            && object["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty);
        self.put(plural, namespace, name, object);
        if gone {
            self.remove(plural, namespace, name);
        }
        true
    }

    /// Deletes an object, ignoring finalizers; a pod of a StatefulSet is recreated.
    pub fn remove(&self, plural: &str, namespace: &str, name: &str) {
        self.change(|state| {
            match Resource::named(plural).map(|r| r.plural) {
                Some("pods") => pods::remove(state, namespace, name),
                Some(plural) => drop(state.objects.remove(plural, namespace, name)),
                None => {}
            }
            pods::reconcile(state);
        });
    }

    /// Creates or replaces a secret, with a new uid.
    pub fn put_secret(&self, namespace: &str, name: &str, data: BTreeMap<String, Vec<u8>>) {
        self.remove("secrets", namespace, name);
        let data: BTreeMap<_, _> = data.into_iter().map(|(k, v)| (k, STANDARD.encode(v))).collect();
        self.put("secrets", namespace, name, json!({"type": "Opaque", "data": data}));
    }

    /// The data of a secret, if it exists.
    pub fn secret(&self, namespace: &str, name: &str) -> Option<BTreeMap<String, Vec<u8>>> {
        let object = self.object("secrets", namespace, name)?;
        let data = object["data"].as_object().into_iter().flatten();
        let decoded = data.map(|(key, value)| {
            let value = STANDARD.decode(value.as_str().unwrap_or_default());
            (key.clone(), value.unwrap_or_default())
        });
        Some(decoded.collect())
    }

    /// Blocks until `ready` is true, checking it after each change; returns false after `limit`.
    pub fn wait(&self, limit: Duration, ready: impl Fn(&Self) -> bool) -> bool {
        let end = Instant::now() + limit;
        loop {
            let before = *self.changes.borrow();
            if ready(self) {
                return true;
            }
            let state = self.lock();
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let same = |_: &mut State| *self.changes.borrow() == before;
            drop(self.settled.wait_timeout_while(state, left, same));
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let out = change(&mut self.lock());
        self.notify();
        out
    }

    /// Wakes every stream and every waiting thread.
    fn notify(&self) {
        self.changes.send_modify(|count| *count += 1);
        // A waiting thread holds the lock from checking the count until it sleeps.
        drop(self.lock());
        self.settled.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl crate::Secrets for Cluster {
    fn put_secret(&self, namespace: &str, name: &str, data: BTreeMap<String, Vec<u8>>) {
        Self::put_secret(self, namespace, name, data);
    }

    fn has_secret(&self, namespace: &str, name: &str) -> bool {
        self.secret(namespace, name).is_some()
    }
}

/// The API server's routes.
pub fn router(cluster: Arc<Cluster>) -> Router {
    Router::new().route("/{*path}", any(serve::serve)).with_state(cluster)
}

/// A new UUID.
fn uid() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let seed = format!("{}/{}/{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed), Timestamp::now().as_nanosecond());
    let hex = hex::encode(Sha256::digest(seed));
    format!("{}-{}-4{}-8{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
}

#[cfg(test)]
mod tests;
