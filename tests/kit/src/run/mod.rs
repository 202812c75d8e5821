//! One process, from its environment to its end: what it is to be, its start, its life, and what the world sees of it.

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

/// How long a run may take where the test says nothing.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Where a stream of the child leads.
enum Stream {
    Pipe,
    Null,
    Closed,
    Terminal,
    File(PathBuf),
    Bytes(Vec<u8>),
}

/// A run to be: a clean environment (PATH, HOME in a temporary folder, a UTF-8 locale, nothing else), `/dev/null` on
/// stdin, pipes on stdout and stderr.
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

/// A run of one of the suite's tools.
#[track_caller]
pub fn tool(name: &str) -> Run {
    Run { is_tool: true, ..program(crate::binary(name)) }
}

/// A run of a bash script, with the tools first in PATH and `pipefail` set.
pub fn bash(script: &str) -> Run {
    program("bash").args(["-o", "pipefail", "-c", script])
}

/// A run of any other program.
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

    /// Sets a variable.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.variables.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Runs in this folder; else in its HOME.
    pub fn folder(mut self, path: impl Into<PathBuf>) -> Self {
        self.folder = Some(path.into());
        self
    }

    /// Takes this folder for HOME, in place of an empty one that goes with the run.
    pub fn home(mut self, path: impl Into<PathBuf>) -> Self {
        self.home = Some(path.into());
        self
    }

    /// These bytes on stdin, through a pipe.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Stream::Bytes(bytes.into());
        self
    }

    /// This record on stdin, through a pipe.
    pub fn record(self, record: &Value) -> Self {
        self.stdin(record.to_string())
    }

    /// A file on stdin.
    pub fn stdin_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.stdin = Stream::File(path.into());
        self
    }

    /// A closed stdin.
    pub fn stdin_closed(mut self) -> Self {
        self.stdin = Stream::Closed;
        self
    }

    /// stdin is the terminal; see [`Run::terminal`].
    pub fn stdin_terminal(mut self) -> Self {
        self.stdin = Stream::Terminal;
        self.with_terminal()
    }

    /// stdout into a file, truncated first; made with mode 0600.
    pub fn stdout_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.stdout = Stream::File(path.into());
        self
    }

    /// stdout on a full disk.
    pub fn stdout_full(self) -> Self {
        self.stdout_file("/dev/full")
    }

    /// A closed stdout.
    pub fn stdout_closed(mut self) -> Self {
        self.stdout = Stream::Closed;
        self
    }

    /// stdout thrown away, as `>/dev/null` does it.
    pub fn stdout_null(mut self) -> Self {
        self.stdout = Stream::Null;
        self
    }

    /// stdout is the terminal; see [`Run::terminal`].
    pub fn stdout_terminal(mut self) -> Self {
        self.stdout = Stream::Terminal;
        self.with_terminal()
    }

    /// stderr is the terminal; see [`Run::terminal`].
    pub fn stderr_terminal(mut self) -> Self {
        self.stderr = Stream::Terminal;
        self.with_terminal()
    }

    /// Gives the run a terminal of so many columns as its `/dev/tty`, whichever streams lead there.
    /// [`Outcome::screen`] tells what stood on it.
    pub fn terminal(mut self, columns: u16) -> Self {
        self.terminal = Some(columns);
        self
    }

    /// Types `answer` (with its `\n`) once `prompt` stands on the terminal; several are answered in order.
    pub fn answer(mut self, prompt: &str, answer: &str) -> Self {
        self.answers.push((prompt.to_owned(), answer.to_owned()));
        self.with_terminal()
    }

    fn with_terminal(mut self) -> Self {
        self.terminal.get_or_insert(80);
        self
    }

    /// How long it may take; then it is killed and the test fails with all that it said.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }

    /// How often arguments and environments are looked at; seldom where many runs look, since each look costs as much as work.
    pub fn watched_every(mut self, pause: Duration) -> Self {
        self.watch = pause;
        self
    }

    /// Registers a secret that this and every later run of the process must not show.
    #[track_caller]
    pub fn secret(self, text: &str) -> Self {
        crate::secret(text);
        self
    }

    /// What differs from run to run (a port, a temporary path) reads as `name` in what the outcome gives out.
    pub fn called(mut self, value: impl ToString, name: &str) -> Self {
        self.names.push((value.to_string(), name.to_owned()));
        self
    }

    /// The record that comes out holds what the schema refuses, since one went in.
    pub fn any_record(mut self) -> Self {
        self.any_record = true;
        self
    }

    /// Starts it and waits for its end.
    ///
    /// # Panics
    /// Where it takes too long, shows a secret, or writes a record that is none.
    #[track_caller]
    pub fn run(self) -> Outcome {
        self.start().wait()
    }

    /// The command line as a person would type it.
    pub(crate) fn line(&self) -> String {
        let name = self.program.file_name().unwrap_or(self.program.as_os_str());
        let words = std::iter::once(name).chain(self.arguments.iter().map(OsString::as_os_str));
        words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
    }
}
