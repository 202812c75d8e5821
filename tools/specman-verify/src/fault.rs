//! What a try may end with before there is a verdict.

use std::time::Duration;

use scar_http::Attempt;
use scar_tool::Failure;

/// A try that brought no verdict.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Another try may bring one.
    Passing {
        /// What happened.
        words: String,
        /// How long the server asked to wait.
        asked: Option<Duration>,
    },
    /// None will: the run ends.
    Final(Box<Failure>),
}

impl Fault {
    /// A fault that may pass.
    pub(crate) fn passing(words: impl Into<String>) -> Self {
        Self::Passing { words: words.into(), asked: None }
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        Self::Final(Box::new(failure))
    }
}

impl Attempt for Fault {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Passing { .. })
    }

    fn asked(&self) -> Option<Duration> {
        match self {
            Self::Passing { asked, .. } => *asked,
            Self::Final(_) => None,
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Passing { words, .. } => f.write_str(words),
            Self::Final(failure) => f.write_str(&failure.message),
        }
    }
}
