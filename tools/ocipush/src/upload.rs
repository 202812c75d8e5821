//! A blob's way into the registry (OCI distribution specification, "Pushing blobs"), read from top to bottom: an archive whose
//! digest is not known yet ([`Pusher::send_ahead`]), a blob whose digest is known ([`Pusher::send`]), the session and its
//! parts, the wait for an answer.
//!
//! What happens when the answer to a chunk is lost: the chunk may or may not be there, and Distribution 2.8 ignores
//! `Content-Range` and would store it twice. So it is never just sent again. The next try asks the session how far it is
//! ([`Pusher::caught_up`]). If it has the chunk, the next one follows; if it has nothing of it, the chunk is sent again; if it
//! says anything else, or nothing, the blob starts over in a session of its own, and if chunks come no further, in one PUT.
//!
//! Invariants: the registry is asked first whether it has the blob; no part is sent twice unless the registry says that it
//! has nothing of it; a session ends with the digest of all that was sent to it; an upload is given up when nothing moves,
//! not when it takes long. A file is sent ahead of its digest only to a repository that shows no trace of an earlier push:
//! what is there is never sent again.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::{Duration, Instant};

use scar_http::header::{CONTENT_RANGE, CONTENT_TYPE};
use scar_http::{Attempt, Body, Error, Method, Response, Url};
use scar_registry::{Fault, Opened, Presence, Refusal, Registry};
use scar_tool::{Exit, Failure, Progress};

use crate::archive::Archive;
use crate::body::{Content, Hashed, Pieces, Sent, UNTOUCHED};
use crate::manifest;
use crate::socket_backlog;
use crate::unhashed::Unhashed;

/// The type of a blob's bytes.
const OCTETS: &str = "application/octet-stream";
/// The least bytes of a chunk of a stream that goes on: above what registries ask for.
pub(crate) const CHUNK: u64 = 16 << 20;
/// The most bytes of a chunk, unless the user asked for larger ones.
const LARGEST_CHUNK: u64 = 256 << 20;
/// Chunks for a proxy that takes no larger body: the common limits, the last one nginx's default.
const FALLBACKS: [u64; 3] = [64 << 20, 8 << 20, 1 << 20];
/// How fast a registry at least moves a blob that it has received to its place, in bytes a second.
const SETTLING: u64 = 32 << 20;
/// How often progress is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// A registry that is pushed to.
#[derive(Debug)]
pub(crate) struct Pusher {
    /// The registry.
    pub(crate) registry: Registry,
    /// How long an upload may make no progress.
    stall: Duration,
    /// Bytes of a chunk, if the archive is to go in chunks: because the user said so, or since more was refused.
    chunk: Cell<Option<u64>>,
    /// The upload session that is open.
    open: RefCell<Option<Url>>,
}

/// An upload session, and what it has got.
#[derive(Debug)]
pub(crate) struct Session {
    /// Where it goes on.
    pub(crate) url: Url,
    /// The least that a chunk must have, but for the last.
    pub(crate) least_chunk: u64,
    /// What the registry has taken.
    pub(crate) got: Hashed,
    /// What was sent to it.
    pub(crate) sent: Arc<Sent>,
    /// Whether a part was sent whose fate is unknown.
    unsure: bool,
}

impl Session {
    /// The session, where it may still be good after a part's fault.
    fn going_on(self, fault: &Fault) -> Option<Self> {
        let passing = matches!(fault, Fault::Http(_) | Fault::Refused(_) | Fault::Lost(_)) && fault.is_transient();
        (self.unsure && self.got.bytes > 0 && passing).then_some(self)
    }
}

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

impl Pusher {
    /// A pusher without an open session.
    pub(crate) fn new(registry: Registry, stall: Duration, chunk: Option<u64>) -> Self {
        Self { registry, stall, chunk: Cell::new(chunk), open: RefCell::new(None) }
    }

    /// Sends an archive ahead of its digest. Gives it back with the session, which has all of it and waits for the digest; with
    /// none if the registry may have the archive already, or did not take it so: then it is to be sent as any other.
    ///
    /// # Errors
    /// What would be the same with the whole; an archive that cannot be read.
    pub(crate) async fn send_ahead(&self, archive: &Unhashed) -> Result<(Archive, Option<Session>), Fault> {
        let console = &self.registry.console;
        if archive.size().is_some() {
            if !self.is_untouched().await? {
                return Ok((archive.archive(console).await?, None));
            }
            // Left behind however this push ends, so that the next one asks before it sends.
            self.send(&manifest::config(), || Ok(()), false, None, None).await?;
        }
        let session = self.follow(archive).await?;
        if session.is_none() {
            console.verbose(|| "sending the archive from its beginning once all of it is there".to_owned());
            self.abandon().await;
        }
        let whole = archive.archive(console).await?;
        let sent = session.as_ref().map(|session| session.got.digest());
        match sent.filter(|sent| *sent != whole.content.digest) {
            Some(_) => Err(changed("it has changed while it was sent").into()),
            None => Ok((whole, session)),
        }
    }

    /// Whether the repository shows no trace of a push: neither the tag nor the configuration, which is always the same.
    async fn is_untouched(&self) -> Result<bool, Fault> {
        let config = manifest::config();
        Ok(self.held(&self.registry.reference.tag).await?.is_none()
            && self.registry.presence(&config.digest, config.size).await? == Presence::Absent)
    }

    /// Sends all of it in one session, which outlives a part that went astray where the registry tells what it has.
    async fn follow(&self, archive: &Unhashed) -> Result<Option<Session>, Fault> {
        let progress = self.registry.console.progress_bytes("pushing", archive.size());
        let (first, session, reached) = (Cell::new(true), Cell::new(None), Cell::new(0));
        self.registry
            .retry(|| async {
                let now = match first.replace(false) {
                    true => Some(self.begin().await.map_err(|fault| self.unopened(fault))?),
                    false => self.still_open(session.take()).await,
                };
                let Some(mut now) = now else { return Ok(None) };
                match self.send_parts(&mut now, archive, &progress).await {
                    Ok(()) => Ok(Some(now)),
                    Err(fault) if fault.is_transient() || is_final(&fault) => {
                        // Where it comes no further, the whole may.
                        let further = |now: &Session| now.got.bytes > reached.replace(now.got.bytes);
                        session.set(now.going_on(&fault).filter(further));
                        Err(fault)
                    }
                    Err(fault) => {
                        self.registry.console.verbose(|| fault.to_string());
                        Ok(None)
                    }
                }
            })
            .await
    }

    /// No session, whatever the status: another one would not be opened, either.
    fn unopened(&self, fault: Fault) -> Fault {
        match fault {
            Fault::Refused(_) if !fault.is_transient() => {
                Fault::Fatal(self.registry.failure(&format!("push to '{}'", self.registry.reference), fault))
            }
            fault => fault,
        }
    }

    async fn send_parts(&self, session: &mut Session, archive: &Unhashed, progress: &Progress) -> Result<(), Fault> {
        let (least, most) = match (self.chunk.get(), archive.size()) {
            (Some(chunk), _) => (chunk, chunk),
            (None, Some(size)) => (size, size),
            (None, None) => (CHUNK, LARGEST_CHUNK),
        };
        let (least, most) = (least.max(session.least_chunk), most.max(session.least_chunk));
        loop {
            let at = session.got.bytes;
            let (there, ended) = archive.until(at + least, None).await?;
            let to = there.min(at + most);
            if to == at {
                return Ok(());
            }
            if at > 0 {
                // A login that ended while the stream came is renewed by a question; a refused chunk may cost the session.
                self.registry.presence(&manifest::digest(manifest::CONFIG), manifest::CONFIG.len() as u64).await?;
            }
            let taken = self.part(session, to, |now| archive.bits().part(at, to, None, &now.sent), Some(progress)).await;
            if let Some(cause) = session.sent.fault() {
                return Err(changed(cause).into());
            }
            taken.inspect_err(|fault| self.in_smaller_parts(fault, to - at))?;
            if ended && to == there {
                return Ok(());
            }
        }
    }

    /// What a refused part of so many bytes means for those to come.
    fn in_smaller_parts(&self, fault: &Fault, size: u64) {
        match fault {
            Fault::Refused(refusal) if refusal.status.as_u16() == 413 => self.chunk.set(self.smaller(size)),
            // The login was as fresh as it could be, and did not last.
            Fault::Lost(_) => self.chunk.set(self.chunk.get().or(Self::lasting(size))),
            _ => {}
        }
    }
    /// Brings a blob into the registry; false where it was there.
    ///
    /// `check` looks whether the source is still what was hashed; `force` does not believe a registry that has it;
    /// `session` has got bytes already.
    ///
    /// # Errors
    /// The last try's fault.
    pub(crate) async fn send(
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
                    return Err(changed(cause).into());
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
    fn smaller(&self, size: u64) -> Option<u64> {
        let smaller = FALLBACKS.into_iter().find(|&smaller| smaller < size)?;
        let mib = smaller >> 20;
        self.registry
            .console
            .note(format!("the registry, or a proxy before it, takes no body of this size; sending it in chunks of {mib} MiB"));
        Some(smaller)
    }

    /// Bytes of a chunk, where a login did not last for `size` bytes.
    fn lasting(size: u64) -> Option<u64> {
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

    /// Opens an upload session.
    ///
    /// # Errors
    /// What the registry answered instead; where the session would be, if that is not allowed.
    async fn begin(&self) -> Result<Session, Fault> {
        let Opened { url, least_chunk } = self.registry.open_upload().await?;
        *self.open.borrow_mut() = Some(url.clone());
        Ok(Session { url, least_chunk, got: Hashed::default(), sent: Arc::default(), unsure: false })
    }

    /// Where the session goes on, where the answer says so and it is allowed.
    fn next(&self, answer: &Response) -> Result<Option<Url>, Fault> {
        let Some(url) = answer.location() else { return Ok(None) };
        self.registry.may_go(&url, true)?;
        Ok(Some(url))
    }

    /// Sends the next part; once more where a login ended meanwhile and the registry tells that it has nothing of the part.
    ///
    /// # Errors
    /// No answer, or another than one of success.
    async fn part(
        &self,
        session: &mut Session,
        to: u64,
        pieces: impl Fn(&Session) -> Pieces,
        progress: Option<&Progress>,
    ) -> Result<(), Fault> {
        let now = pieces(session);
        match self.patch(session, to, now, progress).await {
            Err(fault @ Fault::Lost(_)) if session.unsure && session.got.bytes > 0 => {
                if !self.caught_up(session).await {
                    return Err(fault);
                }
                if session.got.bytes >= to {
                    return Ok(());
                }
                let again = pieces(session);
                self.patch(session, to, again, progress).await
            }
            done => done,
        }
    }

    /// Sends the next part of a session, up to `to`.
    ///
    /// # Errors
    /// No answer, or another than one of success.
    async fn patch(&self, session: &mut Session, to: u64, pieces: Pieces, progress: Option<&Progress>) -> Result<(), Fault> {
        let request = self
            .registry
            .request(Method::PATCH, &session.url)?
            .header(CONTENT_TYPE, OCTETS)
            .header(CONTENT_RANGE, &format!("{}-{}", session.got.bytes, to - 1))
            .body(Body::wrap(pieces));
        session.unsure = true;
        let answer = self.watched(request.send(), to, &session.sent, progress).await?;
        // `Range` is not looked at: registries differ in what they say there, and the digest decides.
        self.go_on(session, &answer)?;
        session.got = session.sent.hashed();
        match session.got.bytes == to {
            true => Ok(()),
            false => Err(Fault::Lost("the registry answered before it had the whole chunk".to_owned())),
        }
    }

    fn go_on(&self, session: &mut Session, answer: &Response) -> Result<(), Fault> {
        session.unsure = false;
        if let Some(next) = self.next(answer)? {
            session.url = next.clone();
            *self.open.borrow_mut() = Some(next);
        }
        Ok(())
    }

    /// The session, where it may go on.
    async fn still_open(&self, session: Option<Session>) -> Option<Session> {
        let mut session = session?;
        self.caught_up(&mut session).await.then_some(session)
    }

    /// Brings a session of which a part went astray to what the registry tells: with that part or without it. False where it
    /// does not tell, or anything else. What it tells is believed until the digest is asked for.
    async fn caught_up(&self, session: &mut Session) -> bool {
        if !session.unsure {
            return true;
        }
        let Some((answer, bytes)) = self.received(&session.url).await else { return false };
        let known = [session.sent.hashed(), session.got.clone()];
        let Some(got) = known.into_iter().find(|hashed| hashed.bytes == bytes) else { return false };
        session.sent = Arc::new(Sent::after(got.clone()));
        session.got = got;
        self.registry.console.verbose(|| format!("the registry has {bytes} bytes of the upload; going on from there"));
        self.go_on(session, &answer).is_ok()
    }

    /// How much of an upload the registry says that it has.
    async fn received(&self, url: &Url) -> Option<(Response, u64)> {
        let answer = self.registry.exchange(Method::GET, url, &[], None).await.ok()?;
        let answer = self.registry.success(answer).await.ok()?;
        let range = answer.header("range")?;
        let last = range.strip_prefix("bytes=").unwrap_or(range).strip_prefix("0-")?;
        let bytes = last.parse::<u64>().ok()?.checked_add(1)?;
        Some((answer, bytes))
    }
    /// Waits for an answer as long as bytes move; a challenge renews the login for the next session.
    ///
    /// # Errors
    /// No answer, or another than one of success.
    async fn watched(
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
                    let arrived = handed.saturating_sub(socket_backlog::unacknowledged());
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

/// Whether the whole, sent in another way, would meet with the same.
fn is_final(fault: &Fault) -> bool {
    match fault {
        Fault::Fatal(_) | Fault::Spent(_) => true,
        Fault::Lost(_) => false,
        // The answers of registries, and of proxies before them, that take no chunks, or not these.
        Fault::Refused(refusal) => {
            !fault.is_transient() && !matches!(refusal.status.as_u16(), 400 | 404 | 405 | 411 | 413 | 416 | 501)
        }
        Fault::Http(_) => !fault.is_transient(),
    }
}

/// A source that cannot be sent any more.
fn changed(cause: &str) -> Failure {
    Failure::new(Exit::Failed, format!("push the archive: {cause}")).hint(UNTOUCHED)
}
