//! A manual page as text, for a host that has neither man nor mandoc: the part of mdoc(7) that the suite's pages use.
//!
//! Invariant: the words and their order are those of mandoc, which the suite `docs` compares; the layout is plainer. An unknown
//! macro is shown with its name, so that nothing is lost.

/// The longest line, as mandoc fills it on a terminal of 80 columns.
const WIDTH: usize = 78;
/// Indentation of a section's text; and of a list's text or an example in it, in columns.
const SECTION: usize = 5;
const DEEPER: usize = 6;

/// The macros that may follow another one on its line.
const CALLED: &[&str] = &[
    "Ar", "Cm", "Dq", "Em", "Ev", "Fl", "Ic", "Li", "Nm", "No", "Ns", "Oc", "Oo", "Op", "Pa", "Pq", "Ql", "Sq", "Sx", "Sy", "Va",
    "Xr",
];

/// The page as text.
pub(crate) fn rendered(source: &str) -> String {
    let mut page = Page::default();
    source.lines().for_each(|line| page.line(line));
    page.end_paragraph();
    page.out
}

/// An open list.
enum List {
    /// Tags, each with an indented text.
    Tag,
    /// Messages, each with its text after it.
    Diag,
    /// Rows with cells of these widths.
    Column(Vec<usize>),
}

#[derive(Default)]
struct Page {
    out: String,
    /// The paragraph so far.
    words: Vec<String>,
    /// Whether the next word belongs to the last one.
    is_joined: bool,
    indent: usize,
    lists: Vec<List>,
    /// The indentation of the literal text at hand.
    literal: Option<usize>,
    is_synopsis: bool,
    /// The program, as the first `.Nm` names it.
    name: String,
}

impl Page {
    fn line(&mut self, line: &str) {
        if let Some(indent) = self.literal.filter(|_| line != ".Ed") {
            return self.print(indent, &unescaped(line));
        }
        let Some(request) = line.strip_prefix('.') else { return self.text(line) };
        let (name, rest) = request.split_once(' ').unwrap_or((request, ""));
        match name {
            "\\\"" | "Dd" | "Dt" | "Os" => {}
            "Sh" | "Ss" => {
                self.blank();
                let is_section = name == "Sh";
                if is_section {
                    self.indent = SECTION;
                    self.is_synopsis = rest == "SYNOPSIS";
                }
                self.print(if is_section { 0 } else { 3 }, &unescaped(rest.trim_matches('"')));
            }
            "Pp" => self.blank(),
            "Bl" => self.list(rest),
            "El" => {
                self.end_paragraph();
                if let Some(List::Tag) = self.lists.pop() {
                    self.indent -= DEEPER;
                }
            }
            "It" => self.item(rest),
            "Bd" => {
                self.blank();
                self.literal = Some(self.indent + if rest.contains("-offset indent") { DEEPER } else { 0 });
            }
            "Ed" => self.literal = None,
            "Dl" => {
                self.end_paragraph();
                self.macros(rest);
                let example = self.taken();
                self.print(self.indent + DEEPER, &example);
            }
            "Nm" if self.name.is_empty() => {
                rest.clone_into(&mut self.name);
                self.macros(request);
            }
            // There it begins the next form of the command (mandoc_mdoc(7), Nm).
            "Nm" if self.is_synopsis => {
                self.end_paragraph();
                self.macros(request);
            }
            "Nd" => self.text(&format!("- {rest}")),
            _ => self.macros(request),
        }
    }

    fn list(&mut self, arguments: &str) {
        self.end_paragraph();
        let mut words = split(arguments).into_iter();
        self.lists.push(match words.next().as_deref() {
            Some("-diag") => List::Diag,
            Some("-column") => List::Column(words.map(|word| word.chars().count() + 2).collect()),
            _ => {
                self.indent += DEEPER;
                List::Tag
            }
        });
    }

    fn item(&mut self, arguments: &str) {
        if let Some(List::Column(widths)) = self.lists.last() {
            let widths = widths.clone();
            self.end_paragraph();
            let mut row = String::new();
            for (cell, width) in arguments.split(" Ta ").zip(widths) {
                self.macros(cell);
                row.push_str(&format!("{:width$}", self.taken() + "  "));
            }
            return self.print(self.indent, row.trim_end());
        }
        self.blank();
        self.macros(arguments);
        if let Some(List::Tag) = self.lists.last() {
            self.indent -= DEEPER;
            self.end_paragraph();
            self.indent += DEEPER;
        }
    }

    /// A line of macros with their arguments.
    fn macros(&mut self, line: &str) {
        let mut tokens = split(line);
        // Punctuation at the end goes after the closing brackets and quotes (mandoc_mdoc(7), "Delimiters").
        let inner = tokens.iter().rposition(|token| !is_closing(token)).map_or(0, |at| at + 1);
        let last = tokens.split_off(inner);
        let (mut closers, mut is_option) = (Vec::new(), false);
        let mut tokens = tokens.iter().map(String::as_str).peekable();
        while let Some(token) = tokens.next() {
            let is_called = CALLED.contains(&token);
            if is_called {
                is_option = token == "Fl";
            }
            match token {
                "Op" | "Oo" => {
                    self.open("[");
                    closers.extend((token == "Op").then_some("]"));
                }
                "Oc" => self.close("]"),
                "Dq" => closers.push(self.open("\"")),
                "Ql" | "Sq" => closers.push(self.open("'")),
                "Pq" => {
                    self.open("(");
                    closers.push(")");
                }
                "Ns" => self.is_joined = true,
                "Nm" if tokens.peek().is_none_or(|next| CALLED.contains(next)) => self.word(&self.name.clone()),
                "Xr" => {
                    self.word(tokens.next().unwrap_or_default());
                    self.close(&format!("({})", tokens.next().unwrap_or_default()));
                }
                _ if is_called => {}
                "(" | "[" => drop(self.open(token)),
                token if is_closing(token) => self.close(token),
                token if is_option && token != "|" => self.word(&format!("-{}", unescaped(token))),
                token => self.word(&unescaped(token)),
            }
        }
        closers.iter().rev().for_each(|closer| self.close(closer));
        last.iter().for_each(|token| self.close(token));
    }

    fn text(&mut self, line: &str) {
        line.split_whitespace().for_each(|word| self.word(&unescaped(word)));
    }

    fn word(&mut self, word: &str) {
        match self.words.last_mut() {
            Some(last) if self.is_joined => last.push_str(word),
            _ => self.words.push(word.to_owned()),
        }
        self.is_joined = false;
    }

    /// A mark that the next word follows without a space; returns it, as many marks also close.
    fn open<'a>(&mut self, mark: &'a str) -> &'a str {
        self.word(mark);
        self.is_joined = true;
        mark
    }

    /// A mark that follows the last word without a space.
    fn close(&mut self, mark: &str) {
        self.is_joined = true;
        self.word(mark);
    }

    /// The words so far as one line.
    fn taken(&mut self) -> String {
        self.is_joined = false;
        std::mem::take(&mut self.words).join(" ")
    }

    /// Prints the paragraph so far, filled into lines.
    fn end_paragraph(&mut self) {
        let mut line = String::new();
        for word in self.taken().split(' ').filter(|word| !word.is_empty()) {
            if self.indent + line.chars().count() + 1 + word.chars().count() > WIDTH {
                self.print(self.indent, &std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        if !line.is_empty() {
            self.print(self.indent, &line);
        }
    }

    /// Ends the paragraph, and leaves an empty line, but not below a heading.
    fn blank(&mut self) {
        self.end_paragraph();
        if self.out.lines().last().is_some_and(|last| last.starts_with("     ")) {
            self.out.push('\n');
        }
    }

    fn print(&mut self, indent: usize, line: &str) {
        self.out.push_str(&format!("{:indent$}{line}\n", ""));
    }
}

/// The arguments of a macro; text in double quotes is one.
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
    // Not the vertical bar, which keeps its spaces (mandoc_mdoc(7), "Delimiters").
    matches!(token, "." | "," | ":" | ";" | ")" | "]" | "?" | "!")
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
    fn a_page_has_the_words_of_mandoc() {
        let text = rendered(
            ".Dd x\n.Dt X 1\n.Os\n.Sh NAME\n.Nm ocipush\n.Nd push it\n.Sh SYNOPSIS\n.Nm\n.Op Fl qv\n.Op Fl u Ar user\n.Ar reference\n\
             .Nm\n.Fl -help | -version\n.Sh DESCRIPTION\n.Nm\npushes.\nIt takes\n.Ar host Ns Oo : Ns Ar port Oc ,\nsee\n.Xr tar 1 .\n\
             .Bl -tag -width Ds\n.It Fl u , -username Ar user ; Fl -man\nWho\n.Pq or what .\n.It Fl -me\nText.\n.El\n.Pp\nSo:\n\
             .Dl a \\&. | b\n.Bd -literal -offset indent\nc \\e\n  d\n.Ed\n",
        );
        let expected = "NAME\n     ocipush - push it\n\nSYNOPSIS\n     ocipush [-qv] [-u user] reference\n     ocipush --help | --version\n\n\
                        DESCRIPTION\n     ocipush pushes. It takes host[:port], see tar(1).\n\n     -u, --username user; --man\n           \
                        Who (or what).\n\n     --me\n           Text.\n\n     So:\n           a . | b\n\n           c \\\n             d\n";
        assert_eq!(text, expected);
    }
}
