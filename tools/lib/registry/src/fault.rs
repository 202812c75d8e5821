//! What a try ended with when it did not bring what it was for.

use std::fmt;
use std::time::Duration;

use scar_http::{Attempt, Error};
use scar_tool::{Exit, Failure};

use crate::refusal::Refusal;

/// Why a try failed.
#[derive(Debug)]
pub enum Fault {
    /// There was no answer.
    Http(Error),
    /// The answer was no.
    Refused(Box<Refusal>),
    /// A fault after all the tries that the user allows.
    Spent(Box<Self>),
    /// The upload session is lost, for this reason; another one may do.
    Lost(String),
    /// It would be the same again.
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
            // Nothing makes a server learn TLS, or forget it, between two tries.
            Self::Http(error) => error.is_transient() && !error.is_not_tls() && !error.is_not_http(),
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
    /// The failure to show for it, without what only the registry's own answer explains; `act` is what was being done, in
    /// lower case with its operand.
    pub fn failure(self, act: &str) -> Failure {
        match self {
            Self::Http(error) => error.failure(act),
            Self::Refused(refusal) => refusal.failure(act),
            Self::Spent(fault) => fault.failure(act),
            Self::Lost(cause) => Failure::new(Exit::Unreachable, format!("{act}: {cause}, in every try")).hint(
                "where several registries share one address, uploads must stay with one of them (sticky sessions), \
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
