//! The errors of a request to the API server; kube's own errors are converted here.

use std::error::Error as StdError;
use std::time::Duration;

use http::StatusCode;
use scar_tool::{Exit, Failure};
use scar_trust::{Handshake, Tunnel, Untrusted};

use crate::Refusal;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server's certificate is not trusted; nothing was sent.
    #[error("{untrusted}")]
    Untrusted {
        /// `METHOD URL`.
        request: String,
        /// The certificate.
        untrusted: Box<Untrusted>,
    },
    /// The TLS handshake failed, so the server did nothing.
    #[error("{request}: {verdict}")]
    Tls {
        /// `METHOD URL`.
        request: String,
        /// Why.
        verdict: Handshake,
    },
    /// No connection; nothing was sent.
    #[error("{request}: {cause}")]
    Connect {
        /// `METHOD URL`.
        request: String,
        /// The deepest cause.
        cause: String,
        /// Whether it was silence, not a refusal.
        silent: bool,
    },
    /// The proxy opened no tunnel; nothing was sent to the server.
    #[error("{request}: from the proxy '{proxy}': {tunnel}")]
    Proxy {
        /// `METHOD URL`.
        request: String,
        /// The proxy's address.
        proxy: String,
        /// What it did.
        tunnel: Tunnel,
    },
    /// The connection ended, or timed out, after the request may have been received.
    #[error("{request}: {cause}")]
    Broken {
        /// `METHOD URL`.
        request: String,
        /// The deepest cause.
        cause: String,
        /// Whether it was silence, not an end.
        silent: bool,
    },
    /// The server answered with an error status.
    #[error("{request}: {status}{}{}", refusal.origin(), said(words))]
    Status {
        /// `METHOD URL`.
        request: String,
        /// The status.
        status: StatusCode,
        /// The server's own words.
        words: String,
        /// How long it asked to wait.
        retry_after: Option<Duration>,
        /// Which part of the cluster refused it, and why.
        refusal: Refusal,
    },
    /// The answer is not the requested object.
    #[error("{request}: {cause}")]
    Malformed {
        /// `METHOD URL`.
        request: String,
        /// What the answer is.
        cause: String,
    },
    /// There is no credential to send.
    #[error("{}", .0.message)]
    Credential(Box<Failure>),
}

fn said(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!(": {words}") }
}

impl Error {
    /// A failure of the HTTP client, before any answer.
    pub(crate) fn of_client(
        request: String,
        error: &(dyn StdError + 'static),
        connecting: bool,
        proxy: Option<&str>,
        asked: bool,
    ) -> Self {
        if let Some(untrusted) = scar_trust::untrusted(error) {
            return Self::Untrusted { request, untrusted: Box::new(untrusted.clone()) };
        }
        if let Some((proxy, tunnel)) = proxy.zip(scar_trust::tunnel(error)) {
            return Self::Proxy { request, proxy: proxy.to_owned(), tunnel };
        }
        if let Some(verdict) = Handshake::of(error, asked) {
            return Self::Tls { request, verdict };
        }
        let (cause, silent) = (scar_trust::cause(error), scar_trust::is_silence(error));
        if connecting { Self::Connect { request, cause, silent } } else { Self::Broken { request, cause, silent: false } }
    }

    /// Converts kube's error: mostly our own, wrapped; else an error of the answer's body. The JSON library's text is
    /// dropped, because it may quote a secret's value.
    pub fn of(error: kube::Error) -> Self {
        let request = || "read the cluster's answer".to_owned();
        match error {
            kube::Error::Service(error) => match error.downcast::<Self>() {
                Ok(error) => *error,
                Err(error) if error.to_string().contains("length limit exceeded") => {
                    Self::Malformed { request: request(), cause: "it is larger than any object may be".to_owned() }
                }
                Err(error) => Self::of_client(request(), &*error, false, None, false),
            },
            kube::Error::SerdeError(error) => {
                let cause = format!("it is not the object that was asked for (line {}, column {})", error.line(), error.column());
                Self::Malformed { request: request(), cause }
            }
            kube::Error::FromUtf8(_) => Self::Malformed { request: request(), cause: "it is not UTF-8".to_owned() },
            error => Self::Broken { request: request(), cause: scar_trust::cause(&error), silent: false },
        }
    }

    /// A request that timed out.
    pub(crate) fn silent(request: String, limit: Duration) -> Self {
        Self::Broken { request, cause: format!("no answer within {:.0} s", limit.as_secs_f64().ceil()), silent: true }
    }

    /// The status of the answer. An admission webhook chooses its own: [`Self::refusal`] says who decided.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(status.as_u16()),
            _ => None,
        }
    }

    /// Which part of the cluster refused the request, if one did.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Status { refusal, .. } => Some(refusal),
            _ => None,
        }
    }

    /// Whether the API server itself says that the object does not exist: a 404 of a proxy, or of an unknown path, says
    /// nothing about the object.
    pub fn is_absent(&self) -> bool {
        self.refusal() == Some(&Refusal::Absent)
    }

    /// Whether the credentials lack this permission.
    pub fn is_denied(&self) -> bool {
        matches!(self.refusal(), Some(Refusal::Permission { .. }))
    }

    /// Whether there is a conflict with another object or another version of this one.
    pub fn is_conflict(&self) -> bool {
        self.refusal() == Some(&Refusal::Conflict)
    }

    /// Whether a retry may succeed.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Broken { .. } => true,
            Self::Tls { verdict, .. } => verdict.is_transient(),
            Self::Proxy { tunnel, .. } => *tunnel != Tunnel::Login,
            Self::Status { status: StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT, .. } => true,
            Self::Status { status, refusal, .. } => match refusal {
                Refusal::Denied { .. } => false,
                // Kubelets refuse the API server for a while after their certificates or their webhook return.
                Refusal::KubeletLogin | Refusal::KubeletPermission { .. } => true,
                _ => status.is_server_error() && *status != StatusCode::NOT_IMPLEMENTED,
            },
            // A plugin that is slow runs on.
            Self::Credential(failure) => failure.exit == Exit::TimedOut,
            Self::Untrusted { .. } | Self::Malformed { .. } => false,
        }
    }

    /// How long the server asked to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The exit status.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Untrusted { .. } => Exit::Unsafe,
            Self::Tls { verdict, .. } => verdict.exit(),
            Self::Malformed { .. } => Exit::Mismatch,
            Self::Credential(failure) => failure.exit,
            Self::Proxy { tunnel: Tunnel::Login, .. } => Exit::Refused,
            Self::Proxy { tunnel: Tunnel::Silent, .. }
            | Self::Connect { silent: true, .. }
            | Self::Broken { silent: true, .. } => Exit::TimedOut,
            Self::Proxy { .. } | Self::Connect { .. } | Self::Broken { .. } => Exit::Unreachable,
            Self::Status { status, refusal, .. } => match (refusal, status.as_u16()) {
                (Refusal::Denied { .. }, _) => Exit::Refused,
                (Refusal::Terminating, _) => Exit::Failed,
                (_, 401 | 403) => Exit::Refused,
                (_, 404) => Exit::Absent,
                (_, 409) => Exit::Mismatch,
                (_, 300..=399) => Exit::Unsafe,
                _ if self.is_transient() => Exit::Unreachable,
                _ => Exit::Failed,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16, refusal: Refusal) -> Error {
        Error::Status {
            request: "GET https://k.example/x".into(),
            status: StatusCode::from_u16(code).unwrap(),
            words: "no".into(),
            retry_after: None,
            refusal,
        }
    }

    #[test]
    fn each_status_has_its_class() {
        for (code, exit, transient) in [
            (401, Exit::Refused, false),
            (403, Exit::Refused, false),
            (404, Exit::Absent, false),
            (409, Exit::Mismatch, false),
            (422, Exit::Failed, false),
            (302, Exit::Unsafe, false),
            (429, Exit::Unreachable, true),
            (500, Exit::Unreachable, true),
            (503, Exit::Unreachable, true),
        ] {
            let error = status(code, Refusal::Other);
            assert_eq!((error.exit(), error.is_transient()), (exit, transient), "{code}");
        }
        // A webhook's denial is a denial, whatever code it chose.
        let error = status(500, Refusal::Denied { by: None });
        assert_eq!((error.exit(), error.is_transient()), (Exit::Refused, false));
        assert!(status(503, Refusal::Other).to_string().starts_with("GET https://k.example/x: 503 Service Unavailable: no"));
    }

    #[test]
    fn a_malformed_answer_is_reported_without_its_content() {
        let error = serde_json::from_str::<std::collections::BTreeMap<String, u8>>(r#"{"password":"canary"}"#).unwrap_err();
        let error = Error::of(kube::Error::SerdeError(error));
        assert!(!error.to_string().contains("canary"), "{error}");
        assert_eq!(error.exit(), Exit::Mismatch);
    }
}
