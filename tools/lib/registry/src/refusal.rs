//! A registry's refusal: who answered, in what form, with which codes, and what it means.
//!
//! Invariant: the meaning follows from the error's code, or from whole sentences in a registry's source, never from a single
//! word in the answer. An HTML page, or an answer of another origin, never means that the registry refused the user.

use std::fmt;
use std::time::Duration;

use scar_http::{Attempt, Cause, Error, Method, Response, StatusCode};
use scar_tool::{Exit, Failure};
use serde::Deserialize;
use serde_json::Value;

/// IAM's phrase for a known user without permission; the name of the action follows.
const NOT_AUTHORIZED: &str = " is not authorized to perform: ";

/// An answer with a status other than success.
#[derive(Debug)]
pub struct Refusal {
    error: Error,
    /// The HTTP status of the answer.
    pub status: StatusCode,
    /// The server that answered.
    pub from: Sender,
    /// The kind of the request.
    kind: RequestKind,
    /// Whether it is an HTML page.
    is_page: bool,
    /// Whether a login that was just made was refused.
    login: bool,
    errors: Vec<OciError>,
}

/// Who answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sender {
    /// The server at the registry's own origin.
    Registry,
    /// The token realm.
    Realm,
    /// Another origin, to which the registry redirected.
    Elsewhere(String),
}

/// One error of the answer (OCI distribution specification, "Error Codes"). The code is text because registries use codes of
/// their own.
#[derive(Debug, Clone, Default, Deserialize)]
struct OciError {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    detail: Value,
}

/// The answer's body.
#[derive(Deserialize)]
struct Errors {
    errors: Vec<OciError>,
}

/// The kinds of requests whose refusals mean different things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RequestKind {
    /// The check whether the registry answers and accepts the login (`GET /v2/`).
    Ping,
    /// To open an upload session.
    Upload,
    /// To store a manifest.
    Manifest,
    /// Anything else.
    Other,
}

impl RequestKind {
    fn of(method: &Method, path: &str) -> Self {
        match *method {
            Method::POST if path.ends_with("/blobs/uploads/") => Self::Upload,
            Method::PUT if path.contains("/manifests/") => Self::Manifest,
            Method::GET if path == "/v2/" => Self::Ping,
            _ => Self::Other,
        }
    }
}

/// What a refusal means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// The project's storage quota is used up.
    Quota,
    /// The tag is immutable.
    Immutable,
    /// A policy forbids to pull the artifact.
    Policy,
    /// The registry or repository is read-only.
    ReadOnly,
    /// The project is a proxy cache of another registry.
    ProxyProject,
    /// The registry is a cache of another one.
    Mirror,
    TooLarge,
    /// The blob store at this origin, to which the registry redirected, refuses.
    Store(String),
    /// A proxy or firewall in front of the registry answered with a page.
    Page,
    /// The user or the password is wrong.
    Login,
    /// The login is wrong, or the permission is missing, or the project.
    LoginOrPermission,
    /// The permission is missing, or the project.
    Permission,
    /// The user's policy does not allow this action of ECR's API.
    ActionDenied(String),
    /// The password has expired.
    Expired,
    /// The repository does not exist.
    Missing,
    /// The registry's storage is full.
    Full,
    /// No upload session could be opened, perhaps because the project does not exist.
    NoSession,
    /// Nothing more than its status says.
    Plain,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)?;
        match self.blobs() {
            blobs if blobs.is_empty() => Ok(()),
            blobs => write!(f, " ({})", blobs.join(", ")),
        }
    }
}

impl Refusal {
    /// Reads the answer, up to 64 KiB; `login` if it refuses a login that was just made.
    pub(crate) async fn of(answer: Response, from: Sender, login: bool) -> Self {
        let (status, kind) = (answer.status(), RequestKind::of(answer.method(), answer.url().path()));
        let (error, body) = answer.into_error_and_body().await;
        let errors = serde_json::from_slice(&body).map_or_else(|_| Vec::new(), |Errors { errors }| errors);
        let is_page = scar_http::is_page(&body);
        Self { error, status, from, kind, is_page, login, errors }
    }

    /// Whether the registry gave this error code.
    pub fn has(&self, code: &str) -> bool {
        self.errors.iter().any(|error| error.code == code)
    }

    /// The messages of the answer's errors.
    pub fn words(&self) -> &str {
        match &self.error.cause {
            Cause::Status { words, .. } => words,
            _ => "",
        }
    }

    pub(crate) fn is_transient(&self) -> bool {
        // A login is tried once, even if the answer is one that is otherwise retried: more tries may lock the account.
        !self.login && self.error.is_transient()
    }

    /// How long the registry asks to wait (`Retry-After`).
    pub fn asked(&self) -> Option<Duration> {
        self.error.asked()
    }

    /// Whether it refuses a manifest because a blob is missing.
    pub fn lacks_blob(&self) -> bool {
        // The specification demands MANIFEST_BLOB_UNKNOWN (OCI distribution specification, "Push"). Pulp answers BLOB_UNKNOWN
        // with 400 or 404 (pulp/pulp_container pulp_container/app/exceptions.py), Trow and Cloudflare's registry use that code
        // too; Quay has none, but names the blob in the detail.
        let quay = self.has("MANIFEST_INVALID") && !self.blobs().is_empty();
        matches!(self.status.as_u16(), 400 | 404) && (self.has("MANIFEST_BLOB_UNKNOWN") || self.has("BLOB_UNKNOWN") || quay)
    }

    /// Whether it names this digest.
    pub fn names(&self, digest: &str) -> bool {
        self.errors.iter().any(|error| error.message.contains(digest) || error.detail.to_string().contains(digest))
    }

    /// The digests in the errors' details that are not in their messages, each once. The rest of a detail is not meant for
    /// people.
    fn blobs(&self) -> Vec<String> {
        const LENGTH: usize = "sha256:".len() + 64;
        let mut found = Vec::new();
        for error in &self.errors {
            let detail = error.detail.to_string();
            for (at, _) in detail.match_indices("sha256:") {
                let digest = detail.get(at..at + LENGTH).filter(|digest| scar_record::Digest::parse(digest).is_ok());
                found.extend(digest.filter(|digest| !error.message.contains(digest)).map(str::to_owned));
            }
        }
        found.sort();
        found.dedup();
        found
    }

    /// The failure with the status's exit code, without a hint.
    pub fn failure(&self, act: &str) -> Failure {
        let failure = self.error.failure(act);
        let exit = if self.login { Exit::Refused } else { failure.exit };
        Failure { exit, message: format!("{act}: {self}"), ..failure }
    }

    /// What the refusal means.
    pub(crate) fn meaning(&self) -> Meaning {
        if let Sender::Elsewhere(origin) = &self.from {
            return Meaning::Store(origin.clone());
        }
        // Codes and whole sentences first: the status alone is ambiguous (Harbor answers 403 for a full quota, a read-only system
        // and a missing permission), and a single word such as "quota" may be part of a repository's name.
        if let Some(meaning) = self.errors.iter().find_map(OciError::meaning) {
            return meaning;
        }
        match self.status.as_u16() {
            // Harbor's status for an immutable tag (goharbor/harbor src/server/middleware/immutable/pushmf.go,
            // src/lib/http/error.go), even if a proxy has replaced the message.
            412 if self.kind == RequestKind::Manifest => Meaning::Immutable,
            // A proxy such as nginx, whose client_max_body_size is 1 MiB by default (nginx documentation,
            // ngx_http_core_module). It answers with an HTML page, also in front of Harbor (goharbor/harbor#15823).
            413 => Meaning::TooLarge,
            // The realm checks the login alone: a missing permission is no error there (Distribution, "Token Authentication",
            // "Requesting a Token"). `/v2/` belongs to no repository.
            401 if self.login && (self.is_page || self.from == Sender::Realm || self.kind == RequestKind::Ping) => Meaning::Login,
            400..=499 if self.is_page && !self.error.is_transient() => Meaning::Page,
            400 | 403 if self.from == Sender::Realm => Meaning::LoginOrPermission,
            401 | 403 if self.login => Meaning::LoginOrPermission,
            401 | 403 => Meaning::Permission,
            404 => Meaning::Missing,
            // Distribution, if it has `proxy.remoteurl` (v2.8 registry/proxy/proxyblobstore.go, `Create`). A read-only one has
            // no handler for POST, and answers without a code (registry/handlers/blobupload.go, `blobUploadDispatcher`).
            405 if self.kind == RequestKind::Upload && self.has("UNSUPPORTED") => Meaning::Mirror,
            405 if self.kind == RequestKind::Upload => Meaning::ReadOnly,
            507 => Meaning::Full,
            500..=599 if self.errors.iter().any(OciError::is_disk_full) => Meaning::Full,
            // Harbor 1 answered so for a project that does not exist (goharbor/harbor#6141); Harbor 2 answers 401.
            500 if self.kind == RequestKind::Upload => Meaning::NoSession,
            _ => Meaning::Plain,
        }
    }
}

impl OciError {
    /// The meaning of codes and sentences that are in the registries' sources.
    fn meaning(&self) -> Option<Meaning> {
        let Self { code, message, .. } = self;
        let denied = code == "DENIED";
        Some(match () {
            // goharbor/harbor src/pkg/quota/errors.go, src/controller/quota/controller.go; quay/quay endpoints/v2/errors.py.
            () if denied
                && (message.contains(" will exceed the configured upper limit of ")
                    || message.to_ascii_lowercase().starts_with("quota exceeded")
                    || message == "Quota has been exceeded on namespace") =>
            {
                Meaning::Quota
            }
            // goharbor/harbor src/server/middleware/immutable/error.go; quay/quay endpoints/v2/errors.py; ECR.
            () if code == "TAG_IMMUTABLE"
                || message.ends_with(" configured as immutable.")
                || (code == "TAG_INVALID" && message.contains(" already exists ") && message.contains(" immutable")) =>
            {
                Meaning::Immutable
            }
            // goharbor/harbor src/server/middleware/contenttrust/contentrust.go and vulnerable/vulnerable.go.
            () if code == "PROJECTPOLICYVIOLATION" => Meaning::Policy,
            // goharbor/harbor src/server/middleware/readonly/readonly.go; quay/quay endpoints/v2/errors.py;
            // pulp/pulp_container pulp_container/app/registry_api.py.
            () if denied
                && (message.starts_with("The system is in read only mode.")
                    || message.starts_with("System is currently read-only.")) =>
            {
                Meaning::ReadOnly
            }
            () if code == "NAME_INVALID" && message == "Repository is read-only." => Meaning::ReadOnly,
            // IAM, through Amazon ECR.
            () if denied && message.contains(NOT_AUTHORIZED) => {
                let (_, action) = message.split_once(NOT_AUTHORIZED)?;
                Meaning::ActionDenied(action.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == ':').collect())
            }
            // Amazon ECR, to a password that is older than twelve hours (aws/aws-cli#6580).
            () if denied && message == "Your authorization token has expired. Reauthenticate and try again." => Meaning::Expired,
            // goharbor/harbor src/server/middleware/repoproxy/proxy.go.
            () if denied && message.contains("can not push artifact to a proxy project: ") => Meaning::ProxyProject,
            () => return None,
        })
    }

    /// Whether a disk is full: Go's message for ENOSPC, or its number. Distribution's message never says so, its detail does:
    /// as text, or as Go's `fs.PathError`, from 2.8's drivers within another error, from 3's as a text of that error
    /// (distribution registry/storage/driver/storagedriver.go, `Error`, `Errors`).
    fn is_disk_full(&self) -> bool {
        let text = |text: &str| text.ends_with("no space left on device");
        let says = |value: &Value| value.as_str().is_some_and(text);
        let detail = &self.detail;
        text(&self.message)
            || says(detail)
            || says(&detail["detail"])
            || detail["details"].as_array().is_some_and(|all| all.iter().any(says))
            || detail["Err"] == 28
            || detail["Enclosed"]["Err"] == 28
    }
}

#[cfg(fuzzing)]
pub(crate) mod fuzzing {
    use super::*;

    /// Parses the body of a refusal, and words it.
    pub fn refusal(body: &[u8]) {
        let errors = serde_json::from_slice(body).map_or_else(|_| Vec::new(), |Errors { errors }| errors);
        let words = scar_http::words(body);
        let is_page = words.starts_with("an HTML page");
        let (status, kind) = (StatusCode::FORBIDDEN, RequestKind::Manifest);
        let error = Error { request: String::new(), cause: Cause::Status { status, words, retry_after: None, location: None } };
        let refusal = Refusal { error, status, from: Sender::Registry, kind, is_page, login: false, errors };
        _ = (refusal.to_string(), refusal.failure("push"), refusal.meaning(), refusal.lacks_blob());
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn refusal(request: &str, status: u16, errors: &str) -> Refusal {
        let status = StatusCode::from_u16(status).unwrap();
        let (words, retry_after) = (errors.to_owned(), Some(Duration::from_secs(99_999)));
        let error = Error { request: request.into(), cause: Cause::Status { status, words, retry_after, location: None } };
        let parsed = serde_json::from_str(errors).unwrap_or_default();
        let (method, path) = request.split_once(" https://h.example").unwrap();
        let kind = RequestKind::of(&method.parse().unwrap(), path);
        Refusal { error, status, from: Sender::Registry, kind, is_page: errors.starts_with('<'), login: false, errors: parsed }
    }

    const MANIFEST: &str = "PUT https://h.example/v2/proj/r/manifests/1";
    const OPEN: &str = "POST https://h.example/v2/proj/r/blobs/uploads/";

    #[test]
    fn q50_q63_codes_and_sentences_decide() {
        let body = |code: &str, message: &str| format!(r#"[{{"code":"{code}","message":"{message}"}}]"#);
        let adding = "adding 29.0 MiB of storage resource, which when updated to current usage of 152.4 MiB will exceed the \
                      configured upper limit of 10.0 MiB.";
        let detail = |detail: &str| format!(r#"[{{"code":"UNKNOWN","message":"unknown error","detail":{detail}}}]"#);
        for (request, status, errors, meaning) in [
            (MANIFEST, 403, body("DENIED", adding), Meaning::Quota),
            (OPEN, 403, body("DENIED", "Quota has been exceeded on namespace"), Meaning::Quota),
            (OPEN, 403, body("DENIED", "requested access to quota/immutable is denied"), Meaning::Permission),
            (MANIFEST, 412, body("PRECONDITION", "… 'r:1' configured as immutable."), Meaning::Immutable),
            (MANIFEST, 409, body("TAG_IMMUTABLE", "tag is immutable"), Meaning::Immutable),
            (MANIFEST, 400, body("TAG_INVALID", "The image tag '1' already exists … is immutable."), Meaning::Immutable),
            (MANIFEST, 400, body("TAG_INVALID", "manifest tag did not match URI"), Meaning::Plain),
            (MANIFEST, 412, String::new(), Meaning::Immutable),
            ("GET https://h.example/v2/proj/r/manifests/1", 412, body("PROJECTPOLICYVIOLATION", "…"), Meaning::Policy),
            ("GET https://h.example/v2/proj/r/manifests/1", 412, String::new(), Meaning::Plain),
            (OPEN, 403, body("DENIED", "The system is in read only mode. Any modification is prohibited."), Meaning::ReadOnly),
            (OPEN, 405, String::new(), Meaning::ReadOnly),
            (OPEN, 405, body("UNSUPPORTED", "The operation is unsupported."), Meaning::Mirror),
            (OPEN, 403, body("DENIED", "denied: can not push artifact to a proxy project: p"), Meaning::ProxyProject),
            (OPEN, 403, "<html>".to_owned(), Meaning::Page),
            (MANIFEST, 413, "<html>".to_owned(), Meaning::TooLarge),
            (OPEN, 404, body("NAME_UNKNOWN", ""), Meaning::Missing),
            (OPEN, 500, body("UNKNOWN", "internal error"), Meaning::NoSession),
            (MANIFEST, 500, detail(r#"{"Op":"write","Err":28}"#), Meaning::Full),
            (MANIFEST, 500, detail(r#"{"driver":"filesystem","detail":"write /v: no space left on device"}"#), Meaning::Full),
            (MANIFEST, 500, detail(r#"{"driver":"s3","details":["write /v: no space left on device"]}"#), Meaning::Full),
            (MANIFEST, 507, String::new(), Meaning::Full),
            (MANIFEST, 502, "<html>".to_owned(), Meaning::Plain),
            (OPEN, 429, "<html>".to_owned(), Meaning::Plain),
        ] {
            assert_eq!(refusal(request, status, &errors).meaning(), meaning, "{request} {status} {errors}");
        }
        let elsewhere = Refusal { from: Sender::Elsewhere("http://minio".into()), ..refusal(MANIFEST, 403, "") };
        assert_eq!(elsewhere.meaning(), Meaning::Store("http://minio".into()));
        let login = Refusal { login: true, ..refusal(MANIFEST, 401, "<html>") };
        assert_eq!((login.meaning(), login.is_transient()), (Meaning::Login, false));
        for (request, meaning) in [("GET https://h.example/v2/", Meaning::Login), (OPEN, Meaning::LoginOrPermission)] {
            assert_eq!(Refusal { login: true, ..refusal(request, 401, "") }.meaning(), meaning);
        }
    }

    #[test]
    fn q65_a_blob_that_the_detail_names_is_shown() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for detail in [
            format!("\"{digest}\""),
            format!("{{\"digest\":\"{digest}\"}}"),
            format!("{{\"message\":\"Unknown blob `{digest}`\"}}"),
        ] {
            let errors = format!(r#"[{{"code":"MANIFEST_INVALID","message":"manifest invalid","detail":{detail}}}]"#);
            let refusal = refusal(MANIFEST, 400, &errors);
            assert!(refusal.lacks_blob() && refusal.names(&digest) && refusal.to_string().ends_with(&format!("({digest})")));
        }
        assert!(!refusal(MANIFEST, 400, r#"[{"code":"MANIFEST_INVALID","message":"bad"}]"#).lacks_blob());
    }
}
