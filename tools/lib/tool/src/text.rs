//! Makes text from outside safe for terminals and messages.

use std::fmt::Write;

use crate::scrub::scrubbed;

/// How many bytes of a remote text are read for a message.
const LIMIT: usize = 64 * 1024;

/// Replaces control characters (C0, DEL, C1, line and paragraph separators, bidirectional overrides) by visible escapes, so
/// that foreign text cannot move the cursor, change colours or forge a line.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        // A server's text could otherwise forge a line of this tool, or hide one (FAULTS W11). Bidirectional overrides would
        // show it in another order (CVE-2021-42574).
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            // Also U+0080 to U+009F: U+009B begins a terminal's command as ESC [ does (console_codes(4)).
            c if c.is_control() => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

/// A peer's answer for a message: without our secrets, with white space folded and invalid UTF-8 replaced, cut at 64 KiB.
pub fn bounded(bytes: &[u8]) -> String {
    let cut = bytes.len() > LIMIT;
    // Scrub before cutting, which may split a secret.
    let text = scrubbed(&String::from_utf8_lossy(&bytes[..bytes.len().min(LIMIT)]), cut);
    let mut folded = text.split([' ', '\t', '\r', '\n']).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    if cut {
        folded.push_str(" … (cut at 64 KiB)");
    }
    folded
}

/// A peer's text, [`bounded`]; for an HTML page, such as a proxy's, only its title.
pub fn words(body: &[u8]) -> String {
    let text = bounded(body);
    let lower = text.to_ascii_lowercase();
    if !lower.starts_with('<') {
        return text;
    }
    // ASCII lower case preserves offsets.
    let title = lower.find("<title>").zip(lower.find("</title>")).and_then(|(from, to)| text.get(from + 7..to));
    match title.map(str::trim).filter(|title| !title.is_empty()) {
        Some(title) => format!("an HTML page titled '{title}'"),
        None => "an HTML page".to_owned(),
    }
}

/// Quotes a word for the shell, for a command in a hint.
pub fn shell_word(text: &str) -> String {
    // None of these means anything to a shell; between single quotes, no character does (POSIX.1, Shell Command Language,
    // 2.2.2).
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,=".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// The system's message for a failed system call, without the error number.
pub(crate) fn io_cause(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error ").next().unwrap_or(&text);
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().collect::<String>() + chars.as_str(),
        None => "unknown error".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_what_would_move_a_terminal() {
        assert_eq!(escape("a\u{1b}[31mb\r\nc\u{9b}d\0"), "a\\x1b[31mb\\r\\nc\\x9bd\\x00");
        assert_eq!(escape("grüße 日本"), "grüße 日本");
        assert_eq!(escape("x\u{202e}y"), "x\\u{202e}y");
    }

    #[test]
    fn a_long_answer_is_cut() {
        let text = bounded(&vec![b'x'; 100_000]);
        assert!(text.len() < 66_000 && text.ends_with("(cut at 64 KiB)"));
        assert_eq!(bounded(b" a\r\n  b "), "a b");
    }

    #[test]
    fn a_word_with_a_quote_survives_a_shell() {
        assert_eq!(shell_word("/a/b.json"), "/a/b.json");
        assert_eq!(shell_word("it's a file"), r"'it'\''s a file'");
        assert_eq!(shell_word("$HOME"), "'$HOME'");
    }

    #[test]
    fn system_errors_lose_their_number() {
        assert_eq!(io_cause(&std::io::Error::from_raw_os_error(28)), "no space left on device");
    }
}
