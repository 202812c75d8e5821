//! Removes this process's secrets from text, in any encoding in which a peer may echo them.
//!
//! A text is read several times, with none, one or all kinds of escapes decoded; any secret found is removed with its
//! escapes. In base64 a secret is searched for at each of three possible offsets, so that `user:password` is found for any
//! user. Every pass takes linear time.

use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The replacement of a secret.
const HIDDEN: &str = "(not shown)";
/// Shorter pieces of base64 could be ordinary words.
const PIECE: usize = 6;

/// A text to search for.
static NEEDLES: Mutex<Vec<Needle>> = Mutex::new(Vec::new());

#[derive(PartialEq)]
struct Needle {
    text: String,
    /// Whether it is a piece of base64, which is removed with all base64 around it.
    is_base64: bool,
}

/// Registers `secret` to be removed by `scrubbed`. Call it with every password, token and key that is sent.
pub fn never_show(secret: &str) {
    if secret.is_empty() {
        return;
    }
    let mut found = vec![Needle { text: latin(secret.as_bytes()), is_base64: false }];
    if secret.contains(' ') {
        // In a form, such as the one that asks for a token, a space is a plus (WHATWG URL, 5.2).
        found.push(Needle { text: latin(secret.replace(' ', "+").as_bytes()), is_base64: false });
    }
    // Base64 turns three bytes into four letters (RFC 4648, 4), so the letters of a secret depend on where it begins modulo
    // three.
    for before in 0..3 {
        let encoded = STANDARD.encode([&[0; 3][..before], secret.as_bytes()].concat());
        // The first and last letters also depend on the neighbouring bytes.
        let whole = (before + secret.len()) * 8 / 6;
        let piece = encoded.get((before * 8).div_ceil(6)..whole).unwrap_or_default();
        if piece.len() >= PIECE {
            // Also in the alphabet for URLs (RFC 4648, 5), and with lower-case letters, as in a host name.
            for text in [piece.to_owned(), piece.replace('+', "-").replace('/', "_"), piece.to_ascii_lowercase()] {
                found.push(Needle { text, is_base64: true });
            }
        }
    }
    let mut needles = NEEDLES.lock().unwrap_or_else(PoisonError::into_inner);
    for needle in found {
        if !needles.contains(&needle) {
            needles.push(needle);
        }
    }
}

/// The text without registered secrets; `cut` if it may end within a secret.
pub(crate) fn scrubbed(text: &str, cut: bool) -> String {
    let needles = NEEDLES.lock().unwrap_or_else(PoisonError::into_inner);
    if needles.is_empty() {
        return text.to_owned();
    }
    let escaped = text.contains(['%', '\\', '&']);
    let mut readings = vec![Reading::plain(text)];
    if escaped {
        let all = readings[0].undone(&[percent, json, html]);
        readings.extend([percent, json, html].map(|kind| readings[0].undone(&[kind])));
        readings.extend([all.undone(&[percent, json, html]), all]);
    }
    let mut spans: Vec<(usize, usize)> = Vec::new();
    for (reading, needle) in readings.iter().flat_map(|reading| needles.iter().map(move |needle| (reading, needle))) {
        let mut hidden = 0;
        for (at, _) in reading.text.match_indices(&needle.text) {
            let (from, to) = (reading.from[at], reading.to[at + needle.text.len() - 1]);
            // A run may contain many pieces, but is only processed once.
            if to > hidden {
                spans.push(if needle.is_base64 { run_around(text, from, to) } else { (from, to) });
                hidden = spans.last().map_or(0, |(_, to)| *to);
            }
        }
        let end = if cut { untorn(&reading.text) } else { "" };
        // Fewer than four letters at the end may be an ordinary word.
        let begun = (4..needle.text.len())
            .rev()
            .find(|length| needle.text.is_char_boundary(*length) && end.ends_with(&needle.text[..*length]));
        if let Some(length) = begun {
            let from = reading.from[end.len() - length];
            spans.push(if needle.is_base64 { run_around(text, from, text.len()) } else { (from, text.len()) });
        }
    }
    drop(needles);
    without(text, spans)
}

/// Forgets all secrets, so that one input of a fuzz target does not slow down the next.
#[cfg(fuzzing)]
pub fn forget() {
    NEEDLES.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

/// Removes an escape that was cut in the middle.
fn untorn(text: &str) -> &str {
    let torn = text.rfind(['%', '\\', '&']).filter(|at| text.len() - at < 12);
    torn.map_or(text, |at| &text[..at])
}

fn without(text: &str, mut spans: Vec<(usize, usize)>) -> String {
    spans.sort_unstable();
    let (mut out, mut at) = (String::with_capacity(text.len()), 0);
    for (from, to) in spans {
        if from >= at {
            out.push_str(&text[at..from]);
            out.push_str(HIDDEN);
        }
        at = at.max(to);
    }
    out + &text[at..]
}

/// The run of base64 letters around a piece.
fn run_around(text: &str, from: usize, to: usize) -> (usize, usize) {
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/-_=".contains(byte);
    let before = text.as_bytes()[..from].iter().rev().take_while(|byte| is_base64(byte)).count();
    let after = text.as_bytes()[to..].iter().take_while(|byte| is_base64(byte)).count();
    (from - before, to + after)
}

/// Maps each byte to a Latin-1 letter: a decoded escape may be a part of a character.
fn latin(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// A text with some kinds of escapes decoded.
struct Reading {
    /// Its bytes as Latin-1.
    text: String,
    /// The start and end of each letter in the original.
    from: Vec<usize>,
    to: Vec<usize>,
}

/// Decodes one escape at the start: its length and value.
type Kind = fn(&[u8]) -> Option<(usize, char)>;

impl Reading {
    fn plain(text: &str) -> Self {
        let mut reading = Self { text: String::new(), from: Vec::new(), to: Vec::new() };
        for (at, letter) in text.char_indices() {
            let mut buffer = [0; 4];
            for byte in letter.encode_utf8(&mut buffer).bytes() {
                reading.push(byte, at, at + letter.len_utf8());
            }
        }
        reading
    }

    fn push(&mut self, byte: u8, from: usize, to: usize) {
        self.text.push(char::from(byte));
        self.from.resize(self.text.len(), from);
        self.to.resize(self.text.len(), to);
    }

    fn undone(&self, kinds: &[Kind]) -> Self {
        let letters: Vec<(usize, u8)> = self.text.char_indices().map(|(at, letter)| (at, letter as u8)).collect();
        let bytes: Vec<u8> = letters.iter().map(|(_, byte)| *byte).collect();
        let mut out = Self { text: String::new(), from: Vec::new(), to: Vec::new() };
        let mut at = 0;
        while at < bytes.len() {
            let from = self.from[letters[at].0];
            match kinds.iter().find_map(|kind| kind(&bytes[at..])) {
                Some((length, meant)) => {
                    let to = self.to[letters[at + length - 1].0];
                    let mut buffer = [0; 4];
                    // %XX is a byte, the others are characters.
                    match bytes[at] {
                        b'%' => out.push(meant as u8, from, to),
                        _ => meant.encode_utf8(&mut buffer).bytes().for_each(|byte| out.push(byte, from, to)),
                    }
                    at += length;
                }
                None => {
                    out.push(bytes[at], from, self.to[letters[at].0]);
                    at += 1;
                }
            }
        }
        out
    }
}

fn number(digits: &[u8], radix: u32) -> Option<u32> {
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok()
}

/// `%XX` (RFC 3986, 2.1).
fn percent(bytes: &[u8]) -> Option<(usize, char)> {
    let byte = number(bytes.strip_prefix(b"%")?.get(..2)?, 16)?;
    Some((3, char::from(u8::try_from(byte).ok()?)))
}

/// JSON escapes such as `\"`, `\/` and `\uXXXX` (RFC 8259, 7); characters beyond U+FFFF are two escapes.
fn json(bytes: &[u8]) -> Option<(usize, char)> {
    let unit = |bytes: &[u8]| number(bytes.strip_prefix(b"\\u")?.get(..4)?, 16);
    let plain = match bytes.strip_prefix(b"\\")?.first()? {
        b'u' => {
            let first = unit(bytes)?;
            let second = || unit(bytes.get(6..)?).filter(|second| (0xdc00..0xe000).contains(second));
            return match first {
                0xd800..0xdc00 => Some((12, char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second()? - 0xdc00))?)),
                _ => Some((6, char::from_u32(first)?)),
            };
        }
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        byte @ (b'"' | b'\\' | b'/') => char::from(*byte),
        _ => return None,
    };
    Some((2, plain))
}

/// HTML escapes such as `&amp;`, `&#38;` and `&#x26;` (HTML, 13.5).
fn html(bytes: &[u8]) -> Option<(usize, char)> {
    let rest = bytes.strip_prefix(b"&")?;
    let end = rest.iter().take(10).position(|byte| *byte == b';')?;
    let meant = match &rest[..end] {
        b"amp" => '&',
        b"lt" => '<',
        b"gt" => '>',
        b"quot" => '"',
        b"apos" => '\'',
        [b'#', b'x' | b'X', digits @ ..] => char::from_u32(number(digits, 16)?)?,
        [b'#', digits @ ..] => char::from_u32(number(digits, 10)?)?,
        _ => return None,
    };
    Some((end + 2, meant))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "cänary/p<w>&\"1%41\\+x";

    #[test]
    fn q22_a_secret_is_hidden_in_every_form_that_a_peer_may_echo() {
        never_show(SECRET);
        let bytes = SECRET.as_bytes();
        let percent = |upper: bool| -> String {
            bytes.iter().map(|b| if upper { format!("%{b:02X}") } else { format!("%{b:02x}") }).collect()
        };
        let units: String = SECRET.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
        let decimal: String = SECRET.chars().map(|c| format!("&#{};", u32::from(c))).collect();
        let hex: String = SECRET.chars().map(|c| format!("&#x{:X};", u32::from(c))).collect();
        let url = |text: String| text.replace('+', "-").replace('/', "_");
        let mut forms = vec![
            SECRET.to_owned(),
            percent(true),
            percent(false),
            SECRET.replace('%', "%25").replace('/', "%2F").replace('ä', "%c3%a4"),
            SECRET.replace('\\', "\\\\").replace('"', "\\\"").replace('/', "\\/"),
            units,
            decimal,
            hex,
            SECRET.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;"),
            percent(true).replace('%', "%25"),
        ];
        for user in ["", "a:", "ab:", "admin:", "robot$x:"] {
            let encoded = STANDARD.encode([user.as_bytes(), bytes].concat());
            forms.extend([
                encoded.clone(),
                encoded.to_ascii_lowercase(),
                encoded.trim_end_matches('=').to_owned(),
                url(encoded.clone()),
                encoded.replace('/', "\\/"),
            ]);
        }
        for form in &forms {
            assert_eq!(scrubbed(&format!("no user with '{form}' here"), false), "no user with '(not shown)' here", "{form}");
            // A truncated piece is hidden, too.
            let cut = &form[..(0..form.len() * 2 / 3).rev().find(|at| form.is_char_boundary(*at)).unwrap()];
            let shown = scrubbed(&format!("is {cut}"), true);
            assert!(shown.starts_with("is (not shown)"), "{form}: {shown}");
        }
        assert_eq!(scrubbed("100% of a&b \\o/ is plain", true), "100% of a&b \\o/ is plain");
    }
}
