//! The possible results of asking a replica for a file.

use std::time::Duration;

use scar_http::Attempt;
use scar_tool::Failure;

/// What one replica serves for one file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// It serves the expected content.
    Same,
    /// It does not serve it.
    Missing,
    /// It serves something else, which the text describes.
    Different(String),
    /// It could not be compared; the text says why.
    Unreadable(String),
}

/// A file that a replica does not serve as expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Its index in the list of files.
    pub(crate) file: usize,
    /// The replica's index.
    pub(crate) replica: usize,
    pub(crate) verdict: Verdict,
}

/// A try without a result.
#[derive(Debug)]
pub(crate) enum TryError {
    /// Another try may succeed.
    Passing {
        words: String,
        /// How long the server asked to wait (`Retry-After`).
        asked: Option<Duration>,
        /// The way on, where the kubelet refuses the API server: that is waited for until the deadline.
        kubelet: Option<String>,
    },
    /// No try will succeed: the run ends.
    Final(Box<Failure>),
}

impl TryError {
    pub(crate) fn passing(words: impl Into<String>) -> Self {
        Self::Passing { words: words.into(), asked: None, kubelet: None }
    }
}

impl From<Failure> for TryError {
    fn from(failure: Failure) -> Self {
        Self::Final(Box::new(failure))
    }
}

impl Attempt for TryError {
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

impl std::fmt::Display for TryError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Passing { words, .. } => f.write_str(words),
            Self::Final(failure) => f.write_str(&failure.message),
        }
    }
}
