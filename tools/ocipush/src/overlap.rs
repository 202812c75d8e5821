//! A stream on its way into the registry while it still comes: in chunks, each sent once it is there.
//!
//! Invariants: no chunk is sent twice; the session is ended by a digest that is known only when the stream has ended, and
//! only if what was sent has it; whatever goes wrong before that, the whole is at hand to be sent anew.

use std::sync::Arc;
use std::time::Instant;

use scar_http::header::{CONTENT_RANGE, CONTENT_TYPE};
use scar_http::{Attempt, Body, Error, Method, Url};
use scar_registry::Fault;
use scar_tool::{Exit, Failure, Progress};

use crate::body::Sent;
use crate::manifest;
use crate::source::Source;
use crate::stream::Stream;
use crate::target::Target;
use crate::upload::{OCTETS, Session};

/// Bytes of a chunk: below the usual limits of proxies, above what registries ask for at least.
pub(crate) const CHUNK: u64 = 16 << 20;

/// An upload session that has got all bytes and waits for their digest.
#[derive(Debug)]
pub(crate) struct Received {
    /// Where it is ended.
    pub(crate) url: Url,
    /// What was sent to it.
    pub(crate) sent: Arc<Sent>,
}

impl Target {
    /// Sends a stream while it comes. The session is given back with it; without one where the registry did not go along,
    /// and the whole must be sent anew.
    ///
    /// # Errors
    /// What would be the same with the whole; a stream that cannot be read.
    pub(crate) async fn send_meanwhile(&self, stream: &Stream) -> Result<(Source, Option<Received>), Fault> {
        let console = &self.registry.console;
        let (received, earliest) = match self.follow(stream).await {
            Ok(received) => (Some(received), Instant::now()),
            Err(fault) if is_final(&fault) => return Err(fault),
            Err(fault) => {
                let asked = fault.asked().unwrap_or_default();
                if asked > self.registry.terms.retry.longest_wait {
                    return Err(fault);
                }
                console.verbose(|| format!("{fault}; sending the archive anew once all of it is there"));
                self.abandon().await;
                (None, Instant::now() + asked)
            }
        };
        let source = stream.whole(console).await?;
        tokio::time::sleep_until(earliest.into()).await;
        match received.as_ref().is_some_and(|received| received.sent.digest() != source.content.digest) {
            true => Err(Failure::new(Exit::Failed, format!("push {}: what was kept of it has changed", source.name)).into()),
            false => Ok((source, received)),
        }
    }

    async fn follow(&self, stream: &Stream) -> Result<Received, Fault> {
        let progress = self.registry.console.progress_bytes("pushing", None);
        let session = match self.begin().await {
            Ok(session) => session,
            // No session, whatever the status: another one would not be opened, either.
            Err(Fault::Http(error)) if !error.is_transient() => return Err(Fault::Fatal(self.failure(Fault::Http(error)))),
            Err(fault) => return Err(fault),
        };
        self.send_chunks(session, stream, &progress).await
    }

    async fn send_chunks(&self, session: Session, stream: &Stream, progress: &Progress) -> Result<Received, Fault> {
        let chunk = self.chunk.unwrap_or(CHUNK).max(session.least_chunk);
        let (mut url, sent, mut at) = (session.url, Arc::default(), 0);
        loop {
            let (there, ended) = stream.until(at + chunk, None).await?;
            let to = there.min(at + chunk);
            if to == at {
                return Ok(Received { url, sent });
            }
            if at > 0 {
                // A login that ended while the stream came is renewed by a question; a refused chunk would cost the session.
                self.presence(&manifest::digest(manifest::CONFIG), manifest::CONFIG.len() as u64).await?;
            }
            let request = self
                .registry
                .request(Method::PATCH, &url)?
                .header(CONTENT_TYPE, OCTETS)
                .header(CONTENT_RANGE, &format!("{at}-{}", to - 1))
                .body(Body::wrap(stream.bits().part(at, to, None, &sent)));
            let answer = self.watched(request.send(), to, &sent, Some(progress)).await?;
            if let Some(cause) = sent.fault() {
                return Err(Failure::new(Exit::Failed, format!("push {}: {cause}", crate::stream::NAME)).into());
            }
            url = self.go_on(&answer)?.unwrap_or(url);
            at = to;
            if ended && at == there {
                return Ok(Received { url, sent });
            }
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
