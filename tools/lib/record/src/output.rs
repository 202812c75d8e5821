//! Writes the record: once, at the end, after success.

use std::io::{PipeReader, Write};

use scar_tool::{Console, Failure, stdout};

use crate::{Record, Section, Session};

impl Record {
    /// Writes the record as one line to standard output.
    ///
    /// A session is redacted on a terminal; a file that others can read gets a warning.
    pub fn write(&self, console: &Console) -> Result<(), Failure> {
        let terminal = stdout::is_terminal();
        if self.raw(Session::NAME).is_some() {
            if terminal {
                console.note("the session is not shown on a terminal; pipe this record into the next tool");
            } else if stdout::is_readable_by_others() {
                console.warn("the record holds a session and goes to a file that others can read; remove the file after use");
            }
        }
        stdout::write(self.to_line(terminal).as_bytes()).map_err(|failure| match self.is_dry_run() {
            true => failure,
            false => failure.hint("this step is done, but its record is lost: run it again, it does not repeat the change"),
        })
    }

    /// The record in a pipe, for a command that replaces this process. Nothing reads while it is written, so the pipe must
    /// hold all of it. Exit 1 if the system gives no pipe of that size (pipe(7): 1 MiB without privileges).
    pub fn in_pipe(&self) -> Result<PipeReader, Failure> {
        let line = self.to_line(false);
        let fill = || -> std::io::Result<PipeReader> {
            let (reader, mut writer) = std::io::pipe()?;
            if rustix::pipe::fcntl_getpipe_size(&writer)? < line.len() {
                rustix::pipe::fcntl_setpipe_size(&writer, line.len())?;
            }
            writer.write_all(line.as_bytes())?;
            Ok(reader)
        };
        fill().map_err(|error| Failure::io(format!("pass on a record of {} bytes through a pipe", line.len()), &error))
    }

    /// The record as one line of JSON; a session without its token if it is redacted.
    pub(crate) fn to_line(&self, redact: bool) -> String {
        let mut fields = self.fields.clone();
        if let Some(session) = self.raw(Session::NAME).filter(|_| redact) {
            let mut session: serde_json::Map<_, _> = serde_json::from_str(session.get()).unwrap_or_default();
            session.insert("authorization".to_owned(), "(not shown on a terminal)".into());
            fields.set(Session::NAME, &session);
        }
        serde_json::to_string(&fields).unwrap_or_default() + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_sees_no_token() {
        let text =
            br#"{"record":"scar-tools/1","session":{"endpoint":"https://v.example","authorization":"canary","insecure":false}}"#;
        let record = Record::parse(text).unwrap();
        assert!(!record.to_line(true).contains("canary") && record.to_line(true).contains("https://v.example"));
        assert!(record.to_line(false).contains("canary"));
        assert!(!format!("{record:?}").contains("canary"));
    }
}
