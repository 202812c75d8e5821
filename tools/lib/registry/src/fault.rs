//! Why a try failed, and whether another one may succeed.

use std::fmt;
use std::time::Duration;

use scar_http::{Attempt, Cause, Error};
use scar_tool::{Exit, Failure};

use crate::refusal::Refusal;

/// The reason why a try failed.
#[derive(Debug)]
pub enum Fault {
    /// No answer.
    Http(Error),
    /// The answer is a refusal.
    Refused(Box<Refusal>),
    /// The last fault, after all retries.
    Spent(Box<Self>),
    /// The upload session is lost for this reason; a new one may work.
    Lost(String),
    /// Another try would fail in the same way.
    Fatal(Failure),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(error) => error.fmt(f),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Spent(fault) => fault.fmt(f),
            Self::Lost(cause) => f.write_str(cause),
            Self::Fatal(failure) => f.write_str(&failure.message),
        }
    }
}

impl Attempt for Fault {
    fn is_transient(&self) -> bool {
        match self {
            // A port speaks TLS or it does not; another try would find the same.
            Self::Http(error) => error.is_transient() && !error.is_not_tls() && !matches!(error.cause, Cause::NotHttp),
            Self::Refused(refusal) => refusal.is_transient(),
            Self::Lost(_) => true,
            Self::Spent(_) | Self::Fatal(_) => false,
        }
    }

    fn asked(&self) -> Option<Duration> {
        match self {
            Self::Http(error) => error.asked(),
            Self::Refused(refusal) => refusal.asked(),
            _ => None,
        }
    }
}

impl Fault {
    /// The failure to show, without hints that need the registry's own answer; `act` is what was being done, in lower case
    /// with its operand.
    pub fn failure(self, act: &str) -> Failure {
        match self {
            Self::Http(error) => error.failure(act),
            Self::Refused(refusal) => refusal.failure(act),
            Self::Spent(fault) => fault.failure(act),
            // Without `http.secret` each Distribution process makes up its own, and cannot read the upload state that another one
            // signed (registry/handlers/app.go, `configureSecret`).
            Self::Lost(cause) => Failure::new(Exit::Unreachable, format!("{act}: {cause}, in every try")).hint(
                "if several registries share one address, an upload must stay with one of them (sticky sessions), \
                 and all need the same http.secret; it is safe to run this step again",
            ),
            Self::Fatal(failure) => failure,
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Http(error)
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        Self::Fatal(failure)
    }
}
