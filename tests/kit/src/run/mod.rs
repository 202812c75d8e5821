//! One process, from its environment to its end.

mod running;
mod start;
#[cfg(test)]
mod tests;
mod watch;

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::outcome::Outcome;

pub use running::Running;

/// The default time limit of a run.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The destination of a child's stream.
enum Stream {
    Pipe,
    Null,
    NullForBoth,
    Closed,
    Terminal,
    File(PathBuf),
    Bytes(Vec<u8>),
}

/// A run to start: with a clean environment (only PATH, HOME in a temporary folder, a UTF-8 locale), `/dev/null` on stdin,
/// and pipes on stdout and stderr.
#[must_use = "a run that is not started tests nothing"]
pub struct Run {
    program: PathBuf,
    arguments: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
    folder: Option<PathBuf>,
    home: Option<PathBuf>,
    stdin: Stream,
    stdout: Stream,
    stderr: Stream,
    terminal: Option<u16>,
    answers: Vec<(String, String)>,
    timeout: Duration,
    watch: Duration,
    names: Vec<(String, String)>,
    is_tool: bool,
    any_record: bool,
}

/// Runs one of the tools.
#[track_caller]
pub fn tool(name: &str) -> Run {
    Run { is_tool: true, ..program(crate::binary(name)) }
}

/// Runs a bash script, with the tools first in PATH and `pipefail` set.
pub fn bash(script: &str) -> Run {
    program("bash").args(["-o", "pipefail", "-c", script])
}

/// Runs any other program.
pub fn program(path: impl Into<PathBuf>) -> Run {
    Run {
        program: path.into(),
        arguments: Vec::new(),
        variables: Vec::new(),
        folder: None,
        home: None,
        stdin: Stream::Null,
        stdout: Stream::Pipe,
        stderr: Stream::Pipe,
        terminal: None,
        answers: Vec::new(),
        timeout: TIMEOUT,
        watch: Duration::from_millis(3),
        names: Vec::new(),
        is_tool: false,
        any_record: false,
    }
}

impl Run {
    /// Adds an argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.variables.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Runs in this folder; the default is its HOME.
    pub fn folder(mut self, path: impl Into<PathBuf>) -> Self {
        self.folder = Some(path.into());
        self
    }

    /// Uses this folder as HOME, instead of a new empty one.
    pub fn home(mut self, path: impl Into<PathBuf>) -> Self {
        self.home = Some(path.into());
        self
    }

    /// Writes these bytes to stdin, through a pipe.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Stream::Bytes(bytes.into());
        self
    }

    /// Writes this record to stdin, through a pipe.
    pub fn record(self, record: &Value) -> Self {
        self.stdin(record.to_string())
    }

    /// Uses a file as stdin.
    pub fn stdin_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.stdin = Stream::File(path.into());
        self
    }

    /// Closes stdin.
    pub fn stdin_closed(mut self) -> Self {
        self.stdin = Stream::Closed;
        self
    }

    /// Uses the terminal as stdin; see [`Run::terminal`].
    pub fn stdin_terminal(mut self) -> Self {
        self.stdin = Stream::Terminal;
        self.with_terminal()
    }

    /// Redirects stdout to a new or truncated file, mode 0600.
    pub fn stdout_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.stdout = Stream::File(path.into());
        self
    }

    /// Redirects stdout to a full disk.
    pub fn stdout_full(self) -> Self {
        self.stdout_file("/dev/full")
    }

    /// Closes stdout.
    pub fn stdout_closed(mut self) -> Self {
        self.stdout = Stream::Closed;
        self
    }

    /// Discards stdout, as with `>/dev/null`.
    pub fn stdout_null(mut self) -> Self {
        self.stdout = Stream::Null;
        self
    }

    /// Discards stdout as Python's `DEVNULL` does it: `/dev/null`, open for reading and writing.
    pub fn stdout_null_for_both(mut self) -> Self {
        self.stdout = Stream::NullForBoth;
        self
    }

    /// Uses the terminal as stdout; see [`Run::terminal`].
    pub fn stdout_terminal(mut self) -> Self {
        self.stdout = Stream::Terminal;
        self.with_terminal()
    }

    /// Uses the terminal as stderr; see [`Run::terminal`].
    pub fn stderr_terminal(mut self) -> Self {
        self.stderr = Stream::Terminal;
        self.with_terminal()
    }

    /// Gives the run a terminal of this width as its `/dev/tty`, whatever its streams are. [`Outcome::screen`] returns what
    /// was written to it.
    pub fn terminal(mut self, columns: u16) -> Self {
        self.terminal = Some(columns);
        self
    }

    /// Types `answer` (with its `\n`) after `prompt` has appeared on the terminal; several are answered in order.
    pub fn answer(mut self, prompt: &str, answer: &str) -> Self {
        self.answers.push((prompt.to_owned(), answer.to_owned()));
        self.with_terminal()
    }

    fn with_terminal(mut self) -> Self {
        self.terminal.get_or_insert(80);
        self
    }

    /// The time limit; then it is killed and the test fails with its output.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }

    /// The interval for reading arguments and environments; longer for many runs, because each read costs CPU.
    pub fn watched_every(mut self, pause: Duration) -> Self {
        self.watch = pause;
        self
    }

    /// Registers a secret that this and later runs of this process must not show.
    #[track_caller]
    pub fn secret(self, text: &str) -> Self {
        crate::secret(text);
        self
    }

    /// Replaces what differs between runs (a port, a temporary path) by `name` in the outcome.
    pub fn called(mut self, value: impl ToString, name: &str) -> Self {
        self.names.push((value.to_string(), name.to_owned()));
        self
    }

    /// Allows a record that violates the schema, because one was passed in.
    pub fn any_record(mut self) -> Self {
        self.any_record = true;
        self
    }

    /// Starts it and waits until it ends.
    ///
    /// # Panics
    /// If it takes too long, shows a secret, or writes an invalid record.
    #[track_caller]
    pub fn run(self) -> Outcome {
        self.start().wait()
    }

    /// The command line as a user would type it.
    pub(crate) fn line(&self) -> String {
        let name = self.program.file_name().unwrap_or(self.program.as_os_str());
        let words = std::iter::once(name).chain(self.arguments.iter().map(OsString::as_os_str));
        words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
    }
}
