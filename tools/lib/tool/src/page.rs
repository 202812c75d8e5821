//! The manual page that every binary carries.

use std::io::{IsTerminal, Write};
use std::process::{Command, Stdio};

use crate::{Failure, mdoc, stdout};

/// Shows the page: into a pipe or file its source, byte for byte; on a terminal through mandoc or man, else rendered
/// here, a screenful at a time.
///
/// # Errors
/// Exit 1 where standard output cannot be written.
pub(crate) fn show(source: &str, name: &str) -> Result<(), Failure> {
    if !std::io::stdout().is_terminal() {
        return stdout::print_answer(source.as_bytes());
    }
    if through_viewer(source, name) {
        return Ok(());
    }
    let text = mdoc::rendered(source);
    if through_pager(&text) { Ok(()) } else { stdout::print(&text) }
}

/// A screenful at a time, where the host has what does that.
fn through_pager(text: &str) -> bool {
    ["less", "more"].iter().any(|pager| {
        let Ok(mut child) = Command::new(pager).stdin(Stdio::piped()).spawn() else { return false };
        if let Some(mut stdin) = child.stdin.take() {
            // It is closed early where the reader has seen enough.
            let _ = stdin.write_all(text.as_bytes());
        }
        child.wait().is_ok_and(|status| status.success())
    })
}

/// `mandoc -l` and `man -l` read a file; the source goes through a temporary one, since both want to seek.
fn through_viewer(source: &str, name: &str) -> bool {
    let Ok(mut file) = tempfile::Builder::new().prefix(&format!("{name}.")).suffix(".1").tempfile() else { return false };
    if file.write_all(source.as_bytes()).and_then(|()| file.flush()).is_err() {
        return false;
    }
    ["man", "mandoc"].iter().any(|viewer| {
        Command::new(viewer).arg("-l").arg(file.path()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    })
}
