//! What a line of Specman's log says about the tag.
//!
//! Specman logs through logrus: `time="…" level=info msg="Persisting 0.0.0"` (guide step 8). JSON lines, logrus's form
//! for terminals and plain text are read as well; what cannot be read says nothing.

use std::borrow::Cow;

use jiff::Timestamp;

/// A line taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line<'t> {
    /// The time that the line itself tells.
    pub(crate) time: Option<Timestamp>,
    /// Whether it was logged as a warning, an error or worse.
    pub(crate) level: Level,
    /// The message.
    pub(crate) message: Cow<'t, str>,
}

/// The words that count, with the tag's place among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Marker {
    before: String,
    after: String,
}

/// Where the tag stands in a marker as typed.
const PLACE: &str = "{tag}";

impl Default for Marker {
    /// The guide's (step 8).
    fn default() -> Self {
        Self { before: "Persisting".to_owned(), after: String::new() }
    }
}

impl std::str::FromStr for Marker {
    type Err = String;

    /// Reads `WORDS {tag} WORDS`. Words without the tag would let another tag's line count.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split(PLACE).collect::<Vec<_>>().as_slice() {
            [before, after] => Ok(Self { before: before.trim().to_owned(), after: after.trim().to_owned() }),
            _ => Err(format!("'{text}' must hold {PLACE} once, as 'Persisting {PLACE}' does")),
        }
    }
}

/// How grave a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// It tells what goes on.
    Info,
    /// `warning`.
    Warning,
    /// `error`, `fatal`, `panic`.
    Error,
}

/// What a line says about the tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Says {
    /// The tag is persisted: what the guide waits for.
    Persisted,
    /// The tag is being fetched.
    Downloading,
    /// The tags that the registry has, and whether ours is among them.
    Tags(bool),
    /// Fetching or keeping it failed, for a reason that does not pass by itself.
    Failed(Cause),
    /// Nothing about it.
    Nothing,
}

/// Why Specman cannot have the tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The registry does not accept its credentials.
    Unauthorized,
    /// The registry does not let it read.
    Denied,
    /// It does not trust the registry's certificate.
    Untrusted,
    /// The repository or the tag is not there.
    NotFound,
    /// Its volume is full.
    NoSpace,
}

/// Takes a line apart.
pub(crate) fn read(text: &str) -> Line<'_> {
    let text = text.trim();
    json(text).or_else(|| logfmt(text)).unwrap_or_else(|| plain(text))
}

/// What a line says about `tag`, where the marker says that it is persisted.
pub(crate) fn says(line: &Line<'_>, marker: &Marker, tag: &str) -> Says {
    let message = line.message.trim();
    if line.level == Level::Info {
        if begins(message, &marker.before, tag).is_some_and(|rest| rest.trim_start().starts_with(&marker.after)) {
            return Says::Persisted;
        }
        if begins(message, "Downloading", tag).is_some() {
            return Says::Downloading;
        }
        if let Some(list) = message.strip_prefix("tags").map(str::trim_start).and_then(|list| list.strip_prefix('[')) {
            let mut words = list.trim_end_matches(']').split([' ', ',', '"']);
            return Says::Tags(words.any(|word| word == tag));
        }
    }
    if line.level == Level::Error && !is_of_another(message, tag) {
        return cause(message).map_or(Says::Nothing, Says::Failed);
    }
    Says::Nothing
}

/// What follows `words` and the tag in a message that begins with them.
fn begins<'m>(message: &'m str, words: &str, tag: &str) -> Option<&'m str> {
    let rest = message.strip_prefix(words).map(str::trim_start).and_then(|rest| rest.strip_prefix(tag));
    // A tag is of letters, digits, '_', '.' and '-'; a full stop that ends a sentence is none of it.
    rest.filter(|rest| {
        let mut chars = rest.chars();
        match chars.next() {
            None => true,
            Some('.') => chars.next().is_none_or(char::is_whitespace),
            Some(c) => !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-')),
        }
    })
}

/// Whether a message names versions, and ours is none of them.
fn is_of_another(message: &str, tag: &str) -> bool {
    let mut versions = message.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))).filter(|word| {
        let word = word.trim_end_matches('.');
        word == tag
            || (word.split('.').count() == 3
                && word.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit())))
    });
    match versions.next() {
        None => false,
        Some(first) => first.trim_end_matches('.') != tag && !versions.any(|word| word.trim_end_matches('.') == tag),
    }
}

/// Why, where the words are those of a registry, of TLS or of a file system that will say the same the next time.
fn cause(message: &str) -> Option<Cause> {
    let lower = message.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let number = |wanted: &str| lower.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == wanted);
    if has(&["no space left", "disk quota exceeded"]) {
        Some(Cause::NoSpace)
    } else if has(&["x509:", "certificate signed by unknown authority", "failed to verify certificate"]) {
        Some(Cause::Untrusted)
    } else if has(&["unauthorized", "authentication required"]) || number("401") {
        Some(Cause::Unauthorized)
    } else if has(&["forbidden", "access denied", "access to the resource is denied", "denied:"]) || number("403") {
        Some(Cause::Denied)
    } else if has(&[
        "manifest unknown",
        "manifest_unknown",
        "name unknown",
        "name_unknown",
        "no such repository",
        "repository not found",
    ]) || (number("404") && has(&["manifest", "repository", "tag", "registry", "/v2/"]))
    {
        Some(Cause::NotFound)
    } else {
        None
    }
}

fn level(word: &str) -> Level {
    match word.to_ascii_lowercase().get(..4).unwrap_or(word) {
        "erro" | "fata" | "pani" | "crit" => Level::Error,
        "warn" => Level::Warning,
        _ => Level::Info,
    }
}

fn json(text: &str) -> Option<Line<'_>> {
    if !text.starts_with('{') {
        return None;
    }
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).ok()?;
    let field = |names: [&str; 2]| names.iter().find_map(|name| object.get(*name)?.as_str());
    Some(Line {
        time: field(["time", "ts"]).and_then(|time| time.parse().ok()),
        level: field(["level", "severity"]).map_or(Level::Info, level),
        message: field(["msg", "message"])?.to_owned().into(),
    })
}

/// `key=value` pairs; a value is a word, or quoted as Go quotes.
fn logfmt(text: &str) -> Option<Line<'_>> {
    let mut line = Line { time: None, level: Level::Info, message: Cow::Borrowed("") };
    let mut message = None;
    let mut rest = text;
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=')?;
        if key.is_empty() || !key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-' | b'/')) {
            break;
        }
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => unquoted(quoted),
            None => {
                let (word, after) = after.split_once(' ').unwrap_or((after, ""));
                (Cow::Borrowed(word), after)
            }
        };
        match key {
            "time" => line.time = value.parse().ok(),
            "level" => line.level = level(&value),
            "msg" if message.is_none() => message = Some(value),
            // logrus tells the cause of an error in a field of this name.
            "error" | "err" if !value.is_empty() => {
                message = Some(Cow::Owned(match message {
                    Some(message) => format!("{message}: {value}"),
                    None => value.into_owned(),
                }));
            }
            _ => {}
        }
        rest = after.trim_start();
    }
    line.message = message?;
    Some(line)
}

/// A quoted value up to its closing quote, and what follows. A value that was cut off ends with the text.
fn unquoted(text: &str) -> (Cow<'_, str>, &str) {
    let mut escaped = false;
    let end = text.bytes().position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    });
    let (value, rest) = match end {
        Some(end) => (&text[..end], &text[end + 1..]),
        None => (text, ""),
    };
    if !value.contains('\\') {
        return (Cow::Borrowed(value), rest);
    }
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some(other) => out.push(other),
                None => {}
            },
            c => out.push(c),
        }
    }
    (Cow::Owned(out), rest)
}

/// Text without fields: colours are taken off, then what stands before the message: times, levels, punctuation.
fn plain(text: &str) -> Line<'_> {
    let text = if text.contains('\u{1b}') { Cow::Owned(uncoloured(text)) } else { Cow::Borrowed(text) };
    let mut grave = Level::Info;
    let mut time = None;
    let mut start = 0;
    for word in text.split_inclusive(char::is_whitespace) {
        let bare = word.trim().trim_matches(['[', ']', '(', ')', ':', '|', '-', ',']);
        // `INFO[0000]` is how logrus writes to a terminal.
        let head = bare.split('[').next().unwrap_or(bare);
        let is_level = matches!(
            head.to_ascii_lowercase().as_str(),
            "info"
                | "debug"
                | "debu"
                | "trace"
                | "trac"
                | "notice"
                | "warn"
                | "warning"
                | "error"
                | "erro"
                | "fatal"
                | "fata"
                | "panic"
                | "pani"
        );
        if is_level {
            grave = level(head);
        } else if time.is_none() && bare.parse::<Timestamp>().is_ok() {
            time = bare.parse().ok();
        } else if !(bare.is_empty() || bare.bytes().all(|b| b.is_ascii_digit() || matches!(b, b':' | b'/' | b'.' | b'-' | b',')))
        {
            break;
        }
        start += word.len();
    }
    let message = match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[start..]),
        Cow::Owned(text) => Cow::Owned(text[start..].to_owned()),
    };
    Line { time, level: grave, message }
}

/// Without the sequences that colour a terminal.
fn uncoloured(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        out.push_str(before);
        rest = after.find(|c: char| ('@'..='~').contains(&c)).map_or("", |end| &after[end + 1..]);
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Says {
        says(&read(text), &Marker::default(), "0.0.0")
    }

    #[test]
    fn reads_each_line_of_the_guide() {
        for (message, expected) in [
            ("Syncing with OCI repo", Says::Nothing),
            ("tags[4.5.13 4.5.15 0.0.0]", Says::Tags(true)),
            ("tags[4.5.13 4.5.15]", Says::Tags(false)),
            ("Downloading 0.0.0", Says::Downloading),
            ("listing dir /tmp/0.0.03808764833", Says::Nothing),
            ("filename: manifests.tgz, isDir: false", Says::Nothing),
            ("Persisting 0.0.0", Says::Persisted),
        ] {
            let text = format!(r#"time="2024-12-06T12:43:14Z" level=info msg="{message}""#);
            let line = read(&text);
            assert_eq!(line.time, Some("2024-12-06T12:43:14Z".parse().unwrap()));
            assert_eq!((line.message.as_ref(), says(&line, &Marker::default(), "0.0.0")), (message, expected));
        }
    }

    #[test]
    fn finds_the_marker_in_every_form_of_a_line() {
        for text in [
            r#"time="2024-12-06T12:43:14Z" level=info msg="Persisting 0.0.0" dir=/data"#,
            r#"level=info msg="Persisting 0.0.0." time="2024-12-06T12:43:14Z""#,
            r#"{"level":"info","msg":"Persisting 0.0.0","time":"2024-12-06T12:43:14Z"}"#,
            r#"{"severity":"INFO","message":"Persisting 0.0.0"}"#,
            "Persisting 0.0.0",
            "INFO[0012] Persisting 0.0.0",
            "\u{1b}[36mINFO\u{1b}[0m[0012] Persisting 0.0.0  ",
            "2024/12/06 12:43:14 Persisting 0.0.0",
            "2024-12-06T12:43:14Z [info] Persisting 0.0.0",
        ] {
            assert_eq!(of(text), Says::Persisted, "{text}");
        }
        assert_eq!(read("2024-12-06T12:43:14Z [info] x").time, Some("2024-12-06T12:43:14Z".parse().unwrap()));
    }

    #[test]
    fn nothing_else_is_taken_for_the_marker() {
        for text in [
            r#"level=info msg="Persisting 0.0.01""#,
            r#"level=info msg="Persisting 0.0.0-rc1""#,
            r#"level=info msg="Persisting 0.0.0.1""#,
            r#"level=info msg="Persisting 4.5.15""#,
            r#"level=info msg="not Persisting 0.0.0""#,
            r#"level=error msg="Persisting 0.0.0 failed""#,
            r#"level=warning msg="Persisting 0.0.0""#,
            r#"level=info msg="x" note="Persisting 0.0.0""#,
            r#"{"level":"error","msg":"Persisting 0.0.0"}"#,
            r#"{"msg":"x","other":"Persisting 0.0.0"}"#,
            "ERRO[0012] Persisting 0.0.0",
            "failed Persisting 0.0.0",
            "Persisting",
            "",
        ] {
            assert_ne!(of(text), Says::Persisted, "{text}");
        }
    }

    #[test]
    fn another_marker_is_matched_as_strictly() {
        for (marker, message, counts) in [
            ("synced {tag} to disk", "synced 0.0.0 to disk", true),
            ("synced {tag} to disk", "synced  0.0.0  to disk, 12 s", true),
            ("synced {tag} to disk", "synced 0.0.0 to memory", false),
            ("synced {tag} to disk", "synced 0.0.01 to disk", false),
            ("synced {tag} to disk", "Persisting 0.0.0", false),
            ("{tag} is here", "0.0.0 is here", true),
            ("tag='{tag}'", "tag='0.0.0'", true),
        ] {
            let marker: Marker = marker.parse().unwrap();
            let line = Line { time: None, level: Level::Info, message: message.into() };
            assert_eq!(says(&line, &marker, "0.0.0") == Says::Persisted, counts, "{marker:?} {message}");
        }
        assert_eq!("Persisting {tag}".parse(), Ok(Marker::default()));
        for text in ["Persisting", "", "{tag} {tag}"] {
            assert!(text.parse::<Marker>().unwrap_err().contains("must hold {tag} once"), "{text}");
        }
    }

    #[test]
    fn tells_what_passes_by_itself_from_what_does_not() {
        for (message, expected) in [
            ("Error pulling 0.0.0: 401 Unauthorized", Says::Failed(Cause::Unauthorized)),
            ("x509: certificate signed by unknown authority", Says::Failed(Cause::Untrusted)),
            ("GET https://r.example/v2/x/tags/list: DENIED: denied: no", Says::Failed(Cause::Denied)),
            ("pulling 0.0.0: MANIFEST_UNKNOWN", Says::Failed(Cause::NotFound)),
            ("GET https://r.example/v2/x/manifests/0.0.0: unexpected status 404", Says::Failed(Cause::NotFound)),
            ("persist 0.0.0: write /data/x: no space left on device", Says::Failed(Cause::NoSpace)),
            ("dial tcp 10.0.0.1:443: connect: connection refused", Says::Nothing),
            ("Error pulling 4.5.13: 401 Unauthorized", Says::Nothing),
            ("took 4012 ms", Says::Nothing),
        ] {
            assert_eq!(of(&format!(r#"level=error msg="{message}""#)), expected, "{message}");
        }
        assert_eq!(of(r#"level=error msg="cannot sync" error="x509: unknown""#), Says::Failed(Cause::Untrusted));
        assert_eq!(of(r#"level=info msg="401 Unauthorized""#), Says::Nothing);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in ".*") {
            of(&text);
        }

        #[test]
        fn any_pieces_of_a_line_are_read_without_a_panic(pieces in proptest::collection::vec("time=|level=|msg=|\"|\\\\|=| |\u{1b}\\[|\\{|é|0.0.0|Persisting", 0..24)) {
            of(&pieces.concat());
        }
    }
}
