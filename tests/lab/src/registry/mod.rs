//! An OCI distribution registry (specification v1.1) that behaves like a real one, Distribution 2.8 unless another
//! [`Profile`] is chosen: for machines without one, and for tests that need faults.
//!
//! Digests are really computed. Blobs are streamed; none is in memory as a whole.

mod auth;
mod blob;
mod manifest;
mod profile;
mod reply;
mod store;
mod target;
#[cfg(test)]
mod tests;
mod upload;

use std::ops::Deref;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body_util::BodyExt;
use serde_json::json;

pub use auth::{Auth, Credentials, TokenService};
pub use profile::{Profile, Rule};
pub(crate) use store::random;
pub use store::{Manifest, Storage, Store, digest_of};

use crate::server::{Listener, Server, unscripted};
use profile::Asked;
use target::{Target, is_name};

/// The options of a registry.
#[derive(Clone, Default)]
pub struct RegistryOptions {
    /// Its address and TLS.
    pub listener: Listener,
    /// The authentication.
    pub auth: Auth,
    /// The storage of blobs.
    pub storage: Storage,
    /// Sends a relative `Location`, as the specification allows.
    pub relative_location: bool,
    /// The largest request body in bytes; above it, nginx's 413.
    pub max_body: Option<u64>,
    /// The real registry to behave as.
    pub profile: Profile,
    /// Why a push is refused.
    pub rule: Option<Rule>,
    /// Accepts every upload, but stores nothing.
    pub lying: bool,
    /// Sends blobs without length and ignores `Range`, as nginx with `sub_filter` does (ngx_http_sub_filter_module.c clears
    /// both).
    pub without_lengths: bool,
}

/// The handlers' state.
struct Registry {
    store: Arc<Store>,
    auth: Auth,
    scheme: &'static str,
    relative_location: bool,
    max_body: Option<u64>,
    profile: Profile,
    rule: Option<Rule>,
    lying: bool,
    without_lengths: bool,
}

/// A running registry: a [`Server`] and its content.
pub struct LabRegistry {
    server: Server,
    store: Arc<Store>,
}

impl LabRegistry {
    /// Starts it.
    pub fn start(options: RegistryOptions) -> Self {
        let store = Arc::new(Store::new(options.storage, options.lying));
        let registry = Arc::new(Registry {
            store: store.clone(),
            auth: options.auth.clone(),
            scheme: if options.listener.tls.is_some() { "https" } else { "http" },
            relative_location: options.relative_location,
            max_body: options.max_body.or(options.profile.largest_body()),
            profile: options.profile,
            rule: options.rule,
            lying: options.lying,
            without_lengths: options.without_lengths,
        });
        let mut router = Router::new().route("/v2/", any(handle)).route("/v2/{*rest}", any(handle)).with_state(registry);
        if let Auth::Bearer(service) = &options.auth {
            let _ = service.profile.set(options.profile);
            router = router.merge(service.router());
        }
        Self { server: Server::start(router, options.listener), store }
    }

    /// Its content.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Stores an archive under a tag, as pushed by ORAS v1.0.0, and returns the manifest's digest.
    pub fn seed(&self, name: &str, tag: &str, archive: &[u8]) -> String {
        let config = self.store.put_blob(name, b"{}");
        let layer = self.store.put_blob(name, archive);
        let manifest = json!({
            "schemaVersion": 2,
            "config": {"mediaType": "application/vnd.unknown.config.v1+json", "digest": config, "size": 2},
            "layers": [{
                "mediaType": "application/vnd.oci.image.layer.v1.tar",
                "digest": layer,
                "size": archive.len(),
                "annotations": {"org.opencontainers.image.title": "manifests.tgz"},
            }],
            "annotations": {"org.opencontainers.image.created": "2024-12-06T12:00:00Z"},
        });
        let manifest = Manifest {
            media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
            bytes: manifest.to_string().into_bytes(),
        };
        self.store.put_manifest(name, Some(tag), manifest)
    }
}

impl Deref for LabRegistry {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Registry {
    /// The registry's URL for clients.
    fn own_url(&self, headers: &HeaderMap) -> String {
        let host = headers.get("host").and_then(|value| value.to_str().ok());
        format!("{}://{}", self.scheme, host.unwrap_or("127.0.0.1"))
    }

    fn location(&self, headers: &HeaderMap, path: &str) -> String {
        if self.relative_location { path.to_owned() } else { self.own_url(headers) + path }
    }
}

async fn handle(State(registry): State<Arc<Registry>>, request: Request) -> Response {
    let length = request.headers().get("content-length");
    let length = length.and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if let (Some(max), Some(length)) = (registry.max_body, length)
        && length > max
    {
        // nginx answers at once and reads on for a while (lingering_close), so that no reset discards the answer.
        let mut rest = request.into_body();
        tokio::spawn(async move { while rest.frame().await.is_some() {} });
        return reply::too_large();
    }
    let mut response = dispatch(&registry, request).await;
    response.headers_mut().insert("docker-distribution-api-version", HeaderValue::from_static("registry/2.0"));
    response
}

async fn dispatch(registry: &Registry, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Some(target) = Target::parse(head.uri.path()) else {
        return unscripted();
    };
    let headers = &head.headers;
    let own_url = registry.own_url(headers);
    let asked = Asked { method: &head.method, target: &target, headers, own_url: &own_url };
    if let Err(refusal) = registry.auth.check(registry.profile, registry.rule, &asked) {
        return *refusal;
    }
    if let Some(name) = target.name().filter(|name| !is_name(name)) {
        return reply::name_invalid(name);
    }
    match (&head.method, &target) {
        (&Method::GET | &Method::HEAD, Target::Ping) => {
            reply::with_body(StatusCode::OK, &[("content-type", "application/json; charset=utf-8")], "{}")
        }
        (&Method::GET, Target::Tags { name }) => registry.tags_list(name, &head.uri),
        (&Method::GET | &Method::HEAD, Target::Manifest { name, reference }) => {
            registry.get_manifest(&head.method, name, reference, headers)
        }
        (&Method::PUT, Target::Manifest { name, reference }) => registry.put_manifest(name, reference, headers, body).await,
        (&Method::DELETE, Target::Manifest { name, reference }) => registry.delete_manifest(name, reference),
        (&Method::GET | &Method::HEAD, Target::Blob { name, digest }) => {
            registry.get_blob(&head.method, name, digest, headers).await
        }
        (&Method::DELETE, Target::Blob { name, digest }) => registry.delete_blob(name, digest),
        (&Method::POST, Target::Uploads { name }) => registry.begin_upload(name, &head.uri, headers, body).await,
        (&Method::GET, Target::Upload { name, id }) => registry.upload_status(name, id, headers),
        (&Method::PATCH, Target::Upload { name, id }) => registry.append_upload(name, id, &head.uri, headers, body).await,
        (&Method::PUT, Target::Upload { name, id }) => registry.finish_upload(name, id, &head.uri, headers, body).await,
        (&Method::DELETE, Target::Upload { name, id }) => registry.cancel_upload(name, id),
        _ => unscripted(),
    }
}
