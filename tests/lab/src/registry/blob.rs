//! Reading and deleting blobs.

use std::io::SeekFrom;

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, Method, StatusCode};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::Registry;
use super::reply;
use super::target::is_digest;

impl Registry {
    /// `GET` and `HEAD`, with `Range: bytes=FROM-[TO]`.
    pub(super) async fn get_blob(&self, method: &Method, name: &str, digest: &str, headers: &HeaderMap) -> Response {
        if !is_digest(digest) {
            return reply::digest_invalid("digest parsing failed");
        }
        let Some(size) = self.store.blob_size(name, digest) else {
            return reply::blob_unknown(digest);
        };
        let asked = headers.get("range").filter(|_| !self.without_lengths).and_then(|value| value.to_str().ok());
        let part = asked.map(|text| range(text, size));
        let (from, to) = match part {
            None => (0, size),
            Some(Some(part)) => part,
            Some(None) => {
                let whole = format!("bytes */{size}");
                return reply::bare(StatusCode::RANGE_NOT_SATISFIABLE, &[("content-range", &whole)]);
            }
        };
        let body = match *method {
            Method::HEAD => Body::empty(),
            _ => match self.part(digest, from, to).await {
                Ok(body) => body,
                Err(cause) => {
                    return reply::error(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", "unknown error", cause.to_string().into());
                }
            },
        };
        let etag = format!("\"{digest}\"");
        let length = (to - from).to_string();
        let content_range = format!("bytes {from}-{}/{size}", to.saturating_sub(1));
        let mut answer = vec![
            ("content-type", "application/octet-stream"),
            ("content-length", &length),
            ("docker-content-digest", digest),
            ("etag", &etag),
            ("accept-ranges", "bytes"),
            ("cache-control", "max-age=31536000"),
        ];
        if self.without_lengths {
            answer.retain(|(name, _)| *name != "content-length" && *name != "accept-ranges");
            let body = if *method == Method::HEAD {
                Body::from_stream(futures::stream::empty::<std::io::Result<bytes::Bytes>>())
            } else {
                body
            };
            return reply::with_body(StatusCode::OK, &answer, body);
        }
        if asked.is_some() {
            answer.push(("content-range", &content_range));
            return reply::with_body(StatusCode::PARTIAL_CONTENT, &answer, body);
        }
        reply::with_body(StatusCode::OK, &answer, body)
    }

    /// `DELETE`.
    pub(super) fn delete_blob(&self, name: &str, digest: &str) -> Response {
        if self.store.remove_blob(name, digest) {
            reply::bare(StatusCode::ACCEPTED, &[("docker-content-digest", digest)])
        } else {
            reply::blob_unknown(digest)
        }
    }

    async fn part(&self, digest: &str, from: u64, to: u64) -> std::io::Result<Body> {
        let mut file = File::open(self.store.blob_path(digest)).await?;
        file.seek(SeekFrom::Start(from)).await?;
        let stream = ReaderStream::with_capacity(file.take(to - from), 64 * 1024);
        Ok(Body::from_stream(stream))
    }
}

/// The first byte and the one after the last in `bytes=FROM-[TO]`; `None` if the blob has no such range.
fn range(text: &str, size: u64) -> Option<(u64, u64)> {
    let (from, to) = text.strip_prefix("bytes=")?.split_once('-')?;
    let from: u64 = from.parse().ok()?;
    let end = match to {
        "" => size,
        to => to.parse::<u64>().ok()?.checked_add(1)?.min(size),
    };
    (from < end).then_some((from, end))
}
