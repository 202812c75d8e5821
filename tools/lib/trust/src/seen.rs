//! Until when the certificates hold that servers showed.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::pki_types::CertificateDer;

use crate::Untrusted;

/// The end of the certificate that was seen last. All clones share it.
#[derive(Debug, Clone, Default)]
pub struct Seen(Arc<Mutex<Option<u64>>>);

impl Seen {
    /// Until when it holds, in seconds since 1970; `None` before any was seen.
    pub fn until(&self) -> Option<u64> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn note(&self, certificate: &CertificateDer<'_>) {
        if let Some((_, to)) = Untrusted::dates(certificate) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(to);
        }
    }
}
