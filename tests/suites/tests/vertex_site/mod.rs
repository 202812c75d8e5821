//! A test's VerteX, and the records that a step starts with.

// Each suite uses only a part.
#![allow(dead_code, unreachable_pub)]

use std::sync::Arc;

use scar_kit::secret;
use scar_lab::faults::{Action, Fault, Match, Times};
use scar_lab::server::{Listener, Server};
use scar_lab::vertex::{RegistryKind, Vertex, basic_registry, router};
use serde_json::{Value, json};

/// The system administrator's password.
pub const PASSWORD: &str = "Spectro-2024!";
/// The registry's password in VerteX.
pub const REGISTRY_PASSWORD: &str = "harbor-canary-7";
/// The registry's host in the push.
pub const REGISTRY: &str = "harbor.example";

/// A VerteX on loopback; when dropped, it checks every request against the API's description.
pub struct Site {
    pub vertex: Arc<Vertex>,
    pub server: Server,
    /// A file with the registry's password.
    pub registry_password: Private,
    token: String,
}

impl Site {
    /// Starts it over plain HTTP.
    pub fn start() -> Self {
        let vertex = Vertex::start();
        let server = Server::start(router(vertex.clone()), Listener::plain());
        secret(PASSWORD);
        secret(REGISTRY_PASSWORD);
        let token = secret(&vertex.issue_token());
        Self { vertex, server, registry_password: Private::new(REGISTRY_PASSWORD), token }
    }

    /// The same with Harbor as its pack registry: uid `r1`, name `harbor`.
    pub fn with_registry() -> Self {
        let site = Self::start();
        let object = basic_registry("r1", "harbor", "https://harbor.example", "robot$packs", REGISTRY_PASSWORD);
        site.vertex.add_registry(RegistryKind::Basic, object);
        site
    }

    /// Its address.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Adds a fault.
    pub fn fault(&self, matcher: Match, times: Times, action: Action) -> Fault {
        self.server.faults().on(matcher, times, action)
    }

    /// The requests so far: `METHOD path -> status`.
    pub fn requests(&self) -> Vec<String> {
        self.server.log().lines()
    }

    /// The requests that may change something, without logins and validations.
    pub fn writes(&self) -> Vec<String> {
        let mut lines = self.requests();
        lines.retain(|line| !line.starts_with("GET ") && !line.contains("/validate") && !line.contains("/syslogin"));
        lines
    }

    /// A session with a valid token.
    pub fn session(&self) -> Value {
        json!({"endpoint": self.url(), "authorization": self.token, "insecure": false})
    }

    /// The record after the push, with a session.
    pub fn pushed(&self) -> Value {
        let digest = format!("sha256:{}", "0".repeat(64));
        let repository = "spectro-packs/spectro-manifests/manifest";
        json!({
            "record": "scar-tools/1",
            "x-unknown": {"kept": 1.50},
            "artifact": {
                "reference": format!("{REGISTRY}/{repository}:0.0.0"), "registry": REGISTRY, "repository": repository,
                "tag": "0.0.0", "digest": digest, "layer": digest, "size": 42, "created": "2024-12-06T12:40:00Z",
                "pushed_at": "2024-12-06T12:40:05Z", "uploaded": true
            },
            "session": self.session()
        })
    }

    /// The record after specman-verify, with a session.
    pub fn persisted(&self) -> Value {
        let mut record = self.pushed();
        record["pack_registry"] = json!({
            "uid": "r1", "name": "harbor", "kind": "basic", "endpoint": "https://harbor.example",
            "vertex": self.url(), "contains_spectro_manifest": true, "changed": true
        });
        record["specman"] = json!({
            "namespace": "hubble-system", "tag": "0.0.0", "persisted_at": "2024-12-06T12:43:14Z", "pods": ["specman-0"]
        });
        record["verified"] = json!({
            "layer": record["artifact"]["layer"], "compared": 3, "missing": 0, "different": 0, "unreadable": 0, "bytes": 99,
            "source": "/srv/manifests.tgz"
        });
        record
    }
}

/// Moves the record's artifact to another registry.
pub fn push_to(record: &mut Value, registry: &str) {
    let (repository, tag) = (&record["artifact"]["repository"], &record["artifact"]["tag"]);
    let reference = format!("{registry}/{}:{}", repository.as_str().unwrap_or_default(), tag.as_str().unwrap_or_default());
    record["artifact"]["registry"] = json!(registry);
    record["artifact"]["reference"] = json!(reference);
}

impl Drop for Site {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.vertex.violations(), Vec::<String>::new());
        }
    }
}

/// A file with mode 0600 in a new folder.
pub struct Private(tempfile::TempDir);

impl Private {
    /// With this text.
    pub fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = Self(folder);
        std::fs::write(file.path(), text).expect("a file");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(file.path(), mode).expect("a mode");
        file
    }

    /// Its path.
    pub fn path(&self) -> std::path::PathBuf {
        self.0.path().join("private")
    }
}
