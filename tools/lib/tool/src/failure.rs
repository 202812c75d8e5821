//! What a tool says and with which status it ends when it could not do its step.

use std::fmt::Display;

/// The exit statuses: one meaning across all tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 1: local input or output failed, or the peer refused for good (quota, immutable tag, too large).
    Failed = 1,
    /// 2: options, environment, a configuration file or the input record are wrong.
    Misuse = 2,
    /// 3: what the step needs is not there (repository, pod, pack registry).
    Absent = 3,
    /// 4: wrong credentials or no permission.
    Refused = 4,
    /// 5: the peer's certificate is not trusted, or credentials would go where they must not.
    Unsafe = 5,
    /// 6: network or server errors, tries or time for them spent; safe to run again.
    Unreachable = 6,
    /// 7: what is there is not what was meant.
    Mismatch = 7,
    /// 8: the other side is healthy but did not reach the state in time, or fell silent.
    TimedOut = 8,
    /// 126: the program to run cannot be run, as env(1) ends then.
    NotRun = 126,
    /// 127: there is no such program, as env(1) ends then.
    NotFound = 127,
    /// 130: ended by SIGINT.
    Interrupted = 130,
    /// 143: ended by SIGTERM.
    Terminated = 143,
}

/// A failure as the user reads it: one line with act, operand and cause, lines of detail, and the next thing to do.
///
/// All text is escaped when it is printed, so a message may quote what a peer said.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The status with which the process ends.
    pub exit: Exit,
    /// `act 'operand': cause`, lower case, without a period.
    pub message: String,
    /// Lines below the message, such as an untrusted certificate's names.
    pub details: Vec<String>,
    /// The next thing to do, where there is one.
    pub hint: Option<String>,
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

    /// Adds (or replaces) the next thing to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    /// Adds a line below the message.
    #[must_use]
    pub fn detail(mut self, line: impl Display) -> Self {
        self.details.push(line.to_string());
        self
    }
}
