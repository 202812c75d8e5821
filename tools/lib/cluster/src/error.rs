//! The errors of a request to the API server: those of HTTP, and those that only a cluster has. kube's own errors are
//! converted here.

use std::time::Duration;

use scar_http::{Attempt, Cause, Error as Http, Response};
use scar_tool::{Exit, Failure};

use crate::{Access, Refusal};

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No answer came, or none that can be used.
    #[error(transparent)]
    Http(#[from] Http),
    /// A part of the cluster refused the request, or a server before it.
    #[error("{answer}")]
    Refused {
        /// The answer, with the cause [`Cause::Status`].
        answer: Http,
        /// Which part, and why.
        refusal: Refusal,
    },
    /// There is no credential to send.
    #[error("{}", .0.message)]
    Credential(Box<Failure>),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::Credential(Box::new(failure))
    }
}

impl Error {
    /// Converts kube's error: mostly our own, wrapped. The JSON library's text is dropped, because it may quote a secret's
    /// value.
    pub fn of(error: kube::Error) -> Self {
        let request = || "read the cluster's answer".to_owned();
        let malformed = |words: &str| Http::malformed(request(), words.to_owned()).into();
        let error = match error {
            kube::Error::Service(error) => error,
            kube::Error::SerdeError(error) => {
                let (line, column) = (error.line(), error.column());
                return malformed(&format!("it is not the object that was asked for (line {line}, column {column})"));
            }
            kube::Error::FromUtf8(_) => return malformed("it is not UTF-8"),
            error => Box::new(error),
        };
        let error = match error.downcast::<Self>() {
            Ok(error) => return *error,
            Err(error) => error,
        };
        match error.downcast::<Http>() {
            Ok(error) => Self::Http(*error),
            Err(error) => {
                let cause = Cause::Broken { words: scar_trust::cause(&*error), silent: false };
                Http { request: request(), cause }.into()
            }
        }
    }

    /// The error of an answer with an error status; `access` is the permission that the request needs.
    pub(crate) async fn refused(answer: Response, access: &Access) -> Self {
        let (mut answer, body) = answer.into_error_and_body().await;
        let mut refusal = Refusal::Other;
        if let Cause::Status { status, words, retry_after, .. } = &mut answer.cause {
            let asked;
            (refusal, asked) = Refusal::read(*status, words, &body, access);
            // A Status says it in its details (apimachinery/pkg/apis/meta/v1/types.go, `RetryAfterSeconds`); a proxy may have
            // removed the header.
            *retry_after = retry_after.or(asked);
            if matches!(refusal, Refusal::KubeletLogin | Refusal::KubeletPermission { .. }) {
                *words = format!("from the node's kubelet: {words}").trim_end_matches(": ").to_owned();
            }
        }
        Self::Refused { answer, refusal }
    }

    /// A request that timed out.
    pub(crate) fn silent(request: String, limit: Duration) -> Self {
        Http::silent(request, &format!("no answer within {:.0} s", limit.as_secs_f64().ceil())).into()
    }

    /// The status of the answer. An admission webhook chooses its own: [`Self::refusal`] says who decided.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { answer, .. } => answer.status().map(|status| status.as_u16()),
            _ => None,
        }
    }

    /// Which part of the cluster refused the request, if one did.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused { refusal, .. } => Some(refusal),
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

    /// Whether the API server certainly did not act on the request.
    pub fn is_before_send(&self) -> bool {
        match self {
            Self::Http(error) => error.is_before_send(),
            Self::Refused { .. } => false,
            Self::Credential(_) => true,
        }
    }

    /// Whether a retry may succeed.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Http(error) => error.is_transient(),
            Self::Refused { refusal: Refusal::Denied { .. }, .. } => false,
            // A kubelet keeps a refusal for 30 s, after its certificates or the authorizer that it asks are good again
            // (KubeletConfiguration, authorization.webhook.cacheUnauthorizedTTL).
            Self::Refused { refusal: Refusal::KubeletLogin | Refusal::KubeletPermission { .. }, .. } => true,
            Self::Refused { answer, .. } => answer.is_transient(),
            // A plugin that is slow runs on.
            Self::Credential(failure) => failure.exit == Exit::TimedOut,
        }
    }

    /// The exit status.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Http(error) => error.exit(),
            Self::Refused { refusal: Refusal::Denied { .. }, .. } => Exit::Refused,
            Self::Refused { refusal: Refusal::Terminating, .. } => Exit::Failed,
            Self::Refused { .. } if self.status() == Some(409) => Exit::Mismatch,
            Self::Refused { answer, .. } => answer.exit(),
            Self::Credential(failure) => failure.exit,
        }
    }
}

impl Attempt for Error {
    fn is_transient(&self) -> bool {
        self.is_transient()
    }

    fn asked(&self) -> Option<Duration> {
        match self {
            Self::Http(error) | Self::Refused { answer: error, .. } => error.asked(),
            Self::Credential(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16, refusal: Refusal) -> Error {
        let status = scar_http::StatusCode::from_u16(code).unwrap();
        let (request, words) = ("GET https://k.example/x".into(), "no".into());
        Error::Refused {
            answer: Http { request, cause: Cause::Status { status, words, retry_after: None, location: None } },
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
