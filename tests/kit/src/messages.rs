//! The wording of failures, frozen: what a tool says last, error and hint, in every test that is named by a fault or an
//! input, stands in `tests/suites/messages/SUITE.txt`, and a run that says something else fails.
//!
//! `SCAR_MESSAGES=write cargo test …` takes what is said into the file, for a person to read in the change.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::PathBuf;
use std::sync::LazyLock;

use regex::Regex;
use rustix::fs::{FlockOperation, flock};

use crate::workspace;

/// What differs from run to run, and what stands in its place.
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
        // How a connection ends is a race, and why a name is not found is the host's affair.
        (r"connection reset by peer|broken pipe|connection closed before message completed|unexpected end of file", "[CUT]"),
        (r"failed to lookup address information: [a-z ]+", "[LOOKUP]"),
    ]
    .into_iter()
    .map(|(pattern, name)| (Regex::new(pattern).unwrap(), name))
    .collect()
});

/// Characters of a line that are kept: what a remote side says may be long.
const LONGEST: usize = 1000;

/// Whether a test's name begins with a fault's id, such as `p12_`, or tells of an input.
static NAMED: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(?:^|::)(?:[a-z]\d+_|(?:bad_)?input)").unwrap());

/// Claims that the test under way is known to end a run with these words.
///
/// # Panics
/// Where the file of the suite has them not, unless they are to be written.
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
        "'{test}' ends with words that {} has not; where they are meant: SCAR_MESSAGES=write\n{said}",
        file.path.display()
    );
    file.known.entry(test.to_owned()).or_default().insert(said);
    file.write();
}

/// A line that a person can still read.
fn cut(line: &str) -> String {
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}[…]", &line[..end]),
        None => line.to_owned(),
    }
}

/// The messages of a suite, its file locked.
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
