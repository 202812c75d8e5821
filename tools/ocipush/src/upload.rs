//! Sending a blob whose digest is known (OCI distribution specification, "Pushing blobs").
//!
//! Before each try the registry is asked whether it has the blob. Then one PUT in a fresh session sends it, which works with
//! every registry. The blob goes in chunks if the user asks for that, if a proxy limits the size of a request, or if a login
//! does not last for the whole blob.
//!
//! If the answer to a chunk is lost, the registry may or may not have the chunk. Sending it again blindly would store it twice in
//! Distribution up to 2.8, which ignores `Content-Range` (registry/handlers/blobupload.go, `PatchBlobData`), and ECR refuses it
//! with 416 (apple/containerization#790). So the session is asked how much it has ([`Pusher::resync`]). If it has the chunk, the
//! next one follows; if it has nothing of the chunk, the chunk is sent again; after any other answer the session is cancelled,
//! and the blob starts over in a new one.
//!
//! Invariant: no part is sent twice in one session unless the registry says that it has nothing of it.

use std::sync::Arc;

use scar_http::Attempt;
use scar_registry::{Fault, Presence, Refusal};
use scar_tool::{Exit, Failure, Progress};

use crate::body::{CHANGED_HINT, Content, Pieces, Sent};
use crate::session::{Pusher, Session};

/// The largest chunk, unless the user asks for a larger one.
pub(crate) const LARGEST_CHUNK: u64 = 256 << 20;
/// Chunk sizes to try after a proxy refused a larger body. The first fits below Cloudflare's 100 MB
/// (cloudflare/serverless-registry src/chunk.ts, `MAXIMUM_CHUNK_UPLOAD_SIZE`), the last is nginx's default for
/// `client_max_body_size` (ngx_http_core_module).
const FALLBACKS: [u64; 3] = [64 << 20, 8 << 20, 1 << 20];

/// How the next try sends the blob, and what went wrong in earlier tries.
#[derive(Default)]
struct Tries {
    /// The chunk size; `None` for one PUT.
    chunk: Option<u64>,
    /// How often the login expired during a try.
    renewed: u32,
    /// Whether the registry has lost a session.
    session_lost: bool,
    /// Whether the registry has received something else than was sent.
    digest_invalid: bool,
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
        mut session: Option<Session>,
        progress: Option<&Progress>,
    ) -> Result<bool, Fault> {
        // `acknowledged`: how many bytes a session had when the last try failed.
        let (mut first, mut acknowledged) = (true, 0);
        let mut tries = Tries { chunk: self.chunk.get().filter(|&chunk| chunk < content.size), ..Tries::default() };
        self.registry
            .retry(async || {
                let is_first = std::mem::replace(&mut first, false);
                let resumed = self.resume(session.take()).await;
                if resumed.is_none() {
                    // Distribution keeps the data of a failed session for a week, unless it is cancelled
                    // (registry/handlers/app.go, `uploadPurgeDefaultConfig`).
                    self.cancel_open_session().await;
                }
                // Ask before each try, also after a lost answer: the registry may have stored the blob although its answer never
                // arrived. Then nothing is sent again.
                if !(force && is_first) {
                    match self.registry.presence(&content.digest, content.size).await? {
                        Presence::Here => {
                            self.cancel_open_session().await;
                            return Ok(!is_first);
                        }
                        Presence::Wrong(length) => {
                            // Sending it again would not help: Distribution keeps a blob's file that exists, damaged or not
                            // (registry/storage/blobwriter.go, `moveBlob`).
                            return Err(self.registry.wrong_size(&content.digest, content.size, length).into());
                        }
                        Presence::Absent | Presence::Unknown => {}
                    }
                }
                check()?;
                let mut current = match resumed {
                    Some(session) => session,
                    None => self.begin().await?,
                };
                let sent = match tries.chunk {
                    None if current.acknowledged.bytes == 0 => {
                        self.put(&current.url, content, (0, content.size), &current.sent, progress).await
                    }
                    size => self.put_in_chunks(&mut current, content, size.unwrap_or(LARGEST_CHUNK), progress).await,
                };
                if let Some(cause) = current.sent.fault() {
                    return Err(changed(cause).into());
                }
                let Err(fault) = sent else {
                    self.open.take();
                    return Ok(true);
                };
                match current.resumable(&fault) {
                    Some(next) if next.acknowledged.bytes > std::mem::replace(&mut acknowledged, next.acknowledged.bytes) => {
                        session = Some(next);
                    }
                    // If chunks make no progress, one PUT may succeed.
                    Some(_) => tries.chunk = None,
                    None => {}
                }
                Err(self.plan_next_try(fault, content, &mut tries))
            })
            .await
    }

    /// Decides from a fault what the next try does: open another session, use another chunk size, or give up. Returns the
    /// fault to report; `retry` tries again if it is transient.
    fn plan_next_try(&self, fault: Fault, content: &Content, tries: &mut Tries) -> Fault {
        let refusal = match &fault {
            Fault::Refused(refusal) => refusal,
            Fault::Lost(_) => {
                // The login expired although it was renewed: the whole blob takes too long for it, so send chunks. Harbor's
                // tokens live for 30 minutes (src/lib/config/metadata/metadatalist.go, `TokenExpiration`).
                tries.renewed += 1;
                if tries.renewed == 2 && tries.chunk.is_none() {
                    tries.chunk = chunk_below(content.size);
                }
                return fault;
            }
            _ => return fault,
        };
        let has = |codes: [&str; 2]| codes.iter().any(|code| refusal.has(code));
        match refusal.status.as_u16() {
            413 => {
                // nginx refuses a body above `client_max_body_size` so, with an HTML page, before the registry sees it (FAULTS
                // P19).
                let Some(smaller) = self.smaller_chunk(tries.chunk.unwrap_or(content.size)) else { return fault };
                tries.chunk = Some(smaller);
                Fault::Lost("the body was too large (413)".to_owned())
            }
            // 404: the session has expired, or its state was signed with another `http.secret` by another replica behind the same
            // address (distribution registry/handlers/hmac.go; FAULTS P39). 416: the registry and we disagree about the offset.
            // Only a new session helps (OCI distribution specification, "Pushing a blob in chunks").
            404 | 416 => {
                // A proxy that does not support PATCH answers this, too.
                if std::mem::replace(&mut tries.session_lost, true) {
                    tries.chunk = None;
                }
                Fault::Lost(session_lost(refusal))
            }
            // Quay answers `BLOB_UPLOAD_INVALID` with 400 (endpoints/v2/errors.py), Distribution with 404.
            400 if has(["BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN"]) => Fault::Lost(session_lost(refusal)),
            400 if has(["DIGEST_INVALID", "SIZE_INVALID"]) => {
                let words = refusal.words();
                // The data was right when it was sent: the reader holds back the last piece until it has checked the digest. The
                // registry has deleted the session by now (distribution registry/handlers/blobupload.go,
                // `PutBlobUploadComplete`).
                tries.chunk = None;
                if std::mem::replace(&mut tries.digest_invalid, true) {
                    let digest = &content.digest;
                    let cause = format!("push '{digest}': the registry twice received other data than was sent: {words}");
                    return Failure::new(Exit::Mismatch, cause)
                        .hint("something between this host and the registry alters the data")
                        .into();
                }
                Fault::Lost(format!("the registry received other data than was sent ({words})"))
            }
            // A registry, or a proxy in front of it, that does not support PATCH may still accept a single PUT.
            400 | 405 | 501 if tries.chunk.is_some() => {
                tries.chunk = None;
                Fault::Lost(format!("the registry accepts no chunks ({fault}); sending the blob in one request"))
            }
            _ => fault,
        }
    }

    /// A chunk size below `size`, which was too large for a request; `None` if `size` is the smallest already.
    pub(crate) fn smaller_chunk(&self, size: u64) -> Option<u64> {
        let smaller = chunk_below(size)?;
        let mib = smaller >> 20;
        self.registry
            .console
            .note(format!("the registry, or a proxy in front of it, refuses a body of this size; sending chunks of {mib} MiB"));
        Some(smaller)
    }

    async fn put_in_chunks(
        &self,
        session: &mut Session,
        content: &Content,
        chunk: u64,
        progress: Option<&Progress>,
    ) -> Result<(), Fault> {
        // All chunks but the last have one size, as R2 requires: Cloudflare's registry keeps a second copy of a smaller one, and
        // splits or refuses a larger one (cloudflare/serverless-registry src/registry/r2.ts, `uploadChunk`).
        let chunk = chunk.max(session.least_chunk);
        while session.acknowledged.bytes < content.size {
            let at = session.acknowledged.bytes;
            let to = content.size.min(at + chunk);
            if at > 0 {
                // Renew an expired login with a harmless request: after a refused chunk the session may be lost.
                self.registry.presence(&content.digest, content.size).await?;
            }
            self.send_part(session, to, |session| content.part(at, to, &session.sent), progress).await?;
        }
        self.put(&session.url, content, (content.size, content.size), &session.sent, progress).await
    }

    /// Sends the next part of a session, up to `to`. If the login expired meanwhile, and the registry says that it has nothing of
    /// the part, sends it again with the new login.
    ///
    /// # Errors
    /// No answer, or a refusal.
    pub(crate) async fn send_part(
        &self,
        session: &mut Session,
        to: u64,
        pieces: impl Fn(&Session) -> Pieces,
        progress: Option<&Progress>,
    ) -> Result<(), Fault> {
        let part = pieces(session);
        match self.patch(session, to, part, progress).await {
            Err(fault @ Fault::Lost(_)) if session.unconfirmed && session.acknowledged.bytes > 0 => {
                if !self.resync(session).await {
                    return Err(fault);
                }
                if session.acknowledged.bytes >= to {
                    return Ok(());
                }
                let part = pieces(session);
                self.patch(session, to, part, progress).await
            }
            done => done,
        }
    }

    /// The session of an earlier try, if it can be continued.
    pub(crate) async fn resume(&self, session: Option<Session>) -> Option<Session> {
        let mut session = session?;
        self.resync(&mut session).await.then_some(session)
    }

    /// If the last part is unconfirmed, asks the registry how many bytes the session has, and continues there. Returns false
    /// if the session ends in the middle of the part, or if the registry does not answer. If the answer is wrong, the digest at
    /// the end of the upload does not match.
    async fn resync(&self, session: &mut Session) -> bool {
        if !session.unconfirmed {
            return true;
        }
        let Some((answer, bytes)) = self.received(&session.url).await else { return false };
        // The hash state is known only at these two offsets. A session with half a chunk cannot be continued.
        let known = [session.sent.hashed(), session.acknowledged.clone()];
        let Some(acknowledged) = known.into_iter().find(|hashed| hashed.bytes == bytes) else { return false };
        session.sent = Arc::new(Sent::after(acknowledged.clone()));
        session.acknowledged = acknowledged;
        self.registry.console.verbose(|| format!("the registry has {bytes} bytes of the upload; continuing there"));
        self.follow_location(session, &answer).is_ok()
    }
}

impl Session {
    /// The session, if the next try can resume it after this fault.
    pub(crate) fn resumable(self, fault: &Fault) -> Option<Self> {
        // Without a complete part there is nothing to save: a new session costs no more.
        (self.unconfirmed && self.acknowledged.bytes > 0 && fault.is_transient()).then_some(self)
    }
}

/// The largest fallback below `size`.
pub(crate) fn chunk_below(size: u64) -> Option<u64> {
    FALLBACKS.into_iter().find(|&smaller| smaller < size)
}

/// The message about an upload session that no longer exists.
fn session_lost(refusal: &Refusal) -> String {
    match refusal.words() {
        "" => format!("the registry lost the upload session (status {})", refusal.status.as_u16()),
        words => format!("the registry lost the upload session ({words})"),
    }
}

/// The failure for a source that can no longer be sent.
pub(crate) fn changed(cause: &str) -> Failure {
    Failure::new(Exit::Failed, format!("push the archive: {cause}")).hint(CHANGED_HINT)
}
