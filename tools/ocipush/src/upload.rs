//! Sending a blob whose digest is known (OCI distribution specification, "Pushing blobs"): in one PUT, or in chunks.
//!
//! The registry is always asked first whether it has the blob. After a failed try a fresh session with one PUT works with
//! every registry; chunks are used where a proxy limits the size of a request, or a login does not last for the whole blob.

use std::cell::Cell;

use scar_registry::{Fault, Presence, Refusal};
use scar_tool::{Exit, Failure, Progress};

use crate::body::{Content, UNTOUCHED};
use crate::session::{Pusher, Session};

/// The largest chunk, unless the user asks for a larger one.
pub(crate) const LARGEST_CHUNK: u64 = 256 << 20;
/// Chunk sizes to try after a proxy refused a larger body. The first fits below Cloudflare's 100 MB
/// (cloudflare/serverless-registry src/chunk.ts, `MAXIMUM_CHUNK_UPLOAD_SIZE`), the last is nginx's default for
/// `client_max_body_size` (ngx_http_core_module).
const FALLBACKS: [u64; 3] = [64 << 20, 8 << 20, 1 << 20];

/// What went wrong in the earlier tries of one blob.
#[derive(Default)]
struct PastFaults {
    renewed: Cell<u32>,
    sessions: Cell<u32>,
    invalid: Cell<bool>,
}

/// The message about an upload session that no longer exists.
fn session_lost(refusal: &Refusal) -> String {
    match refusal.words() {
        "" => format!("the registry lost the upload session (status {})", refusal.status.as_u16()),
        words => format!("the registry lost the upload session ({words})"),
    }
}

impl Pusher {
    /// Sends a blob; returns false if the registry already has it.
    ///
    /// `check` verifies that the source is still what was hashed. With `force` the blob is sent even if the registry claims
    /// to have it. `session` is an open session that already has some bytes.
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
        let past = PastFaults::default();
        let chunk = Cell::new(self.chunk.get().filter(|&chunk| chunk < content.size));
        self.registry
            .retry(|| async {
                let first = tries.replace(tries.get() + 1) == 0;
                let begun = self.still_open(session.take()).await;
                if begun.is_none() {
                    // The registry keeps the data of a failed session until it is cancelled or expires.
                    self.cancel_open_session().await;
                }
                // Ask before each try, also after a lost answer: the registry may have stored the blob although nobody heard it
                // say so. Then nothing is sent again.
                if !(force && first) {
                    match self.registry.presence(&content.digest, content.size).await? {
                        Presence::Here => {
                            self.cancel_open_session().await;
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
                    None if now.acknowledged.bytes == 0 => {
                        self.put(&now.url, content, (0, content.size), &now.sent, progress).await
                    }
                    size => self.put_in_chunks(&mut now, content, size.unwrap_or(LARGEST_CHUNK), progress).await,
                };
                if let Some(cause) = now.sent.fault() {
                    return Err(changed(cause).into());
                }
                match done {
                    Err(fault) => {
                        match now.resumable(&fault) {
                            Some(now) if now.acknowledged.bytes > reached.replace(now.acknowledged.bytes) => {
                                session.set(Some(now))
                            }
                            // If chunks make no progress, one PUT may.
                            Some(_) => chunk.set(None),
                            None => {}
                        }
                        Err(self.plan_next_try(fault, content, &chunk, &past))
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

    /// Decides from a fault what the next try does: open another session, use another chunk size, or give up.
    fn plan_next_try(&self, fault: Fault, content: &Content, chunk: &Cell<Option<u64>>, past: &PastFaults) -> Fault {
        let refusal = match &fault {
            Fault::Refused(refusal) => refusal,
            Fault::Lost(_) => {
                // The login expired although it was renewed: the whole blob takes too long for it, so send chunks.
                if past.renewed.replace(past.renewed.get() + 1) == 1 && chunk.get().is_none() {
                    chunk.set(Self::chunk_below(content.size));
                }
                return fault;
            }
            _ => return fault,
        };
        let has = |codes: [&str; 2]| codes.iter().any(|code| refusal.has(code));
        match refusal.status.as_u16() {
            413 => {
                let size = chunk.get().unwrap_or(content.size);
                let Some(smaller) = self.smaller_chunk(size) else { return fault };
                chunk.set(Some(smaller));
                Fault::Lost("the body was too large (413)".to_owned())
            }
            // 404: the session was opened by another registry behind the same address, or it has expired. 416: the registry and
            // we disagree about the offset. Only a new session helps (OCI distribution specification, "Pushing a blob in
            // chunks").
            404 | 416 => {
                // A proxy that does not support PATCH answers this, too.
                if past.sessions.replace(past.sessions.get() + 1) > 0 {
                    chunk.set(None);
                }
                Fault::Lost(session_lost(refusal))
            }
            // Distribution says so if the state in the URL was signed with another `http.secret`, or has another offset than the
            // data on its disk (registry/handlers/blobupload.go, `ResumeBlobUpload`).
            400 if has(["BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN"]) => Fault::Lost(session_lost(refusal)),
            400 if has(["DIGEST_INVALID", "SIZE_INVALID"]) => {
                let words = refusal.words();
                // The data was right when it was sent: the reader holds back the last piece until it has checked the digest.
                chunk.set(None);
                if past.invalid.replace(true) {
                    let digest = &content.digest;
                    let cause = format!("push '{digest}': the registry twice received something else than was sent: {words}");
                    return Failure::new(Exit::Mismatch, cause)
                        .hint("something between this host and the registry alters the data")
                        .into();
                }
                Fault::Lost(format!("the registry received something else ({words})"))
            }
            // A registry that does not support PATCH, or a proxy before it, may still accept a single PUT.
            400 | 405 | 501 if chunk.get().is_some() => {
                chunk.set(None);
                Fault::Lost(format!("the registry takes no chunks ({fault}); sending it whole"))
            }
            _ => fault,
        }
    }

    /// A chunk size below `size`, which was too large for a request; `None` if there is no smaller one.
    pub(crate) fn smaller_chunk(&self, size: u64) -> Option<u64> {
        let smaller = FALLBACKS.into_iter().find(|&smaller| smaller < size)?;
        let mib = smaller >> 20;
        self.registry
            .console
            .note(format!("the registry, or a proxy before it, takes no body of this size; sending it in chunks of {mib} MiB"));
        Some(smaller)
    }

    /// A chunk size for a login that expired while `size` bytes were sent.
    pub(crate) fn chunk_below(size: u64) -> Option<u64> {
        FALLBACKS.into_iter().find(|&smaller| smaller < size)
    }

    async fn put_in_chunks(
        &self,
        session: &mut Session,
        content: &Content,
        chunk: u64,
        progress: Option<&Progress>,
    ) -> Result<(), Fault> {
        // All chunks but the last have one size: Cloudflare's registry stores a part twice if its size differs from the one
        // before (cloudflare/serverless-registry src/registry/r2.ts, `Chunk`).
        let chunk = chunk.max(session.least_chunk);
        while session.acknowledged.bytes < content.size {
            let at = session.acknowledged.bytes;
            let to = content.size.min(at + chunk);
            if at > 0 {
                // Renew an expired login with a harmless request: a refused chunk may cost the session.
                self.registry.presence(&content.digest, content.size).await?;
            }
            self.part(session, to, |session| content.part(at, to, &session.sent), progress).await?;
        }
        self.put(&session.url, content, (content.size, content.size), &session.sent, progress).await
    }
}

/// The failure for a source that can no longer be sent.
pub(crate) fn changed(cause: &str) -> Failure {
    Failure::new(Exit::Failed, format!("push the archive: {cause}")).hint(UNTOUCHED)
}
