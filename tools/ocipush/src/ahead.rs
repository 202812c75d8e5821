//! Sending an archive while its digest is still computed: a large file, or standard input.
//!
//! A file is sent this way only to a repository that shows no trace of an earlier push, so that an archive that the registry
//! already has is never sent again.

use scar_http::Attempt;
use scar_registry::{Fault, Presence};
use scar_tool::Progress;

use crate::archive::Archive;
use crate::manifest;
use crate::session::{Pusher, Session};
use crate::unhashed::Unhashed;
use crate::upload::{LARGEST_CHUNK, changed, chunk_below};

/// The smallest chunk of a stream that still arrives; above the minimum of S3 and of registries that store parts there: 5 MiB
/// (cloudflare/serverless-registry src/chunk.ts, `MINIMUM_CHUNK`).
pub(crate) const CHUNK: u64 = 16 << 20;

impl Pusher {
    /// Sends an archive while its digest is computed. Returns the archive, and the session that holds all of it and waits
    /// for the digest. Returns no session if the registry may already have the archive, or did not accept it this way: the
    /// caller sends it as any other blob.
    ///
    /// # Errors
    /// Faults that would also stop sending it as any other blob, and an archive that cannot be read.
    pub(crate) async fn send_ahead(&self, archive: &Unhashed) -> Result<(Archive, Option<Session>), Fault> {
        let console = &self.registry.console;
        // Not for a stream: its digest is only known at its end, and to wait for that would take the time of packing and of
        // sending one after the other.
        if archive.size().is_some() {
            if !self.is_untouched().await? {
                return Ok((archive.archive(console).await?, None));
            }
            // If the push fails later, this blob is the trace of it: the next push then hashes the archive, and asks whether the
            // registry has the layer, before it sends it.
            self.send(&manifest::config(), || Ok(()), false, None, None).await?;
        }
        let session = self.stream_archive(archive).await?;
        if session.is_none() {
            console.verbose(|| "sending the archive again from its beginning, after all of it was read".to_owned());
            self.cancel_open_session().await;
        }
        // One thread hashed the file, another the bytes that were sent. They differ if the file changed in between (FAULTS P30).
        let whole = archive.archive(console).await?;
        let sent = session.as_ref().map(|session| session.acknowledged.digest());
        match sent.filter(|sent| *sent != whole.content.digest) {
            Some(_) => Err(changed("it has changed while it was sent").into()),
            None => Ok((whole, session)),
        }
    }

    /// Whether the repository shows no trace of a push: neither the tag nor the configuration, which is the same in every
    /// push.
    async fn is_untouched(&self) -> Result<bool, Fault> {
        let config = manifest::config();
        Ok(self.remote_manifest(&self.registry.reference.tag).await?.is_none()
            && self.registry.presence(&config.digest, config.size).await? == Presence::Absent)
    }

    /// Sends the whole archive in one session. After a lost answer it continues the session, if the registry says how many
    /// bytes it has.
    /// Returns no session if the archive must be sent as any other blob.
    async fn stream_archive(&self, archive: &Unhashed) -> Result<Option<Session>, Fault> {
        let progress = self.registry.console.progress_bytes("pushing", archive.size());
        let (mut first, mut session, mut acknowledged_before) = (true, None, 0);
        self.registry
            .retry(async || {
                // Only the first try opens a session. If that one cannot be continued, the whole goes in one PUT, which works
                // with every registry.
                let begun = match std::mem::replace(&mut first, false) {
                    true => Some(self.begin().await?),
                    false => self.resume(session.take()).await,
                };
                let Some(mut current) = begun else { return Ok(None) };
                match self.send_parts(&mut current, archive, &progress).await {
                    Ok(()) => Ok(Some(current)),
                    Err(fault) if accepts_no_chunks(&fault) => {
                        self.registry.console.verbose(|| fault.to_string());
                        Ok(None)
                    }
                    Err(fault) => {
                        // If chunks make no progress, one PUT may succeed.
                        let before = std::mem::replace(&mut acknowledged_before, current.acknowledged.bytes);
                        session = current.resumable(&fault).filter(|current| current.acknowledged.bytes > before);
                        Err(fault)
                    }
                }
            })
            .await
    }

    async fn send_parts(&self, session: &mut Session, archive: &Unhashed, progress: &Progress) -> Result<(), Fault> {
        // A PUT needs the digest in its URL, so what has none yet goes by PATCH (OCI distribution specification, "Pushing a blob
        // in chunks"). A stream is sent as it arrives, so its chunks differ in size. A file is available as a whole: one PATCH
        // takes all of it, unless a proxy limits the size.
        let (least, most) = match (self.chunk.get(), archive.size()) {
            (Some(chunk), _) => (chunk, chunk),
            (None, Some(size)) => (size, size),
            (None, None) => (CHUNK, LARGEST_CHUNK),
        };
        let (least, most) = (least.max(session.least_chunk), most.max(session.least_chunk));
        loop {
            let at = session.acknowledged.bytes;
            let (available, ended) = archive.until(at + least, None).await?;
            let to = available.min(at + most);
            if to == at {
                return Ok(());
            }
            if at > 0 {
                // Renew an expired login with a harmless request: after a refused chunk the session may be lost.
                self.registry.presence(&manifest::digest(manifest::CONFIG), manifest::CONFIG.len() as u64).await?;
            }
            let taken =
                self.send_part(session, to, |session| archive.source().part(at, to, None, &session.sent), Some(progress)).await;
            if let Some(cause) = session.sent.fault() {
                return Err(changed(cause).into());
            }
            taken.inspect_err(|fault| self.reduce_chunk_size(fault, to - at))?;
            if ended && to == available {
                return Ok(());
            }
        }
    }

    /// Chooses a chunk size for the next try after a part of `size` bytes failed.
    fn reduce_chunk_size(&self, fault: &Fault, size: u64) {
        match fault {
            Fault::Refused(refusal) if refusal.status.as_u16() == 413 => self.chunk.set(self.smaller_chunk(size)),
            // The login was renewed just before this part, and did not last for it.
            Fault::Lost(_) => self.chunk.set(self.chunk.get().or(chunk_below(size))),
            _ => {}
        }
    }
}

/// Whether the registry, or a proxy in front of it, may refuse only chunks, or chunks of this size.
fn accepts_no_chunks(fault: &Fault) -> bool {
    let Fault::Refused(refusal) = fault else { return false };
    // 405 and 501 refuse the method, 411 and 413 the body, 416 the offset (RFC 9110, 15.5 and 15.6); 400 and 404 say too little
    // to exclude that (FAULTS P26).
    !fault.is_transient() && matches!(refusal.status.as_u16(), 400 | 404 | 405 | 411 | 413 | 416 | 501)
}
