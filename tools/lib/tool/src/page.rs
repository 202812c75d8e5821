//! The manual page in every binary.

use std::io::{IsTerminal, Write};
use std::process::{Command, Stdio};

use crate::{Failure, mdoc, stdout};

/// Shows the page: its source in a pipe or file; on a terminal through mandoc or man, else rendered here, with a pager.
pub(crate) fn show(source: &str, name: &str) -> Result<(), Failure> {
    if !std::io::stdout().is_terminal() {
        return stdout::print(source.as_bytes());
    }
    if through_viewer(source, name) {
        return Ok(());
    }
    let text = mdoc::rendered(source);
    if through_pager(&text) { Ok(()) } else { stdout::print(text.as_bytes()) }
}

/// Through a pager, if the host has one.
fn through_pager(text: &str) -> bool {
    ["less", "more"].iter().any(|pager| {
        let Ok(mut child) = Command::new(pager).stdin(Stdio::piped()).spawn() else { return false };
        if let Some(mut stdin) = child.stdin.take() {
            // Its user may leave before the end, which closes the pipe.
            let _ = stdin.write_all(text.as_bytes());
        }
        child.wait().is_ok_and(|status| status.success())
    })
}

/// Through man or mandoc, if the host has one.
fn through_viewer(source: &str, name: &str) -> bool {
    // A file, not standard input: mandoc takes no `-` for it, unlike the man of man-db (man(1)).
    let Ok(mut file) = tempfile::Builder::new().prefix(&format!("{name}.")).suffix(".1").tempfile() else { return false };
    if file.write_all(source.as_bytes()).and_then(|()| file.flush()).is_err() {
        return false;
    }
    ["man", "mandoc"].iter().any(|viewer| {
        Command::new(viewer).arg("-l").arg(file.path()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    })
}
