//! Compares `tests/FAULTS.md` with the tests: every row lists the tests that are named after it, and all listed tests exist.
#![allow(clippy::unwrap_used, clippy::expect_used)]
// An environment variable requests rewriting the page, as for the messages.
#![allow(clippy::disallowed_methods)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;
use scar_kit::workspace;

/// Every test of suites and tools, with its suite or crate.
fn tests() -> BTreeSet<(String, String)> {
    let test = Regex::new(r"#\[test\](?:\s*#\[[^\]]*\])*\s*fn (\w+)\(").unwrap();
    let mut tests = BTreeSet::new();
    for folder in ["tests/suites/tests", "tools"].map(|folder| workspace().join(folder)) {
        for file in walkdir::WalkDir::new(&folder).into_iter().map(Result::unwrap) {
            if file.path().extension().is_some_and(|extension| extension == "rs") {
                let owner = owner(file.path().strip_prefix(&folder).unwrap());
                let text = std::fs::read_to_string(file.path()).unwrap();
                tests.extend(test.captures_iter(&text).map(|found| (found[1].to_owned(), owner.clone())));
            }
        }
    }
    tests
}

/// `ocipush` for `ocipush/happy_path.rs`, `lib/http` for `lib/http/src/url.rs`.
fn owner(path: &Path) -> String {
    let mut parts = path.iter().map(|part| part.to_str().unwrap().trim_end_matches(".rs"));
    let first = parts.next().unwrap();
    if first == "lib" { format!("lib/{}", parts.next().unwrap()) } else { first.to_owned() }
}

/// The ids of the rows that a test's name begins with: `p20_…`, `b34_…`, `bad_input_7_…` and `bad_inputs_1_to_9_…`.
fn ids(test: &str) -> Vec<String> {
    static NAMED: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"^(?:([a-z]\d+)_|bad_inputs?_(\d+)_(?:(?:to|and)_(\d+)_)?)").unwrap());
    let Some(named) = NAMED.captures(test) else { return Vec::new() };
    if let Some(id) = named.get(1) {
        return vec![id.as_str().to_uppercase()];
    }
    let number = |at: usize| named.get(at).map(|number| number.as_str().parse::<u32>().unwrap());
    let first = number(2).unwrap();
    (first..=number(3).unwrap_or(first)).map(|number| format!("B{number}")).collect()
}

/// The last column of a row: the tests named after it, and listed ones that exist.
fn column(listed: &str, of_the_row: &[&(String, String)], tests: &BTreeSet<(String, String)>) -> String {
    static NAME: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"`(\w+)`").unwrap());
    let mut all: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let listed = listed.split("; ").filter_map(|part| part.split_once(": "));
    for (owner, names) in listed {
        for test in NAME.captures_iter(names).map(|found| found.get(1).unwrap().as_str()) {
            if tests.contains(&(test.to_owned(), owner.to_owned())) {
                all.entry(owner).or_default().insert(test);
            }
        }
    }
    for (test, owner) in of_the_row {
        all.entry(owner).or_default().insert(test);
    }
    let words = |(owner, tests): (&str, BTreeSet<&str>)| {
        format!("{owner}: {}", tests.iter().map(|test| format!("`{test}`")).collect::<Vec<_>>().join(", "))
    };
    let all: Vec<_> = all.into_iter().map(words).collect();
    if all.is_empty() { "open".to_owned() } else { all.join("; ") }
}

/// `SCAR_FAULTS=write` updates the last columns.
#[test]
fn every_row_lists_its_tests_and_every_test_that_is_named_after_a_row_has_one() {
    let (path, tests) = (workspace().join("tests/FAULTS.md"), tests());
    let page = std::fs::read_to_string(&path).unwrap();
    let row = Regex::new(r"^(\| ([A-Z]\d+) \|.*\| )(.*) \|$").unwrap();
    let mut by_row: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for test in &tests {
        ids(&test.0).into_iter().for_each(|id| by_row.entry(id).or_default().push(test));
    }
    let mut expected = String::new();
    for line in page.lines() {
        match row.captures(line) {
            None => expected.push_str(line),
            Some(row) => {
                let of_the_row = by_row.remove(&row[2]).unwrap_or_default();
                expected.push_str(&format!("{}{} |", &row[1], column(&row[3], &of_the_row, &tests)));
            }
        }
        expected.push('\n');
    }
    assert_eq!(by_row.into_keys().collect::<Vec<_>>(), [""; 0], "tests that are named after no row");
    if std::env::var("SCAR_FAULTS").is_ok_and(|value| value == "write") {
        std::fs::write(&path, &expected).unwrap();
    } else {
        let first = page.lines().zip(expected.lines()).find(|(is, ought)| is != ought);
        assert_eq!(first, None, "another row than the tests make it; SCAR_FAULTS=write takes them in");
    }
}
