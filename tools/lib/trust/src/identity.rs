//! The client certificate for servers that ask for one.
//!
//! rustls's own client authentication parses the certificate with webpki, which refuses X.509 version 1
//! (<https://github.com/rustls/rustls/issues/2364>). MicroK8s creates such certificates, and so does `openssl x509 -req`
//! without extensions. The server decides about the certificate; only that certificate and key belong together is checked
//! here.

use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use scar_tool::Failure;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::LastHandshake;

/// A client certificate with its key.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) certified: Arc<CertifiedKey>,
    /// The source of both, for a message.
    pub(crate) what: String,
}

impl Identity {
    /// Exit 2 if TLS cannot use the key, or it belongs to another certificate.
    pub(crate) fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        what: String,
        provider: &CryptoProvider,
    ) -> Result<Self, Failure> {
        let key = provider.key_provider.load_private_key(key).map_err(|_| {
            Failure::misuse(format!("use {what}: the key is of a kind that TLS does not use"))
                .hint("an RSA key of 2048 bits at least, or an ECDSA or Ed25519 key")
        })?;
        let leaf = chain.first().and_then(|leaf| X509Certificate::from_der(leaf).ok());
        let is_pair = key.public_key().zip(leaf).is_none_or(|(ours, (_, leaf))| ours.as_ref() == leaf.public_key().raw);
        if !is_pair {
            return Err(Failure::misuse(format!("use {what}: the key is not the certificate's"))
                .hint("use certificate and key of the same pair"));
        }
        Ok(Self { certified: Arc::new(CertifiedKey::new(chain, key)), what })
    }
}

/// Shows the identity, if there is one, and records that a server asked.
#[derive(Debug)]
pub(crate) struct ClientAuth {
    pub(crate) identity: Option<Identity>,
    pub(crate) last: LastHandshake,
}

impl ResolvesClientCert for ClientAuth {
    // The server's list of authorities is only a hint, and may be empty (RFC 8446, 4.2.4): it decides when it sees the
    // certificate.
    fn resolve(&self, _issuers: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.last.note_asked();
        self.identity.as_ref().map(|identity| Arc::clone(&identity.certified))
    }

    fn has_certs(&self) -> bool {
        self.identity.is_some()
    }
}
