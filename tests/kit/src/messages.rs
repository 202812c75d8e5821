//! Snapshots of messages: the errors and hints of every test that is named after a fault or an input are in
//! `tests/suites/messages/SUITE.txt`; other messages fail the test.
//!
//! `SCAR_MESSAGES=write cargo test …` writes the file; review the change.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::PathBuf;
use std::sync::LazyLock;

use regex::Regex;
use rustix::fs::{FlockOperation, flock};

use crate::workspace;

/// What differs between runs, with its placeholder.
static PLACEHOLDERS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    let temporary = format!("{}/[^/'\" :]+", regex::escape(std::env::temp_dir().to_str().unwrap()));
    [
        (r"\b(?:[0-9A-F]{2}:){31}[0-9A-F]{2}\b", "[FINGERPRINT]"),
        (r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "[UUID]"),
        (r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)", "[TIME]"),
        (r"\b\d{4}-\d\d-\d\d(?: \d\d:\d\d(?::\d\d)?(?: ?UTC)?)?", "[DATE]"),
        (r"\b\d{8}T\d{6}Z(?:-\d+)?", "[STAMP]"),
        (&temporary, "[TMP]"),
        (r"(127\.0\.0\.\d+|\[::1\]|localhost):\d+", "$1:[PORT]"),
        (r"\b[0-9a-f]{12,}\b", "[HEX]"),
        (r"\b\d+(?:\.\d+)? ?(ms|s|m|h|KiB|MiB|GiB|bytes|seconds|minutes)\b", "[N] $1"),
        (r"\b(process|attempt|try|tries|port|replica|line|after|of) \d+", "$1 [N]"),
        (r"\b\d{4,}\b", "[N]"),
        // How a connection ends is a race, and the reason of a failed lookup depends on the host.
        (r"connection reset by peer|broken pipe|connection closed before message completed|unexpected end of file", "[CUT]"),
        (r"failed to lookup address information: [a-z ]+", "[LOOKUP]"),
    ]
    .into_iter()
    .map(|(pattern, name)| (Regex::new(pattern).unwrap(), name))
    .collect()
});

/// The longest line that is kept; a peer's message may be long.
const LONGEST: usize = 1000;

/// Whether a test's name begins with a fault's id, such as `p12_`, or names an input.
static NAMED: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(?:^|::)(?:[a-z]\d+_|(?:bad_)?input)").unwrap());

/// Asserts that the current test is known to end a run with these messages.
///
/// # Panics
/// If the suite's file does not have them, unless they are to be written.
#[track_caller]
pub(crate) fn check(stderr: &str) {
    let thread = std::thread::current();
    let Some(test) = thread.name().filter(|name| NAMED.is_match(name)) else { return };
    let last: Vec<_> = stderr.lines().filter(|line| line.contains(": error: ") || line.contains(": hint: ")).collect();
    if last.is_empty() {
        return;
    }
    let said: String =
        PLACEHOLDERS.iter().fold(last.join("\n"), |text, (pattern, name)| pattern.replace_all(&text, *name).into_owned());
    let said = said.lines().map(cut).collect::<Vec<_>>().join("\n");
    let mut file = Messages::open();
    if file.known.get(test).is_some_and(|known| known.contains(&said)) {
        return;
    }
    assert!(
        std::env::var("SCAR_MESSAGES").is_ok_and(|value| value == "write"),
        "'{test}' prints messages that are not in {}; if they are right, run it with SCAR_MESSAGES=write\n{said}",
        file.path.display()
    );
    file.known.entry(test.to_owned()).or_default().insert(said);
    file.write();
}

/// Shortens a line.
fn cut(line: &str) -> String {
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}[…]", &line[..end]),
        None => line.to_owned(),
    }
}

/// The messages of a suite, with its file locked.
struct Messages {
    path: PathBuf,
    file: File,
    known: BTreeMap<String, BTreeSet<String>>,
}

impl Messages {
    fn open() -> Self {
        let program = std::env::current_exe().unwrap();
        let name = program.file_name().unwrap().to_str().unwrap();
        let suite = name.rsplit_once('-').map_or(name, |(suite, _)| suite);
        let folder = workspace().join("tests/suites/messages");
        let path = folder.join(format!("{suite}.txt"));
        let write = std::env::var_os("SCAR_MESSAGES").is_some();
        if write {
            std::fs::create_dir_all(&folder).unwrap();
        }
        let mut text = String::new();
        let file = File::options().read(true).write(write).create(write).truncate(false).open(&path);
        let mut file = file.unwrap_or_else(|error| panic!("{}: {error}; SCAR_MESSAGES=write makes it", path.display()));
        flock(&file, if write { FlockOperation::LockExclusive } else { FlockOperation::LockShared }).unwrap();
        file.read_to_string(&mut text).unwrap();
        let sections = text.split("## ").skip(1).map(|section| {
            let (test, said) = section.split_once('\n').unwrap();
            (test.to_owned(), said.trim().split("\n\n").map(str::to_owned).collect())
        });
        Self { known: sections.collect(), path, file }
    }

    fn write(&mut self) {
        let mut text = String::new();
        for (test, said) in &self.known {
            let said: Vec<_> = said.iter().map(String::as_str).collect();
            text.push_str(&format!("## {test}\n{}\n\n", said.join("\n\n")));
        }
        self.file.set_len(0).and_then(|()| self.file.rewind()).unwrap();
        self.file.write_all(text.trim_end().as_bytes()).and_then(|()| self.file.write_all(b"\n")).unwrap();
    }
}
