//! The OCI pack registries: the list, the object in its two kinds, its flag, validation and sync.
//!
//! An object is kept exactly as it was PUT, with fields that the swagger does not know; a masked or
//! blank password that is written back is stored as such and breaks the login, as at a real site.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{Response, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Masking, Vertex, answer};

/// The two kinds of an OCI pack registry; the API has a path for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistryKind {
    /// Harbor and its like: user and password.
    Basic,
    /// Amazon ECR: AWS keys or a role.
    Ecr,
}

impl RegistryKind {
    /// The word of the kind in paths and lists.
    pub fn word(self) -> &'static str {
        match self {
            Self::Basic => "basic",
            Self::Ecr => "ecr",
        }
    }

    /// Where in `spec` an object of the kind keeps its login.
    fn login(self) -> &'static str {
        match self {
            Self::Basic => "auth",
            Self::Ecr => "credentials",
        }
    }
}

/// A registry as the server holds it.
pub(super) struct Registry {
    pub(super) kind: RegistryKind,
    pub(super) object: Value,
    /// The login that the registry behind it really accepts.
    login: Value,
    /// Endings of syncs still to come: the status says `InProgress` so many times more.
    polls_left: u32,
    syncs: u32,
    writes: u32,
}

/// The fields of a login that a GET may hide.
const SECRETS: [&str; 4] = ["password", "token", "secretKey", "secretToken"];

/// An object of the kind `Basic` as a site has it, with fields that the swagger does not know.
pub fn basic_registry(uid: &str, name: &str, endpoint: &str, user: &str, password: &str) -> Value {
    json!({
        "kind": "basic",
        "metadata": metadata(uid, name),
        "spec": {
            "auth": {
                "password": password,
                "tls": {"ca": "", "certificate": "", "enabled": true, "insecureSkipVerify": false, "key": ""},
                "type": "basic",
                "username": user
            },
            "baseContentPath": "spectro-packs",
            "basePath": "/v2",
            "containsSpectroManifest": false,
            "endpoint": endpoint,
            "isSyncSupported": true,
            "providerType": "pack",
            "scope": "system",
            "mirrorPolicy": {"retries": 3, "ratio": 1.50, "hosts": ["one.example", "two.example"]}
        },
        "status": {"syncStatus": synced()}
    })
}

/// An object of the kind `Ecr` with AWS keys, with fields that the swagger does not know.
pub fn ecr_registry(uid: &str, name: &str, endpoint: &str, key: &str, secret: &str) -> Value {
    json!({
        "kind": "ecr",
        "metadata": metadata(uid, name),
        "spec": {
            "baseContentPath": "spectro-packs",
            "containsSpectroManifest": false,
            "credentials": {
                "accessKey": key,
                "credentialType": "secret",
                "partition": "aws-us-gov",
                "secretKey": secret
            },
            "defaultRegion": "us-gov-west-1",
            "endpoint": endpoint,
            "isPrivate": true,
            "isSyncSupported": true,
            "providerType": "pack",
            "scope": "system",
            "tls": {"ca": "", "enabled": false, "insecureSkipVerify": false},
            "replication": {"destination": null, "window": 9_007_199_254_740_993_u64}
        },
        "status": {"syncStatus": synced()}
    })
}

fn metadata(uid: &str, name: &str) -> Value {
    json!({
        "annotations": {"scope": "system"},
        "creationTimestamp": "2024-03-05T08:12:44.431Z",
        "labels": {},
        "lastModifiedTimestamp": "2024-11-20T17:00:02.100Z",
        "name": name,
        "uid": uid
    })
}

fn synced() -> Value {
    json!({
        "isSyncSupported": true,
        "lastRunTime": "2024-11-20T17:00:02.100Z",
        "lastSyncedTime": "2024-11-20T17:00:09.300Z",
        "message": "",
        "status": "Success"
    })
}

impl Vertex {
    /// Adds a pack registry; its login is taken as the one that the registry accepts. Gives its uid.
    pub fn add_registry(&self, kind: RegistryKind, object: Value) -> String {
        let uid = object["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        let login = object["spec"][kind.login()].clone();
        let (polls_left, syncs, writes) = (0, 0, 0);
        let registry = Registry { kind, object, login, polls_left, syncs, writes };
        self.lock().registries.insert(uid.clone(), registry);
        uid
    }

    /// A registry as it is stored, secrets in clear.
    pub fn registry(&self, uid: &str) -> Option<Value> {
        self.lock().registries.get(uid).map(|r| r.object.clone())
    }

    /// How many times a registry was written, and how many syncs were started.
    pub fn registry_writes(&self, uid: &str) -> (u32, u32) {
        let state = self.lock();
        state.registries.get(uid).map_or((0, 0), |r| (r.writes, r.syncs))
    }

    /// Changes a registry behind the back of whoever is about to write it.
    pub fn edit_registry(&self, uid: &str, edit: impl FnOnce(&mut Value)) {
        if let Some(registry) = self.lock().registries.get_mut(uid) {
            edit(&mut registry.object);
        }
    }

    /// Whether the login stored in a registry is still the one that it accepts.
    pub fn registry_login_works(&self, uid: &str) -> bool {
        let state = self.lock();
        state.registries.get(uid).is_some_and(|r| same_login(&r.object["spec"][r.kind.login()], &r.login))
    }

    /// Calls back when a PUT turns "Contains Spectro Manifests" on or off in any registry.
    pub fn on_flag(&self, flag: crate::OnFlag) {
        self.lock().on_flag = Some(flag);
    }
}

/// `GET /v1/registries/oci/summary`.
pub(super) async fn summary(State(vertex): State<Arc<Vertex>>) -> Response<Body> {
    let state = vertex.lock();
    let items: Vec<Value> = state.registries.values().map(in_summary).collect();
    answer::ok(&json!({"items": items}))
}

/// `GET /v1/registries/metadata`.
pub(super) async fn metadata_list(State(vertex): State<Arc<Vertex>>) -> Response<Body> {
    let state = vertex.lock();
    let items: Vec<Value> = state
        .registries
        .iter()
        .map(|(uid, r)| {
            json!({
                "isDefault": false, "isPrivate": true, "kind": "oci",
                "name": r.object["metadata"]["name"], "scope": "system", "uid": uid
            })
        })
        .collect();
    answer::ok(&json!({"items": items}))
}

/// `GET /v1/registries/oci/{uid}`.
pub(super) async fn entity(State(vertex): State<Arc<Vertex>>, Path(uid): Path<String>) -> Response<Body> {
    let secrets = vertex.behaviour().registry_masking;
    let state = vertex.lock();
    let Some(registry) = state.registries.get(&uid) else {
        return answer::not_found("OCI registry", &uid);
    };
    let shown = shown(registry, secrets);
    let mut out = json!({"type": registry.kind.word()});
    for field in ["auth", "defaultRegion", "endpoint", "providerType", "scope"] {
        if let Some(value) = shown["spec"].get(field) {
            out[field] = value.clone();
        }
    }
    answer::ok(&out)
}

/// `GET /v1/registries/oci/{uid}/{kind}`.
pub(super) async fn get(vertex: Arc<Vertex>, kind: RegistryKind, uid: String) -> Response<Body> {
    let secrets = vertex.behaviour().registry_masking;
    match vertex.lock().registries.get(&uid).filter(|r| r.kind == kind) {
        Some(registry) => answer::ok(&shown(registry, secrets)),
        None => answer::not_found("OCI registry", &uid),
    }
}

/// `PUT /v1/registries/oci/{uid}/{kind}`.
pub(super) async fn put(vertex: Arc<Vertex>, kind: RegistryKind, uid: String, body: Bytes) -> Response<Body> {
    let mut object: Value = serde_json::from_slice(&body).unwrap_or_default();
    if vertex.behaviour().stamps_changes {
        object["metadata"]["lastModifiedTimestamp"] = json!(format!("{:.3}", Timestamp::now()));
    }
    let (changed, on_flag) = {
        let mut state = vertex.lock();
        let on_flag = state.on_flag.clone();
        let Some(registry) = state.registries.get_mut(&uid).filter(|r| r.kind == kind) else {
            return answer::not_found("OCI registry", &uid);
        };
        let before = flag(&registry.object);
        registry.object = object;
        registry.writes += 1;
        let after = flag(&registry.object);
        ((before != after).then_some(after), on_flag)
    };
    if let (Some(now), Some(on_flag)) = (changed, on_flag) {
        on_flag(now);
    }
    answer::empty(StatusCode::NO_CONTENT)
}

/// `POST /v1/registries/oci/{kind}/validate`: the login of a spec, tried at its endpoint.
pub(super) async fn validate(vertex: Arc<Vertex>, kind: RegistryKind, body: Bytes) -> Response<Body> {
    let spec: Value = serde_json::from_slice(&body).unwrap_or_default();
    let fills = vertex.behaviour().validation_fills_secrets;
    let state = vertex.lock();
    let mut registries = state.registries.values().filter(|r| r.kind == kind);
    let Some(registry) = registries.find(|r| r.object["spec"]["endpoint"] == spec["endpoint"]) else {
        let words = "Failed to reach the OCI registry: no such host";
        return answer::error(StatusCode::BAD_REQUEST, "OciRegistryNotReachable", words);
    };
    let mut login = spec[kind.login()].clone();
    let stored = &registry.object["spec"][kind.login()];
    if fills && spec["registryUid"] == registry.object["metadata"]["uid"] {
        for name in SECRETS {
            let given = login.get(name).and_then(Value::as_str).unwrap_or_default();
            if (given.is_empty() || given == "***") && stored.get(name).is_some() {
                login[name] = stored[name].clone();
            }
        }
    }
    if same_login(&login, &registry.login) {
        return answer::empty(StatusCode::NO_CONTENT);
    }
    let words = "Failed to validate the OCI registry: 401 Unauthorized: authentication required";
    answer::error(StatusCode::BAD_REQUEST, "OciRegistryInvalidCredentials", words)
}

/// `POST /v1/registries/oci/{uid}/{kind}/sync`.
pub(super) async fn sync(vertex: Arc<Vertex>, kind: RegistryKind, uid: String) -> Response<Body> {
    let polls = vertex.behaviour().sync_polls;
    let mut state = vertex.lock();
    let Some(registry) = state.registries.get_mut(&uid).filter(|r| r.kind == kind) else {
        return answer::not_found("OCI registry", &uid);
    };
    registry.syncs += 1;
    registry.polls_left = polls;
    answer::empty(StatusCode::ACCEPTED)
}

/// `GET /v1/registries/oci/{uid}/{kind}/sync/status`.
pub(super) async fn sync_status(vertex: Arc<Vertex>, kind: RegistryKind, uid: String) -> Response<Body> {
    let mut state = vertex.lock();
    let Some(registry) = state.registries.get_mut(&uid).filter(|r| r.kind == kind) else {
        return answer::not_found("OCI registry", &uid);
    };
    let mut status = match &registry.object["status"]["syncStatus"] {
        Value::Object(status) => Value::Object(status.clone()),
        _ => synced(),
    };
    if registry.polls_left > 0 {
        registry.polls_left -= 1;
        status["status"] = json!("InProgress");
    } else if !same_login(&registry.object["spec"][kind.login()], &registry.login) {
        status["status"] = json!("Failed");
        status["message"] = json!("401 Unauthorized: authentication required");
    }
    answer::ok(&status)
}

fn flag(object: &Value) -> bool {
    object["spec"]["containsSpectroManifest"] == true
}

fn same_login(given: &Value, real: &Value) -> bool {
    let names = ["type", "username", "credentialType", "accessKey", "sts", "podIdentity"];
    let empty = |v: &Value| v.is_null() || v == "" || *v == json!({});
    names.iter().chain(&SECRETS).all(|name| {
        let (given, real) = (&given[*name], &real[*name]);
        given == real || (empty(given) && empty(real))
    })
}

fn in_summary(registry: &Registry) -> Value {
    let object = &registry.object;
    let mut spec = json!({
        "containsSpectroManifest": flag(object),
        "isPrivate": true,
        "registryType": registry.kind.word()
    });
    for field in ["defaultRegion", "endpoint", "providerType", "scope"] {
        if let Some(value) = object["spec"].get(field) {
            spec[field] = value.clone();
        }
    }
    let sync = object["status"].get("syncStatus").cloned().unwrap_or_else(synced);
    json!({"metadata": object["metadata"], "spec": spec, "status": {"sync": sync}})
}

/// An object as a GET shows it: a secret that is stored is shown as the kind of site has it.
fn shown(registry: &Registry, secrets: Masking) -> Value {
    let mut object = registry.object.clone();
    let Some(login) = object["spec"].get_mut(registry.kind.login()).and_then(Value::as_object_mut) else {
        return object;
    };
    for name in SECRETS {
        if !login.contains_key(name) {
            continue;
        }
        match secrets {
            Masking::Shown => {}
            Masking::Blank => drop(login.insert(name.into(), json!(""))),
            Masking::Masked => drop(login.insert(name.into(), json!("***"))),
            Masking::Absent => drop(login.shift_remove(name)),
        }
    }
    object
}

/// The registries by uid.
pub(super) type Registries = std::collections::BTreeMap<String, Registry>;

/// The routes of both kinds.
pub(super) fn routes() -> axum::Router<Arc<Vertex>> {
    use axum::routing::{get as on_get, post as on_post};
    let mut router = axum::Router::new()
        .route("/v1/registries/metadata", on_get(metadata_list))
        .route("/v1/registries/oci/summary", on_get(summary))
        .route("/v1/registries/oci/{uid}", on_get(entity));
    for kind in [RegistryKind::Basic, RegistryKind::Ecr] {
        let word = kind.word();
        type Uid = Path<HashMap<String, String>>;
        let uid = |Path(mut path): Uid| path.remove("uid").unwrap_or_default();
        type V = State<Arc<Vertex>>;
        router = router
            .route(
                &format!("/v1/registries/oci/{{uid}}/{word}"),
                on_get(move |State(v): V, path: Uid| get(v, kind, uid(path)))
                    .put(move |State(v): V, path: Uid, body: Bytes| put(v, kind, uid(path), body)),
            )
            .route(
                &format!("/v1/registries/oci/{word}/validate"),
                on_post(move |State(v): V, body: Bytes| validate(v, kind, body)),
            )
            .route(
                &format!("/v1/registries/oci/{{uid}}/{word}/sync"),
                on_post(move |State(v): V, path: Uid| sync(v, kind, uid(path))),
            )
            .route(
                &format!("/v1/registries/oci/{{uid}}/{word}/sync/status"),
                on_get(move |State(v): V, path: Uid| sync_status(v, kind, uid(path))),
            );
    }
    router
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_that_is_blank_or_masked_is_another_login() {
        let real = json!({"type": "basic", "username": "u", "password": "p", "tls": {"enabled": true}});
        let with = |password: &str| json!({"type": "basic", "username": "u", "password": password});
        assert!(same_login(&with("p"), &real));
        assert!(!same_login(&with(""), &real));
        assert!(!same_login(&with("***"), &real));
    }

    #[test]
    fn every_kind_of_hiding_leaves_the_stored_object_alone() {
        let vertex = Vertex::start();
        let object = ecr_registry("e1", "ecr", "1.dkr.ecr.us-gov-west-1.amazonaws.com", "AK", "SK");
        vertex.add_registry(RegistryKind::Ecr, object.clone());
        let state = vertex.lock();
        let registry = &state.registries["e1"];
        let secret = |secrets| shown(registry, secrets)["spec"]["credentials"].get("secretKey").cloned();
        assert_eq!(secret(Masking::Shown), Some(json!("SK")));
        assert_eq!(secret(Masking::Blank), Some(json!("")));
        assert_eq!(secret(Masking::Masked), Some(json!("***")));
        assert_eq!(secret(Masking::Absent), None);
        assert_eq!(registry.object, object);
    }
}
