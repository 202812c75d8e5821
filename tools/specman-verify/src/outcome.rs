//! What asking a replica for a file can end with.

use std::time::Duration;

use scar_http::Attempt;
use scar_tool::Failure;

/// What one replica does with one file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// It serves it as it should.
    Same,
    /// It does not serve it.
    Missing,
    /// It serves something else, in these words.
    Different(String),
    /// It could not be compared, in these words.
    Unreadable(String),
}

/// A file that a replica does not serve as it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Its place in the list of files.
    pub(crate) file: usize,
    /// The replica's place among the replicas.
    pub(crate) replica: usize,
    pub(crate) verdict: Verdict,
}

/// A try that brought no verdict.
#[derive(Debug)]
pub(crate) enum TryError {
    /// Another try may bring one.
    Passing {
        words: String,
        /// How long the server asked to wait.
        asked: Option<Duration>,
    },
    /// None will: the run ends.
    Final(Box<Failure>),
}

impl TryError {
    pub(crate) fn passing(words: impl Into<String>) -> Self {
        Self::Passing { words: words.into(), asked: None }
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
