//! The site's state of the migration, for before and after.

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use serde_json::{Value, json};

use super::{PACK_REGISTRY, REPOSITORY, SECRET, Site, text};
use crate::kube::SPECMAN_NAMESPACE;
use crate::server::{Listener, Server};

impl Site {
    /// The state as JSON, without secrets: the secret, the SCAR setting, the pack registry's flag, what each Specman
    /// serves, the jobs started, and the tags where the registry is the lab's own.
    pub fn state(&self) -> Value {
        let scar = self.vertex.scar();
        let pack_registry = self.vertex.registry(PACK_REGISTRY).unwrap_or_default();
        let secret = self.cluster.object("secrets", SPECMAN_NAMESPACE, SECRET);
        let specman: Vec<_> = self.specman.pods().into_iter().enumerate().map(|(n, pod)| self.replica(n, &pod)).collect();
        let mut state = json!({
            "secret": {"name": SECRET, "present": secret.is_some()},
            "scar": {
                "endpoint": text(&scar, "endpoint"),
                "username": text(&scar, "username"),
                "has_password": !text(&scar, "password").is_empty(),
            },
            "pack_registry": {
                "name": pack_registry["metadata"]["name"],
                "contains_spectro_manifest": pack_registry["spec"]["containsSpectroManifest"] == true,
            },
            "specman": specman,
            "jobs": self.vertex.jobs(),
        });
        if let Some(secret) = secret {
            state["secret"]["uid"] = secret["metadata"]["uid"].clone();
        }
        if let Some(registry) = &self.registry {
            state["tags"] = json!(registry.store().tags(REPOSITORY));
        }
        state
    }

    /// A server that answers `GET /state` with [`Site::state`], for other processes.
    pub fn control(self: &Arc<Self>) -> Server {
        let site = self.clone();
        let router = Router::new().route("/state", get(async move || axum::Json(site.state())));
        Server::start(router, Listener::plain())
    }

    fn replica(&self, number: usize, pod: &str) -> Value {
        let mut replica = json!({"pod": pod, "url": self.specman.url(number)});
        if let Some(served) = self.specman.served(number) {
            replica["tag"] = json!(served.tag);
            replica["digest"] = json!(served.digest);
        }
        replica
    }
}
