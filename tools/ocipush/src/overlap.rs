//! An archive on its way into the registry before its digest is known: a stream while it still comes, in chunks, each sent
//! once it is there; and a large file in one part, hashed as it is sent.
//!
//! Invariants: no part is sent twice; the session is ended by the digest of all that was sent to it; whatever goes wrong
//! before that, the whole is at hand to be sent anew. A file is sent so only to a repository that shows no trace of an
//! earlier push: what is there already is never sent again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use scar_http::{Attempt, Error, Url};
use scar_registry::Fault;
use scar_tool::{Exit, Failure, Progress};

use crate::body::Sent;
use crate::manifest;
use crate::push;
use crate::source::{Source, Unhashed};
use crate::target::Target;
use crate::upload::{Presence, Session};

/// The least bytes of a chunk of a stream that goes on: above what registries ask for.
pub(crate) const CHUNK: u64 = 16 << 20;
/// The most bytes of a chunk, where the stream comes faster than it can be sent.
const LARGEST_CHUNK: u64 = 256 << 20;

/// An upload session that has got all bytes and waits for their digest.
#[derive(Debug)]
pub(crate) struct Received {
    /// Where it is ended.
    pub(crate) url: Url,
    /// What was sent to it.
    pub(crate) sent: Arc<Sent>,
}

impl Target {
    /// Sends an archive ahead of its digest. The session is given back with it; without one where the registry may have the
    /// archive, or did not go along, and the whole is to be sent as ever.
    ///
    /// # Errors
    /// What would be the same with the whole; an archive that cannot be read.
    pub(crate) async fn send_ahead(&self, archive: &Unhashed) -> Result<(Source, Option<Received>), Fault> {
        let console = &self.registry.console;
        if archive.size().is_some() {
            if !self.is_untouched().await? {
                return Ok((archive.source(None, console).await?, None));
            }
            // Left behind however this push ends, so that the next one asks before it sends.
            self.push_blob(&push::config(), || Ok(()), false, None, None).await?;
        }
        let (received, earliest) = match self.follow(archive).await {
            Ok(received) => (Some(received), Instant::now()),
            Err(fault) if is_final(&fault) => return Err(fault),
            Err(fault) => {
                let retry = &self.registry.terms.retry;
                let asked = fault.asked().unwrap_or_default();
                if asked > retry.longest_wait {
                    return Err(fault);
                }
                console.verbose(|| format!("{fault}; sending the archive anew once all of it is there"));
                self.abandon().await;
                let wait = if fault.is_transient() { asked.max(retry.first_wait) } else { Duration::ZERO };
                (None, Instant::now() + wait)
            }
        };
        let source = archive.source(received.as_ref().map(|received| received.sent.digest()), console).await?;
        tokio::time::sleep_until(earliest.into()).await;
        Ok((source, received))
    }

    /// Whether the repository shows no trace of a push: neither the tag nor the configuration, which is always the same.
    async fn is_untouched(&self) -> Result<bool, Fault> {
        let config = push::config();
        Ok(self.held(&self.registry.reference.tag).await?.is_none()
            && self.presence(&config.digest, config.size).await? == Presence::Absent)
    }

    async fn follow(&self, archive: &Unhashed) -> Result<Received, Fault> {
        let progress = self.registry.console.progress_bytes("pushing", archive.size());
        let session = match self.begin().await {
            Ok(session) => session,
            // No session, whatever the status: another one would not be opened, either.
            Err(Fault::Http(error)) if !error.is_transient() => return Err(Fault::Fatal(self.failure(Fault::Http(error)))),
            Err(fault) => return Err(fault),
        };
        self.send_parts(session, archive, &progress).await
    }

    async fn send_parts(&self, session: Session, archive: &Unhashed, progress: &Progress) -> Result<Received, Fault> {
        let (least, most) = match (self.chunk.get(), archive.size()) {
            (Some(chunk), _) => (chunk, chunk),
            (None, Some(size)) => (size, size),
            (None, None) => (CHUNK, LARGEST_CHUNK),
        };
        let (least, most) = (least.max(session.least_chunk), most.max(session.least_chunk));
        let (mut url, sent, mut at) = (session.url, Arc::default(), 0);
        loop {
            let (there, ended) = archive.until(at + least).await?;
            let to = there.min(at + most);
            if to > at {
                if at > 0 {
                    // A login that ended while the stream came is renewed by a question; a refused chunk would cost the
                    // session.
                    self.presence(&manifest::digest(manifest::CONFIG), manifest::CONFIG.len() as u64).await?;
                }
                let pieces = archive.bits().part(at, to, None, &sent);
                let taken = self.patch(&url, (at, to), pieces, &sent, Some(progress)).await;
                if let Some(cause) = sent.fault() {
                    let failure = Failure::new(Exit::Failed, format!("push the archive: {cause}"));
                    return Err(failure.hint(crate::body::UNTOUCHED).into());
                }
                url = taken.inspect_err(|fault| self.in_smaller_parts(fault, to - at))?;
                at = to;
            }
            if ended && at == there {
                return Ok(Received { url, sent });
            }
        }
    }

    /// What a refused part of so many bytes means for those to come.
    fn in_smaller_parts(&self, fault: &Fault, size: u64) {
        match fault {
            Fault::Http(Error::Status { status, .. }) if status.as_u16() == 413 => self.chunk.set(self.smaller(size)),
            // The login was as fresh as it could be, and did not last.
            Fault::Lost(_) => self.chunk.set(self.chunk.get().or(Self::lasting(size))),
            _ => {}
        }
    }
}

/// Whether the whole, sent in another way, would meet with the same.
fn is_final(fault: &Fault) -> bool {
    match fault {
        Fault::Fatal(_) | Fault::Refused(_) => true,
        Fault::Lost(_) => false,
        // The answers of registries, and of proxies before them, that take no chunks, or not these.
        Fault::Http(Error::Status { status, .. }) => {
            !fault.is_transient() && !matches!(status.as_u16(), 400 | 404 | 405 | 411 | 413 | 416 | 501)
        }
        Fault::Http(_) => !fault.is_transient(),
    }
}
