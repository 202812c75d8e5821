//! The manual page that every binary carries.

use std::io::{IsTerminal, Write};
use std::process::{Command, Stdio};

use crate::{Failure, stdout};

/// Shows the page: into a pipe or file its source, byte for byte; on a terminal through mandoc or man, else rendered
/// here.
///
/// # Errors
/// Exit 1 where standard output cannot be written.
pub(crate) fn show(source: &str, name: &str) -> Result<(), Failure> {
    if !std::io::stdout().is_terminal() {
        return stdout::print_answer(source.as_bytes());
    }
    if through_viewer(source, name) { Ok(()) } else { stdout::print(&rendered(source)) }
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

/// A plain reading of mdoc for a host that has neither man nor mandoc: macros lose their names, sections keep theirs.
fn rendered(source: &str) -> String {
    let mut out = String::new();
    for line in source.lines() {
        let Some(request) = line.strip_prefix('.') else {
            out.push_str("     ");
            out.push_str(&unescaped(line));
            out.push('\n');
            continue;
        };
        let (name, rest) = request.split_once(' ').unwrap_or((request, ""));
        match name {
            "\\\"" | "Dd" | "Dt" | "Os" | "Bl" | "El" | "Bd" | "Ed" => {}
            "Sh" | "Ss" => out.push_str(&format!("\n{}\n", unescaped(rest))),
            "Pp" => out.push('\n'),
            "It" => out.push_str(&format!("\n   {}\n", plain(rest))),
            _ => {
                let text = plain(request);
                if !text.is_empty() {
                    out.push_str(&format!("     {text}\n"));
                }
            }
        }
    }
    out
}

/// A macro line as text: callable macros go, option names get their dash, quotes go.
fn plain(line: &str) -> String {
    let mut words = Vec::new();
    let mut dash = "";
    for word in line.split_whitespace() {
        match word {
            "Fl" => dash = "-",
            "Ar" | "Cm" | "Nm" | "Pa" | "Ev" | "Op" | "Oo" | "Oc" | "Xr" | "Sy" | "Em" | "Dq" | "Sq" | "Ql" | "Li" | "Ns"
            | "Nd" | "Ex" | "St" | "Lk" | "Ic" | "Va" | "Dv" | "Ta" | "No" => {}
            word => {
                words.push(format!("{dash}{}", unescaped(word.trim_matches('"'))));
                dash = "";
            }
        }
    }
    words.join(" ")
}

/// The few roff escapes that the pages use.
fn unescaped(text: &str) -> String {
    text.replace("\\&", "").replace("\\-", "-").replace("\\(em", "-").replace("\\e", "\\").replace("\\(aq", "'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_without_a_viewer_is_still_text() {
        let text = rendered(
            ".Dd x\n.Sh NAME\n.Nm ocipush\n.Nd pushes\n.Sh DESCRIPTION\nSome \\&text.\n.It Fl -ca-file Ar FILE\nThe file.\n",
        );
        assert_eq!(
            text,
            "\nNAME\n     ocipush\n     pushes\n\nDESCRIPTION\n     Some text.\n\n   --ca-file FILE\n     The file.\n"
        );
    }
}
