//! What a server showed and asked for in the last handshake.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustls::pki_types::CertificateDer;

use crate::untrusted::validity;

/// The last handshake, shared by all clones.
#[derive(Debug, Clone, Default)]
pub struct LastHandshake(Arc<State>);

#[derive(Debug, Default)]
struct State {
    /// In seconds since 1970; 0 before the first handshake.
    expires: AtomicU64,
    asked: AtomicBool,
}

impl LastHandshake {
    /// When the server's certificate expires, in seconds since 1970; `None` before the first handshake.
    pub fn expires(&self) -> Option<u64> {
        Some(self.0.expires.load(Ordering::Relaxed)).filter(|expires| *expires > 0)
    }

    /// Whether the server asked for a client certificate.
    pub fn asked(&self) -> bool {
        self.0.asked.load(Ordering::Relaxed)
    }

    pub(crate) fn note_shown(&self, certificate: &CertificateDer<'_>) {
        if let Some((_, to)) = validity(certificate) {
            self.0.expires.store(to, Ordering::Relaxed);
        }
    }

    pub(crate) fn note_asked(&self) {
        self.0.asked.store(true, Ordering::Relaxed);
    }
}
