//! Verifies a server's certificate.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};
use scar_tool::Spelling;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::Trust;
use crate::pin::Pin;
use crate::seen::Seen;
use crate::untrusted::{Reason, Untrusted};

/// The usual path check, plus the rule for a server certificate that is itself configured, plus a full description of the
/// problem, because an alert alone does not help an administrator.
#[derive(Debug)]
pub(crate) struct Verifier {
    chain: Option<Arc<WebPkiServerVerifier>>,
    anchors: Vec<CertificateDer<'static>>,
    insecure: bool,
    name: Option<ServerName<'static>>,
    pin: Option<Pin>,
    seen: Seen,
    spelling: Spelling,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    pub(crate) fn new(trust: &Trust, provider: &Arc<CryptoProvider>) -> Self {
        let Trust { anchors, insecure, name, pin, seen, spelling, .. } = trust.clone();
        let mut roots = RootCertStore::empty();
        // A trust anchor is only a name and a key (RFC 5280, 6.1.1), so rustls ignores its dates; kubectl and curl do not.
        let now = UnixTime::now().as_secs();
        let in_date = |anchor: &&CertificateDer<'_>| Untrusted::dates(anchor).is_none_or(|(from, to)| (from..=to).contains(&now));
        roots.add_parsable_certificates(anchors.iter().filter(in_date).cloned());
        // rustls's builder refuses a store without roots: then only the configured certificates count.
        let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build().ok();
        Self { chain, anchors, insecure, name, pin, seen, spelling, provider: Arc::clone(provider) }
    }

    /// The expired or not yet valid configured authority that signed one of these, if there is one.
    fn outdated(&self, shown: &[&CertificateDer<'_>], now: UnixTime) -> Option<Reason> {
        let shown: Vec<_> = shown.iter().filter_map(|shown| X509Certificate::from_der(shown).ok()).collect();
        self.anchors.iter().filter_map(|anchor| X509Certificate::from_der(anchor).ok()).find_map(|(_, anchor)| {
            let validity = anchor.validity();
            let (from, to) = (validity.not_before, validity.not_after);
            let is_outdated = !(from.timestamp()..=to.timestamp()).contains(&i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
            let signed = shown.iter().any(|(_, shown)| shown.issuer().as_raw() == anchor.subject().as_raw());
            let reason =
                || Reason::IssuerDates { issuer: anchor.subject().to_string(), from: from.to_string(), to: to.to_string() };
            (is_outdated && signed).then(reason)
        })
    }

    /// A configured certificate needs no issuer; its name and dates are still checked.
    fn configured(&self, certificate: &CertificateDer<'_>, name: &ServerName<'_>, now: UnixTime) -> Result<(), Error> {
        if !self.anchors.iter().any(|anchor| anchor.as_ref() == certificate.as_ref()) {
            return Err(Error::InvalidCertificate(CertificateError::UnknownIssuer));
        }
        rustls::client::verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
        match Untrusted::dates(certificate) {
            Some((from, _)) if now.as_secs() < from => Err(Error::InvalidCertificate(CertificateError::NotValidYet)),
            Some((_, to)) if now.as_secs() > to => Err(Error::InvalidCertificate(CertificateError::Expired)),
            Some(_) => Ok(()),
            None => Err(Error::InvalidCertificate(CertificateError::BadEncoding)),
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.seen.note(certificate);
        let name = self.name.as_ref().unwrap_or(name);
        let untrusted = |reason: Reason| Err(refused(Untrusted::new(reason, certificate, name, self.spelling)));
        let leaf = X509Certificate::from_der(certificate).map(|(_, leaf)| leaf);
        let Ok(leaf) = leaf else { return untrusted(Reason::Unusable) };
        // Checked here, also with --insecure: later the handshake would fail with a message that names no cause.
        if let Some(reason) = Reason::of_key(&leaf) {
            return untrusted(reason);
        }
        if self.insecure {
            return match &self.pin {
                // Without a check, one certificate for the whole run at least shows that the same server answered each time.
                Some(pin) if !pin.holds(certificate) => untrusted(Reason::Replaced),
                _ => Ok(ServerCertVerified::assertion()),
            };
        }
        let error = match &self.chain {
            Some(chain) => match chain.verify_server_cert(certificate, intermediates, name, ocsp, now) {
                Ok(verified) => return Ok(verified),
                Err(error) => error,
            },
            None => Error::InvalidCertificate(CertificateError::UnknownIssuer),
        };
        let error = match self.configured(certificate, name, now) {
            Ok(()) => return Ok(ServerCertVerified::assertion()),
            // Not configured: the path check has the better reason.
            Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => error,
            Err(more_exact) => more_exact,
        };
        let Error::InvalidCertificate(error) = &error else { return untrusted(Reason::Unusable) };
        let reason = Reason::of(error, Some(&leaf));
        let shown: Vec<_> = std::iter::once(certificate).chain(intermediates).collect();
        untrusted(match reason {
            Reason::UnknownIssuer => self.outdated(&shown, now).unwrap_or(reason),
            reason => reason,
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn refused(untrusted: Untrusted) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(untrusted))))
}
