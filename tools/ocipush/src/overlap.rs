//! An archive on its way into the registry before its digest is known: a stream while it still comes, in chunks, each sent
//! once it is there; and a large file in one part, hashed as it is sent.
//!
//! Invariants: no part is sent twice unless the registry says that it has nothing of it; the session is ended by the digest of all that was sent to it; whatever goes wrong
//! before that, the whole is at hand to be sent anew. A file is sent so only to a repository that shows no trace of an
//! earlier push: what is there already is never sent again.

use std::cell::Cell;

use scar_http::Attempt;
use scar_registry::{Fault, Presence};
use scar_tool::{Exit, Failure, Progress};

use crate::manifest;
use crate::push;
use crate::session::Session;
use crate::source::{Source, Unhashed};
use crate::target::Target;
use crate::upload::LARGEST_CHUNK;

/// The least bytes of a chunk of a stream that goes on: above what registries ask for.
pub(crate) const CHUNK: u64 = 16 << 20;

impl Target {
    /// Sends an archive ahead of its digest. Its session is given back with it, which has all of it and waits for the digest;
    /// none where the registry may have the archive, or did not go along, and the whole is to be sent as ever.
    ///
    /// # Errors
    /// What would be the same with the whole; an archive that cannot be read.
    pub(crate) async fn send_ahead(&self, archive: &Unhashed) -> Result<(Source, Option<Session>), Fault> {
        let console = &self.registry.console;
        if archive.size().is_some() {
            if !self.is_untouched().await? {
                return Ok((archive.source(None, None, console).await?, None));
            }
            // Left behind however this push ends, so that the next one asks before it sends.
            self.push_blob(&push::config(), || Ok(()), false, None, None).await?;
        }
        let checked = archive.check();
        let session = self.follow(archive).await?;
        if session.is_none() {
            console.verbose(|| "sending the archive anew once all of it is there".to_owned());
            self.abandon().await;
        }
        let digest = session.as_ref().map(|session| session.got.digest());
        Ok((archive.source(digest, checked, console).await?, session))
    }

    /// Whether the repository shows no trace of a push: neither the tag nor the configuration, which is always the same.
    async fn is_untouched(&self) -> Result<bool, Fault> {
        let config = push::config();
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
            let (there, ended) = archive.until(at + least).await?;
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
                let failure = Failure::new(Exit::Failed, format!("push the archive: {cause}"));
                return Err(failure.hint(crate::body::UNTOUCHED).into());
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
