//! Third-party crates: their origin and licence, and which ones are banned, as in `deny.toml`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;

use scar_kit::workspace;
use scar_suites::crates::{built, metadata};

/// The strings of a list in `deny.toml`: what `cargo deny` checks online is checked here offline.
fn listed(section: &str, list: &str) -> Vec<String> {
    let text = std::fs::read_to_string(workspace().join("deny.toml")).unwrap();
    let section = text.split_once(&format!("\n[{section}]\n")).unwrap().1.split("\n[").next().unwrap();
    let list = section.split_once(&format!("\n{list} = [")).unwrap().1.split(']').next().unwrap();
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The lock file's packages, each as keys and values.
fn lock() -> Vec<BTreeMap<String, String>> {
    let text = std::fs::read_to_string(workspace().join("Cargo.lock")).unwrap();
    let packages = text.split("[[package]]\n").skip(1);
    let pairs = |package: &str| {
        let lines = package.lines().filter_map(|line| line.split_once(" = "));
        lines.map(|(key, value)| (key.to_owned(), value.trim_matches('"').to_owned())).collect()
    };
    packages.map(pairs).collect()
}

/// Whether an SPDX expression is allowed, in the older spelling with `/` too: one side of each `OR`, both of each `AND`,
/// which binds tighter.
fn may_ship(expression: &str, licences: &[String]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<_> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let answer = any(&mut rest, licences);
    assert!(rest.is_empty(), "no expression of licences: {expression}");
    answer
}

fn any(words: &mut &[&str], licences: &[String]) -> bool {
    let mut answer = every(words, licences);
    while next(words, "OR") {
        answer |= every(words, licences);
    }
    answer
}

fn every(words: &mut &[&str], licences: &[String]) -> bool {
    let mut answer = one(words, licences);
    while next(words, "AND") {
        answer &= one(words, licences);
    }
    answer
}

fn one(words: &mut &[&str], licences: &[String]) -> bool {
    let may = |licence: &str| licences.iter().any(|allowed| allowed == licence);
    if next(words, "(") {
        let answer = any(words, licences);
        assert!(next(words, ")"), "a parenthesis stays open");
        return answer;
    }
    let (licence, rest) = words.split_first().expect("a licence");
    *words = rest;
    if next(words, "WITH") {
        let (exception, rest) = words.split_first().expect("an exception");
        *words = rest;
        return may(&format!("{licence} WITH {exception}"));
    }
    may(licence)
}

/// Consumes this word, if it is next.
fn next(words: &mut &[&str], word: &str) -> bool {
    let is_next = words.first() == Some(&word);
    if is_next {
        *words = &words[1..];
    }
    is_next
}

#[test]
fn an_expression_of_licences_is_read_as_spdx_means_it() {
    let licences = listed("licenses", "allow");
    for (expression, answer) in [
        ("MIT", true),
        ("GPL-3.0-only", false),
        ("GPL-3.0-only OR MIT", true),
        ("GPL-3.0-only AND MIT", false),
        ("MIT AND GPL-3.0-only OR ISC", true),
        ("MIT AND (GPL-3.0-only OR ISC)", true),
        ("(MIT OR GPL-3.0-only) AND GPL-3.0-only", false),
        ("Unlicense/MIT", true),
        ("Unlicense/LGPL-2.1", false),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("Apache-2.0 WITH Classpath-exception-2.0", false),
        ("GPL-2.0 WITH LLVM-exception OR Zlib", true),
    ] {
        assert_eq!(may_ship(expression, &licences), answer, "{expression}");
    }
}

#[test]
fn every_crate_may_be_shipped_under_its_licence() {
    let metadata = metadata();
    let others: Vec<_> = metadata.packages.iter().filter(|package| package.source.is_some()).collect();
    assert!(others.len() > 300, "{}", others.len());
    let licences = listed("licenses", "allow");
    for package in others {
        let licence = package.license.as_deref().unwrap_or_else(|| panic!("{} names no licence", package.id));
        assert!(may_ship(licence, &licences), "{}: {licence}", package.id);
    }
    assert!(metadata.workspace_packages().iter().all(|package| package.license.as_deref() == Some("Apache-2.0")));
}

#[test]
fn every_crate_is_ours_or_of_the_one_registry_with_its_checksum() {
    let lock = lock();
    assert!(lock.len() > 300, "{}", lock.len());
    let mut ours: Vec<_> = metadata().workspace_packages().iter().map(|package| package.name.to_string()).collect();
    ours.sort();
    let local = lock.iter().filter(|package| !package.contains_key("source")).map(|package| package["name"].clone());
    assert_eq!(local.collect::<Vec<_>>(), ours);
    // Only one registry: no git repository and no folder.
    let registry = &lock.iter().find(|package| package["name"] == "clap").unwrap()["source"];
    assert_eq!(*registry, format!("registry+{}", listed("sources", "allow-registry")[0]));
    for package in lock.iter().filter(|package| package.contains_key("source")) {
        assert_eq!(&package["source"], registry, "{}", package["name"]);
        assert_eq!(package["checksum"].len(), 64, "{}", package["name"]);
    }
    // No setting replaces the registry or a crate.
    let root = std::fs::read_to_string(workspace().join("Cargo.toml")).unwrap();
    assert!(!root.contains("\n[patch") && !root.contains("\n[replace") && !root.contains("git = "));
}

#[test]
fn there_is_one_tls_stack_and_one_http_client() {
    let built = built();
    let banned = listed("bans", "deny");
    assert!(banned.len() > 10, "{banned:?}");
    for banned in &banned {
        assert!(built.iter().all(|(name, _)| name != banned), "{banned} is built");
    }
    for single in ["reqwest", "rustls", "hyper", "aws-lc-rs", "aws-lc-sys", "kube-client", "tokio"] {
        let versions: Vec<_> = built.iter().filter(|(name, _)| name == single).collect();
        assert_eq!(versions.len(), 1, "{single}: {versions:?}");
    }
}
