//! A manual page as text, for a host that has neither man nor mandoc: the part of mdoc that the suite's pages use.
//!
//! Invariant: the words and their order are those of mandoc; the suite `docs` compares the two. An unknown macro is shown with
//! its name, so that nothing is lost.

mod paragraph;

use paragraph::{Paragraph, WIDTH};

/// Indentation of a section's text, a list's text and a display, in columns.
const INDENT: usize = 5;
const LIST: usize = 8;
const DISPLAY: usize = 6;

/// The page as text.
pub(crate) fn rendered(source: &str) -> String {
    let mut page = Page::default();
    source.lines().for_each(|line| page.line(line));
    page.flush();
    page.out
}

/// A list that is open.
enum List {
    /// Tags, each with a text that is indented by this number of columns.
    Tag(usize),
    /// Messages, each with its text after it.
    Diag,
    /// Cells of these widths.
    Column(Vec<usize>),
}

#[derive(Default)]
struct Page {
    out: String,
    text: Paragraph,
    indent: usize,
    lists: Vec<List>,
    literal: Option<usize>,
    name: String,
}

impl Page {
    fn line(&mut self, line: &str) {
        if let (Some(indent), true) = (self.literal, line != ".Ed") {
            self.out.push_str(&format!("{:indent$}{}\n", "", unescaped(line)));
            return;
        }
        let Some(request) = line.strip_prefix('.') else {
            line.split_whitespace().for_each(|word| self.text.word(&unescaped(word)));
            self.text.ended = line.trim_end_matches([')', '"', '\'']).ends_with(['.', '!', '?']);
            return;
        };
        let (name, rest) = request.split_once(' ').unwrap_or((request, ""));
        match name {
            "\\\"" | "Dd" | "Dt" | "Os" => {}
            "Sh" => self.section(rest),
            "Ss" => {
                self.blank();
                self.out.push_str(&format!("   {}\n", unescaped(rest)));
            }
            "Pp" => self.blank(),
            "Bl" => self.list(rest),
            "El" => {
                self.flush();
                if let Some(List::Tag(width)) = self.lists.pop() {
                    self.indent -= width;
                }
            }
            "It" => self.item(rest),
            "Bd" => {
                self.blank();
                self.literal = Some(self.indent + if rest.contains("-offset indent") { DISPLAY } else { 0 });
            }
            "Ed" => self.literal = None,
            "Dl" => {
                self.flush();
                self.text.first = Some(self.indent + DISPLAY);
                self.macros(rest);
                self.flush();
            }
            "Nm" if self.text.options_are_whole => {
                self.flush();
                self.text.first = Some(INDENT);
                self.macros(request);
                self.indent = INDENT + self.name.chars().count() + 1;
            }
            "Nm" if self.name.is_empty() => {
                rest.clone_into(&mut self.name);
                self.macros(request);
            }
            "Nd" => {
                self.text.word("-");
                rest.split_whitespace().for_each(|word| self.text.word(&unescaped(word)));
            }
            _ => self.macros(request),
        }
    }

    fn section(&mut self, title: &str) {
        self.blank();
        let title = title.trim_matches('"');
        self.indent = INDENT;
        self.text.options_are_whole = title == "SYNOPSIS";
        self.out.push_str(&format!("{}\n", unescaped(title)));
    }

    fn list(&mut self, arguments: &str) {
        self.flush();
        let mut words = split(arguments).into_iter();
        let list = match words.next().as_deref() {
            Some("-diag") => List::Diag,
            Some("-column") => List::Column(words.map(|word| word.chars().count() + 4).collect()),
            _ => {
                let width = words.nth(1).filter(|width| width != "Ds").map_or(LIST, |width| width.chars().count() + 2);
                self.indent += width;
                List::Tag(width)
            }
        };
        self.lists.push(list);
    }

    fn item(&mut self, arguments: &str) {
        match self.lists.last() {
            Some(List::Tag(width)) => {
                let width = *width;
                self.blank();
                self.macros(arguments);
                let tag = self.text.filled(0).trim().replace('\n', " ");
                let at = self.indent - width;
                if tag.chars().count() + 2 <= width {
                    (self.text.first, self.text.tag) = (Some(self.indent), Some(format!("{:at$}{tag:<width$}", "")));
                } else {
                    for (number, line) in broken(&tag, WIDTH - at).into_iter().enumerate() {
                        let at = if number == 0 { at } else { self.indent };
                        self.out.push_str(&format!("{:at$}{line}\n", ""));
                    }
                }
            }
            Some(List::Diag) => {
                self.blank();
                self.macros(arguments);
                self.text.ended = true;
            }
            Some(List::Column(widths)) => {
                let widths = widths.clone();
                self.flush();
                let mut line = " ".repeat(self.indent);
                let mut edge = self.indent;
                for (number, cell) in arguments.split(" Ta ").enumerate() {
                    self.macros(cell);
                    line.push_str(self.text.filled(0).trim());
                    edge += widths.get(number).copied().unwrap_or_default();
                    line.push_str(&" ".repeat(edge.saturating_sub(line.chars().count())));
                }
                self.out.push_str(line.trim_end());
                self.out.push('\n');
            }
            None => self.macros(arguments),
        }
    }

    /// A line of macros, its own name among them.
    fn macros(&mut self, line: &str) {
        let mut tokens = split(line);
        // Punctuation at the end goes after the closing brackets and quotes.
        let inner = tokens.iter().rposition(|token| !is_closing(token)).map_or(0, |at| at + 1);
        let last = tokens.split_off(inner);
        let (mut closers, mut dash, mut reference) = (Vec::new(), false, None);
        for (at, token) in tokens.iter().enumerate() {
            let is_called = is_macro(token);
            if is_called {
                (dash, reference) = (token == "Fl", (token == "Xr").then_some(0));
            }
            match token.as_str() {
                "Op" | "Oo" => {
                    self.text.open("[");
                    closers.extend((token == "Op").then_some("]"));
                }
                "Oc" => self.text.close("]"),
                "Dq" => closers.push(self.text.open("\"")),
                "Ql" | "Sq" => closers.push(self.text.open("'")),
                "Pq" => {
                    self.text.open("(");
                    closers.push(")");
                }
                "Ns" => self.text.glued = true,
                "Nm" if tokens.get(at + 1).is_none_or(|next| is_macro(next)) => self.text.word(&self.name.clone()),
                _ if is_called => {}
                "(" | "[" => drop(self.text.open(token)),
                token if is_closing(token) => self.text.close(token),
                "|" => self.text.word("|"),
                token if dash => self.text.word(&format!("-{}", unescaped(token))),
                token => match &mut reference {
                    Some(seen @ 0) => {
                        *seen = 1;
                        self.text.word(token);
                    }
                    Some(seen @ 1) => {
                        *seen = 2;
                        self.text.close(&format!("({token})"));
                    }
                    _ => self.text.word(&unescaped(token)),
                },
            }
        }
        closers.iter().rev().for_each(|closer| self.text.close(closer));
        last.iter().for_each(|token| self.text.close(token));
        self.text.ended = last.last().is_some_and(|token| token == ".");
    }

    /// Ends the paragraph, and leaves an empty line, but not below a heading.
    fn blank(&mut self) {
        self.flush();
        let last = self.out.lines().last().unwrap_or_default();
        let is_heading = !last.starts_with("     ");
        if !is_heading && !last.is_empty() {
            self.out.push('\n');
        }
    }

    fn flush(&mut self) {
        let text = self.text.filled(self.indent);
        self.out.push_str(&text);
    }
}

/// A tag in lines of at most `width`; the later ones are set in by what a list's text is.
fn broken(tag: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in tag.split(' ') {
        let last = lines.len() - 1;
        let room = if last == 0 { width } else { width - LIST };
        if !lines[last].is_empty() && lines[last].chars().count() + 1 + word.chars().count() > room {
            lines.push(word.to_owned());
            continue;
        }
        if !lines[last].is_empty() {
            lines[last].push(' ');
        }
        lines[last].push_str(word);
    }
    lines
}

/// The arguments of a macro; those in double quotes are one.
fn split(line: &str) -> Vec<String> {
    let mut arguments = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let (argument, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => rest.split_once(' ').unwrap_or((rest, "")),
        };
        arguments.push(argument.to_owned());
        rest = after.trim_start();
    }
    arguments
}

fn is_closing(token: &str) -> bool {
    matches!(token, "." | "," | ":" | ";" | ")" | "]" | "?" | "!")
}

fn is_macro(token: &str) -> bool {
    matches!(
        token,
        "Ar" | "Cm"
            | "Dq"
            | "Em"
            | "Ev"
            | "Fl"
            | "Ic"
            | "Li"
            | "Nm"
            | "No"
            | "Ns"
            | "Oc"
            | "Oo"
            | "Op"
            | "Pa"
            | "Pq"
            | "Ql"
            | "Sq"
            | "Sx"
            | "Sy"
            | "Va"
            | "Xr"
    )
}

/// The few escapes that the pages use.
fn unescaped(text: &str) -> String {
    let mut out = text.to_owned();
    for (escape, character) in [("\\&", ""), ("\\-", "-"), ("\\(em", "-"), ("\\(dq", "\""), ("\\(aq", "'"), ("\\e", "\\")] {
        out = out.replace(escape, character);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_filled_as_mandoc_fills_it() {
        let text = rendered(
            ".Dd x\n.Dt X 1\n.Os\n.Sh NAME\n.Nm ocipush\n.Nd push it\n.Sh SYNOPSIS\n.Nm\n.Op Fl qv\n.Op Fl u Ar user\n.Ar reference\n\
             .Nm\n.Fl -help | -version\n.Sh DESCRIPTION\n.Nm\npushes.\nIt takes\n.Ar host Ns Oo : Ns Ar port Oc ,\nsee\n.Xr tar 1 .\n\
             .Bl -tag -width Ds\n.It Fl u , -username Ar user ; Fl -man\nWho\n.Pq or what .\n.It Fl -me\nText.\n.El\n.Pp\nSo:\n\
             .Dl a \\&. | b\n.Bd -literal -offset indent\nc \\e\n  d\n.Ed\n",
        );
        let expected = "NAME\n     ocipush - push it\n\nSYNOPSIS\n     ocipush [-qv] [-u user] reference\n     ocipush --help | --version\n\n\
                        DESCRIPTION\n     ocipush pushes.  It takes host[:port], see tar(1).\n\n     -u, --username user; --man\n             \
                        Who (or what).\n\n     --me    Text.\n\n     So:\n           a . | b\n\n           c \\\n             d\n";
        assert_eq!(text, expected);
    }
}
