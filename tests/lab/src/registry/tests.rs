//! Tests of the registry through HTTP.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder};
use serde_json::json;

use super::{Auth, Credentials, LabRegistry, Profile, RegistryOptions, Rule, Storage, TokenService, digest_of};
use crate::faults::{Action, Match, Times};
use crate::probe::{Got, client, send};

const NAME: &str = "spectro-packs/spectro-manifests/manifest";
const OCI: &str = "application/vnd.oci.image.manifest.v1+json";

struct Asker {
    registry: LabRegistry,
    client: Client,
}

impl Asker {
    fn new(options: RegistryOptions) -> Self {
        Self { registry: LabRegistry::start(options), client: client(None) }
    }

    /// `path` is below the repository, or a whole URL.
    fn ask(
        &self,
        method: Method,
        path: &str,
        shape: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Result<Got, reqwest::Error> {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}/v2/{NAME}{path}", self.registry.url()) };
        send(&self.client, method, &url, shape)
    }

    fn send(&self, method: Method, path: &str, body: &[u8]) -> Got {
        let body = body.to_vec();
        self.ask(method, path, |r| r.body(body)).unwrap()
    }

    fn begin(&self) -> String {
        let got = self.send(Method::POST, "/blobs/uploads/", b"");
        assert_eq!(got.status, 202);
        got.header("location").to_owned()
    }

    fn put(&self, location: &str, digest: &str, body: &[u8]) -> Got {
        self.send(Method::PUT, &format!("{location}&digest={digest}"), body)
    }

    fn push_manifest(&self, tag: &str, body: &str) -> Got {
        let body = body.to_owned();
        let path = format!("/manifests/{tag}");
        self.ask(Method::PUT, &path, |r| r.header("content-type", OCI).body(body)).unwrap()
    }
}

fn plain() -> Asker {
    Asker::new(RegistryOptions::default())
}

fn manifest(layer: &[u8]) -> String {
    json!({
        "schemaVersion": 2,
        "config": {"mediaType": "x/y", "digest": digest_of(b"{}"), "size": 2},
        "layers": [{"mediaType": "x/y", "digest": digest_of(layer), "size": layer.len()}],
    })
    .to_string()
}

#[test]
fn a_blob_goes_up_in_one_put_and_comes_back() {
    let asker = plain();
    let digest = digest_of(b"hello");
    let blob = format!("/blobs/{digest}");
    assert_eq!(asker.send(Method::HEAD, &blob, b"").status, 404);
    let put = asker.put(&asker.begin(), &digest, b"hello");
    assert_eq!((put.status, put.header("docker-content-digest")), (201, &*digest));
    assert_eq!(put.header("location"), format!("{}/v2/{NAME}{blob}", asker.registry.url()));
    let head = asker.send(Method::HEAD, &blob, b"");
    assert_eq!((head.status, head.header("content-length")), (200, "5"));
    assert_eq!(asker.send(Method::GET, &blob, b"").body, b"hello");
    let part = asker.ask(Method::GET, &blob, |r| r.header("range", "bytes=1-3"));
    let part = part.unwrap();
    assert_eq!((part.status, &part.body[..]), (206, &b"ell"[..]));
    assert_eq!(part.header("content-range"), "bytes 1-3/5");
    assert_eq!(asker.registry.store().open_uploads(), 0);
    assert_eq!(asker.send(Method::DELETE, &blob, b"").status, 202);
    assert_eq!(asker.send(Method::GET, &blob, b"").code(), "BLOB_UNKNOWN");
}

#[test]
fn a_wrong_digest_is_refused_and_ends_the_session() {
    let asker = plain();
    let location = asker.begin();
    let got = asker.put(&location, &digest_of(b"other"), b"hello");
    assert_eq!((got.status, &*got.code()), (400, "DIGEST_INVALID"));
    let got = asker.put(&location, &digest_of(b"hello"), b"hello");
    assert_eq!((got.status, &*got.code()), (404, "BLOB_UPLOAD_UNKNOWN"));
    assert!(asker.registry.store().blobs(NAME).is_empty());
}

#[test]
fn a_blob_goes_up_in_chunks_at_the_last_location() {
    let asker = plain();
    let first = asker.begin();
    let got = asker.send(Method::PATCH, &first, b"hel");
    assert_eq!((got.status, got.header("range")), (202, "0-2"));
    let status = asker.send(Method::GET, got.header("location"), b"");
    assert_eq!((status.status, status.header("range")), (204, "0-2"));
    let got = asker.send(Method::PATCH, status.header("location"), b"lo");
    assert_eq!(got.header("range"), "0-4");
    let put = asker.put(got.header("location"), &digest_of(b"hello"), b"");
    assert_eq!(put.status, 201);
}

#[test]
fn content_range_is_ignored_and_a_chunk_sent_twice_is_there_twice() {
    let asker = plain();
    let mut location = asker.begin();
    for _ in 0..2 {
        let got = asker.ask(Method::PATCH, &location, |r| r.header("content-range", "0-2").body("hel"));
        location = got.unwrap().header("location").to_owned();
    }
    let put = asker.put(&location, &digest_of(b"helhel"), b"");
    assert_eq!(put.status, 201);
}

#[test]
fn an_older_location_does_not_continue_a_session() {
    let asker = plain();
    let first = asker.begin();
    assert_eq!(asker.send(Method::PATCH, &first, b"hel").status, 202);
    let got = asker.send(Method::PATCH, &first, b"lo");
    assert_eq!((got.status, &*got.code()), (404, "BLOB_UPLOAD_INVALID"));
    assert_eq!(asker.registry.store().open_uploads(), 1);
}

#[test]
fn a_cut_upload_leaves_no_session() {
    let asker = plain();
    let location = asker.begin();
    asker.registry.faults().on(Match::patch("/**"), Times::First(1), Action::ResetAfter(2));
    let cut = asker.ask(Method::PATCH, &location, |r| r.body("hello"));
    assert!(cut.is_err());
    assert_eq!(asker.send(Method::PATCH, &location, b"hello").status, 404);
    assert_eq!(asker.registry.store().open_uploads(), 0);
}

#[test]
fn a_session_can_be_cancelled_and_a_blob_posted_or_mounted() {
    let asker = plain();
    let location = asker.begin();
    assert_eq!(asker.send(Method::DELETE, &location, b"").status, 204);
    assert_eq!(asker.send(Method::DELETE, &location, b"").status, 404);
    let digest = digest_of(b"hello");
    let post = asker.send(Method::POST, &format!("/blobs/uploads/?digest={digest}"), b"hello");
    assert_eq!(post.status, 201);
    let other = format!("{}/v2/other/blobs/uploads/?mount={digest}&from={NAME}", asker.registry.url());
    assert_eq!(asker.registry.store().blob("other", &digest), None);
    assert_eq!(asker.send(Method::POST, &other, b"").status, 201);
    assert_eq!(asker.registry.store().blob("other", &digest).unwrap(), b"hello");
}

#[test]
fn a_manifest_needs_its_blobs_and_moves_its_tag() {
    let asker = plain();
    let store = asker.registry.store();
    let text = manifest(b"hello");
    store.put_blob(NAME, b"{}");
    let got = asker.push_manifest("0.0.0", &text);
    assert_eq!((got.status, &*got.code()), (400, "MANIFEST_BLOB_UNKNOWN"));
    assert!(store.tags(NAME).is_empty());
    store.put_blob(NAME, b"hello");
    let digest = digest_of(text.as_bytes());
    let got = asker.push_manifest("0.0.0", &text);
    assert_eq!((got.status, got.header("docker-content-digest")), (201, &*digest));
    for reference in ["0.0.0", &digest] {
        let path = format!("/manifests/{reference}");
        let got = asker.ask(Method::GET, &path, |r| r.header("accept", OCI));
        let got = got.unwrap();
        assert_eq!(got.body, text.as_bytes());
        assert_eq!(got.header("content-type"), OCI);
        assert_eq!(got.header("docker-content-digest"), digest);
    }
    let got = asker.send(Method::GET, "/manifests/0.0.0", b"");
    assert_eq!((got.status, &*got.code()), (404, "MANIFEST_UNKNOWN"));
    let got = asker.push_manifest(&digest_of(b"other"), &text);
    assert_eq!(got.code(), "DIGEST_INVALID");
    assert_eq!(asker.push_manifest("0.0.0", "{}").code(), "MANIFEST_INVALID");
    let gone = asker.send(Method::DELETE, &format!("/manifests/{digest}"), b"");
    assert_eq!((gone.status, store.tags(NAME).len()), (202, 0));
    let none = asker.send(Method::GET, "/tags/list", b"").json();
    assert_eq!(none, json!({"name": NAME, "tags": null}));
}

#[test]
fn tags_are_listed_in_pages() {
    let asker = plain();
    assert_eq!(asker.send(Method::GET, "/tags/list", b"").code(), "NAME_UNKNOWN");
    for tag in ["4.5.15", "0.0.0", "4.5.13"] {
        asker.registry.seed(NAME, tag, b"archive");
    }
    let all = asker.send(Method::GET, "/tags/list", b"").json();
    assert_eq!(all, json!({"name": NAME, "tags": ["0.0.0", "4.5.13", "4.5.15"]}));
    let page = asker.send(Method::GET, "/tags/list?n=2", b"");
    assert_eq!(page.json()["tags"], json!(["0.0.0", "4.5.13"]));
    let link = format!("</v2/{NAME}/tags/list?last=4.5.13&n=2>; rel=\"next\"");
    assert_eq!(page.header("link"), link);
    let page = asker.send(Method::GET, "/tags/list?n=2&last=4.5.13", b"");
    assert_eq!(page.json()["tags"], json!(["4.5.15"]));
}

#[test]
fn an_immutable_tag_does_not_move() {
    for (profile, same, other) in [(Profile::Ecr, 201, 400), (Profile::Harbor, 412, 412), (Profile::Quay, 201, 409)] {
        let asker = Asker::new(RegistryOptions { profile, rule: Some(Rule::Immutable), ..RegistryOptions::default() });
        for blob in [&b"{}"[..], b"hello", b"other"] {
            asker.registry.store().put_blob(NAME, blob);
        }
        let push = |layer| asker.push_manifest("0.0.0", &manifest(layer)).status;
        assert_eq!(push(b"hello"), 201);
        assert_eq!((push(b"hello"), push(b"other")), (same, other));
    }
}

#[test]
fn a_body_above_the_limit_gets_the_page_of_nginx() {
    let asker = Asker::new(RegistryOptions { max_body: Some(4), ..RegistryOptions::default() });
    let location = asker.begin();
    let got = asker.put(&location, &digest_of(b"hello"), b"hello");
    assert_eq!((got.status, got.header("content-type")), (413, "text/html"));
    let got = asker.send(Method::PATCH, &location, b"hell");
    assert_eq!(got.status, 202);
}

#[test]
fn a_relative_location_has_no_host() {
    let asker = Asker::new(RegistryOptions { relative_location: true, ..RegistryOptions::default() });
    assert!(asker.begin().starts_with("/v2/"));
}

#[test]
fn a_lying_registry_says_yes_and_has_nothing() {
    let asker = Asker::new(RegistryOptions { lying: true, ..RegistryOptions::default() });
    let digest = digest_of(b"hello");
    assert_eq!(asker.put(&asker.begin(), &digest, b"hello").status, 201);
    assert_eq!(asker.push_manifest("0.0.0", &manifest(b"hello")).status, 201);
    let blob = format!("/blobs/{digest}");
    assert_eq!(asker.send(Method::HEAD, &blob, b"").status, 404);
    assert!(asker.registry.store().tags(NAME).is_empty());
}

#[test]
fn a_discarding_registry_knows_what_it_got_and_keeps_what_is_small() {
    let asker = Asker::new(RegistryOptions { storage: Storage::Discard, ..RegistryOptions::default() });
    let big = vec![1; 1 << 20];
    for (body, status) in [(&big[..], 500), (b"hello", 200)] {
        let digest = digest_of(body);
        assert_eq!(asker.put(&asker.begin(), &digest, body).status, 201);
        let blob = format!("/blobs/{digest}");
        let head = asker.send(Method::HEAD, &blob, b"");
        assert_eq!(head.header("content-length"), body.len().to_string());
        assert_eq!(asker.send(Method::GET, &blob, b"").status, status);
    }
}

#[test]
fn basic_credentials_are_asked_for_and_compared() {
    let asker =
        Asker::new(RegistryOptions { auth: Auth::Basic(Credentials::new("admin", "s3cret")), ..RegistryOptions::default() });
    let got = asker.send(Method::GET, "/tags/list", b"");
    assert_eq!((got.status, &*got.code()), (401, "UNAUTHORIZED"));
    assert_eq!(got.header("www-authenticate"), "Basic realm=\"Registry Realm\"");
    for (password, status) in [("wrong", 401), ("s3cret", 404)] {
        let got = asker.ask(Method::GET, "/tags/list", |r| r.basic_auth("admin", Some(password)));
        assert_eq!(got.unwrap().status, status);
    }
}

#[test]
fn a_token_holds_for_its_scope_and_its_time() {
    let credentials = Credentials::new("robot$x", "s3cret");
    let service = Arc::new(TokenService::new(credentials, Duration::from_secs(60)));
    let asker = Asker::new(RegistryOptions { auth: Auth::Bearer(service.clone()), ..RegistryOptions::default() });
    let got = asker.send(Method::POST, "/blobs/uploads/", b"");
    let url = asker.registry.url();
    let challenge =
        format!("Bearer realm=\"{url}/service/token\",service=\"lab-registry\",scope=\"repository:{NAME}:pull,push\"");
    assert_eq!((got.status, got.header("www-authenticate")), (401, &*challenge));
    let token = |password: &str, actions: &str| {
        let realm = format!("{url}/service/token?service=lab-registry&scope=repository%3A{NAME}%3A{actions}");
        asker.ask(Method::GET, &realm, |r| r.basic_auth("robot$x", Some(password))).unwrap()
    };
    assert_eq!(token("wrong", "pull").status, 401);
    let with = |token: &str| {
        let got = asker.ask(Method::POST, "/blobs/uploads/", |r| r.bearer_auth(token));
        let got = got.unwrap();
        (got.status, got.header("www-authenticate").to_owned())
    };
    let pull = token("s3cret", "pull").json();
    assert_eq!(pull["expires_in"], 60);
    let (status, challenge) = with(pull["token"].as_str().unwrap());
    assert_eq!(status, 401);
    assert!(challenge.ends_with(",error=\"insufficient_scope\""));
    let push = token("s3cret", "pull%2Cpush").json();
    let push = push["token"].as_str().unwrap();
    assert_eq!(with(push).0, 202);
    service.expire();
    let (status, challenge) = with(push);
    assert_eq!(status, 401);
    assert!(challenge.ends_with(",error=\"invalid_token\""));
}
