//! An upload session of the OCI distribution specification: open it, send parts, resume it, close it with the digest.
//!
//! A lost answer to a chunk needs care. The registry may or may not have the chunk, and Distribution up to 2.8 ignores
//! `Content-Range` and would store it twice (distribution v2.8 registry/handlers/blobupload.go, `PatchBlobData`). So a chunk
//! is never just sent again: [`Pusher::resync`] asks how much the session has. If the registry has the chunk, the next one
//! follows; if it has nothing of the chunk, the chunk is sent again; otherwise the blob starts over in a new session.
//!
//! Invariants: no part is sent twice unless the registry says that it has nothing of it; a session is closed with the digest
//! of everything that was sent to it; an upload is given up when no byte moves, not when it takes long.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::{Duration, Instant};

use scar_http::header::{CONTENT_RANGE, CONTENT_TYPE};
use scar_http::{Attempt, Body, Error, Method, Response, Url};
use scar_registry::{Fault, Registry, UploadSession};
use scar_tool::{Exit, Failure, Progress};

use crate::body::{Content, HashState, Pieces, Sent};
use crate::socket_backlog;

const OCTET_STREAM: &str = "application/octet-stream";
/// Assumed minimum speed, in bytes per second, at which a registry stores a blob after it has received it.
const SETTLING: u64 = 32 << 20;
/// Interval at which progress is checked.
const LOOK: Duration = Duration::from_millis(250);

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

/// An upload session (OCI distribution specification, "Pushing a blob in chunks").
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
    /// Whether the answer to the last part was lost, so that the registry may or may not have it.
    answer_lost: bool,
}

impl Session {
    /// The session, if it can be resumed after this fault.
    pub(crate) fn resumable(self, fault: &Fault) -> Option<Self> {
        let passing = matches!(fault, Fault::Http(_) | Fault::Refused(_) | Fault::Lost(_)) && fault.is_transient();
        // Without a complete part there is nothing to save: a new session costs no more.
        (self.answer_lost && self.acknowledged.bytes > 0 && passing).then_some(self)
    }
}

impl Pusher {
    /// Creates a pusher; sends nothing.
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
        Ok(Session { url, least_chunk, acknowledged: HashState::default(), sent: Arc::default(), answer_lost: false })
    }

    /// Sends the next part. If the login expired meanwhile, and the registry says that it has nothing of the part, sends it
    /// again.
    ///
    /// # Errors
    /// No answer, or a refusal.
    pub(crate) async fn part(
        &self,
        session: &mut Session,
        to: u64,
        pieces: impl Fn(&Session) -> Pieces,
        progress: Option<&Progress>,
    ) -> Result<(), Fault> {
        let now = pieces(session);
        match self.patch(session, to, now, progress).await {
            Err(fault @ Fault::Lost(_)) if session.answer_lost && session.acknowledged.bytes > 0 => {
                if !self.resync(session).await {
                    return Err(fault);
                }
                if session.acknowledged.bytes >= to {
                    return Ok(());
                }
                let again = pieces(session);
                self.patch(session, to, again, progress).await
            }
            done => done,
        }
    }

    /// Sends one part of a session, up to `to`.
    ///
    /// # Errors
    /// No answer, or a refusal.
    async fn patch(&self, session: &mut Session, to: u64, pieces: Pieces, progress: Option<&Progress>) -> Result<(), Fault> {
        let request = self
            .registry
            .request(Method::PATCH, &session.url)?
            .header(CONTENT_TYPE, OCTET_STREAM)
            .header(CONTENT_RANGE, &format!("{}-{}", session.acknowledged.bytes, to - 1))
            .body(Body::wrap(pieces));
        session.answer_lost = true;
        let answer = self.until_stalled(request.send(), to, &session.sent, progress).await?;
        // Any success will do, not only 202: ECR answers 201. `Range` is ignored: ECR's stays at the end of the first chunk
        // (<https://github.com/aws/containers-roadmap/issues/2831>), others lag behind. The digest decides at the end.
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
            // registry/handlers/app.go, `dispatcher`), and nothing but the digest was sent.
            Err(Fault::Lost(_)) if from == to => close().await,
            closed => closed,
        }?;
        match answer.header("docker-content-digest").filter(|reported| *reported != content.digest.as_str()) {
            Some(reported) => Err(Failure::new(
                Exit::Mismatch,
                format!("push '{}': the registry stored it as '{}'", content.digest, scar_tool::escape(reported)),
            )
            .into()),
            None => Ok(()),
        }
    }

    /// The URL that the session continues at, if the answer names one that is allowed.
    fn next(&self, answer: &Response) -> Result<Option<Url>, Fault> {
        // The specification wants the newest `Location`: Distribution's contains the offset, and it refuses the old one with 400
        // and deletes the session (registry/handlers/blobupload.go, `ResumeBlobUpload`).
        let Some(url) = answer.location() else { return Ok(None) };
        self.registry.check_location(&url, true)?;
        Ok(Some(url))
    }

    fn follow_location(&self, session: &mut Session, answer: &Response) -> Result<(), Fault> {
        session.answer_lost = false;
        if let Some(next) = self.next(answer)? {
            session.url = next.clone();
            *self.open.borrow_mut() = Some(next);
        }
        Ok(())
    }

    /// The session, if it can be continued.
    pub(crate) async fn still_open(&self, session: Option<Session>) -> Option<Session> {
        let mut session = session?;
        self.resync(&mut session).await.then_some(session)
    }

    /// Synchronizes a session with the registry after a part's answer was lost: the registry has the part or it does not.
    /// Returns false if the registry does not say, or says anything else. The final digest check covers a registry that
    /// lies.
    async fn resync(&self, session: &mut Session) -> bool {
        if !session.answer_lost {
            return true;
        }
        let Some((answer, bytes)) = self.received(&session.url).await else { return false };
        // Only these two places have a known hash state. A session with half a chunk cannot be continued.
        let known = [session.sent.hashed(), session.acknowledged.clone()];
        let Some(got) = known.into_iter().find(|hashed| hashed.bytes == bytes) else { return false };
        session.sent = Arc::new(Sent::after(got.clone()));
        session.acknowledged = got;
        self.registry.console.verbose(|| format!("the registry has {bytes} bytes of the upload; going on from there"));
        self.follow_location(session, &answer).is_ok()
    }

    /// How many bytes of an upload the registry says it has (OCI distribution specification, "Pushing a blob in chunks").
    async fn received(&self, url: &Url) -> Option<(Response, u64)> {
        let answer = self.registry.exchange(Method::GET, url, &[], None).await.ok()?;
        let answer = self.registry.success(answer).await.ok()?;
        let range = answer.header("range")?;
        // `Range: 0-0` of an empty session is read as one byte, which matches neither place: the blob starts over, at no loss.
        // Docker's first version of the API has `bytes=` before it.
        let last = range.strip_prefix("bytes=").unwrap_or(range).strip_prefix("0-")?;
        let bytes = last.parse::<u64>().ok()?.checked_add(1)?;
        Some((answer, bytes))
    }

    /// Waits for an answer as long as bytes move. If the answer asks for a login, logs in for the next session.
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
        // An upload has no time limit of its own: some GiB over a slow link take hours. What ends it is a link on which nothing
        // moves.
        let mut answer = std::pin::pin!(answer);
        let mut moved = (0, Instant::now());
        let answer = loop {
            match tokio::time::timeout(LOOK, answer.as_mut()).await {
                Ok(answer) => break answer?,
                Err(_) => {
                    let handed = sent.bytes();
                    progress.inspect(|progress| progress.set(handed));
                    // Bytes in the socket's send queue have not moved yet, although the HTTP client has handed them over.
                    let arrived = handed.saturating_sub(socket_backlog::unacknowledged());
                    if arrived != moved.0 {
                        moved = (arrived, Instant::now());
                    }
                    // Everything is sent: the registry may need time to store a large blob.
                    let settling = if arrived == goal { Duration::from_secs(goal / SETTLING) } else { Duration::ZERO };
                    let patience = self.stall + settling;
                    if moved.1.elapsed() > patience {
                        let request = format!("upload to {}", self.registry.client.origin());
                        let cause = format!("no data moved for {} s", patience.as_secs_f64());
                        return Err(Error::Broken { request, cause, silent: true }.into());
                    }
                }
            }
        };
        progress.inspect(|progress| progress.set(sent.bytes()));
        // A body of this size is not sent again in the same session: after a 401 nobody knows what the registry kept of it. So a
        // renewed login leads to a new session, where the blob is asked for first.
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
