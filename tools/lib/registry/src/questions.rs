//! What the registry has: manifests, blobs, and whether it would accept a push.
//!
//! Invariant: an answer from a cache is never trusted. Requests about a tag bypass every cache. The size of a blob is taken
//! only from the registry's own answer, or from the content.

use std::time::{SystemTime, UNIX_EPOCH};

use futures::StreamExt;
use scar_http::header::{ACCEPT, CACHE_CONTROL, RANGE};
use scar_http::{Cause, Error, Method, Response, StatusCode, Url};
use scar_record::Digest;
use scar_tool::{Exit, Failure};
use sha2::{Digest as _, Sha256};

use crate::fault::Fault;
use crate::registry::Registry;

/// The largest manifest.
// Distribution takes no larger one (registry/handlers/manifests.go, `maxManifestBodySize`), and no registry need do so (OCI
// distribution specification, "Pushing Manifests").
const MANIFEST: usize = 4 << 20;
/// The media types to accept: another tool may have pushed any of them.
// For a type that is not listed, Distribution answers MANIFEST_UNKNOWN, as if the tag did not exist
// (registry/handlers/manifests.go, `GetManifest`).
const TYPES: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.artifact.manifest.v1+json";

/// Whether the registry has a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It has it, with the right size.
    Here,
    /// It has it with this other size.
    Wrong(u64),
    /// It does not have it.
    Absent,
    /// It gave no usable answer.
    Unknown,
}

impl Presence {
    fn of_length(length: Option<u64>, size: u64) -> Self {
        match length {
            Some(length) if length == size => Self::Here,
            Some(length) => Self::Wrong(length),
            None => Self::Unknown,
        }
    }
}

/// The SHA-256 digest of `bytes`.
pub fn digest(bytes: &[u8]) -> Digest {
    Digest::from_sha256(&Sha256::digest(bytes).into())
}

/// An upload session that the registry has opened.
#[derive(Debug)]
pub struct UploadSession {
    /// The URL of its first request.
    pub url: Url,
    /// The minimum size of every chunk but the last; 0 if the registry sends none, or an implausible one.
    pub least_chunk: u64,
}

/// The largest plausible `OCI-Chunk-Min-Length`.
// A value that no registry can mean is ignored (FAULTS P28).
const MAX_LEAST_CHUNK: u64 = 1 << 30;

impl Registry {
    /// The manifest of a tag or digest, byte for byte; `None` if the registry has none. Exit 7 if the registry contradicts
    /// itself, or a cache answers instead.
    pub async fn manifest(&self, reference: &str) -> Result<Option<(Vec<u8>, Digest)>, Fault> {
        let mut url = self.in_repository(&format!("manifests/{reference}"))?;
        let is_tag = !reference.contains(':');
        self.retry(|| {
            if is_tag {
                // squid obeys no-cache (RFC 9111, 5.2.1.4). nginx's proxy_cache does not, and sends no Age, but its key
                // contains the query (ngx_http_proxy_module, proxy_cache_key): a new one is in no cache.
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
                url.set_query(Some(&format!("now={now}")));
            }
            let url = url.clone();
            async move {
                let headers = [(ACCEPT, TYPES), (CACHE_CONTROL, "no-cache")];
                let answer = self.exchange(Method::GET, &url, &headers, None).await?;
                // Only for a tag: a digest names the same bytes for ever, however old the answer is.
                if let Some(age) = age(&answer).filter(|_| is_tag) {
                    let cause = format!("the answer comes from a cache and is {age} s old (header Age)");
                    let failure = Failure::new(Exit::Mismatch, format!("read '{}': {cause}", self.reference));
                    return Err(failure
                        .hint("exclude /v2/ from the cache in front of the registry, or use the registry's own address")
                        .into());
                }
                if answer.status() == StatusCode::NOT_FOUND {
                    return Ok(None);
                }
                let answer = self.success(answer).await?;
                // Older registries need not send it; one that is sent must fit the content (OCI distribution specification,
                // "Pulling manifests"; FAULTS P34).
                let reported = answer.header("docker-content-digest").map(scar_tool::escape);
                let bytes = answer.bytes(MANIFEST).await?;
                let digest = digest(&bytes);
                match reported.filter(|reported| reported != digest.as_str()) {
                    Some(reported) => {
                        let cause = format!("the registry calls its manifest '{reported}'; what it sent is '{digest}'");
                        Err(self.mismatch(&cause).into())
                    }
                    None => Ok(Some((bytes, digest))),
                }
            }
        })
        .await
    }

    /// Asks for a blob with one HEAD. If only this request gets no usable answer, returns [`Presence::Unknown`].
    pub async fn presence(&self, digest: &Digest, size: u64) -> Result<Presence, Fault> {
        let url = self.in_repository(&format!("blobs/{digest}"))?;
        let answer = match self.exchange(Method::HEAD, &url, &[(CACHE_CONTROL, "no-cache")], None).await {
            Ok(answer) => answer,
            // Some proxies break a HEAD, or refuse it with 403 or 405 (FAULTS P11). That must not stop a push: the blob is then
            // sent, and the registry decides.
            Err(Fault::Http(Error { cause: Cause::Broken { .. }, .. })) => return Ok(Presence::Unknown),
            Err(fault) => return Err(fault),
        };
        Ok(match answer.status() {
            StatusCode::NOT_FOUND => Presence::Absent,
            // The specification demands the length (OCI distribution specification, "Checking if content exists in the
            // registry"). A registry whose disk was full may have a blob that is too short; a proxy that compresses may remove
            // the length.
            StatusCode::OK if age(&answer).is_none() => Presence::of_length(number(&answer, "content-length"), size),
            _ => Presence::Unknown,
        })
    }

    /// Asks for a blob until the answer is clear: by HEAD, else by its first byte, else by reading all of it. Exit 7 if no
    /// answer is clear.
    pub async fn find_blob(&self, digest: &Digest, size: u64) -> Result<Presence, Fault> {
        let found = self
            .retry(|| async {
                match self.presence(digest, size).await? {
                    Presence::Unknown => self.presence_by_get(digest, size).await,
                    known => Ok(known),
                }
            })
            .await;
        found.map_err(|fault| match fault {
            Fault::Lost(cause) => self.mismatch(&cause).into(),
            fault => fault,
        })
    }

    /// Asks for a blob by GET, and compares its length, or its content if no header has the length: a proxy that rewrites
    /// answers, such as nginx with `sub_filter`, removes the length and ignores `Range`.
    async fn presence_by_get(&self, digest: &Digest, size: u64) -> Result<Presence, Fault> {
        let url = self.in_repository(&format!("blobs/{digest}"))?;
        let answer = self.download(&url, &[(RANGE, "bytes=0-0"), (CACHE_CONTROL, "no-cache")]).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(Presence::Absent);
        }
        let answer = self.success(answer).await?;
        // A registry need not support Range (OCI distribution specification, "Pulling blobs"), and may send everything with
        // 200.
        if answer.status() == StatusCode::PARTIAL_CONTENT {
            // The length may be `*`, which means unknown (RFC 9110, 14.4).
            let length = answer.header("content-range").and_then(|range| range.rsplit_once('/')?.1.parse().ok());
            return match Presence::of_length(length, size) {
                Presence::Unknown => Err(Fault::Lost(format!("the registry does not say how large '{digest}' is"))),
                known => Ok(known),
            };
        }
        if let Some(length) = number(&answer, "content-length") {
            return Ok(Presence::of_length(Some(length), size));
        }
        // Without a length, only the content shows that the blob is complete, so all of it is read.
        let (mut hash, mut length, mut stream) = (Sha256::new(), 0, answer.stream());
        while let Some(piece) = tokio::time::timeout(self.config.patience, stream.next()).await.map_err(|_| stalled(&url))? {
            let piece = piece?;
            hash.update(&piece);
            length += piece.len() as u64;
            // An answer without an end must not be read for ever (FAULTS P41).
            if length > size {
                return Ok(Presence::Wrong(length));
            }
        }
        match Digest::from_sha256(&hash.finalize().into()) == *digest {
            true => Ok(Presence::Here),
            false if length == size => Err(self.mismatch(&format!("the registry sends other content for '{digest}'")).into()),
            false => Ok(Presence::Wrong(length)),
        }
    }

    /// Checks that the registry has a blob. Exit 7 if it has none, or another.
    pub async fn confirm(&self, digest: &Digest, size: u64) -> Result<(), Fault> {
        match self.find_blob(digest, size).await? {
            Presence::Here => Ok(()),
            Presence::Wrong(length) => Err(self.wrong_size(digest, size, length).into()),
            Presence::Absent | Presence::Unknown => {
                Err(self.mismatch(&format!("the registry accepted '{digest}', but does not have it")).into())
            }
        }
    }

    /// Opens an upload session. A registry that would refuse the push refuses this. Exit 5 if the session is at a URL that
    /// must not get the archive.
    pub async fn open_upload(&self) -> Result<UploadSession, Fault> {
        let url = self.in_repository("blobs/uploads/")?;
        // An explicit empty body sets `Content-Length: 0`, which the specification demands before chunks (OCI distribution
        // specification, "Pushing a blob in chunks"), and some proxies insist on.
        let answer = self.exchange(Method::POST, &url, &[], Some(&bytes::Bytes::new())).await?;
        let answer = self.success(answer).await?;
        let Some(url) = answer.location() else {
            let cause = format!("{}: it opened an upload session without a Location", self.act());
            return Err(Failure::new(Exit::Failed, cause)
                .hint("is this the registry itself? a proxy in front of it may remove the header")
                .into());
        };
        self.check_location(&url, true)?;
        let least_chunk = number(&answer, "oci-chunk-min-length").filter(|least| *least <= MAX_LEAST_CHUNK).unwrap_or(0);
        Ok(UploadSession { url, least_chunk })
    }

    /// The failure for a registry that does not have what was sent.
    pub fn mismatch(&self, cause: &str) -> Failure {
        Failure::new(Exit::Mismatch, format!("push to '{}': {cause}", self.reference))
            .hint("check the registry's log and storage, and any proxy in front of it; then run this step again")
    }

    /// The failure for a blob of another size.
    pub fn wrong_size(&self, digest: &Digest, size: u64, length: u64) -> Failure {
        Failure::new(
            Exit::Mismatch,
            format!("push to '{}': the registry says that '{digest}' has {length} bytes instead of {size}", self.reference),
        )
        .hint("the registry's storage is damaged, or a proxy answers in its place")
    }
}

/// The age of a cached answer in seconds (RFC 9111, 5.1); `None` for an answer of the server itself.
fn age(answer: &Response) -> Option<u64> {
    number(answer, "age").filter(|age| *age > 0)
}

fn number(answer: &Response, header: &str) -> Option<u64> {
    answer.header(header).and_then(|text| text.parse().ok())
}

fn stalled(url: &Url) -> Error {
    Error::silent(format!("GET {}", scar_http::redacted(url)), "the answer stalled")
}
