//! Manifests and tags. A manifest is only accepted if the repository has everything that it names.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, Method, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use serde_json::{Value, json};

use super::reply;
use super::store::{Manifest, digest_of};
use super::target::{is_digest, is_tag, parameter};
use super::{Profile, Registry, Rule};

/// The largest manifest in bytes; Distribution's limit.
const MAX_MANIFEST: usize = 4 << 20;

/// The tag list's media type.
const JSON: &str = "application/json; charset=utf-8";

impl Registry {
    /// `GET` and `HEAD`. As in Distribution 2.8, an OCI manifest is unknown to a client that does not accept its type by
    /// name.
    pub(super) fn get_manifest(&self, method: &Method, name: &str, reference: &str, headers: &HeaderMap) -> Response {
        let Some((digest, manifest)) = self.store.manifest(name, reference) else {
            return reply::manifest_unknown(reference);
        };
        if let Some(refusal) = self.profile.unsigned(self.rule) {
            return refusal;
        }
        let accepted = headers.get_all("accept").iter().any(|value| {
            value
                .to_str()
                .is_ok_and(|text| text.split(',').any(|one| one.split(';').next().map(str::trim) == Some(&manifest.media_type)))
        });
        if manifest.media_type.starts_with("application/vnd.oci.") && !accepted {
            return reply::error(
                StatusCode::NOT_FOUND,
                "MANIFEST_UNKNOWN",
                "OCI manifest found, but accept header does not support OCI manifests",
                Value::Null,
            );
        }
        let etag = format!("\"{digest}\"");
        let length = manifest.bytes.len().to_string();
        let body = match *method {
            Method::HEAD => Body::empty(),
            _ => Body::from(manifest.bytes),
        };
        reply::with_body(
            StatusCode::OK,
            &[
                ("content-type", &manifest.media_type),
                ("content-length", &length),
                ("docker-content-digest", &digest),
                ("etag", &etag),
            ],
            body,
        )
    }

    /// `PUT` by tag or digest.
    pub(super) async fn put_manifest(&self, name: &str, reference: &str, headers: &HeaderMap, body: Body) -> Response {
        let Ok(bytes) = Limited::new(body, MAX_MANIFEST).collect().await else {
            return reply::manifest_invalid("manifest too large, or cut");
        };
        let bytes = bytes.to_bytes().to_vec();
        let digest = digest_of(&bytes);
        let tag = (!reference.contains(':')).then_some(reference);
        if tag.is_none() && (!is_digest(reference) || reference != digest) {
            return reply::digest_invalid(reference);
        }
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return reply::error(
                StatusCode::BAD_REQUEST,
                "TAG_INVALID",
                "manifest tag did not match URI",
                json!({"tag": reference}),
            );
        }
        let media_type = headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        if let Err(refusal) = self.check(name, &media_type, &bytes) {
            return *refusal;
        }
        if let Some(tag) = tag
            && self.rule == Some(Rule::Immutable)
            && let Some(held) = self.store.tag(name, tag)
            && let Some(refusal) = self.profile.immutable(name, tag, &held, &digest)
        {
            return refusal;
        }
        self.store.put_manifest(name, tag, Manifest { media_type, bytes });
        let location = self.location(headers, &format!("/v2/{name}/manifests/{digest}"));
        match self.profile {
            Profile::Ecr => reply::bare(StatusCode::CREATED, &[]),
            _ => reply::bare(StatusCode::CREATED, &[("location", &location), ("docker-content-digest", &digest)]),
        }
    }

    /// `DELETE` by tag or digest.
    pub(super) fn delete_manifest(&self, name: &str, reference: &str) -> Response {
        if self.store.remove_manifest(name, reference) {
            reply::bare(StatusCode::ACCEPTED, &[])
        } else {
            reply::manifest_unknown(reference)
        }
    }

    /// `GET /v2/<name>/tags/list`, in pages if `n` is given.
    pub(super) fn tags_list(&self, name: &str, uri: &Uri) -> Response {
        let mut tags = self.store.tags(name);
        if tags.is_empty() {
            if !self.store.was_tagged(name) {
                return reply::name_unknown(name);
            }
            let body = json!({"name": name, "tags": null}).to_string();
            return reply::with_body(StatusCode::OK, &[("content-type", JSON)], body);
        }
        if let Some(last) = parameter(uri, "last") {
            tags.retain(|tag| *tag > last);
        }
        let size = parameter(uri, "n").and_then(|n| n.parse::<usize>().ok());
        let page = size.unwrap_or(usize::MAX).min(tags.len());
        let more = page < tags.len();
        tags.truncate(page);
        let body = json!({"name": name, "tags": tags}).to_string();
        let link = tags.last().filter(|_| more).map(|last| format!("</v2/{name}/tags/list?last={last}&n={page}>; rel=\"next\""));
        let mut headers = vec![("content-type", JSON)];
        headers.extend(link.as_deref().map(|link| ("link", link)));
        reply::with_body(StatusCode::OK, &headers, body)
    }

    /// Checks that it is a manifest, and that the repository has everything that it names.
    fn check(&self, name: &str, media_type: &str, bytes: &[u8]) -> Result<(), Box<Response>> {
        let invalid = |detail: &str| Err(Box::new(reply::manifest_invalid(detail)));
        let Ok(manifest) = serde_json::from_slice::<Value>(bytes) else {
            return invalid("no JSON");
        };
        if manifest["schemaVersion"] != 2 {
            return invalid("unrecognized manifest schema version");
        }
        if media_type.is_empty() {
            return invalid("no Content-Type");
        }
        if manifest["mediaType"].as_str().is_some_and(|t| t != media_type) {
            return invalid("mediaType is not the Content-Type");
        }
        if self.lying {
            return Ok(());
        }
        let list = |key: &str| manifest[key].as_array().cloned().unwrap_or_default();
        let mut blobs = list("layers");
        blobs.extend(manifest.get("config").cloned());
        for blob in blobs {
            let digest = blob["digest"].as_str().unwrap_or_default();
            if self.store.blob_size(name, digest).is_none() {
                return Err(Box::new(self.profile.blob_unknown(digest)));
            }
        }
        for entry in list("manifests") {
            let digest = entry["digest"].as_str().unwrap_or_default();
            if self.store.manifest(name, digest).is_none() {
                return Err(Box::new(self.profile.blob_unknown(digest)));
            }
        }
        Ok(())
    }
}
