//! The manual page that every binary carries.

use std::io::{IsTerminal, Write};
use std::process::{Command, Stdio};

use crate::{Failure, mdoc, stdout};

/// Shows the page: into a pipe or file its source, byte for byte; on a terminal through mandoc or man, else rendered
/// here.
///
/// # Errors
/// Exit 1 where standard output cannot be written.
pub(crate) fn show(source: &str, name: &str) -> Result<(), Failure> {
    if !std::io::stdout().is_terminal() {
        return stdout::print_answer(source.as_bytes());
    }
    if through_viewer(source, name) { Ok(()) } else { stdout::print(&mdoc::rendered(source)) }
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
