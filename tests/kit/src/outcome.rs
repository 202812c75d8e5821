//! The outcome of a run, and assertions about it; a failed assertion prints everything.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Output};
use std::time::Duration;

use assert_cmd::assert::{Assert, OutputAssertExt};
use predicates::prelude::PredicateBooleanExt;
use predicates::str::{contains, diff};
use serde_json::Value;

use crate::canary::Secrets;

/// A finished run. In its texts, what differs between runs is replaced by a name (see [`crate::Run::called`]).
#[derive(Clone)]
pub struct Outcome {
    pub(crate) command: String,
    pub(crate) status: i32,
    pub(crate) took: Duration,
    pub(crate) stdin: String,
    pub(crate) stdout_bytes: Vec<u8>,
    pub(crate) stderr_bytes: Vec<u8>,
    pub(crate) screen_bytes: Vec<u8>,
    pub(crate) names: Vec<(String, String)>,
}

impl Outcome {
    /// The exit status; for a signal 128 plus its number.
    pub fn status(&self) -> i32 {
        self.status
    }

    /// The duration.
    pub fn took(&self) -> Duration {
        self.took
    }

    /// stdout as bytes.
    pub fn stdout_bytes(&self) -> &[u8] {
        &self.stdout_bytes
    }

    /// stdout as text.
    pub fn stdout(&self) -> String {
        self.text(&self.stdout_bytes)
    }

    /// stderr as text.
    pub fn stderr(&self) -> String {
        self.text(&self.stderr_bytes)
    }

    /// Everything that was written to the terminal, with escapes; `\r\n` as `\n`.
    pub fn screen(&self) -> String {
        self.text(&self.screen_bytes).replace("\r\n", "\n")
    }

    /// stdout as JSON.
    ///
    /// # Panics
    /// If it is not one JSON value on one line.
    #[track_caller]
    pub fn json(&self) -> Value {
        let text = self.stdout();
        assert!(text.ends_with('\n') && text.matches('\n').count() == 1, "stdout is not one line\n{self}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("stdout is not JSON: {error}\n{self}"))
    }

    /// An assertion of assert_cmd on this run; a failed one prints the whole run.
    fn claim(&self) -> Assert {
        let (stdout, stderr) = (self.stdout().into_bytes(), self.stderr().into_bytes());
        Output { status: ExitStatus::from_raw(self.status << 8), stdout, stderr }.assert().append_context("run", self.clone())
    }

    /// Asserts status 0.
    #[track_caller]
    pub fn succeeds(&self) -> &Self {
        self.exits(0)
    }

    /// Asserts a status.
    #[track_caller]
    pub fn exits(&self, status: i32) -> &Self {
        self.claim().code(status);
        self
    }

    /// Asserts a status, an empty stdout and the whole stderr.
    #[track_caller]
    pub fn fails(&self, status: i32, stderr: &str) -> &Self {
        self.claim().stderr(diff(stderr.to_owned())).stdout("").code(status);
        self
    }

    /// Asserts the whole stdout.
    #[track_caller]
    pub fn prints(&self, stdout: &str) -> &Self {
        self.claim().stdout(diff(stdout.to_owned()));
        self
    }

    /// Asserts an empty stdout.
    #[track_caller]
    pub fn writes_nothing(&self) -> &Self {
        self.prints("")
    }

    /// Asserts the whole stderr.
    #[track_caller]
    pub fn reports(&self, stderr: &str) -> &Self {
        self.claim().stderr(diff(stderr.to_owned()));
        self
    }

    /// Asserts an empty stderr.
    #[track_caller]
    pub fn quiet(&self) -> &Self {
        self.reports("")
    }

    /// Asserts that stderr contains a text.
    #[track_caller]
    pub fn says(&self, part: &str) -> &Self {
        self.claim().stderr(contains(part));
        self
    }

    /// Asserts that stderr does not contain a text.
    #[track_caller]
    pub fn never_says(&self, part: &str) -> &Self {
        self.claim().stderr(contains(part).not());
        self
    }

    fn text(&self, bytes: &[u8]) -> String {
        let text = String::from_utf8_lossy(bytes).into_owned();
        self.names.iter().fold(text, |text, (value, name)| text.replace(value, name))
    }

    /// stdout without the only section that may contain a secret.
    fn stdout_without_session(&self) -> Vec<u8> {
        let record = serde_json::from_slice::<serde_json::Map<String, Value>>(&self.stdout_bytes);
        match record {
            Ok(mut record) => match record.remove("session") {
                Some(_) => Value::from(record).to_string().into_bytes(),
                None => self.stdout_bytes.clone(),
            },
            Err(_) => self.stdout_bytes.clone(),
        }
    }

    #[track_caller]
    pub(crate) fn check_secrets(&self, mut seen: Vec<String>) {
        let secrets = Secrets::registered();
        let streams = [("stdout", self.stdout_without_session()), ("stderr", self.stderr_bytes.clone())];
        for (stream, bytes) in streams.into_iter().chain([("the terminal", self.screen_bytes.clone())]) {
            seen.extend(secrets.found(&bytes).into_iter().map(|secret| format!("{secret} on {stream}")));
        }
        assert!(seen.is_empty(), "a secret shows: {}\n{self}", seen.join(", "));
    }

    #[track_caller]
    pub(crate) fn check_schema(&self) {
        let Ok(record @ Value::Object(_)) = serde_json::from_slice(&self.stdout_bytes) else { return };
        if self.status == 0 && record.get("record").is_some() {
            let complaints = crate::complaints(&record);
            assert!(complaints.is_empty(), "the schema refuses the record: {}\n{self}", complaints.join("; "));
        }
    }
}

/// Everything that is needed to see what went wrong.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "command: {}\nstatus:  {} after {} ms", self.command, self.status, self.took.as_millis())?;
        let screen = self.screen();
        let parts = [("stdin", &self.stdin), ("stdout", &self.stdout()), ("stderr", &self.stderr()), ("terminal", &screen)];
        for (name, text) in parts {
            match text.char_indices().nth(8192) {
                _ if text.is_empty() => {}
                None => writeln!(f, "--- {name}\n{}", text.trim_end_matches('\n'))?,
                Some((cut, _)) => writeln!(f, "--- {name} (cut)\n{}", &text[..cut])?,
            }
        }
        f.write_str("---")
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
