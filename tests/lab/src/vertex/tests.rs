//! Tests of the System API through its router.

use super::*;
use axum::http::{Method, header::COOKIE, header::SET_COOKIE};
use std::sync::atomic::AtomicU32;
use tower::ServiceExt as _;

async fn send(
    vertex: &Arc<Vertex>,
    method: Method,
    path: &str,
    token: &str,
    body: Option<Value>,
) -> (u16, Value, Response<Body>) {
    let mut request = Request::builder().method(method).uri(path);
    if !token.is_empty() {
        request = request.header(COOKIE, format!("Authorization={token}"));
    }
    let request = match body {
        Some(body) => request.header(CONTENT_TYPE, "application/json").body(Body::from(body.to_string())),
        None => request.body(Body::empty()),
    };
    let response = router(vertex.clone()).oneshot(request.unwrap()).await.unwrap();
    let (head, body) = response.into_parts();
    let body = to_bytes(body, LARGEST_BODY).await.unwrap();
    let value = serde_json::from_slice(&body).unwrap_or_default();
    (head.status.as_u16(), value, Response::from_parts(head, Body::empty()))
}

async fn login(vertex: &Arc<Vertex>, password: &str) -> (u16, Value, Response<Body>) {
    let body = json!({"username": "admin", "password": password});
    let path = "/v1/auth/syslogin?setCookie=true";
    send(vertex, Method::POST, path, "", Some(body)).await
}

const RIGHT: &str = "Spectro-2024!";

#[tokio::test]
async fn a_login_gives_a_token_that_opens_the_rest_until_it_expires() {
    let vertex = Vertex::start();
    assert_eq!(send(&vertex, Method::GET, "/v1/system/users/me", "", None).await.0, 401);
    let (status, body, response) = login(&vertex, RIGHT).await;
    assert_eq!((status, &body["IsMfa"]), (200, &json!(false)));
    let token = body["Authorization"].as_str().unwrap().to_owned();
    assert!(response.headers()[SET_COOKIE].to_str().unwrap().contains(&token));
    for shape in [token.clone(), format!("\"{token}\"")] {
        let path = "/v1/system/users/me";
        assert_eq!(send(&vertex, Method::GET, path, &shape, None).await.0, 200);
    }
    vertex.expire_tokens();
    let version = "/v1/system/version/installed";
    assert_eq!(send(&vertex, Method::GET, version, &token, None).await.0, 401);
    vertex.behave(|b| b.token_lifetime = std::time::Duration::ZERO);
    let token = vertex.issue_token();
    let (status, body, _) = send(&vertex, Method::GET, version, &token, None).await;
    assert_eq!((status, &body["code"]), (401, &json!("TokenExpired")));
    assert_eq!(vertex.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_wrong_password_counts_and_locks_the_account_in_the_end() {
    let vertex = Vertex::start();
    vertex.behave(|b| b.lockout_after = 2);
    assert_eq!(login(&vertex, "no").await.0, 401);
    assert_eq!(login(&vertex, "no").await.0, 401);
    assert_eq!(login(&vertex, RIGHT).await.0, 403);
    assert_eq!(vertex.login_attempts(), 3);
    vertex.unlock();
    assert_eq!(login(&vertex, RIGHT).await.0, 200);
}

#[tokio::test]
async fn the_token_of_an_mfa_account_opens_nothing() {
    let vertex = Vertex::start();
    vertex.behave(|b| b.mfa = true);
    let (status, body, _) = login(&vertex, RIGHT).await;
    assert_eq!((status, &body["IsMfa"]), (200, &json!(true)));
    let token = body["Authorization"].as_str().unwrap();
    assert_eq!(send(&vertex, Method::GET, "/v1/system/users/me", token, None).await.0, 401);
    let browser = vertex.issue_token();
    assert_eq!(send(&vertex, Method::GET, "/v1/system/users/me", &browser, None).await.0, 200);
}

#[tokio::test]
async fn a_put_replaces_the_whole_scar_setting_and_validation_follows_the_content() {
    let vertex = Vertex::start();
    let token = vertex.issue_token();
    let path = "/v1/system/config/scar";
    let validate = "/v1/system/config/scar/validate";
    vertex.set_scar(json!({"endpoint": "https://old.example", "caCert": "PEM", "password": "pw"}));
    let body = json!({"endpoint": SPECMAN, "username": "", "password": ""});
    assert_eq!(send(&vertex, Method::PUT, path, &token, Some(body.clone())).await.0, 204);
    assert_eq!(vertex.scar(), body);
    let (_, seen, _) = send(&vertex, Method::GET, path, &token, None).await;
    assert_eq!(seen, json!({"endpoint": SPECMAN}));
    assert_eq!(send(&vertex, Method::GET, validate, &token, None).await.0, 422);
    vertex.set_persisted(true);
    let (status, seen, _) = send(&vertex, Method::GET, validate, &token, None).await;
    assert_eq!((status, seen), (200, json!({"spectroVersion": "4.5.15"})));
    vertex.behave(|b| b.scar_invalid_for = 1);
    send(&vertex, Method::PUT, path, &token, Some(body)).await;
    assert_eq!(send(&vertex, Method::GET, validate, &token, None).await.0, 422);
    assert_eq!(send(&vertex, Method::GET, validate, &token, None).await.0, 200);
    assert_eq!(vertex.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_registry_keeps_what_was_put_and_announces_its_flag() {
    let vertex = Vertex::start();
    vertex.behave(|b| b.registry_masking = Masking::Shown);
    let token = vertex.issue_token();
    let object = basic_registry("r1", "harbor", "https://harbor.example", "u", "pw");
    vertex.add_registry(RegistryKind::Basic, object.clone());
    let flags = Arc::new(AtomicU32::new(0));
    let seen = flags.clone();
    vertex.on_flag(Arc::new(move |on| {
        let _ = seen.fetch_add(u32::from(on), Ordering::Relaxed);
    }));
    let path = "/v1/registries/oci/r1/basic";
    let (_, mut got, _) = send(&vertex, Method::GET, path, &token, None).await;
    assert_eq!(got, object);
    got["spec"]["containsSpectroManifest"] = json!(true);
    let validate = "/v1/registries/oci/basic/validate";
    let spec = got["spec"].clone();
    assert_eq!(send(&vertex, Method::POST, validate, &token, Some(spec)).await.0, 204);
    for _ in 0..2 {
        assert_eq!(send(&vertex, Method::PUT, path, &token, Some(got.clone())).await.0, 204);
    }
    assert_eq!(vertex.registry("r1").unwrap(), got);
    assert_eq!(flags.load(Ordering::Relaxed), 1);
    let (_, list, _) = send(&vertex, Method::GET, "/v1/registries/oci/summary", &token, None).await;
    assert_eq!(list["items"][0]["spec"]["containsSpectroManifest"], true);
    for path in ["/v1/registries/oci/r1", "/v1/registries/metadata?scope=all"] {
        assert_eq!(send(&vertex, Method::GET, path, &token, None).await.0, 200, "{path}");
    }
    assert_eq!(send(&vertex, Method::GET, "/v1/registries/oci/r1/ecr", &token, None).await.0, 404);
    assert_eq!(vertex.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_mask_that_is_sent_is_refused_and_fails_the_test() {
    let vertex = Vertex::start();
    let token = vertex.issue_token();
    let object = basic_registry("r1", "harbor", "https://harbor.example", "u", "pw");
    vertex.add_registry(RegistryKind::Basic, object.clone());
    let path = "/v1/registries/oci/r1/basic";
    let (_, got, _) = send(&vertex, Method::GET, path, &token, None).await;
    assert_eq!(got["spec"]["auth"]["password"], "********");
    assert_eq!(send(&vertex, Method::PUT, path, &token, Some(got.clone())).await.0, 422);
    let validate = "/v1/registries/oci/basic/validate";
    assert_eq!(send(&vertex, Method::POST, validate, &token, Some(got["spec"].clone())).await.0, 422);
    let mut keyed = object;
    keyed["spec"]["auth"]["tls"]["key"] = json!("-----BEGIN PRIVATE KEY-----");
    assert_eq!(send(&vertex, Method::PUT, path, &token, Some(keyed)).await.0, 422);
    let scar = json!({"endpoint": "https://a", "username": "u", "password": "********"});
    assert_eq!(send(&vertex, Method::PUT, "/v1/system/config/scar", &token, Some(scar)).await.0, 422);
    assert!(vertex.registry_login_works("r1"));
    assert_eq!(vertex.violations().len(), 4, "{:?}", vertex.violations());
}

#[tokio::test]
async fn a_sync_says_that_it_runs_and_then_what_came_of_it() {
    let vertex = Vertex::start();
    let token = vertex.issue_token();
    vertex.add_registry(RegistryKind::Basic, basic_registry("r1", "harbor", "https://harbor.example", "u", "pw"));
    vertex.edit_registry("r1", |entry| entry["spec"]["auth"]["password"] = json!("old"));
    let status = "/v1/registries/oci/r1/basic/sync/status";
    let before = send(&vertex, Method::GET, status, &token, None).await.1;
    let sync = "/v1/registries/oci/r1/basic/sync";
    assert_eq!(send(&vertex, Method::POST, sync, &token, None).await.0, 202);
    let mut states = Vec::new();
    for _ in 0..2 {
        let now = send(&vertex, Method::GET, status, &token, None).await.1;
        assert_ne!(now["lastRunTime"], before["lastRunTime"]);
        states.push(now["status"].clone());
    }
    assert_eq!(states, ["Syncing", "Failed"]);
    assert_eq!(vertex.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn jobs_are_counted_and_one_that_runs_already_is_a_conflict() {
    let vertex = Vertex::start();
    let token = vertex.issue_token();
    let path = |job: &str| format!("/v1/jobs/internal/{job}/run");
    vertex.behave(|b| b.jobs_in_progress.push(JOBS[1].into()));
    assert_eq!(send(&vertex, Method::GET, &path(JOBS[0]), &token, None).await.0, 204);
    assert_eq!(send(&vertex, Method::GET, &path(JOBS[1]), &token, None).await.0, 409);
    assert_eq!(vertex.jobs(), [JOBS[0]]);
}

#[tokio::test]
async fn a_request_that_the_swagger_does_not_have_is_a_violation() {
    let vertex = Vertex::start();
    let token = vertex.issue_token();
    let path = "/v1/system/config/scar";
    let body = json!({"endpoint": 1});
    assert_eq!(send(&vertex, Method::PUT, path, &token, Some(body)).await.0, 422);
    assert_eq!(send(&vertex, Method::GET, path, &token, Some(json!({}))).await.0, 422);
    let violations = vertex.violations();
    assert!(violations[0].starts_with("PUT /v1/system/config/scar: request:"), "{violations:?}");
    assert_eq!(violations.len(), 2);
}
