//! What servers showed and asked for in their handshakes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::pki_types::CertificateDer;

use crate::Untrusted;

/// What was seen last. All clones share it.
#[derive(Debug, Clone, Default)]
pub struct Seen(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    until: Option<u64>,
    asked: bool,
}

impl Seen {
    /// Until when the server's certificate holds, in seconds since 1970; `None` before any was seen.
    pub fn until(&self) -> Option<u64> {
        self.state().until
    }

    /// Whether a server asked for a client certificate.
    pub fn asked(&self) -> bool {
        self.state().asked
    }

    pub(crate) fn note(&self, certificate: &CertificateDer<'_>) {
        if let Some((_, to)) = Untrusted::dates(certificate) {
            self.state().until = Some(to);
        }
    }

    pub(crate) fn note_asked(&self) {
        self.state().asked = true;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
