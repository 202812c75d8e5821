//! What a line of Specman's log says about the tag.
//!
//! Specman logs with logrus: `time="…" level=info msg="Persisting 0.0.0"` (guide, step 9). JSON lines and logrus's terminal
//! format are parsed too. Only a line with the level info can be the marker; a line that cannot be parsed says nothing.

use std::borrow::Cow;

use jiff::Timestamp;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message<'t> {
    /// Specman's own timestamp.
    pub(crate) time: Option<Timestamp>,
    pub(crate) level: Level,
    /// The message, with the text of the error field, if there is one.
    pub(crate) message: Cow<'t, str>,
}

/// The level of a line: only these three differ here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// `info` without an error field.
    Info,
    /// `error` or worse, or a line with an error field.
    Error,
    /// Any other level, or none.
    Other,
}

/// What a line says about the tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Statement {
    /// The marker: the tag is persisted.
    Persisted,
    /// Specman is fetching the tag.
    Downloading,
    /// The list of tags that Specman sees, and whether it contains ours.
    Tags(bool),
    /// Something failed.
    Failed {
        /// The cause, if the message names one that does not pass by itself.
        cause: Option<Cause>,
        /// Whether the line names the tag.
        names_tag: bool,
    },
    /// Nothing about the tag.
    Nothing,
}

/// Why Specman cannot fetch the tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The registry rejects its credentials.
    Unauthorized,
    /// It has no permission to read.
    Denied,
    /// It does not trust the registry's certificate.
    Untrusted,
    /// The repository or the tag does not exist.
    NotFound,
    /// Its volume is full.
    NoSpace,
}

/// The text of the marker, as typed, with a placeholder for the tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Marker(String);

/// The placeholder for the tag.
const PLACEHOLDER: &str = "{tag}";

impl Default for Marker {
    /// The guide's text (step 9).
    fn default() -> Self {
        Self(format!("Persisting {PLACEHOLDER}"))
    }
}

impl std::str::FromStr for Marker {
    type Err = String;

    /// Requires the placeholder, because a text without the tag would accept another tag's line.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.matches(PLACEHOLDER).count() {
            1 => Ok(Self(text.trim().to_owned())),
            _ => Err(format!("'{text}' must contain {PLACEHOLDER} once, as 'Persisting {PLACEHOLDER}' does")),
        }
    }
}

/// The messages about one tag.
#[derive(Debug)]
pub(crate) struct Wording {
    tag: String,
    persisted: String,
    downloading: String,
}

impl Wording {
    pub(crate) fn new(marker: &Marker, tag: &str) -> Self {
        Self { tag: tag.to_owned(), persisted: marker.0.replace(PLACEHOLDER, tag), downloading: format!("Downloading {tag}") }
    }

    /// Interprets a line. The marker must be the whole message: `Persisting 0.0.0 failed` is not it.
    pub(crate) fn says(&self, line: &Message<'_>) -> Statement {
        let message = line.message.trim();
        match line.level {
            // The whole message, on an info line without an error field: "Persisting 0.0.0 failed: no space left" contains the
            // marker, and so does an error that quotes it.
            Level::Info if message == self.persisted => Statement::Persisted,
            Level::Info if message == self.downloading => Statement::Downloading,
            // Go prints a list so: `tags[4.5.13 4.5.15 0.0.0]` (guide, step 9).
            Level::Info => match message.strip_prefix("tags").map(str::trim_start).and_then(|list| list.strip_prefix('[')) {
                Some(list) => Statement::Tags(list.trim_end_matches(']').split([' ', ',', '"']).any(|word| word == self.tag)),
                None => Statement::Nothing,
            },
            Level::Error => self.failure(message),
            Level::Other => Statement::Nothing,
        }
    }

    /// Interprets an error line. One that names only other versions is not about our tag.
    fn failure(&self, message: &str) -> Statement {
        // Specman syncs every tag of the repository (guide, step 9), so an error about 4.5.13 says nothing about 0.0.0.
        let is_version = |word: &&str| {
            let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            word.split('.').count() == 3 && word.split('.').all(is_number)
        };
        let is_tag = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let mut words = message.split(|c| !is_tag(c)).map(|word| word.trim_end_matches('.'));
        let names_tag = words.clone().any(|word| word == self.tag);
        let cause = cause(message);
        match !names_tag && (cause.is_none() || words.any(|word| is_version(&word))) {
            true => Statement::Nothing,
            false => Statement::Failed { cause, names_tag },
        }
    }
}

pub(crate) fn read(text: &str) -> Message<'_> {
    let text = text.trim();
    json(text).or_else(|| logfmt(text)).unwrap_or_else(|| plain(text))
}

/// The cause, if the message is that of a registry, of TLS or of a file system, and would be the same next time.
fn cause(message: &str) -> Option<Cause> {
    let lower = message.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let number = |wanted: &str| lower.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == wanted);
    let absent =
        ["manifest unknown", "manifest_unknown", "name unknown", "name_unknown", "no such repository", "repository not found"];
    // Texts of Go's crypto/x509, crypto/tls and syscall, and of registries' error codes (distribution
    // registry/api/errcode/register.go): Specman itself documents none. What is not recognized only costs time, since the wait
    // then goes on.
    if has(&["no space left", "disk quota exceeded"]) {
        Some(Cause::NoSpace)
    } else if has(&["x509:", "certificate signed by unknown authority", "failed to verify certificate"]) {
        Some(Cause::Untrusted)
    } else if has(&["unauthorized", "authentication required"]) || number("401") {
        Some(Cause::Unauthorized)
    } else if has(&["forbidden", "access denied", "access to the resource is denied", "denied:"]) || number("403") {
        Some(Cause::Denied)
    } else if has(&absent) || number("404") && has(&["manifest", "repository", "tag", "registry", "/v2/"]) {
        Some(Cause::NotFound)
    } else {
        None
    }
}

/// The level that a word names, in full or in logrus's first four letters (logrus text_formatter.go, printColored); `None` for
/// any other word.
fn level(word: &str) -> Option<Level> {
    let lower = word.to_ascii_lowercase();
    match lower.as_str() {
        "info" => Some(Level::Info),
        "err" | "erro" | "error" | "fata" | "fatal" | "pani" | "panic" | "dpanic" | "crit" | "critical" | "alert" | "emerg" => {
            Some(Level::Error)
        }
        "debu" | "debug" | "trac" | "trace" | "notice" | "warn" | "warning" => Some(Level::Other),
        _ => None,
    }
}

/// Builds a line from its fields. An error field makes it an error, whatever its level.
fn from_fields<'t>(
    time: Option<Timestamp>,
    level: Option<Level>,
    message: Cow<'t, str>,
    error: Option<Cow<'t, str>>,
) -> Message<'t> {
    match error.filter(|error| !error.is_empty()) {
        Some(error) => Message { time, level: Level::Error, message: format!("{message}: {error}").into() },
        // A line without a level cannot be the marker: what writes it is not Specman's logger (FAULTS Q3).
        None => Message { time, level: level.unwrap_or(Level::Other), message },
    }
}

fn json(text: &str) -> Option<Message<'_>> {
    if !text.starts_with('{') {
        return None;
    }
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).ok()?;
    // The names of logrus's JSON formatter (logrus json_formatter.go), and those of zap and of Google's logging.
    let field = |names: [&str; 2]| names.iter().find_map(|name| object.get(*name)).filter(|value| !value.is_null());
    let text = |names| field(names).and_then(|value| value.as_str());
    let error = field(["error", "err"]).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    Some(from_fields(
        text(["time", "ts"]).and_then(|time| time.parse().ok()),
        text(["level", "severity"]).and_then(level),
        text(["msg", "message"])?.to_owned().into(),
        error.map(Cow::Owned),
    ))
}

/// Parses `key=value` pairs; a value is a word, or quoted as in Go.
fn logfmt(text: &str) -> Option<Message<'_>> {
    let (mut time, mut severity, mut message, mut error) = (None, None, None, None);
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
            "time" => time = value.parse().ok(),
            "level" => severity = level(&value),
            "msg" if message.is_none() => message = Some(value),
            // logrus puts the cause into this field (logrus entry.go, WithError).
            "error" | "err" => error = Some(value),
            _ => {}
        }
        rest = after.trim_start();
    }
    Some(from_fields(time, severity, message?, error))
}

/// A quoted value up to its closing quote, and the rest. A truncated value ends with the text.
fn unquoted(text: &str) -> (Cow<'_, str>, &str) {
    // logrus quotes a value as Go's %q does (logrus text_formatter.go, `appendValue`). %q has more escapes, but for characters
    // that no tag has.
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

/// Parses text without fields: removes colours, then everything before the message: times, levels, punctuation.
fn plain(text: &str) -> Message<'_> {
    let text = if text.contains('\u{1b}') { Cow::Owned(uncoloured(text)) } else { Cow::Borrowed(text) };
    let (mut time, mut severity, mut start) = (None, None, 0);
    for word in text.split_inclusive(char::is_whitespace) {
        let bare = word.trim().trim_matches(['[', ']', '(', ')', ':', '|', '-', ',']);
        // logrus writes `INFO[0000]` to a terminal (logrus text_formatter.go, printColored).
        let found = level(bare.split('[').next().unwrap_or(bare));
        let is_punctuation = bare.bytes().all(|b| b.is_ascii_digit() || matches!(b, b':' | b'/' | b'.' | b'-' | b','));
        if found.is_some() {
            severity = found;
        } else if time.is_none() && bare.parse::<Timestamp>().is_ok() {
            time = bare.parse().ok();
        } else if !is_punctuation {
            break;
        }
        start += word.len();
    }
    let message = match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[start..]),
        Cow::Owned(text) => Cow::Owned(text[start..].to_owned()),
    };
    from_fields(time, severity, message, None)
}

/// Removes the escape sequences for colours.
fn uncoloured(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        out.push_str(before);
        // A control sequence ends with a byte from `@` to `~` (ECMA-48, 5.4), whatever it does.
        rest = after.find(|c: char| ('@'..='~').contains(&c)).map_or("", |end| &after[end + 1..]);
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Statement {
        Wording::new(&Marker::default(), "0.0.0").says(&read(text))
    }

    fn failed(cause: Cause) -> Statement {
        Statement::Failed { cause: Some(cause), names_tag: false }
    }

    #[test]
    fn reads_each_line_of_the_guide() {
        for (message, expected) in [
            ("Syncing with OCI repo", Statement::Nothing),
            ("tags[4.5.13 4.5.15 0.0.0]", Statement::Tags(true)),
            ("tags[4.5.13 4.5.15]", Statement::Tags(false)),
            ("Downloading 0.0.0", Statement::Downloading),
            ("listing dir /tmp/0.03808764833", Statement::Nothing),
            ("filename: manifests.tgz, isDir: false", Statement::Nothing),
            ("Persisting 0.0.0", Statement::Persisted),
        ] {
            let text = format!(r#"time="2024-12-06T12:43:14Z" level=info msg="{message}""#);
            let line = read(&text);
            assert_eq!(line.time, Some("2024-12-06T12:43:14Z".parse().unwrap()));
            assert_eq!((line.message.as_ref(), of(&text)), (message, expected));
        }
    }

    #[test]
    fn finds_the_marker_in_every_form_of_a_line() {
        for text in [
            r#"time="2024-12-06T12:43:14Z" level=info msg="Persisting 0.0.0" dir=/data"#,
            r#"level=info msg="Persisting 0.0.0" time="2024-12-06T12:43:14Z" error="""#,
            r#"{"level":"info","msg":"Persisting 0.0.0","time":"2024-12-06T12:43:14Z"}"#,
            r#"{"severity":"INFO","message":"Persisting 0.0.0","error":null}"#,
            "INFO[0012] Persisting 0.0.0",
            "\u{1b}[36mINFO\u{1b}[0m[0012] Persisting 0.0.0  ",
            "2024-12-06T12:43:14Z [info] Persisting 0.0.0",
        ] {
            assert_eq!(of(text), Statement::Persisted, "{text}");
        }
        assert_eq!(read("2024-12-06T12:43:14Z [info] x").time, Some("2024-12-06T12:43:14Z".parse().unwrap()));
    }

    #[test]
    fn nothing_else_is_taken_for_the_marker() {
        for text in [
            r#"level=info msg="Persisting 0.0.01""#,
            r#"level=info msg="Persisting 0.0.0.""#,
            r#"level=info msg="not Persisting 0.0.0""#,
            r#"level=warning msg="Persisting 0.0.0""#,
            r#"level=info msg="x" note="Persisting 0.0.0""#,
            r#"level=info msg="Persisting 0.0.0" err=EIO"#,
            r#"{"level":"info","msg":"Persisting 0.0.0","error":{"code":28}}"#,
            r#"{"msg":"Persisting 0.0.0"}"#,
            "ERRO[0012] Persisting 0.0.0",
            "2024/12/06 12:43:14 Persisting 0.0.0",
            "Persisting 0.0.0",
            "Persisting",
            "",
        ] {
            assert_ne!(of(text), Statement::Persisted, "{text}");
        }
    }

    #[test]
    fn another_marker_is_matched_as_strictly() {
        for (marker, message, counts) in [
            ("synced {tag} to disk", "synced 0.0.0 to disk", true),
            ("synced {tag} to disk", "synced 0.0.0 to disk, not all", false),
            ("synced {tag} to disk", "Persisting 0.0.0", false),
            (" tag='{tag}'", "tag='0.0.0'", true),
        ] {
            let wording = Wording::new(&marker.parse().unwrap(), "0.0.0");
            let line = Message { time: None, level: Level::Info, message: message.into() };
            assert_eq!(wording.says(&line) == Statement::Persisted, counts, "{marker} {message}");
        }
        assert_eq!("Persisting {tag}".parse(), Ok(Marker::default()));
        for text in ["Persisting", "", "{tag} {tag}"] {
            assert!(text.parse::<Marker>().unwrap_err().contains("must contain {tag} once"), "{text}");
        }
    }

    #[test]
    fn distinguishes_what_passes_by_itself_from_what_does_not() {
        let ours = |cause| Statement::Failed { cause, names_tag: true };
        for (message, expected) in [
            ("Error pulling 0.0.0: 401 Unauthorized", ours(Some(Cause::Unauthorized))),
            ("x509: certificate signed by unknown authority", failed(Cause::Untrusted)),
            ("GET https://r.example/v2/x/tags/list: DENIED: denied: no", failed(Cause::Denied)),
            ("pulling 0.0.0: MANIFEST_UNKNOWN", ours(Some(Cause::NotFound))),
            ("GET https://r.example/v2/x/manifests/0.0.0: unexpected status 404", ours(Some(Cause::NotFound))),
            ("persist 0.0.0: write /data/x: no space left on device", ours(Some(Cause::NoSpace))),
            ("failed to persist 0.0.0: input/output error", ours(None)),
            ("dial tcp 10.0.0.1:443: connect: connection refused", Statement::Nothing),
            ("Error pulling 4.5.13: 401 Unauthorized", Statement::Nothing),
            ("took 4012 ms", Statement::Nothing),
        ] {
            assert_eq!(of(&format!(r#"level=error msg="{message}""#)), expected, "{message}");
        }
        assert_eq!(of(r#"level=error msg="cannot sync" error="x509: unknown""#), failed(Cause::Untrusted));
        assert_eq!(of(r#"level=info msg="401 Unauthorized""#), Statement::Nothing);
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
