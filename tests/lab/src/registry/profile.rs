//! The registry that the lab simulates, and an administrator's settings that refuse a push.
//!
//! Each behaviour names the real registry's source file: distribution (`distribution/distribution`), Harbor
//! (`goharbor/harbor`), Quay (`quay/quay`), Pulp (`pulp/pulp_container`), Cloudflare (`cloudflare/serverless-registry`).
//! ECR's code is not public; its answers are those that AWS documents and clients report.

use axum::response::Response;
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};

use super::reply;
use super::store::Upload;
use super::target::Target;

/// A real registry to behave as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// Distribution 2.8, as Debian's docker-registry and Harbor's own core.
    #[default]
    Distribution2,
    /// Distribution 3, which checks `Content-Range`.
    Distribution3,
    /// Harbor 2.
    Harbor,
    /// Quay 3.
    Quay,
    /// Pulp's container registry.
    Pulp,
    /// Amazon's.
    Ecr,
    /// Cloudflare's serverless registry: equal chunks, and no body above 100 MB.
    Cloudflare,
}

/// Why a push is refused. A registry without such a setting accepts the push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The project, namespace or repository does not exist, and a push does not create it.
    Missing,
    /// The user may only read.
    NoRight,
    /// The storage quota is used up.
    Quota,
    /// Existing tags are immutable.
    Immutable,
    /// The registry is read-only.
    ReadOnly,
    /// The project is a proxy cache of another registry.
    Proxy,
    /// Only signed artifacts may be pulled.
    Signed,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// It has no login.
    Nobody,
    /// Its login is invalid or expired.
    Invalid,
    /// Its login is for something else.
    Scope,
}

/// The part of a request that its refusal needs.
pub(super) struct Asked<'r> {
    pub(super) method: &'r Method,
    pub(super) target: &'r Target,
    pub(super) headers: &'r HeaderMap,
    pub(super) own_url: &'r str,
}

impl Asked<'_> {
    /// The action that a token must allow (distribution registry/handlers/app.go, `appendAccessRecords`).
    pub(super) fn action(&self) -> &'static str {
        match *self.method {
            Method::GET | Method::HEAD => "pull",
            Method::DELETE => "delete",
            _ => "push",
        }
    }

    fn writes(&self) -> bool {
        self.action() != "pull"
    }
}

fn error(status: u16, code: &str, message: &str) -> Response {
    reply::error(StatusCode::from_u16(status).expect("a status"), code, message, Value::Null)
}

fn challenged(mut answer: Response, challenge: &str) -> Response {
    answer.headers_mut().insert("www-authenticate", challenge.parse().expect("a header value"));
    answer
}

impl Profile {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Distribution2, Self::Distribution3, Self::Harbor, Self::Quay, Self::Pulp, Self::Ecr, Self::Cloudflare];

    /// Whether clients log in with a token instead of user and password.
    pub fn has_tokens(self) -> bool {
        !matches!(self, Self::Ecr | Self::Cloudflare)
    }

    /// The largest body. Cloudflare's own network refuses what is larger (src/chunk.ts, `MAXIMUM_CHUNK_UPLOAD_SIZE`).
    pub(super) fn largest_body(self) -> Option<u64> {
        (self == Self::Cloudflare).then_some(100_000_000)
    }

    /// The refusal of a registry with a token service.
    pub(super) fn no_token(self, why: Why, asked: &Asked<'_>, realm: &str, service: &str) -> Response {
        let (action, name) = (asked.action(), asked.target.name());
        let actions = if action == "push" { "pull,push" } else { action };
        let scope = name.map(|name| format!(",scope=\"repository:{name}:{actions}\"")).unwrap_or_default();
        let bearer = format!("Bearer realm=\"{realm}\",service=\"{service}\"{scope}");
        let word = match why {
            Why::Nobody => "",
            Why::Invalid => ",error=\"invalid_token\"",
            Why::Scope => ",error=\"insufficient_scope\"",
        };
        match self {
            // Any request with an Authorization header gets a Basic challenge, even with an expired token
            // (src/server/middleware/v2auth/auth.go, `getChallenge`); message and cause are the same text twice
            // (src/lib/errors/errors.go, `Error`).
            Self::Harbor => {
                let said = match name {
                    None => "unauthorized".to_owned(),
                    Some(_) if why == Why::Nobody && action == "pull" => {
                        "authorize header needed to send HEAD to repository".to_owned()
                    }
                    Some(name) => format!("unauthorized to access repository: {name}, action: {action}"),
                };
                let challenge = if why == Why::Nobody { bearer } else { "Basic realm=\"harbor\"".to_owned() };
                challenged(error(401, "UNAUTHORIZED", &format!("{said}: {said}")), &challenge)
            }
            // No `error` in the challenge (auth/registry_jwt_auth.py, `get_auth_headers`), and no specified error format for
            // an invalid token (util/http.py, `abort`).
            Self::Quay if why == Why::Invalid => {
                let body = json!({"error": "Signature has expired"}).to_string();
                let answer = reply::with_body(StatusCode::UNAUTHORIZED, &[("content-type", "application/json")], body);
                challenged(answer, &bearer)
            }
            Self::Quay => challenged(error(401, "UNAUTHORIZED", "access to the requested resource is not authorized"), &bearer),
            // pulp_container/app/token_verification.py; registry_api.py, `handle_exception`.
            Self::Pulp => {
                let said = match why {
                    Why::Nobody => "Authentication credentials were not provided.",
                    Why::Invalid => "Access to the requested resource is not authorized. The provided Bearer token is invalid.",
                    Why::Scope => "Insufficient permissions",
                };
                challenged(error(401, "UNAUTHORIZED", said), &format!("{bearer}{word}"))
            }
            // registry/auth/token/accesscontroller.go, `challengeParams`.
            _ => challenged(error(401, "UNAUTHORIZED", "authentication required"), &format!("{bearer}{word}")),
        }
    }

    /// The 401 of a registry with user and password.
    pub(super) fn no_password(self, asked: &Asked<'_>) -> Response {
        let challenge = match self {
            Self::Ecr => format!("Basic realm=\"{}/\",service=\"ecr.amazonaws.com\"", asked.own_url),
            // src/errors.ts, `AuthErrorResponse`.
            Self::Cloudflare => format!("Basic realm=\"{}/v2/\"", asked.own_url),
            _ => "Basic realm=\"Registry Realm\"".to_owned(),
        };
        challenged(error(401, "UNAUTHORIZED", "authentication required"), &challenge)
    }

    /// The refusal of a request with a valid login.
    pub(super) fn stopped(self, rule: Rule, asked: &Asked<'_>, realm: &str, service: &str) -> Option<Response> {
        let name = asked.target.name()?;
        let project = name.split('/').next().unwrap_or_default();
        match (self, rule) {
            // The header is empty; the project is checked before permissions (src/server/middleware/v2auth/auth.go,
            // `check`).
            (Self::Harbor, Rule::Missing) => {
                let said = format!("project {project} not found: project {project} not found");
                Some(challenged(error(401, "UNAUTHORIZED", &said), ""))
            }
            (Self::Ecr, Rule::Missing) => {
                let said = format!("The repository with name '{name}' does not exist in the registry with id '123456789012'");
                Some(error(404, "NAME_UNKNOWN", &said))
            }
            // A token for a missing namespace allows nothing (endpoints/v2/v2auth.py).
            (Self::Quay, Rule::Missing) => Some(self.no_token(Why::Scope, asked, realm, service)),
            (_, Rule::NoRight) if asked.writes() && self.has_tokens() => Some(self.no_token(Why::Scope, asked, realm, service)),
            (Self::Ecr, Rule::NoRight) if asked.writes() => {
                let said = format!(
                    "User: arn:aws:iam::123456789012:user/packs is not authorized to perform: ecr:InitiateLayerUpload on \
                     resource: arn:aws:ecr:us-east-1:123456789012:repository/{name} because no identity-based policy allows \
                     the ecr:InitiateLayerUpload action"
                );
                Some(error(403, "DENIED", &said))
            }
            // src/user.ts, src/token.ts: a read-only user's login is invalid for writes.
            (Self::Cloudflare, Rule::NoRight) if asked.writes() => Some(self.no_password(asked)),
            // src/server/middleware/quota/quota.go; the message is in src/pkg/quota/errors.go.
            (Self::Harbor, Rule::Quota) if *asked.method == Method::PUT => Some(error(
                403,
                "DENIED",
                "adding 29.0 MiB of storage resource, which when updated to current usage of 152.4 MiB will exceed the \
                 configured upper limit of 160.0 MiB.",
            )),
            // endpoints/v2/errors.py, `QuotaExceeded`.
            (Self::Quay, Rule::Quota) if *asked.method == Method::POST => {
                Some(error(403, "DENIED", "Quota has been exceeded on namespace"))
            }
            // src/server/middleware/readonly/readonly.go.
            (Self::Harbor, Rule::ReadOnly) if asked.writes() => {
                Some(error(403, "DENIED", "The system is in read only mode. Any modification is prohibited."))
            }
            // endpoints/v2/errors.py, `ReadOnlyMode`.
            (Self::Quay, Rule::ReadOnly) if asked.writes() => Some(error(
                405,
                "DENIED",
                "System is currently read-only. Pulls will succeed but all write operations are currently suspended.",
            )),
            // pulp_container/app/registry_api.py, `get_dr_push`.
            (Self::Pulp, Rule::ReadOnly) if asked.writes() => Some(error(400, "NAME_INVALID", "Repository is read-only.")),
            // registry/handlers/blobupload.go: the handler has no method that writes; gorilla's answers.
            (Self::Distribution2 | Self::Distribution3, Rule::ReadOnly) if asked.writes() => {
                let headers = [("allow", "GET, HEAD"), ("content-type", "text/plain; charset=utf-8")];
                Some(reply::with_body(StatusCode::METHOD_NOT_ALLOWED, &headers, "Method not allowed\n"))
            }
            // src/server/middleware/repoproxy/proxy.go, `DisableBlobAndManifestUploadMiddleware`.
            (Self::Harbor, Rule::Proxy) if matches!(*asked.method, Method::POST | Method::PUT) => {
                Some(error(403, "DENIED", &format!("denied: can not push artifact to a proxy project: {project}")))
            }
            _ => None,
        }
    }

    /// The refusal to return an existing manifest (Harbor src/server/middleware/contenttrust/contentrust.go).
    pub(super) fn unsigned(self, rule: Option<Rule>) -> Option<Response> {
        (self == Self::Harbor && rule == Some(Rule::Signed))
            .then(|| error(412, "PROJECTPOLICYVIOLATION", "The image is not signed by cosign."))
    }

    /// The refusal to move a tag away from the manifest `held`.
    pub(super) fn immutable(self, name: &str, tag: &str, held: &str, digest: &str) -> Option<Response> {
        match self {
            // src/server/middleware/immutable/error.go: the same manifest again is refused too.
            Self::Harbor => {
                let repository = name.split_once('/').map_or(name, |(_, rest)| rest);
                let said = format!("Failed to process request due to '{repository}:{tag}' configured as immutable.");
                Some(error(412, "PRECONDITION", &said))
            }
            // endpoints/v2/errors.py, `TagImmutable`.
            Self::Quay if held != digest => Some(error(409, "TAG_IMMUTABLE", "tag is immutable and cannot be overwritten")),
            Self::Ecr if held != digest => {
                let said = format!(
                    "The image tag '{tag}' already exists in the '{name}' repository and cannot be overwritten because the \
                     tag is immutable."
                );
                Some(error(400, "TAG_INVALID", &said))
            }
            _ => None,
        }
    }

    /// The refusal of a manifest with a missing blob.
    pub(super) fn blob_unknown(self, digest: &str) -> Response {
        match self {
            // data/model/oci/manifest.py; endpoints/v2/manifest.py: only the detail names the blob.
            Self::Quay => reply::manifest_invalid_because(json!({"message": format!("Unknown blob `{digest}`")})),
            // pulp_container/app/exceptions.py, `BlobInvalid`.
            Self::Pulp => {
                reply::error(StatusCode::BAD_REQUEST, "BLOB_UNKNOWN", "blob unknown to registry", json!({"digest": digest}))
            }
            // src/registry/r2.ts.
            Self::Cloudflare => error(400, "BLOB_UNKNOWN", &format!("unknown blob {digest}")),
            _ => reply::error(StatusCode::BAD_REQUEST, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry", json!(digest)),
        }
    }

    /// The state in an upload's URL; Quay and Pulp have none.
    pub(super) fn session(self, name: &str, upload: &Upload) -> String {
        let path = format!("/v2/{name}/blobs/uploads/{}", upload.id);
        match self {
            Self::Quay | Self::Pulp => path,
            Self::Cloudflare => format!("{path}?_stateHash={}", upload.size),
            _ => format!("{path}?_state={}", upload.size),
        }
    }

    /// The name of the state's query parameter.
    pub(super) fn state(self) -> Option<&'static str> {
        match self {
            Self::Quay | Self::Pulp => None,
            Self::Cloudflare => Some("_stateHash"),
            _ => Some("_state"),
        }
    }

    /// Whether the URL of an upload omits the host (Pulp registry_api.py, `UploadResponse`; Cloudflare src/registry/r2.ts).
    pub(super) fn has_relative_sessions(self) -> bool {
        matches!(self, Self::Pulp | Self::Cloudflare)
    }

    /// The `Range` of an upload with this many bytes.
    pub(super) fn range(self, method: &Method, size: u64) -> String {
        let last = size.saturating_sub(1);
        match self {
            // endpoints/v2/blob.py, `_render_range`: a new one has a negative end, and the status is one too high.
            Self::Quay if *method == Method::POST => "bytes=0--1".to_owned(),
            Self::Quay if *method == Method::GET => format!("bytes=0-{size}"),
            Self::Ecr => "0-0".to_owned(),
            _ => format!("0-{last}"),
        }
    }

    /// The refusal of a URL that is not the session's last one.
    pub(super) fn outdated(self) -> Response {
        match self {
            // registry/handlers/blobupload.go, `ResumeBlobUpload`; src/errors.ts, `RangeError`.
            Self::Distribution3 => error(416, "RANGE_INVALID", "invalid content range"),
            Self::Cloudflare => error(416, "RANGE_ERROR", "stateHash does not match state"),
            _ => reply::upload_invalid(),
        }
    }

    /// How many bytes of a chunk to skip, because the session has them, or the refusal of the chunk.
    pub(super) fn accepts(self, upload: &Upload, headers: &HeaderMap) -> Result<u64, Box<Response>> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let range = text("content-range").and_then(|range| range.split_once('-'));
        let range = range.and_then(|(from, to)| Some((from.parse::<u64>().ok()?, to.parse::<u64>().ok()?)));
        let length = text("content-length").and_then(|length| length.parse::<u64>().ok());
        let refuse = |answer: Response| Err(Box::new(answer));
        match (self, range) {
            // registry/handlers/blobupload.go, `PatchBlobData`.
            (Self::Distribution3, Some((from, to))) if length.is_some() => match () {
                () if from > to || from != upload.size => refuse(error(416, "RANGE_INVALID", "invalid content range")),
                () if length != Some(to - from + 1) => {
                    refuse(error(400, "SIZE_INVALID", "provided length did not match content length"))
                }
                () => Ok(0),
            },
            // data/registry_model/blobuploader.py, `upload_chunk`.
            (Self::Quay, Some((from, _))) if from > upload.size => refuse(reply::bare(StatusCode::RANGE_NOT_SATISFIABLE, &[])),
            (Self::Quay, Some((from @ 1.., _))) => Ok(upload.size - from),
            // pulp_container/app/registry_api.py, `partial_update`: it raises a bare exception.
            (Self::Pulp, range) if range.map_or(0, |(from, _)| from) != upload.size => refuse(reply::with_body(
                StatusCode::INTERNAL_SERVER_ERROR,
                &[("content-type", "text/html")],
                "<h1>Server Error (500)</h1>",
            )),
            // src/registry/r2.ts, `uploadChunk`, without the compatibility mode: parts of one size, the last may be less.
            (Self::Cloudflare, range) => {
                let size = length.unwrap_or_default();
                let starts = range.is_none_or(|(from, to)| from == upload.size && to > from);
                let equal = upload.parts.iter().all(|part| *part == upload.parts[0]);
                let fits = upload.parts.last().is_none_or(|last| equal && size <= *last && *last >= CLOUDFLARE_LEAST);
                if starts && fits { Ok(0) } else { refuse(error(416, "RANGE_ERROR", "stateHash does not match state")) }
            }
            _ => Ok(0),
        }
    }

    /// Whether the received part of a cut chunk is kept. Distribution 2.8 loses the session (its writer is closed with an
    /// error), Distribution 3 keeps the bytes, the others return to the start of the chunk.
    pub(super) fn after_cut(self) -> Cut {
        match self {
            Self::Distribution2 | Self::Harbor | Self::Ecr => Cut::Gone,
            Self::Distribution3 => Cut::Kept,
            Self::Quay | Self::Pulp | Self::Cloudflare => Cut::Undone,
        }
    }
}

/// The fate of a session after a cut chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    Gone,
    Kept,
    Undone,
}

/// The minimum size of Cloudflare's chunks (src/chunk.ts, `MINIMUM_CHUNK`).
pub(super) const CLOUDFLARE_LEAST: u64 = 5 << 20;
