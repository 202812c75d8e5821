//! Describes an untrusted certificate, so that an administrator can decide about it.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::net::IpAddr;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, Error};
use scar_tool::Spelling;
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate, X509Version};
use x509_parser::public_key::PublicKey;

/// Why a certificate is not trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// No configured certificate signed it.
    UnknownIssuer,
    /// The configured authority that signed it is expired or not yet valid.
    IssuerDates {
        /// The authority's subject.
        issuer: String,
        /// From when it is valid.
        from: String,
        /// Until when.
        to: String,
    },
    /// The configured certificate that signed it is not one of an authority.
    NoAuthority {
        /// That certificate's subject.
        issuer: String,
    },
    /// It has expired.
    Expired,
    /// It is not valid yet.
    NotYetValid,
    /// It is for other names.
    WrongName,
    /// It is a CA certificate, used by a server, and not itself configured.
    CaAsServer,
    /// It differs from the server's earlier certificate in this run.
    Replaced,
    /// It is of X.509 version 1 or 2, which has no subject alternative names (RFC 5280, 4.1.2.1).
    OldVersion,
    /// Its RSA key is too short (NIST SP 800-131A: 2048 bits at least).
    WeakKey(usize),
    /// It is signed with SHA-1 or another broken algorithm.
    WeakSignature,
    /// It is not meant for servers (extended key usage).
    WrongPurpose,
    /// Its authority revoked it.
    Revoked,
    /// The server showed none.
    Missing,
    /// Its private key did not sign this handshake.
    WrongKey,
    /// It violates X.509 in another way.
    Unusable,
}

impl Reason {
    /// Converts the TLS library's error; `leaf` explains its catch-all.
    pub(crate) fn of(error: &CertificateError, leaf: Option<&X509Certificate<'_>>) -> Self {
        match error {
            CertificateError::UnknownIssuer => Self::UnknownIssuer,
            // Without a leaf it is the handshake's signature, made with the server's key; with one it is the issuer's, in the
            // certificate.
            CertificateError::BadSignature if leaf.is_none() => Self::WrongKey,
            // The authority of that name which is configured has another key, perhaps one of another type.
            CertificateError::BadSignature | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
                Self::UnknownIssuer
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Self::WrongName,
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => Self::WrongPurpose,
            CertificateError::Revoked => Self::Revoked,
            // rustls knows no signature with SHA-1 (src/crypto/aws_lc_rs/mod.rs, SUPPORTED_SIG_ALGS).
            CertificateError::UnsupportedSignatureAlgorithmContext { .. } => Self::WeakSignature,
            // webpki's own errors, such as CaUsedAsEndEntity, arrive as the catch-all (rustls src/webpki/mod.rs, `pki_error`).
            _ if leaf.is_some_and(|leaf| leaf.is_ca()) => Self::CaAsServer,
            _ => Self::Unusable,
        }
    }

    /// Whether not even `--insecure` helps: TLS itself cannot use the key.
    pub(crate) fn of_key(leaf: &X509Certificate<'_>) -> Option<Self> {
        if leaf.version() != X509Version::V3 {
            return Some(Self::OldVersion);
        }
        match leaf.public_key().parsed() {
            Ok(PublicKey::RSA(key)) => {
                // DER writes a zero byte before a number whose first bit is set (X.690, 8.3).
                let bits = key.modulus.iter().skip_while(|byte| **byte == 0).count() * 8;
                (bits < 2048).then_some(Self::WeakKey(bits))
            }
            _ => None,
        }
    }

    /// What to do; `name` and `address` (`HOST:PORT`) are the server's, `spelling` is of the options that would trust it.
    pub(crate) fn hint(&self, name: &str, address: &str, spelling: Spelling) -> Cow<'static, str> {
        let ca_file = spelling.option("ca-file");
        Cow::Borrowed(match self {
            Self::UnknownIssuer | Self::CaAsServer | Self::Unusable => {
                return Cow::Owned(format!(
                    "compare the SHA-256 with the server's administrator; then trust it: openssl s_client -connect {address} \
                     </dev/null | openssl x509 >server.pem, and {ca_file} server.pem (or the issuer's certificate)"
                ));
            }
            Self::WrongName => {
                return Cow::Owned(format!("use one of its names, or have '{name}' added to the certificate"));
            }
            Self::IssuerDates { .. } => {
                return Cow::Owned(format!(
                    "give the authority's present certificate with {ca_file}; or a clock is wrong: compare 'date' with the real time"
                ));
            }
            Self::NoAuthority { .. } => {
                return Cow::Owned(format!(
                    "a server's own certificate vouches for that server alone: give this one's, or its authority's, with {ca_file}"
                ));
            }
            Self::WeakSignature => {
                return Cow::Owned(format!(
                    "the server needs a certificate signed with SHA-256 or better; until then {ca_file} with this very certificate"
                ));
            }
            Self::Expired | Self::NotYetValid => {
                "the server needs a new certificate, or a clock is wrong: compare 'date' on both"
            }
            Self::Replaced => {
                "the server was renewed, or another one answers in its place: find out which, and run this step again"
            }
            Self::OldVersion => {
                "the server needs a certificate of version 3 that names it (openssl x509 -req with -extfile and subjectAltName)"
            }
            Self::WeakKey(_) => "the server needs a new certificate, with an RSA key of 2048 bits at least or an ECDSA key",
            Self::WrongPurpose => "the server needs a certificate whose extended key usage is serverAuth",
            Self::Revoked | Self::Missing | Self::WrongKey => {
                return Cow::Owned(format!("see what the server shows: openssl s_client -showcerts -connect {address}"));
            }
        })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownIssuer => "its issuer is not known here",
            Self::IssuerDates { issuer, from, to } => {
                return write!(f, "its authority '{issuer}' is configured here, and valid from {from} to {to} only");
            }
            Self::NoAuthority { issuer } => {
                return write!(f, "the certificate '{issuer}' that signed it is configured here, but is not one of an authority");
            }
            Self::Expired => "it has expired",
            Self::NotYetValid => "it is not valid yet",
            Self::WrongName => "it is for other names",
            Self::CaAsServer => "it is a CA certificate and not among the configured ones",
            Self::Replaced => "it is not the one that it showed before in this run",
            Self::OldVersion => "it is of X.509 version 1 or 2, which cannot name a server",
            Self::WeakKey(bits) => return write!(f, "its RSA key has {bits} bits, fewer than the 2048 that are safe"),
            Self::WeakSignature => "it is signed with SHA-1 or another algorithm that is not safe",
            Self::WrongPurpose => "it is not meant for servers",
            Self::Revoked => "it was revoked",
            Self::Missing => "the server shows none",
            Self::WrongKey => "the server does not prove that it holds the key",
            Self::Unusable => "it breaks the rules of X.509",
        })
    }
}

/// An untrusted server certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untrusted {
    /// Why.
    pub reason: Reason,
    /// The requested server name.
    pub(crate) name: String,
    /// What the certificate says of itself, and its SHA-256, a line each.
    pub(crate) description: Vec<String>,
}

impl Untrusted {
    pub(crate) fn new(reason: Reason, certificate: &CertificateDer<'_>, name: &ServerName<'_>) -> Self {
        let mut description = Vec::new();
        if let Ok((_, parsed)) = X509Certificate::from_der(certificate) {
            let names = names(&parsed);
            description.push(format!("subject: {}", parsed.subject()));
            description.push(format!("issuer:  {}", parsed.issuer()));
            description.push(format!("names:   {}", if names.is_empty() { "(none)".to_owned() } else { names.join(", ") }));
            description.push(format!("valid:   {} to {}", parsed.validity().not_before, parsed.validity().not_after));
        }
        description.push(format!("SHA-256: {}", fingerprint(certificate)));
        Self { reason, name: name.to_str().into_owned(), description }
    }

    /// The one that our verifier has put into the TLS library's error.
    pub(crate) fn of(error: &CertificateError) -> Option<&Self> {
        match error {
            CertificateError::Other(other) => other.0.downcast_ref(),
            _ => None,
        }
    }
}

/// The validity of a certificate, in seconds since 1970.
pub(crate) fn validity(certificate: &CertificateDer<'_>) -> Option<(u64, u64)> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let second = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).unwrap_or(0);
    Some((second(parsed.validity().not_before), second(parsed.validity().not_after)))
}

/// SHA-256 of a certificate's DER form, in hex pairs with colons, as `openssl x509 -fingerprint` prints it.
pub(crate) fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    Sha256::digest(certificate).iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the certificate of '{}' is not trusted: {}", self.name, self.reason)
    }
}

impl StdError for Untrusted {}

/// The TLS library's error in a chain of errors.
pub(crate) fn in_chain<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<Error>() {
            return Some(error);
        }
        // An I/O error does not return the error that it wraps as its source, only by `get_ref` (std::io::Error, `source`).
        next = match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

/// Its names and addresses.
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let text = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        // 4 or 16 bytes (RFC 5280, 4.2.1.6).
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from)).ok().map(|address| address.to_string())
        }
        _ => None,
    };
    extension.value.general_names.iter().filter_map(text).collect()
}
