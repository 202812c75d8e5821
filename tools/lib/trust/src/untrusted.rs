//! What an untrusted certificate says of itself, so that an administrator can decide about it.

use std::error::Error as StdError;
use std::fmt;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{AlertDescription as Alert, CertificateError, Error};
use scar_tool::{Exit, Failure};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::module;

/// Why a certificate was not trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// No configured certificate signed it.
    UnknownIssuer,
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYetValid,
    /// It is for other names.
    WrongName,
    /// It is a CA certificate used as a server's, and not configured itself.
    CaAsServer,
    /// It is not the one that the same server showed earlier in this run.
    Replaced,
    /// Anything else, in the words of the library.
    Other(String),
}

impl Reason {
    pub(crate) fn of(error: &Error) -> Self {
        let Error::InvalidCertificate(error) = error else { return Self::Other(error.to_string()) };
        match error {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::UnknownIssuer,
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Self::WrongName,
            CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => Self::CaAsServer,
            other => Self::Other(other.to_string()),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownIssuer => "its issuer is not known here",
            Self::Expired => "it has expired",
            Self::NotYetValid => "it is not valid yet",
            Self::WrongName => "it is for other names",
            Self::CaAsServer => "it is a CA certificate and not among the configured ones",
            Self::Replaced => "it is not the one that it showed before in this run",
            Self::Other(text) => text,
        })
    }
}

/// An untrusted server certificate.
#[derive(Debug, Clone)]
pub struct Untrusted {
    /// Why.
    pub reason: Reason,
    /// The name under which the server was asked for.
    pub asked: String,
    /// Its subject.
    pub subject: String,
    /// Its issuer.
    pub issuer: String,
    /// The names and addresses that it is for.
    pub names: Vec<String>,
    /// From when, RFC 2822 style.
    pub not_before: String,
    /// Until when.
    pub not_after: String,
    /// SHA-256 of its DER form, in hex pairs with colons.
    pub sha256: String,
}

impl Untrusted {
    pub(crate) fn new(reason: Reason, certificate: &CertificateDer<'_>, name: &ServerName<'_>) -> Self {
        let sha256 = fingerprint(certificate);
        let asked = name.to_str().into_owned();
        let unknown = || "(unreadable)".to_owned();
        let mut untrusted = Self {
            reason,
            asked,
            subject: unknown(),
            issuer: unknown(),
            names: Vec::new(),
            not_before: unknown(),
            not_after: unknown(),
            sha256,
        };
        if let Ok((_, parsed)) = X509Certificate::from_der(certificate) {
            untrusted.subject = parsed.subject().to_string();
            untrusted.issuer = parsed.issuer().to_string();
            untrusted.not_before = parsed.validity().not_before.to_string();
            untrusted.not_after = parsed.validity().not_after.to_string();
            untrusted.names = names(&parsed);
        }
        untrusted
    }

    /// From when and until when a certificate holds, in seconds since 1970.
    pub(crate) fn dates(certificate: &CertificateDer<'_>) -> Option<(u64, u64)> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let second = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).unwrap_or(0);
        Some((second(parsed.validity().not_before), second(parsed.validity().not_after)))
    }

    /// The failure that shows it; `act` is what was being done, `address` the server's `HOST:PORT`.
    pub fn failure(&self, act: &str, address: &str) -> Failure {
        let names = if self.names.is_empty() { "(none)".to_owned() } else { self.names.join(", ") };
        let failure =
            Failure::new(Exit::Unsafe, format!("{act}: the certificate of '{}' is not trusted: {}", self.asked, self.reason))
                .detail(format!("subject: {}", self.subject))
                .detail(format!("issuer:  {}", self.issuer))
                .detail(format!("names:   {names}"))
                .detail(format!("valid:   {} to {}", self.not_before, self.not_after))
                .detail(format!("SHA-256: {}", self.sha256));
        match self.reason {
            Reason::Expired | Reason::NotYetValid => failure.hint("the server needs a new certificate, or a clock is wrong: compare 'date' on both"),
            Reason::Replaced => failure.hint("the server was renewed, or another one answers in its place: find out which, and run this step again"),
            Reason::WrongName => failure.hint(format!("use one of its names, or have '{}' added to the certificate", self.asked)),
            _ => failure.hint(format!(
                "compare the SHA-256 with the server's administrator; then trust it: openssl s_client -connect {address} </dev/null | \
                 openssl x509 >server.pem, and --ca-file server.pem (or the issuer's certificate)"
            )),
        }
    }
}

/// SHA-256 of a certificate's DER form, in hex pairs with colons, as `openssl x509 -fingerprint` prints it.
pub(crate) fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    Sha256::digest(certificate).iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the certificate of '{}' is not trusted: {}", self.asked, self.reason)
    }
}

impl StdError for Untrusted {}

/// Finds the untrusted certificate behind a client's error, however deep it is wrapped.
pub fn untrusted<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e Untrusted> {
    match in_chain(error)? {
        Error::InvalidCertificate(CertificateError::Other(other)) => other.0.downcast_ref(),
        _ => None,
    }
}

/// What [`explained`] says of a server that answers a handshake with something else than TLS.
pub const NOT_TLS: &str = "it does not speak TLS there (plain HTTP, or another service?)";

/// What [`explained`] says of a server whose TLS is too old; of one that is not approved either, in the FIPS build.
pub const OLD_TLS: &str = match module::OFFERED {
    None => "it offers neither TLS 1.2 nor 1.3 in a form that is safe to use",
    Some(refusal) => refusal,
};

/// Says in an administrator's words what ended a TLS handshake, where a client's error is about one.
pub fn explained(error: &(dyn StdError + 'static)) -> Option<String> {
    Some(match in_chain(error)? {
        Error::InvalidMessage(_) => NOT_TLS.to_owned(),
        Error::PeerIncompatible(_) | Error::AlertReceived(Alert::ProtocolVersion) => OLD_TLS.to_owned(),
        Error::AlertReceived(Alert::HandshakeFailure | Alert::InsufficientSecurity) if module::OFFERED.is_some() => {
            OLD_TLS.to_owned()
        }
        error => format!("TLS: {error}"),
    })
}

/// Says what a server that ended a TLS handshake has against our client certificate, or against its absence. Under TLS
/// 1.3 it is only read in the place of the first answer.
pub fn refused(error: &(dyn StdError + 'static)) -> Option<String> {
    let error = in_chain(error)?;
    Some(match error {
        Error::AlertReceived(Alert::CertificateRequired) => "it demands a client certificate".to_owned(),
        // The word of TLS 1.2 for the same, and for more; in the FIPS build it is first of all the one for no approved suite.
        Error::AlertReceived(Alert::HandshakeFailure) if module::OFFERED.is_none() => {
            "it ended the handshake: it demands a client certificate, or takes no cipher that is safe to use".to_owned()
        }
        Error::AlertReceived(
            Alert::BadCertificate
            | Alert::UnknownCA
            | Alert::CertificateExpired
            | Alert::CertificateRevoked
            | Alert::CertificateUnknown
            | Alert::UnsupportedCertificate
            | Alert::DecryptError
            | Alert::AccessDenied,
        ) => format!("it refused the client certificate, or that there is none ({error})"),
        _ => return None,
    })
}

/// The TLS library's error in a chain of wrapped ones.
fn in_chain<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<Error>() {
            return Some(error);
        }
        // An I/O error does not name what it wraps as its source, but gives it out.
        next = match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    extension
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            GeneralName::IPAddress(bytes) => match bytes.len() {
                4 => <[u8; 4]>::try_from(*bytes).ok().map(|bytes| std::net::Ipv4Addr::from(bytes).to_string()),
                16 => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| std::net::Ipv6Addr::from(bytes).to_string()),
                _ => None,
            },
            _ => None,
        })
        .collect()
}
