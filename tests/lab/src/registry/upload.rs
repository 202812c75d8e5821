//! Upload sessions. Those of Distribution 2.8 have pitfalls: `Content-Range` is ignored, a cut session is gone, and only the
//! last `Location` continues one; an older one is refused, and the session stays.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, Method, StatusCode, Uri};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::Value;

use super::profile::{CLOUDFLARE_LEAST, Cut};
use super::reply;
use super::store::Upload;
use super::target::{is_digest, parameter};
use super::{Profile, Registry};

impl Registry {
    /// `POST /v2/<name>/blobs/uploads/`: opens a session; with `digest` stores the whole blob; with `mount` and `from`
    /// mounts one.
    pub(super) async fn begin_upload(&self, name: &str, uri: &Uri, headers: &HeaderMap, body: Body) -> Response {
        if let Some(digest) = parameter(uri, "mount")
            && let Some(from) = parameter(uri, "from")
            && self.store.mount(name, &from, &digest).is_some()
        {
            return self.created(name, &digest, headers);
        }
        let Ok(upload) = self.store.begin(name) else {
            return no_space();
        };
        match parameter(uri, "digest") {
            Some(digest) => self.finish(name, &digest, upload, headers, body).await,
            None => {
                let mut answer = self.suspend(&Method::POST, name, upload, headers);
                if self.profile == Profile::Cloudflare {
                    // src/router.ts.
                    answer.headers_mut().insert("oci-chunk-min-length", CLOUDFLARE_LEAST.into());
                    answer.headers_mut().insert("oci-chunk-max-length", 100_000_000.into());
                }
                answer
            }
        }
    }

    /// `GET /v2/<name>/blobs/uploads/<id>`: how far it is.
    pub(super) fn upload_status(&self, name: &str, id: &str, headers: &HeaderMap) -> Response {
        match self.store.resume(name, id) {
            Some(upload) => self.suspend(&Method::GET, name, upload, headers),
            None => reply::upload_unknown(),
        }
    }

    /// `PATCH`: appends the body; whether `Content-Range` matters depends on the registry.
    pub(super) async fn append_upload(&self, name: &str, id: &str, uri: &Uri, headers: &HeaderMap, body: Body) -> Response {
        let mut upload = match self.resume(name, id, uri) {
            Ok(upload) => upload,
            Err(refusal) => return *refusal,
        };
        let skipped = match self.profile.accepts(&upload, headers) {
            Ok(skipped) => skipped,
            Err(refusal) => {
                self.store.suspend(upload);
                return *refusal;
            }
        };
        let mark = upload.mark();
        match (self.receive(&mut upload, skipped, body).await, self.profile.after_cut()) {
            (Ok(()), _) => {
                upload.parts.push(upload.size - mark.0);
                return self.suspend(&Method::PATCH, name, upload, headers);
            }
            (Err(refusal), Cut::Gone) => return *refusal,
            (Err(_), Cut::Kept) => {}
            (Err(_), Cut::Undone) => upload.back_to(mark).expect("room for less"),
        }
        self.store.suspend(upload);
        reply::upload_invalid()
    }

    /// `PUT …?digest=`: appends the body and closes the session.
    pub(super) async fn finish_upload(&self, name: &str, id: &str, uri: &Uri, headers: &HeaderMap, body: Body) -> Response {
        let upload = match self.resume(name, id, uri) {
            Ok(upload) => upload,
            Err(refusal) => return *refusal,
        };
        match parameter(uri, "digest") {
            Some(digest) => self.finish(name, &digest, upload, headers, body).await,
            None => reply::digest_invalid("digest missing"),
        }
    }

    /// `DELETE`: ends the session.
    pub(super) fn cancel_upload(&self, name: &str, id: &str) -> Response {
        match self.store.resume(name, id) {
            Some(_) => reply::bare(StatusCode::NO_CONTENT, &[("docker-upload-uuid", id)]),
            None => reply::upload_unknown(),
        }
    }

    /// Takes the session out, if the `Location` used is its last one.
    fn resume(&self, name: &str, id: &str, uri: &Uri) -> Result<Upload, Box<Response>> {
        let upload = self.store.resume(name, id);
        let upload = upload.ok_or_else(|| Box::new(reply::upload_unknown()))?;
        let Some(state) = self.profile.state() else { return Ok(upload) };
        if parameter(uri, state).is_some_and(|state| state == upload.size.to_string()) {
            return Ok(upload);
        }
        self.store.suspend(upload);
        Err(Box::new(self.profile.outdated()))
    }

    async fn finish(&self, name: &str, digest: &str, mut upload: Upload, headers: &HeaderMap, body: Body) -> Response {
        if !is_digest(digest) {
            return reply::digest_invalid("digest parsing failed");
        }
        if let Err(refusal) = self.receive(&mut upload, 0, body).await {
            return *refusal;
        }
        if upload.digest() != digest {
            return match self.profile {
                // A bare exception (pulp_container/app/registry_api.py, `put`); R2's own check (src/registry/r2.ts).
                Profile::Pulp | Profile::Cloudflare => {
                    reply::error(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR", "internal error", Value::Null)
                }
                _ => reply::digest_invalid("provided digest did not match uploaded content"),
            };
        }
        match self.store.commit(upload) {
            Ok(()) => self.created(name, digest, headers),
            Err(_) => no_space(),
        }
    }

    /// Appends the body without the bytes to skip.
    async fn receive(&self, upload: &mut Upload, mut skipped: u64, body: Body) -> Result<(), Box<Response>> {
        let limit = self.max_body.and_then(|max| usize::try_from(max).ok());
        let mut body = Limited::new(body, limit.unwrap_or(usize::MAX));
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|cause| {
                Box::new(if cause.is::<LengthLimitError>() { reply::too_large() } else { reply::upload_invalid() })
            })?;
            if let Some(data) = frame.data_ref() {
                let skip = usize::try_from(skipped).unwrap_or(usize::MAX).min(data.len());
                skipped -= skip as u64;
                upload.write(&data[skip..]).map_err(|_| Box::new(no_space()))?;
            }
        }
        Ok(())
    }

    /// Stores the session, and answers a request that opened, continued or asked for it.
    fn suspend(&self, method: &Method, name: &str, upload: Upload, headers: &HeaderMap) -> Response {
        let status = match *method {
            Method::GET => StatusCode::NO_CONTENT,
            Method::PATCH if self.profile == Profile::Ecr => StatusCode::CREATED,
            _ => StatusCode::ACCEPTED,
        };
        let path = self.profile.session(name, &upload);
        let location = if self.profile.has_relative_sessions() { path } else { self.location(headers, &path) };
        let range = self.profile.range(method, upload.size);
        let id = upload.id.clone();
        self.store.suspend(upload);
        reply::bare(status, &[("location", &location), ("range", &range), ("docker-upload-uuid", &id)])
    }

    fn created(&self, name: &str, digest: &str, headers: &HeaderMap) -> Response {
        let location = self.location(headers, &format!("/v2/{name}/blobs/{digest}"));
        reply::bare(StatusCode::CREATED, &[("location", &location), ("docker-content-digest", digest)])
    }
}

/// Distribution's answer if its disk is full.
pub(super) fn no_space() -> Response {
    reply::error(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", "unknown error", serde_json::json!({"Op": "write", "Err": 28}))
}
