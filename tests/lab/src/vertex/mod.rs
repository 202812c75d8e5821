//! The VerteX System API of the lab: login, SCAR setting, pack registries, versions, jobs.
//!
//! It behaves as the swagger in `tests/lab/reference/`, the migration guide and public clients show: a GET masks secrets, an
//! entry contains its registry's CA and no key. Every request and every answer is checked against the swagger. A violation
//! fails the test, and so does a mask, a blank or a private key that a tool sends. [`Behaviour`] has the differences between
//! sites.
//!
//! ```
//! use std::sync::Arc;
//!
//! use scar_lab::server::{Listener, Server};
//! use scar_lab::vertex::{RegistryKind, Vertex, basic_registry};
//!
//! let vertex = Vertex::start();
//! let object = basic_registry("r1", "harbor", "https://harbor.example", "robot$x", "pw");
//! vertex.add_registry(RegistryKind::Basic, object);
//! vertex.on_flag(Arc::new(|on| assert!(on, "the migration never takes the flag off")));
//! let server = Server::start(scar_lab::vertex::router(vertex.clone()), Listener::plain());
//! // run a tool against server.url(), then:
//! assert!(vertex.registry_login_works("r1"), "the mask was not written back");
//! assert_eq!(vertex.violations(), Vec::<String>::new());
//! ```

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{Response, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::routing::{get, post};
use serde_json::{Value, json};

use crate::OnFlag;
use crate::server::unexpected;

mod answer;
mod auth;
mod behaviour;
mod jobs;
mod registries;
mod registry_routes;
mod scar;
mod schema;
mod swagger;

pub use behaviour::{Behaviour, ContentServer, Masking};
pub use jobs::NAMES as JOBS;
pub use registries::{RegistryKind, basic_registry, ecr_registry};

/// Specman's address in the cluster, which the guide sets.
pub const SPECMAN: &str = "https://specman-service.hubble-system.svc.cluster.local:8443";

/// The largest body; a real object has a few KiB.
const LARGEST_BODY: usize = 8 << 20;

type Served = Arc<dyn Fn(&Value) -> Result<String, String> + Send + Sync>;

/// The System API's state, log and behaviour.
pub struct Vertex {
    swagger: Result<swagger::Swagger, String>,
    behaviour: Mutex<Behaviour>,
    stored: Mutex<Stored>,
}

/// The state that requests change.
#[derive(Default)]
struct Stored {
    logins: auth::Logins,
    scar: Value,
    scar_writes: u32,
    invalid_for: u32,
    persisted: bool,
    served: Option<Served>,
    registries: registries::Registries,
    on_flag: Option<OnFlag>,
    jobs: Vec<String>,
    violations: Vec<String>,
}

impl Vertex {
    /// A VerteX with an empty SCAR setting and no pack registry.
    pub fn start() -> Arc<Self> {
        let stored = Stored { scar: json!({"endpoint": ""}), ..Stored::default() };
        Arc::new(Self { swagger: swagger::Swagger::load(), behaviour: Mutex::default(), stored: Mutex::new(stored) })
    }

    /// Changes its behaviour, also while it runs.
    pub fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.behaviour.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Its current behaviour.
    pub fn behaviour(&self) -> Behaviour {
        let behaviour = self.behaviour.lock();
        behaviour.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Violations of the swagger, in requests and in the lab's own answers.
    pub fn violations(&self) -> Vec<String> {
        self.lock().violations.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Stored> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The routes of the System API.
pub fn router(vertex: Arc<Vertex>) -> Router {
    let open = Router::new().route("/v1/auth/syslogin", post(auth::syslogin));
    let closed = Router::new()
        .route("/v1/system/users/me", get(me))
        .route("/v1/system/version/installed", get(version))
        .route("/v1/system/config/scar", get(scar::get).put(scar::put))
        .route("/v1/system/config/scar/validate", get(scar::validate))
        .route("/v1/jobs/internal/{name}/run", get(jobs::run))
        .merge(registry_routes::routes())
        .route_layer(from_fn_with_state(vertex.clone(), auth::required));
    open.merge(closed).route_layer(from_fn_with_state(vertex.clone(), held_to_the_swagger)).with_state(vertex)
}

/// `GET /v1/system/users/me`.
async fn me(State(vertex): State<Arc<Vertex>>) -> Response<Body> {
    let behaviour = vertex.behaviour();
    answer::ok(&json!({
        "metadata": {
            "creationTimestamp": "2024-03-05T08:00:00.000Z",
            "name": behaviour.username,
            "uid": "65e6d0c40d4c5e1a6f7b8c90"
        },
        "spec": {"adminType": "root", "emailId": "admin@vertex.example"},
        "status": {
            "isEmailSet": true, "isEmailVerified": true,
            "isMfaEnabled": behaviour.mfa, "isPasswordReset": true
        }
    }))
}

/// `GET /v1/system/version/installed`.
async fn version(State(vertex): State<Arc<Vertex>>) -> Response<Body> {
    answer::ok(&json!({"version": vertex.behaviour().version}))
}

/// Refuses a request that violates the swagger, and records an answer that does.
async fn held_to_the_swagger(State(vertex): State<Arc<Vertex>>, request: Request, next: Next) -> Response<Body> {
    let line = format!("{} {}", request.method(), request.uri().path());
    let swagger = match &vertex.swagger {
        Ok(swagger) => swagger,
        Err(error) => return violation(&vertex, &line, error),
    };
    let Some(operation) = swagger.find(request.method(), request.uri().path()) else {
        return violation(&vertex, &line, "not in the swagger, nor in the guide");
    };
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, LARGEST_BODY).await else {
        return violation(&vertex, &line, "request: the body was cut or is too large");
    };
    let typed = head.headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
    if operation.takes_a_body() && !typed.is_some_and(|t| t.starts_with("application/json")) {
        return violation(&vertex, &line, "request: the content type is not application/json");
    }
    if let Some(wrong) = operation.judge_request(&body) {
        return violation(&vertex, &line, &wrong);
    }
    let response = next.run(Request::from_parts(head, Body::from(body))).await;
    let (head, body) = response.into_parts();
    let body = to_bytes(body, LARGEST_BODY).await.unwrap_or_default();
    if let Some(wrong) = swagger.judge_answer(operation, head.status.as_u16(), &body) {
        return violation(&vertex, &line, &wrong);
    }
    Response::from_parts(head, Body::from(body))
}

fn violation(vertex: &Vertex, line: &str, wrong: &str) -> Response<Body> {
    vertex.lock().violations.push(format!("{line}: {wrong}"));
    let status = StatusCode::UNPROCESSABLE_ENTITY;
    unexpected(answer::error(status, "ValidationFailed", wrong))
}

/// 24 unique hex digits, the form of a real site's uids.
fn unique() -> String {
    use sha2::{Digest as _, Sha256};
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let seed =
        format!("{}/{}/{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed), jiff::Timestamp::now().as_nanosecond());
    hex::encode(Sha256::digest(seed))[..24].to_owned()
}

#[cfg(test)]
mod tests;
