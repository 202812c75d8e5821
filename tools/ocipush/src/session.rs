//! An upload session (OCI distribution specification, "Pushing a blob in chunks"): opened, gone on with, and, after a part
//! went astray, asked what it has.
//!
//! Invariant: no part is sent twice unless the registry says that it has nothing of it.

use std::sync::Arc;

use scar_http::header::{CONTENT_RANGE, CONTENT_TYPE};
use scar_http::{Attempt, Body, Method, Response, Url};
use scar_registry::{Fault, Opened};
use scar_tool::Progress;

use crate::body::{Hashed, Pieces, Sent};
use crate::target::Target;

/// The type of a blob's bytes.
pub(crate) const OCTETS: &str = "application/octet-stream";

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
    pub(crate) fn going_on(self, fault: &Fault) -> Option<Self> {
        let passing = matches!(fault, Fault::Http(_) | Fault::Refused(_) | Fault::Lost(_)) && fault.is_transient();
        (self.unsure && self.got.bytes > 0 && passing).then_some(self)
    }
}

impl Target {
    /// Opens an upload session.
    ///
    /// # Errors
    /// What the registry answered instead; where the session would be, if that is not allowed.
    pub(crate) async fn begin(&self) -> Result<Session, Fault> {
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
    pub(crate) async fn part(
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
    pub(crate) async fn still_open(&self, session: Option<Session>) -> Option<Session> {
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
}
