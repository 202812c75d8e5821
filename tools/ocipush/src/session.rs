//! The requests of an upload session (OCI distribution specification, "Pushing a blob in chunks"): open it, send a part, ask
//! how much it has, close it with the digest, cancel it.
//!
//! Invariants: a session is closed with the digest of everything that was sent to it; an upload is given up when no byte
//! moves, not when it takes long.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::{Duration, Instant};

use scar_http::header::{CONTENT_RANGE, CONTENT_TYPE};
use scar_http::{Body, Error, Method, Response, Url};
use scar_registry::{Fault, Registry, UploadSession};
use scar_tool::{Exit, Failure, Progress};

use crate::body::{Content, HashState, Pieces, Sent};
use crate::socket_backlog;

const OCTET_STREAM: &str = "application/octet-stream";
/// Assumed minimum speed, in bytes per second, at which a registry stores a blob that it has received. Before it answers,
/// Distribution may hash all of it again, and copies it within S3, which has no rename (registry/storage/blobwriter.go,
/// `validateBlob`; registry/storage/driver/s3-aws/s3.go, `Move`).
const STORE_SPEED: u64 = 32 << 20;
/// The interval at which progress is checked.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// A registry to push to, and the state of the push.
#[derive(Debug)]
pub(crate) struct Pusher {
    pub(crate) registry: Registry,
    /// The stall timeout: how long an upload may make no progress.
    stall: Duration,
    /// The chunk size, if the archive goes in chunks: the user asked for it, or a larger body was refused.
    pub(crate) chunk: Cell<Option<u64>>,
    /// The URL of the open upload session, to cancel it when the push ends early.
    pub(crate) open: RefCell<Option<Url>>,
}

#[derive(Debug)]
pub(crate) struct Session {
    /// The URL of the session's next request.
    pub(crate) url: Url,
    /// The minimum size of every chunk but the last (`OCI-Chunk-Min-Length`).
    pub(crate) least_chunk: u64,
    /// What the registry has acknowledged.
    pub(crate) acknowledged: HashState,
    /// What this process has sent.
    pub(crate) sent: Arc<Sent>,
    /// Whether the last part got no answer or a refusal, so that the registry may or may not have it.
    pub(crate) unconfirmed: bool,
}

impl Pusher {
    pub(crate) fn new(registry: Registry, stall: Duration, chunk: Option<u64>) -> Self {
        Self { registry, stall, chunk: Cell::new(chunk), open: RefCell::new(None) }
    }

    /// Opens an upload session.
    ///
    /// # Errors
    /// The registry's refusal, or a session at a URL that must not get the archive.
    pub(crate) async fn begin(&self) -> Result<Session, Fault> {
        let UploadSession { url, least_chunk } = self.registry.open_upload().await?;
        *self.open.borrow_mut() = Some(url.clone());
        Ok(Session { url, least_chunk, acknowledged: HashState::default(), sent: Arc::default(), unconfirmed: false })
    }

    /// Sends one part of a session, up to `to`.
    ///
    /// # Errors
    /// No answer, or a refusal.
    pub(crate) async fn patch(
        &self,
        session: &mut Session,
        to: u64,
        pieces: Pieces,
        progress: Option<&Progress>,
    ) -> Result<(), Fault> {
        let request = self
            .registry
            .request(Method::PATCH, &session.url)?
            .header(CONTENT_TYPE, OCTET_STREAM)
            // The specification's own form, without RFC 9110's `bytes` and `/LENGTH` ("Pushing a blob in chunks").
            .header(CONTENT_RANGE, &format!("{}-{}", session.acknowledged.bytes, to - 1))
            .body(Body::wrap(pieces));
        session.unconfirmed = true;
        let answer = self.until_stalled(request.send(), to, &session.sent, progress).await?;
        // Any success will do, not only 202: ECR answers 201. `Range` is ignored: ECR's stays at the end of the first chunk
        // (aws/containers-roadmap#2831), others lag behind. The digest decides at the end.
        self.follow_location(session, &answer)?;
        session.acknowledged = session.sent.hashed();
        match session.acknowledged.bytes == to {
            true => Ok(()),
            false => Err(Fault::Lost("the registry answered before it had the whole chunk".to_owned())),
        }
    }

    /// Sends the last part, closes the session with the digest of the whole blob, and checks the digest in the answer.
    pub(crate) async fn put(
        &self,
        url: &Url,
        content: &Content,
        (from, to): (u64, u64),
        sent: &Arc<Sent>,
        progress: Option<&Progress>,
    ) -> Result<(), Fault> {
        let mut url = url.clone();
        // The URL may have a query already, which must stay: Distribution keeps the session's state in `_state`
        // (registry/handlers/blobupload.go, `blobUploadResponse`).
        url.query_pairs_mut().append_pair("digest", content.digest.as_str());
        let close = || async {
            let request = self.registry.request(Method::PUT, &url)?.header(CONTENT_TYPE, OCTET_STREAM);
            let request = match from == to {
                true => request.body(Vec::new()),
                false => request.body(Body::wrap(content.part(from, to, sent))),
            };
            self.until_stalled(request.send(), to, sent, progress).await
        };
        let answer = match close().await {
            // The login has expired since the last chunk. Registries check it before they touch the session (distribution v2.8
            // registry/handlers/app.go, `dispatcher`), and this request has no body, so it can be repeated.
            Err(Fault::Lost(_)) if from == to => close().await,
            closed => closed,
        }?;
        // Not every registry sends it, and the specification does not ask for it. What is sent must be right (FAULTS P34).
        match answer.header("docker-content-digest").filter(|reported| *reported != content.digest.as_str()) {
            Some(reported) => Err(Failure::new(
                Exit::Mismatch,
                format!("push '{}': the registry stored it as '{}'", content.digest, scar_tool::escape(reported)),
            )
            .into()),
            None => Ok(()),
        }
    }

    /// Continues the session at the URL that the answer names, if that is allowed.
    pub(crate) fn follow_location(&self, session: &mut Session, answer: &Response) -> Result<(), Fault> {
        session.unconfirmed = false;
        // The specification wants the newest `Location`. Distribution's contains the offset: at an older one, 2.8 answers 404 and
        // deletes the session (registry/handlers/blobupload.go, `blobUploadDispatcher`), 3.0 answers 416 (`ResumeBlobUpload`).
        if let Some(next) = answer.location() {
            self.registry.check_location(&next, true)?;
            session.url = next.clone();
            *self.open.borrow_mut() = Some(next);
        }
        Ok(())
    }

    /// How many bytes of an upload the registry says it has (OCI distribution specification, "Pushing a blob in chunks").
    pub(crate) async fn received(&self, url: &Url) -> Option<(Response, u64)> {
        // Distribution 3.0 looks at its disk, whatever offset is in the URL (`GetUploadStatus`). 2.8 deletes a session that has
        // more than its URL says; then the blob starts over.
        let answer = self.registry.exchange(Method::GET, url, &[], None).await.ok()?;
        let answer = self.registry.success(answer).await.ok()?;
        let range = answer.header("range")?;
        // Distribution says `0-0` for an empty session (registry/handlers/blobupload.go, `blobUploadResponse`), which is read as
        // one byte. Quay writes `bytes=` first, as Distribution's docs/spec/api.md does, and says one byte more than it has
        // (endpoints/v2/blob.py, `fetch_existing_upload`). Both mean that the blob starts over, at no loss.
        let last = range.strip_prefix("bytes=").unwrap_or(range).strip_prefix("0-")?;
        let bytes = last.parse::<u64>().ok()?.checked_add(1)?;
        Some((answer, bytes))
    }

    /// Waits for an answer while bytes move. If the answer asks for a login, logs in for the next try.
    ///
    /// # Errors
    /// No answer, or a refusal.
    async fn until_stalled(
        &self,
        answer: impl Future<Output = Result<Response, Error>>,
        goal: u64,
        sent: &Sent,
        progress: Option<&Progress>,
    ) -> Result<Response, Fault> {
        // An upload has no time limit of its own: some GiB over a slow link take hours. It ends if no byte moves.
        let mut answer = std::pin::pin!(answer);
        let mut moved = (0, Instant::now());
        let answer = loop {
            match tokio::time::timeout(CHECK_INTERVAL, answer.as_mut()).await {
                Ok(answer) => break answer?,
                Err(_) => {
                    let written = sent.bytes();
                    progress.inspect(|progress| progress.set(written));
                    // Bytes in the socket's send queue have not moved yet, although the HTTP client has written them.
                    let arrived = written.saturating_sub(socket_backlog::unacknowledged());
                    if arrived != moved.0 {
                        moved = (arrived, Instant::now());
                    }
                    // After the last byte the registry may need time to store a large blob.
                    let settling = if arrived == goal { Duration::from_secs(goal / STORE_SPEED) } else { Duration::ZERO };
                    let patience = self.stall + settling;
                    if moved.1.elapsed() > patience {
                        let request = format!("upload to {}", self.registry.client.origin());
                        let words = format!("no data moved for {} s", patience.as_secs_f64());
                        return Err(Error::silent(request, &words).into());
                    }
                }
            }
        };
        progress.inspect(|progress| progress.set(sent.bytes()));
        // A large body is not simply sent again after a 401: the registry may have kept a part of it. So the fault is `Lost`,
        // and the caller asks what the registry has.
        match self.registry.answer_challenge(answer).await? {
            Some(answer) => self.registry.success(answer).await,
            None => Err(Fault::Lost("the login was renewed".to_owned())),
        }
    }

    /// Cancels the open upload session, if any. Failures are ignored: registries expire sessions themselves.
    pub(crate) async fn cancel_open_session(&self) {
        let Some(url) = self.open.take() else { return };
        let _ = self.registry.cancel(&url).await;
    }
}
