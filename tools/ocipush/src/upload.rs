//! A blob's way into the registry (OCI distribution specification, "Pushing blobs").
//!
//! Invariants: the registry is asked first; each try has an upload session of its own, but for one of chunks that goes on; an
//! upload ends when nothing moves, not when it takes long.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use scar_http::header::CONTENT_TYPE;
use scar_http::{Body, Error, Method, Response, Url};
use scar_registry::{Fault, Presence, Refusal};
use scar_tool::{Exit, Failure, Progress};

use crate::body::{Content, Sent};
use crate::session::{OCTETS, Session};
use crate::target::Target;

/// Chunks for a proxy that takes no larger body: the common limits, the last one nginx's default.
const FALLBACKS: [u64; 3] = [64 << 20, 8 << 20, 1 << 20];
/// The most bytes of a chunk where nobody asked for smaller ones.
pub(crate) const LARGEST_CHUNK: u64 = 256 << 20;
/// How fast a registry at least moves a blob that it has wholly received to its place, in bytes a second.
const SETTLING: u64 = 32 << 20;
/// How often progress is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// What went wrong with the sessions so far.
#[derive(Default)]
struct Lost {
    renewed: Cell<u32>,
    sessions: Cell<u32>,
    invalid: Cell<bool>,
}

/// A session that is there no more.
fn gone(refusal: &Refusal) -> String {
    match refusal.words() {
        "" => format!("the registry lost the upload session (status {})", refusal.status.as_u16()),
        words => format!("the registry lost the upload session ({words})"),
    }
}

impl Target {
    /// Brings a blob into the registry; false where it was there.
    ///
    /// `check` looks whether the source is still what was hashed; `force` does not believe a registry that has it;
    /// `session` has got bytes already.
    ///
    /// # Errors
    /// The last try's fault.
    pub(crate) async fn push_blob(
        &self,
        content: &Content,
        check: impl Fn() -> Result<(), Failure>,
        force: bool,
        session: Option<Session>,
        progress: Option<&Progress>,
    ) -> Result<bool, Fault> {
        let session = Cell::new(session);
        let tries = Cell::new(0);
        let reached = Cell::new(0);
        let lost = Lost::default();
        let chunk = Cell::new(self.chunk.get().filter(|&chunk| chunk < content.size));
        self.registry
            .retry(|| async {
                let first = tries.replace(tries.get() + 1) == 0;
                let begun = self.still_open(session.take()).await;
                if begun.is_none() {
                    // A session that failed holds space in the registry until somebody ends it.
                    self.abandon().await;
                }
                if !(force && first) {
                    match self.registry.presence(&content.digest, content.size).await? {
                        Presence::Here => {
                            self.abandon().await;
                            return Ok(!first);
                        }
                        Presence::Wrong(length) => {
                            return Err(self.registry.wrong_size(&content.digest, content.size, length).into());
                        }
                        Presence::Absent | Presence::Unknown => {}
                    }
                }
                check()?;
                let mut now = match begun {
                    Some(session) => session,
                    None => self.begin().await?,
                };
                let done = match chunk.get() {
                    None if now.got.bytes == 0 => self.put(&now.url, content, (0, content.size), &now.sent, progress).await,
                    size => self.put_in_chunks(&mut now, content, size.unwrap_or(LARGEST_CHUNK), progress).await,
                };
                if let Some(cause) = now.sent.fault() {
                    let failure = Failure::new(Exit::Failed, format!("push the archive: {cause}"));
                    return Err(failure.hint(crate::body::UNTOUCHED).into());
                }
                match done {
                    Err(fault) => {
                        match now.going_on(&fault) {
                            Some(now) if now.got.bytes > reached.replace(now.got.bytes) => session.set(Some(now)),
                            // Where chunks come no further, the whole may.
                            Some(_) => chunk.set(None),
                            None => {}
                        }
                        Err(self.after(fault, content, &chunk, &lost))
                    }
                    Ok(()) => Ok(()),
                }
                .map(|()| {
                    self.open.take();
                    true
                })
            })
            .await
    }

    /// What a fault of an upload means for the next try: another session, another size of its parts, or the end.
    fn after(&self, fault: Fault, content: &Content, chunk: &Cell<Option<u64>>, lost: &Lost) -> Fault {
        let refusal = match &fault {
            Fault::Refused(refusal) => refusal,
            Fault::Lost(_) => {
                // Renewed in vain: the login does not last for the whole, so it goes in parts.
                if lost.renewed.replace(lost.renewed.get() + 1) == 1 && chunk.get().is_none() {
                    chunk.set(Self::lasting(content.size));
                }
                return fault;
            }
            _ => return fault,
        };
        let has = |codes: [&str; 2]| codes.iter().any(|code| refusal.has(code));
        match refusal.status.as_u16() {
            413 => {
                let size = chunk.get().unwrap_or(content.size);
                let Some(smaller) = self.smaller(size) else { return fault };
                chunk.set(Some(smaller));
                Fault::Lost("the body was too large (413)".to_owned())
            }
            404 | 416 => {
                // A proxy that knows no PATCH may say so, too.
                if lost.sessions.replace(lost.sessions.get() + 1) > 0 {
                    chunk.set(None);
                }
                Fault::Lost(gone(refusal))
            }
            400 if has(["BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN"]) => Fault::Lost(gone(refusal)),
            400 if has(["DIGEST_INVALID", "SIZE_INVALID"]) => {
                let words = refusal.words();
                // What was sent had the right digest: the reader held the last piece back until it knew.
                chunk.set(None);
                if lost.invalid.replace(true) {
                    let digest = &content.digest;
                    let cause = format!("push '{digest}': the registry twice received something else than was sent: {words}");
                    return Failure::new(Exit::Mismatch, cause)
                        .hint("something between this host and the registry changes what passes")
                        .into();
                }
                Fault::Lost(format!("the registry received something else ({words})"))
            }
            400 | 405 | 501 if chunk.get().is_some() => {
                chunk.set(None);
                Fault::Lost(format!("the registry takes no chunks ({fault}); sending it whole"))
            }
            _ => fault,
        }
    }

    /// Bytes of a chunk, where a body of `size` bytes was too large; none where it need not be smaller.
    pub(crate) fn smaller(&self, size: u64) -> Option<u64> {
        let smaller = FALLBACKS.into_iter().find(|&smaller| smaller < size)?;
        let mib = smaller >> 20;
        self.registry
            .console
            .note(format!("the registry, or a proxy before it, takes no body of this size; sending it in chunks of {mib} MiB"));
        Some(smaller)
    }

    /// Bytes of a chunk, where a login did not last for `size` bytes.
    pub(crate) fn lasting(size: u64) -> Option<u64> {
        FALLBACKS.into_iter().find(|&smaller| smaller < size)
    }

    async fn put_in_chunks(
        &self,
        session: &mut Session,
        content: &Content,
        chunk: u64,
        progress: Option<&Progress>,
    ) -> Result<(), Fault> {
        let chunk = chunk.max(session.least_chunk);
        while session.got.bytes < content.size {
            let at = session.got.bytes;
            let to = content.size.min(at + chunk);
            if at > 0 {
                // A login that ended is renewed by a question: a chunk that is refused may cost the session.
                self.registry.presence(&content.digest, content.size).await?;
            }
            self.part(session, to, |session| content.part(at, to, &session.sent), progress).await?;
        }
        self.put(&session.url, content, (content.size, content.size), &session.sent, progress).await
    }

    /// Sends a part, ends the session with the digest of the whole, and looks at what the registry made of it.
    async fn put(
        &self,
        url: &Url,
        content: &Content,
        (from, to): (u64, u64),
        sent: &Arc<Sent>,
        progress: Option<&Progress>,
    ) -> Result<(), Fault> {
        let mut url = url.clone();
        url.query_pairs_mut().append_pair("digest", content.digest.as_str());
        let mut request = self.registry.request(Method::PUT, &url)?.header(CONTENT_TYPE, OCTETS);
        request = match from == to {
            true => request.body(Vec::new()),
            false => request.body(Body::wrap(content.part(from, to, sent))),
        };
        let answer = self.watched(request.send(), to, sent, progress).await?;
        match answer.header("docker-content-digest").filter(|said| *said != content.digest.as_str()) {
            Some(said) => Err(Failure::new(
                Exit::Mismatch,
                format!("push '{}': the registry stored it as '{}'", content.digest, scar_tool::escape(said)),
            )
            .into()),
            None => Ok(()),
        }
    }

    /// Waits for an answer as long as bytes move; a challenge renews the login for the next session.
    ///
    /// # Errors
    /// No answer, or another than one of success.
    pub(crate) async fn watched(
        &self,
        answer: impl Future<Output = Result<Response, Error>>,
        goal: u64,
        sent: &Sent,
        progress: Option<&Progress>,
    ) -> Result<Response, Fault> {
        let mut answer = std::pin::pin!(answer);
        let mut moved = (0, Instant::now());
        let answer = loop {
            match tokio::time::timeout(LOOK, answer.as_mut()).await {
                Ok(answer) => break answer?,
                Err(_) => {
                    let handed = sent.bytes();
                    progress.inspect(|progress| progress.set(handed));
                    // What the system still holds back has not moved, however much of it was handed over.
                    let arrived = handed.saturating_sub(crate::queue::unsent());
                    if arrived != moved.0 {
                        moved = (arrived, Instant::now());
                    }
                    // All is sent: the registry may need its time to put a large blob in its place.
                    let settling = if arrived == goal { Duration::from_secs(goal / SETTLING) } else { Duration::ZERO };
                    let patience = self.stall + settling;
                    if moved.1.elapsed() > patience {
                        let request = format!("upload to {}", self.registry.client.origin());
                        let cause = format!("nothing moved for {} s", patience.as_secs_f64());
                        return Err(Error::Broken { request, cause, silent: true }.into());
                    }
                }
            }
        };
        progress.inspect(|progress| progress.set(sent.bytes()));
        match self.registry.unchallenged(answer).await? {
            Some(answer) => self.registry.success(answer).await,
            None => Err(Fault::Lost("the login was renewed".to_owned())),
        }
    }

    /// Cancels the upload that is open, as well as it goes.
    pub(crate) async fn abandon(&self) {
        let Some(url) = self.open.take() else { return };
        let _ = self.registry.cancel(&url).await;
    }
}
