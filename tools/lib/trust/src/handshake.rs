//! Explains a failed TLS handshake to an administrator. Each cause has an exit status and a hint; only a server's internal
//! error is retried.

use std::error::Error as StdError;
use std::fmt;

use rustls::{AlertDescription as Alert, Error};
use scar_tool::{Exit, Failure, Spelling};

use crate::module;
use crate::untrusted::{Reason, Untrusted, in_chain};

/// Why a TLS handshake failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handshake {
    /// The server's certificate is not trusted.
    Untrusted(Box<Untrusted>),
    /// The server does not speak TLS.
    NotTls,
    /// No common version or cipher.
    NothingInCommon,
    /// The server does not serve the requested name.
    UnknownName,
    /// The server requires a client certificate.
    CertificateRequired,
    /// The server refused the client certificate, or its absence; its alert.
    CertificateRefused(String),
    /// The server's key does not belong to its certificate.
    Certificate(Box<Reason>),
    /// The server has an internal error; its alert.
    ServerTrouble(String),
    /// One side violated the TLS protocol.
    Protocol,
    /// This host failed.
    Local,
}

impl Handshake {
    /// The handshake failure in a client's error; `asked` says whether the server asked for a client certificate.
    pub fn of(error: &(dyn StdError + 'static), asked: bool) -> Option<Self> {
        in_chain(error).map(|error| Self::of_tls(error, asked))
    }

    fn of_tls(error: &Error, asked: bool) -> Self {
        match error {
            // The first byte of an HTTP answer is no content type of a TLS record (RFC 8446, 5.1).
            Error::InvalidMessage(_) => Self::NotTls,
            Error::PeerIncompatible(_) => Self::NothingInCommon,
            Error::AlertReceived(alert) => Self::of_alert(*alert, asked),
            Error::InvalidCertificate(error) => match Untrusted::of(error) {
                Some(untrusted) => Self::Untrusted(Box::new(untrusted.clone())),
                None => Self::Certificate(Box::new(Reason::of(error, None))),
            },
            Error::NoCertificatesPresented => Self::Certificate(Box::new(Reason::Missing)),
            Error::UnsupportedNameType
            | Error::EncryptError
            | Error::InvalidCertRevocationList(_)
            | Error::General(_)
            | Error::FailedToGetCurrentTime
            | Error::FailedToGetRandomBytes
            | Error::BadMaxFragmentSize
            | Error::InconsistentKeys(_)
            | Error::Other(_) => Self::Local,
            // InappropriateMessage, PeerMisbehaved, DecryptError and similar.
            _ => Self::Protocol,
        }
    }

    /// The meaning of a server's alert (RFC 8446, 6.2; RFC 5246, 7.2.2).
    fn of_alert(alert: Alert, asked: bool) -> Self {
        match alert {
            // haproxy sends it if `strict-sni` is set and no certificate has the name (RFC 6066, 3).
            Alert::UnrecognisedName => Self::UnknownName,
            Alert::ProtocolVersion | Alert::InsufficientSecurity | Alert::InappropriateFallback => Self::NothingInCommon,
            // In TLS 1.2 a server may also send it for a missing client certificate, after it asked for one (RFC 5246, 7.4.6),
            // as OpenSSL does.
            Alert::HandshakeFailure if asked => Self::CertificateRequired,
            Alert::HandshakeFailure => Self::NothingInCommon,
            Alert::CertificateRequired | Alert::NoCertificate => Self::CertificateRequired,
            Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied
            | Alert::DecryptError
            | Alert::CertificateUnobtainable
            | Alert::BadCertificateStatusResponse
            | Alert::BadCertificateHashValue => Self::CertificateRefused(words(alert)),
            Alert::CloseNotify | Alert::InternalError | Alert::UserCanceled | Alert::Unknown(_) => {
                Self::ServerTrouble(words(alert))
            }
            _ => Self::Protocol,
        }
    }

    /// Whether a retry may succeed.
    pub fn is_transient(&self) -> bool {
        // All others are about keys, names and settings, which another try finds unchanged (FAULTS Q53).
        matches!(self, Self::ServerTrouble(_))
    }

    /// The exit status.
    pub fn exit(&self) -> Exit {
        match self {
            Self::CertificateRequired | Self::CertificateRefused(_) => Exit::Refused,
            Self::ServerTrouble(_) => Exit::Unreachable,
            Self::Local => Exit::Failed,
            Self::Untrusted(_)
            | Self::NotTls
            | Self::NothingInCommon
            | Self::UnknownName
            | Self::Certificate(_)
            | Self::Protocol => Exit::Unsafe,
        }
    }

    /// The failure to show; `act` is what was being done, `address` the server's `HOST:PORT`, `spelling` of the options that
    /// change what is trusted and shown.
    pub fn failure(&self, act: &str, address: &str, spelling: Spelling) -> Failure {
        let failure = Failure::new(self.exit(), format!("{act}: {self}"));
        match self {
            Self::Untrusted(untrusted) => Failure { details: untrusted.description.clone(), ..failure }
                .hint(untrusted.reason.hint(&untrusted.name, address, spelling)),
            Self::Certificate(reason) => failure.hint(reason.hint("", address, spelling)),
            Self::NotTls => failure.hint(format!(
                "is this the server's port for https? see what answers there: openssl s_client -connect {address}"
            )),
            Self::NothingInCommon => failure.hint("enable TLS 1.2 or 1.3 in the server, or in the proxy in front of it"),
            Self::UnknownName => failure
                .hint("name the server as its certificate does, or have the name added where TLS ends (ingress, load balancer)"),
            Self::CertificateRequired | Self::CertificateRefused(_) => failure.hint(format!(
                "show it a client certificate that it accepts: {} and {}, if the tool has them, or a registry's certs.d",
                spelling.option("cert-file"),
                spelling.option("key-file")
            )),
            Self::ServerTrouble(_) => failure.hint("see the server's log; it is safe to run this step again"),
            Self::Protocol => failure
                .hint("something between here and the server may change what is sent: try from another host, or --no-proxy"),
            Self::Local => failure.hint("this host cannot speak TLS: compare its clock with the real time"),
        }
    }
}

impl fmt::Display for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untrusted(untrusted) => untrusted.fmt(f),
            Self::NotTls => f.write_str("it does not speak TLS there (plain HTTP, or another service?)"),
            Self::NothingInCommon => {
                f.write_str(module::OFFERED.unwrap_or("it offers neither TLS 1.2 nor 1.3 with secure settings"))
            }
            Self::UnknownName => f.write_str("it knows no host of that name (TLS alert 'unrecognised name')"),
            Self::CertificateRequired => f.write_str("it demands a client certificate"),
            Self::CertificateRefused(alert) => {
                write!(f, "it refused the client certificate, or its absence (TLS alert '{alert}')")
            }
            Self::Certificate(reason) => write!(f, "its certificate is not trusted: {reason}"),
            Self::ServerTrouble(alert) => write!(f, "it ended the TLS handshake with the alert '{alert}'"),
            Self::Protocol => f.write_str("it does not keep to the protocol of TLS"),
            Self::Local => f.write_str("TLS cannot be set up on this host"),
        }
    }
}

/// An alert's name in words: `CertificateExpired` is "certificate expired".
fn words(alert: Alert) -> String {
    let Some(name) = alert.as_str() else { return format!("number {}", u8::from(alert)) };
    let mut words = String::new();
    let mut before = 'A';
    for c in name.chars() {
        if c.is_uppercase() && before.is_lowercase() {
            words.push(' ');
        }
        words.push(c.to_ascii_lowercase());
        before = c;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q53_every_alert_has_words_a_status_and_a_hint() {
        for number in 0..=u8::MAX {
            for asked in [false, true] {
                let verdict = Handshake::of_alert(Alert::from(number), asked);
                assert!(matches!(verdict.exit(), Exit::Unsafe | Exit::Refused | Exit::Unreachable), "{number}");
                assert!(verdict.failure("act", "host:443", Spelling::default()).hint.is_some());
                let text = verdict.to_string();
                assert!(!text.contains("Alert") && !text.contains("Unknown"), "{text}");
            }
        }
        assert_eq!(words(Alert::CertificateExpired), "certificate expired");
        assert_eq!(words(Alert::UnknownCA), "unknown ca");
        assert_eq!(Handshake::of_alert(Alert::HandshakeFailure, false).exit(), Exit::Unsafe);
        assert_eq!(Handshake::of_alert(Alert::HandshakeFailure, true), Handshake::CertificateRequired);
    }
}
