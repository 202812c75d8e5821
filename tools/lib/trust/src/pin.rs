//! Accepts any certificate once: later servers of the same run must show the same one.

use std::sync::{Arc, OnceLock};

use rustls::pki_types::CertificateDer;

use crate::untrusted::fingerprint;

/// The first certificate, shared by all clones.
#[derive(Debug, Clone, Default)]
pub struct Pin(Arc<OnceLock<String>>);

impl Pin {
    /// SHA-256 of the first certificate, in hex pairs with colons; `None` before the first handshake.
    pub fn fingerprint(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }

    /// Stores the first certificate; compares each later one with it.
    pub(crate) fn holds(&self, certificate: &CertificateDer<'_>) -> bool {
        let seen = fingerprint(certificate);
        *self.0.get_or_init(|| seen.clone()) == seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_certificate_is_pinned() {
        let pin = Pin::default();
        assert_eq!(pin.fingerprint(), None);
        let (one, other) = (CertificateDer::from(vec![1]), CertificateDer::from(vec![2]));
        let clone = pin.clone();
        assert!(pin.holds(&one) && clone.holds(&one) && !clone.holds(&other) && pin.holds(&one));
        assert!(pin.fingerprint().is_some_and(|text| text.len() == 95));
    }
}
