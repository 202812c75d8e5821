//! What the registry has, as it says itself now: manifests, blobs, and whether it would take a push.
//!
//! Invariant: no cache decides. What a tag holds is asked for past every cache, and a blob is believed by its length from the
//! registry itself, or by its content.

use std::time::{SystemTime, UNIX_EPOCH};

use futures::StreamExt;
use scar_http::header::{ACCEPT, CACHE_CONTROL, RANGE};
use scar_http::{Error, Method, Response, StatusCode, Url};
use scar_record::Digest;
use scar_tool::{Exit, Failure};
use sha2::{Digest as _, Sha256};

use crate::fault::Fault;
use crate::registry::Registry;

/// The most bytes of a manifest, Distribution's own limit.
const MANIFEST: usize = 4 << 20;
/// The types that are asked for: what another tool pushed may be any of them.
const TYPES: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.artifact.manifest.v1+json";

/// Whether the registry has a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// With the right size.
    Here,
    /// With another size.
    Wrong(u64),
    /// No.
    Absent,
    /// It gave no usable answer.
    Unknown,
}

impl Presence {
    fn by(length: Option<u64>, size: u64) -> Self {
        match length {
            Some(length) if length == size => Self::Here,
            Some(length) => Self::Wrong(length),
            None => Self::Unknown,
        }
    }
}

/// The digest of some bytes.
pub fn digest(bytes: &[u8]) -> Digest {
    Digest::from_sha256(&Sha256::digest(bytes).into())
}

/// An upload session that was opened.
#[derive(Debug)]
pub struct Opened {
    /// Where it goes on.
    pub url: Url,
    /// The least bytes of a chunk, but for the last; 0 if the registry names none that can be believed.
    pub least_chunk: u64,
}

/// The largest `OCI-Chunk-Min-Length` that is believed.
const LARGEST_LEAST: u64 = 1 << 30;

impl Registry {
    /// The manifest of a tag or digest, byte for byte; `None` if the registry knows none.
    ///
    /// # Errors
    /// Why there was no answer; exit 7 where the registry contradicts itself, or a cache answers in its place.
    pub async fn manifest(&self, reference: &str) -> Result<Option<(Vec<u8>, Digest)>, Fault> {
        let mut url = self.in_repository(&format!("manifests/{reference}"))?;
        let is_tag = !reference.contains(':');
        self.retry(|| {
            if is_tag {
                // squid heeds no-cache; nginx's proxy_cache does not, and sends no Age: a new address is in no cache.
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
                url.set_query(Some(&format!("now={now}")));
            }
            let url = url.clone();
            async move {
                let headers = [(ACCEPT, TYPES), (CACHE_CONTROL, "no-cache")];
                let answer = self.exchange(Method::GET, &url, &headers, None).await?;
                if let Some(age) = age(&answer).filter(|_| is_tag) {
                    let cause = format!("what the tag holds is {age} s old, by a cache before the registry (Age)");
                    let failure = Failure::new(Exit::Mismatch, format!("read '{}': {cause}", self.reference));
                    return Err(failure.hint("let nothing before the registry cache /v2/, or name its own address").into());
                }
                if answer.status() == StatusCode::NOT_FOUND {
                    return Ok(None);
                }
                let answer = self.success(answer).await?;
                let said = answer.header("docker-content-digest").map(scar_tool::escape);
                let bytes = answer.bytes(MANIFEST).await?;
                let digest = digest(&bytes);
                match said.filter(|said| said != digest.as_str()) {
                    Some(said) => {
                        let cause = format!("the registry calls its manifest '{said}'; what it sent is '{digest}'");
                        Err(self.mismatch(&cause).into())
                    }
                    None => Ok(Some((bytes, digest))),
                }
            }
        })
        .await
    }

    /// Asks for a blob, once.
    ///
    /// # Errors
    /// What would stop every other request too; a server that merely fails to answer this one is [`Presence::Unknown`].
    pub async fn presence(&self, digest: &Digest, size: u64) -> Result<Presence, Fault> {
        let url = self.in_repository(&format!("blobs/{digest}"))?;
        let answer = match self.exchange(Method::HEAD, &url, &[(CACHE_CONTROL, "no-cache")], None).await {
            Ok(answer) => answer,
            Err(Fault::Http(Error::Broken { .. })) => return Ok(Presence::Unknown),
            Err(fault) => return Err(fault),
        };
        Ok(match answer.status() {
            StatusCode::NOT_FOUND => Presence::Absent,
            StatusCode::OK if age(&answer).is_none() => Presence::by(number(&answer, "content-length"), size),
            _ => Presence::Unknown,
        })
    }

    /// Whether the registry has a blob, asked until it says so: by HEAD, else by the first byte, else by all of them.
    ///
    /// # Errors
    /// What stops every question; exit 7 if it never says.
    pub async fn found(&self, digest: &Digest, size: u64) -> Result<Presence, Fault> {
        let found = self
            .retry(|| async {
                match self.presence(digest, size).await? {
                    Presence::Unknown => self.fetched(digest, size).await,
                    known => Ok(known),
                }
            })
            .await;
        found.map_err(|fault| match fault {
            Fault::Lost(cause) => self.mismatch(&cause).into(),
            fault => fault,
        })
    }

    /// What a GET shows of a blob: its length, or, if no header has it, its content. A proxy that rewrites answers, such as
    /// nginx with `sub_filter`, takes the length from every answer and ignores `Range`.
    async fn fetched(&self, digest: &Digest, size: u64) -> Result<Presence, Fault> {
        let url = self.in_repository(&format!("blobs/{digest}"))?;
        let answer = self.download_with(&url, &[(RANGE, "bytes=0-0"), (CACHE_CONTROL, "no-cache")]).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(Presence::Absent);
        }
        let answer = self.success(answer).await?;
        if answer.status() == StatusCode::PARTIAL_CONTENT {
            let length = answer.header("content-range").and_then(|range| range.rsplit_once('/')?.1.parse().ok());
            return match Presence::by(length, size) {
                Presence::Unknown => Err(Fault::Lost(format!("the registry does not say how large '{digest}' is"))),
                known => Ok(known),
            };
        }
        if let Some(length) = number(&answer, "content-length") {
            return Ok(Presence::by(Some(length), size));
        }
        let (mut hash, mut length, mut stream) = (Sha256::new(), 0, answer.stream());
        while let Some(piece) = tokio::time::timeout(self.terms.patience, stream.next()).await.map_err(|_| stalled(&url))? {
            let piece = piece?;
            hash.update(&piece);
            length += piece.len() as u64;
            if length > size {
                return Ok(Presence::Wrong(length));
            }
        }
        match Digest::from_sha256(&hash.finalize().into()) == *digest {
            true => Ok(Presence::Here),
            false if length == size => Err(self.mismatch(&format!("the registry sends something else for '{digest}'")).into()),
            false => Ok(Presence::Wrong(length)),
        }
    }

    /// Makes sure that the registry has a blob.
    ///
    /// # Errors
    /// As [`Self::found`]; exit 7 if it does not have it, or another.
    pub async fn confirm(&self, digest: &Digest, size: u64) -> Result<(), Fault> {
        match self.found(digest, size).await? {
            Presence::Here => Ok(()),
            Presence::Wrong(length) => Err(self.wrong_size(digest, size, length).into()),
            Presence::Absent | Presence::Unknown => {
                Err(self.mismatch(&format!("the registry took '{digest}' and does not have it")).into())
            }
        }
    }

    /// Opens an upload session; what a push would be refused for, it is refused for here.
    ///
    /// # Errors
    /// What the registry answered instead; exit 5 if the session is where the archive may not go.
    pub async fn open_upload(&self) -> Result<Opened, Fault> {
        let url = self.in_repository("blobs/uploads/")?;
        let answer = self.exchange(Method::POST, &url, &[], Some(&bytes::Bytes::new())).await?;
        let answer = self.success(answer).await?;
        let Some(url) = answer.location() else {
            let cause = format!("{}: it opened an upload without saying where (no Location)", self.act());
            return Err(Failure::new(Exit::Failed, cause)
                .hint("is this the registry itself? a proxy before it may take the header away")
                .into());
        };
        self.may_go(&url, true)?;
        let least_chunk = number(&answer, "oci-chunk-min-length").filter(|least| *least <= LARGEST_LEAST).unwrap_or(0);
        Ok(Opened { url, least_chunk })
    }

    /// A registry that has something else than it was sent.
    pub fn mismatch(&self, cause: &str) -> Failure {
        Failure::new(Exit::Mismatch, format!("push to '{}': {cause}", self.reference))
            .hint("look at the registry's log and storage, and at what stands before it; then run this step again")
    }

    /// A registry that holds something else under a digest.
    pub fn wrong_size(&self, digest: &Digest, size: u64, length: u64) -> Failure {
        Failure::new(
            Exit::Mismatch,
            format!("push to '{}': the registry says that '{digest}' has {length} bytes; it has {size}", self.reference),
        )
        .hint("the registry's storage is damaged, or a proxy answers in its place")
    }
}

/// For how long a cache has had the answer, in seconds (RFC 9111, 5.1); `None` for one from the server itself.
fn age(answer: &Response) -> Option<u64> {
    number(answer, "age").filter(|age| *age > 0)
}

fn number(answer: &Response, header: &str) -> Option<u64> {
    answer.header(header).and_then(|text| text.parse().ok())
}

fn stalled(url: &Url) -> Error {
    let request = format!("GET {}", scar_http::redacted(url));
    Error::Broken { request, cause: "the answer stalled".to_owned(), silent: true }
}
