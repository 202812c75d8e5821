//! Prints the table: one line for each check, the finding beside it, the hint below it, within the terminal's width.

use scar_record::{Check, CheckResult};
use scar_tool::{Colour, Console, escape};

/// The columns of the name and the finding.
const NAME: usize = 9;
const FOUND: usize = 32;

/// Shows all checks.
pub(crate) fn show(checks: &[Check], console: &Console) {
    let room = console.columns() - FOUND;
    for check in checks {
        let (word, colour) = match check.result {
            CheckResult::Ok => ("ok", Colour::Green),
            CheckResult::Warning => ("warning", Colour::Yellow),
            CheckResult::Blocked => ("blocked", Colour::Red),
            CheckResult::Skipped => ("skipped", Colour::Dim),
        };
        let mut found = wrapped(&check.found, room).into_iter();
        let (first, gap) = (found.next().unwrap_or_default(), " ".repeat(NAME - word.len()));
        let name = format!("{gap}{:width$}", check.name, width = FOUND - NAME);
        console.row(&[(colour, word), (Colour::Plain, &name), (Colour::Plain, &first)]);
        let indent = " ".repeat(FOUND);
        found.for_each(|line| console.row(&[(Colour::Plain, &indent), (Colour::Plain, &line)]));
        let hint = check.hint.as_deref().unwrap_or_default();
        for (number, line) in wrapped(hint, room - HINT.len()).iter().enumerate() {
            let (mark, colour) = if number == 0 { (HINT, Colour::Cyan) } else { ("      ", Colour::Plain) };
            console.row(&[(Colour::Plain, &indent), (colour, mark), (Colour::Plain, line)]);
        }
    }
}

const HINT: &str = "hint: ";

/// Wraps a text to `room` characters; a longer word is broken.
fn wrapped(text: &str, room: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in escape(text).split(' ').filter(|word| !word.is_empty()) {
        let mut word: Vec<char> = word.chars().collect();
        let used = line.chars().count();
        if used > 0 && used + 1 + word.len() > room {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        while word.len() > room {
            lines.push(word.drain(..room).collect());
        }
        line.extend(word);
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_longer_than_its_room() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("https://a.example/long x", 10), ["https://a.", "example/lo", "ng x"]);
        assert_eq!(wrapped("a https://a.example/", 10), ["a", "https://a.", "example/"]);
        assert_eq!(wrapped("a\nb", 10), ["a\\nb"]);
        assert_eq!(wrapped("", 10), [""; 0]);
        assert_eq!(wrapped("exactly10!", 10), ["exactly10!"]);
    }
}
