//! The routes of the OCI pack registries: the list, the object, validation and sync, in both kinds.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{Response, StatusCode};
use axum::routing::{get as on_get, post as on_post};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::registries::{RegistryKind, SECRETS, flag, forbidden, in_summary, mask, same_login, shown, synced};
use super::{Vertex, answer, violation};

/// The routes of both kinds.
pub(super) fn routes() -> Router<Arc<Vertex>> {
    let mut router = Router::new()
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

/// `GET /v1/registries/oci/summary`.
async fn summary(State(vertex): State<Arc<Vertex>>) -> Response<Body> {
    let state = vertex.lock();
    let items: Vec<Value> = state.registries.values().map(in_summary).collect();
    answer::ok(&json!({"items": items}))
}

/// `GET /v1/registries/metadata`.
async fn metadata_list(State(vertex): State<Arc<Vertex>>) -> Response<Body> {
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
async fn entity(State(vertex): State<Arc<Vertex>>, Path(uid): Path<String>) -> Response<Body> {
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
async fn get(vertex: Arc<Vertex>, kind: RegistryKind, uid: String) -> Response<Body> {
    let secrets = vertex.behaviour().registry_masking;
    match vertex.lock().registries.get(&uid).filter(|r| r.kind == kind) {
        Some(registry) => answer::ok(&shown(registry, secrets)),
        None => answer::not_found("OCI registry", &uid),
    }
}

/// `PUT /v1/registries/oci/{uid}/{kind}`.
async fn put(vertex: Arc<Vertex>, kind: RegistryKind, uid: String, body: Bytes) -> Response<Body> {
    let mut object: Value = serde_json::from_slice(&body).unwrap_or_default();
    let behaviour = vertex.behaviour();
    if behaviour.stamps_changes {
        object["metadata"]["lastModifiedTimestamp"] = json!(format!("{:.3}", Timestamp::now()));
    }
    if !knows_the_flag(&behaviour.version)
        && let Some(spec) = object["spec"].as_object_mut()
    {
        spec.remove("containsSpectroManifest");
    }
    let stored = vertex.registry(&uid).unwrap_or_default();
    if let Some(what) = forbidden(&object["spec"], &stored["spec"]) {
        return violation(&vertex, &format!("PUT {uid}"), &what);
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
        if behaviour.syncs_after_put {
            registry.sync(behaviour.sync_polls);
        }
        let after = flag(&registry.object);
        ((before != after).then_some(after), on_flag)
    };
    if let (Some(now), Some(on_flag)) = (changed, on_flag) {
        on_flag(now);
    }
    answer::empty(StatusCode::NO_CONTENT)
}

/// Whether a VerteX of this version has the flag; an older one does not know the field (the guide's prerequisites: 4.5.15).
fn knows_the_flag(version: &str) -> bool {
    let numbers: Vec<u32> = version.split('.').filter_map(|part| part.parse().ok()).collect();
    numbers.is_empty() || numbers >= vec![4, 5, 15]
}

/// `POST /v1/registries/oci/{kind}/validate`: the login of a spec, tried at its endpoint.
async fn validate(vertex: Arc<Vertex>, kind: RegistryKind, body: Bytes) -> Response<Body> {
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
    let what = forbidden(&spec, &registry.object["spec"]).filter(|_| !fills);
    if fills && spec["registryUid"] == registry.object["metadata"]["uid"] {
        for name in SECRETS {
            let given = login.get(name).and_then(Value::as_str).unwrap_or_default();
            if (given.is_empty() || given == mask(name, &stored[name])) && stored.get(name).is_some() {
                login[name] = stored[name].clone();
            }
        }
    }
    let is_right = same_login(&login, &registry.login);
    drop(state);
    if let Some(what) = what {
        return violation(&vertex, &format!("POST {}/validate", kind.word()), &what);
    }
    if is_right {
        return answer::empty(StatusCode::NO_CONTENT);
    }
    let words = "Failed to validate the OCI registry: 401 Unauthorized: authentication required";
    answer::error(StatusCode::BAD_REQUEST, "OciRegistryInvalidCredentials", words)
}

/// `POST /v1/registries/oci/{uid}/{kind}/sync`.
async fn sync(vertex: Arc<Vertex>, kind: RegistryKind, uid: String) -> Response<Body> {
    let polls = vertex.behaviour().sync_polls;
    let mut state = vertex.lock();
    let Some(registry) = state.registries.get_mut(&uid).filter(|r| r.kind == kind) else {
        return answer::not_found("OCI registry", &uid);
    };
    registry.sync(polls);
    answer::empty(StatusCode::ACCEPTED)
}

/// `GET /v1/registries/oci/{uid}/{kind}/sync/status`.
async fn sync_status(vertex: Arc<Vertex>, kind: RegistryKind, uid: String) -> Response<Body> {
    let word = vertex.behaviour().sync_word;
    let mut state = vertex.lock();
    let Some(registry) = state.registries.get_mut(&uid).filter(|r| r.kind == kind) else {
        return answer::not_found("OCI registry", &uid);
    };
    let mut status = match &registry.object["status"]["syncStatus"] {
        Value::Object(status) => Value::Object(status.clone()),
        _ => synced(),
    };
    if let Some(time) = &registry.synced_at {
        status["lastRunTime"] = json!(time);
    }
    if registry.polls_left > 0 {
        registry.polls_left -= 1;
        status["status"] = json!(word);
    } else if !same_login(&registry.object["spec"][kind.login()], &registry.login) {
        status["status"] = json!("Failed");
        status["message"] = json!("401 Unauthorized: authentication required");
    }
    answer::ok(&status)
}
