//! Verifies a server's certificate.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};
use x509_parser::prelude::{FromDer, X509Certificate, X509Version};

use crate::pin::Pin;
use crate::untrusted::{Reason, Untrusted, validity};
use crate::{LastHandshake, Trust};

/// The usual path check, plus the rule for a server certificate that is itself configured, plus a full description of the
/// problem, because an alert alone does not help an administrator.
#[derive(Debug)]
pub(crate) struct Verifier {
    chain: Option<Arc<WebPkiServerVerifier>>,
    anchors: Vec<CertificateDer<'static>>,
    insecure: bool,
    name: Option<ServerName<'static>>,
    pin: Option<Pin>,
    last: LastHandshake,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    pub(crate) fn new(trust: &Trust, provider: &Arc<CryptoProvider>) -> Self {
        let Trust { anchors, insecure, name, pin, last, .. } = trust.clone();
        let mut roots = RootCertStore::empty();
        // A trust anchor is only a name and a key (RFC 5280, 6.1.1), so rustls ignores its dates and what its key is for
        // (rustls-webpki src/trust_anchor.rs, `anchor_from_trusted_cert`); kubectl and curl do not (FAULTS Q26). The key of a
        // server whose own certificate is configured must not sign certificates of others (FAULTS Q28).
        let now = UnixTime::now();
        let counts = |anchor: &&CertificateDer<'_>| is_authority(anchor) && !is_outdated(anchor, now);
        // A system's bundle may hold certificates that webpki cannot read (rustls src/webpki/anchors.rs); the others count.
        roots.add_parsable_certificates(anchors.iter().filter(counts).cloned());
        // rustls's builder refuses a store without roots (src/webpki/server_verifier.rs, NoRootAnchors): then only the
        // configured certificates count.
        let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build().ok();
        Self { chain, anchors, insecure, name, pin, last, provider: Arc::clone(provider) }
    }

    /// Why the configured certificate that signed one of these does not count, if there is one.
    fn unused(&self, shown: &[&CertificateDer<'_>], now: UnixTime) -> Option<Reason> {
        let shown: Vec<_> = shown.iter().filter_map(|shown| X509Certificate::from_der(shown).ok()).collect();
        let unused = self.anchors.iter().filter(|anchor| is_outdated(anchor, now) || !is_authority(anchor));
        let mut parsed = unused.filter_map(|anchor| Some((anchor, X509Certificate::from_der(anchor).ok()?.1)));
        let (anchor, issuer) =
            parsed.find(|(_, anchor)| shown.iter().any(|(_, shown)| shown.issuer().as_raw() == anchor.subject().as_raw()))?;
        if !is_authority(anchor) {
            return Some(Reason::NoAuthority { issuer: issuer.subject().to_string() });
        }
        let (from, to) = (issuer.validity().not_before.to_string(), issuer.validity().not_after.to_string());
        Some(Reason::IssuerDates { issuer: issuer.subject().to_string(), from, to })
    }

    /// A configured certificate needs no issuer; its name and dates are still checked.
    fn configured(&self, certificate: &CertificateDer<'_>, name: &ServerName<'_>, now: UnixTime) -> Result<(), Error> {
        // A self-signed registry is often trusted by its own certificate, which webpki has no support for (rustls-webpki
        // src/trust_anchor.rs) and refuses if it is marked as a CA (src/verify_cert.rs, CaUsedAsEndEntity; FAULTS P3 and S9).
        if !self.anchors.iter().any(|anchor| anchor.as_ref() == certificate.as_ref()) {
            return Err(Error::InvalidCertificate(CertificateError::UnknownIssuer));
        }
        rustls::client::verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
        match validity(certificate) {
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
        self.last.note_shown(certificate);
        let name = self.name.as_ref().unwrap_or(name);
        let untrusted = |reason: Reason| Err(refused(Untrusted::new(reason, certificate, name)));
        let leaf = X509Certificate::from_der(certificate).map(|(_, leaf)| leaf);
        let Ok(leaf) = leaf else { return untrusted(Reason::Unusable) };
        // Checked here, also with --insecure: otherwise the handshake fails later, at the signature, with a message that names
        // no cause (rustls-webpki src/aws_lc_rs_algs.rs, RSA_PKCS1_2048_8192_SHA256).
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
        // webpki asks an intermediate certificate for CA:TRUE, but not what its key is for.
        let authorities: Vec<_> = intermediates.iter().filter(|shown| is_authority(shown)).cloned().collect();
        let error = match &self.chain {
            Some(chain) => match chain.verify_server_cert(certificate, &authorities, name, ocsp, now) {
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
            Reason::UnknownIssuer => self.unused(&shown, now).unwrap_or(reason),
            reason => reason,
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // Also with --insecure: whoever answers must have the key of the certificate that the pin compares.
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

/// Whether a certificate is expired, or not yet valid.
fn is_outdated(certificate: &CertificateDer<'_>, now: UnixTime) -> bool {
    validity(certificate).is_some_and(|(from, to)| !(from..=to).contains(&now.as_secs()))
}

/// Whether a certificate's key may sign certificates. The rule is OpenSSL's (crypto/x509/v3_purp.c, check_ca): one without
/// basic constraints counts if it is of version 1, or says so in its key usage. webpki decides about what cannot be read here.
fn is_authority(certificate: &CertificateDer<'_>) -> bool {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return true };
    let usage = parsed.key_usage().ok().flatten().map(|usage| usage.value.key_cert_sign());
    let basic = parsed.basic_constraints().ok().flatten().map(|basic| basic.value.ca);
    usage != Some(false) && basic.unwrap_or(usage.is_some() || parsed.version() != X509Version::V3)
}

fn refused(untrusted: Untrusted) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(untrusted))))
}
