//! The request body: a thread reads the archive and passes it on in pieces, so that it is never in memory as a whole.
//!
//! Invariant: the last piece is sent only after the digest of everything sent equals the promised one. So an upload of a
//! source that changed never completes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use scar_record::Digest;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

/// The size of a piece in bytes: large enough to keep the reader ahead, small enough to see progress on a slow link.
const PIECE: usize = 256 * 1024;
/// How many pieces the thread reads ahead.
const AHEAD: usize = 4;

/// The hint for an archive that changed while it was sent.
pub(crate) const CHANGED_HINT: &str =
    "make sure that nothing writes to the archive, and run this step again; if mkmanifests made it, make it again first";

/// What one upload session has sent so far.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    /// Bytes handed to the HTTP client.
    bytes: AtomicU64,
    fault: OnceLock<String>,
    hashed: Mutex<HashState>,
}

/// The size and hash of the parts that were read completely. A session can be resumed only at such a point, because SHA-256
/// cannot be computed from the middle.
#[derive(Debug, Clone, Default)]
pub(crate) struct HashState {
    pub(crate) bytes: u64,
    hash: Sha256,
}

impl HashState {
    pub(crate) fn digest(&self) -> Digest {
        Digest::from_sha256(&self.hash.clone().finalize().into())
    }
}

impl Sent {
    /// The state of a session that is resumed after these bytes.
    pub(crate) fn after(hashed: HashState) -> Self {
        Self { bytes: AtomicU64::new(hashed.bytes), fault: OnceLock::new(), hashed: Mutex::new(hashed) }
    }

    /// Bytes handed to the HTTP client.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Size and hash up to the last complete part.
    pub(crate) fn hashed(&self) -> HashState {
        self.hashed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why the source could not be read.
    pub(crate) fn fault(&self) -> Option<&str> {
        self.fault.get().map(String::as_str)
    }
}

#[derive(Debug, Clone)]
pub(crate) enum ByteSource {
    File(Arc<File>),
    /// A constant, such as the configuration.
    Memory(&'static [u8]),
}

impl ByteSource {
    /// Fills `piece` with the bytes at offset `at`.
    ///
    /// # Errors
    /// Too few bytes, or a failed read.
    pub(crate) fn read_exact_at(&self, piece: &mut [u8], at: u64) -> io::Result<()> {
        match self {
            Self::File(file) => file.read_exact_at(piece, at),
            Self::Memory(bytes) => {
                let from = usize::try_from(at).unwrap_or(usize::MAX);
                let found = bytes.get(from..from.saturating_add(piece.len())).ok_or(io::ErrorKind::UnexpectedEof)?;
                piece.copy_from_slice(found);
                Ok(())
            }
        }
    }

    /// The part from `from` to `to`, read as fast as the connection accepts it.
    ///
    /// The parts of a session follow each other without a gap, and are hashed together. If `promised` gives the digest of
    /// the blob up to a size, the last piece is only passed on if that digest matches.
    pub(crate) fn part(&self, from: u64, to: u64, promised: Option<(u64, Digest)>, sent: &Arc<Sent>) -> Pieces {
        let (sender, pieces) = mpsc::channel(AHEAD);
        let (source, session) = (self.clone(), Arc::clone(sent));
        // Reading a file blocks, and the runtime has only one thread.
        std::thread::spawn(move || source.read(from, to, promised, &session, &sender));
        Pieces { pieces, left: to - from, sent: Arc::clone(sent) }
    }

    fn read(&self, mut at: u64, to: u64, promised: Option<(u64, Digest)>, sent: &Sent, pieces: &mpsc::Sender<io::Result<Bytes>>) {
        let mut hashed = sent.hashed();
        while at < to {
            let mut piece = vec![0; usize::try_from(to - at).unwrap_or(PIECE).min(PIECE)];
            let whole = self.read_exact_at(&mut piece, at).map(|()| {
                hashed.hash.update(&piece);
                at += piece.len() as u64;
                hashed.bytes = at;
                if at == to {
                    *sent.hashed.lock().unwrap_or_else(PoisonError::into_inner) = hashed.clone();
                }
            });
            // The check comes before the piece is passed on. Content-Length promises that piece, so a body without it is
            // incomplete (RFC 9112, 8), and a registry cannot store the blob (distribution registry/handlers/helpers.go,
            // `copyFullPayload`).
            let broken = || promised.as_ref().is_some_and(|(size, digest)| *size == at && hashed.digest() != *digest);
            let fault = match whole {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    let then = if promised.is_some() { "its digest was taken" } else { "it was opened" };
                    format!("it has become shorter since {then}")
                }
                Err(error) => error.to_string(),
                Ok(()) if broken() => "it has changed since its digest was taken".to_owned(),
                // The receiver is gone: nobody wants the rest.
                Ok(()) => match pieces.blocking_send(Ok(piece.into())) {
                    Ok(()) => continue,
                    Err(_) => return,
                },
            };
            // Kept here, too, so that it is not taken for an error of the connection, which would be tried again.
            let _ = sent.fault.set(fault.clone());
            let _ = pieces.blocking_send(Err(io::Error::other(fault)));
            return;
        }
    }
}

/// A blob to send, with its digest.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    pub(crate) source: ByteSource,
    pub(crate) size: u64,
    pub(crate) digest: Digest,
}

/// A request body: one part of a blob.
#[derive(Debug)]
pub(crate) struct Pieces {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    left: u64,
    sent: Arc<Sent>,
}

impl Content {
    /// The part from `from` to `to`; see [`ByteSource::part`].
    pub(crate) fn part(&self, from: u64, to: u64, sent: &Arc<Sent>) -> Pieces {
        self.source.part(from, to, Some((self.size, self.digest.clone())), sent)
    }
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.pieces.poll_recv(context).map(|piece| {
            piece.map(|piece| {
                piece.map(|piece| {
                    let bytes = piece.len() as u64;
                    self.left -= bytes;
                    self.sent.bytes.fetch_add(bytes, Ordering::Relaxed);
                    Frame::data(piece)
                })
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        // The HTTP client makes `Content-Length` of an exact size. Of any other it would make a chunked body, but the
        // specification requires a length (OCI distribution specification, "Pushing a blob in chunks").
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn content(bytes: &[u8], digest: &Digest) -> Content {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Content { source: ByteSource::File(Arc::new(file)), size: bytes.len() as u64, digest: digest.clone() }
    }

    fn drain(mut pieces: Pieces) -> io::Result<u64> {
        let mut bytes = 0;
        while let Some(piece) = pieces.pieces.blocking_recv() {
            bytes += piece?.len() as u64;
        }
        Ok(bytes)
    }

    #[test]
    fn two_parts_of_one_session_are_hashed_as_one() {
        let bytes = vec![7; 3 * PIECE + 5];
        let content = content(&bytes, &scar_registry::digest(&bytes));
        let sent = Arc::default();
        assert_eq!(drain(content.part(0, PIECE as u64 + 1, &sent)).unwrap(), PIECE as u64 + 1);
        assert_eq!(drain(content.part(PIECE as u64 + 1, content.size, &sent)).unwrap(), content.size - PIECE as u64 - 1);
        assert_eq!(sent.fault(), None);
    }

    #[test]
    fn the_last_piece_of_a_changed_source_is_withheld() {
        let bytes = vec![7; 2 * PIECE];
        let content = content(&bytes, &scar_registry::digest(b"other"));
        let sent = Arc::default();
        let mut pieces = content.part(0, content.size, &sent);
        assert!(pieces.pieces.blocking_recv().unwrap().is_ok());
        assert!(pieces.pieces.blocking_recv().unwrap().is_err());
        assert!(sent.fault().unwrap().contains("has changed"));
    }

    #[test]
    fn a_source_that_became_shorter_is_a_fault() {
        let mut content = content(b"abc", &scar_registry::digest(b"abcd"));
        content.size = 4;
        let sent = Arc::default();
        assert!(drain(content.part(0, 4, &sent)).is_err());
        assert!(sent.fault().unwrap().contains("shorter"));
    }
}
