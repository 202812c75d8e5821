//! A tool's failure: message, hint and exit status.

use std::borrow::Cow;
use std::fmt::Display;

/// The exit statuses, with the same meaning in all tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 1: local input or output failed, or the peer refused permanently (quota, immutable tag, too large).
    Failed = 1,
    /// 2: options, environment, a configuration file or the input record are wrong.
    Misuse = 2,
    /// 3: what the step needs does not exist (repository, pod, pack registry).
    Absent = 3,
    /// 4: wrong credentials or no permission.
    Refused = 4,
    /// 5: the peer's certificate is not trusted, or credentials would go to the wrong server.
    Unsafe = 5,
    /// 6: network or server errors, after all retries; safe to run again.
    Unreachable = 6,
    /// 7: what was found is not what was expected.
    Mismatch = 7,
    /// 8: the peer is healthy but did not reach the state in time, or stopped answering.
    TimedOut = 8,
    /// 126: the command cannot be run, as in env(1).
    NotRun = 126,
    /// 127: the command does not exist, as in env(1).
    NotFound = 127,
    /// 130: ended by SIGINT.
    Interrupted = 130,
    /// 143: ended by SIGTERM.
    Terminated = 143,
}

/// A failure as the user sees it: one line with act, operand and cause, lines of detail, and a hint.
///
/// All text is escaped when it is printed, so a message may quote a peer.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The process's exit status.
    pub exit: Exit,
    /// `act 'operand': cause`, lower case, without a period.
    pub message: String,
    /// Lines below the message, such as an untrusted certificate's names.
    pub details: Vec<String>,
    /// The next thing to do, if it is known. A borrowed text is of this program alone, so no secret can be in it: it is
    /// printed as it is, even if a word in it happens to be somebody's password.
    pub hint: Option<Cow<'static, str>>,
}

impl Failure {
    /// A failure without a hint.
    pub fn new(exit: Exit, message: impl Display) -> Self {
        Self { exit, message: message.to_string(), details: Vec::new(), hint: None }
    }

    /// Wrong options, environment, configuration or input record: exit 2.
    pub fn misuse(message: impl Display) -> Self {
        Self::new(Exit::Misuse, message)
    }

    /// Local input or output that failed: exit 1.
    pub fn io(act: impl Display, error: &std::io::Error) -> Self {
        Self::new(Exit::Failed, format_args!("{act}: {}", crate::text::io_cause(error)))
    }

    /// An input file that cannot be read: exit 2.
    pub fn unreadable(act: impl Display, error: &std::io::Error) -> Self {
        Self { exit: Exit::Misuse, ..Self::io(act, error) }
    }

    /// Adds or replaces the hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds a line below the message.
    #[must_use]
    pub fn detail(mut self, line: impl Display) -> Self {
        self.details.push(line.to_string());
        self
    }
}
