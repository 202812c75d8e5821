//! What servers showed and requested in their handshakes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::pki_types::CertificateDer;

use crate::Untrusted;

/// The last handshake, shared by all clones.
#[derive(Debug, Clone, Default)]
pub struct Seen(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    until: Option<u64>,
    asked: bool,
}

impl Seen {
    /// When the server's certificate expires, in seconds since 1970; `None` before the first handshake.
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
