//! Runs every command in the pages and the README exactly as printed, with bash against a site.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod rig;
mod snippets;
mod table;

use std::time::Duration;

use rig::Rig;
use scar_kit::{binaries, peer, program, workspace};
use snippets::{Snippet, of_help, of_markdown, of_page};

/// Two tests for each tool, for its page and its help; one for each other page; and the list of all pages.
macro_rules! pages {
    ($($test:ident $page:literal $($help:literal)?)*) => {
        const PAGES: &[&str] = &[$($page),*];
        $(mod $test {
            #[test]
            fn page() {
                super::examples_of($page);
            }
            $(#[test]
            fn help() {
                super::examples_of_help($help);
            })?
        })*
    };
}

pages! {
    ecr_password "ecr-password.1" "ecr-password"
    mkmanifests "mkmanifests.1" "mkmanifests"
    ocipush "ocipush.1" "ocipush"
    pack_registry_set "pack-registry-set.1" "pack-registry-set"
    scar_get "scar-get.1" "scar-get"
    scar_migrate "scar-migrate.1"
    scar_preflight "scar-preflight.1" "scar-preflight"
    scar_record "scar-record.5"
    scar_secret_rm "scar-secret-rm.1" "scar-secret-rm"
    scar_set "scar-set.1" "scar-set"
    scar_tools "scar-tools.7"
    specman_verify "specman-verify.1" "specman-verify"
    specman_wait "specman-wait.1" "specman-wait"
    vertex_login "vertex-login.1" "vertex-login"
}

#[test]
fn every_page_is_among_them() {
    let mut there: Vec<_> = std::fs::read_dir(workspace().join("man"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    there.retain(|name| !name.ends_with(".json"));
    there.sort();
    assert_eq!(there, PAGES);
}

/// In sections 1 and 5 each example has a new site. In section 7 each subsection runs in order on one site.
fn examples_of(page: &str) {
    let Some(mandoc) = peer("mandoc") else { return };
    let is_suite = page.ends_with(".7");
    let mut snippets = of_page(&mandoc, page);
    snippets.retain(|snippet| snippet.place.0 == "EXAMPLES" || is_suite && snippet.place.0 != "DIAGNOSTICS");
    assert!(!snippets.is_empty(), "{page} shows no command");
    for (stale, text) in table::NOT_RUN.into_iter().chain(table::SHOWN) {
        assert!(stale != page || snippets.iter().any(|snippet| snippet.text.starts_with(text)), "{page} lost: {text}");
    }
    for (stale, text, _) in table::BEFORE {
        assert!(stale != page || snippets.iter().any(|snippet| snippet.text.starts_with(text)), "{page} lost: {text}");
    }
    let mut settings = None;
    let mut walk: Option<((String, String), Rig)> = None;
    for snippet in snippets {
        if table::SHOWN.iter().any(|(of, text)| *of == page && snippet.text.starts_with(text)) {
            continue;
        }
        if table::NOT_RUN.contains(&(page, &snippet.text)) {
            continue;
        }
        if snippet.is_settings() {
            settings = Some(snippet);
            continue;
        }
        if !is_suite || walk.as_ref().is_none_or(|(place, _)| *place != snippet.place) {
            walk = Some((snippet.place.clone(), Rig::new()));
        }
        let (_, rig) = walk.as_ref().unwrap();
        if let Some(file) = file_of_settings(&snippet)
            && let Some(settings) = &settings
        {
            rig.settings(&file, &settings.text);
        }
        rig.example(&snippet.text, before(page, &snippet));
    }
}

/// The examples of a tool's `--help`, each on a new site.
fn examples_of_help(name: &str) {
    let snippets = of_help(name);
    assert!(snippets.len() >= 2, "{name}: {snippets:?}");
    for snippet in snippets {
        Rig::new().example(&snippet.text, before(&format!("{name}.1"), &snippet));
    }
}

/// The commands that prepare the site for the example.
fn before(page: &str, snippet: &Snippet) -> Option<&'static str> {
    let found = table::BEFORE.iter().find(|(of, text, _)| *of == page && snippet.text.starts_with(text));
    found.map(|(_, _, script)| *script)
}

/// The file after `scar-migrate -c`.
fn file_of_settings(snippet: &Snippet) -> Option<String> {
    let after = snippet.text.split_once("scar-migrate -c ")?.1;
    after.split_whitespace().next().map(str::to_owned)
}

#[test]
fn readme() {
    let gate = std::fs::read_to_string(workspace().join(".ci/run")).unwrap();
    assert!(gate.lines().last().unwrap().ends_with("/../shell/test\""), "{gate}");
    let snippets = of_markdown("README.md");
    assert!(snippets.len() >= 3, "{snippets:?}");
    for (place, text, _) in table::HELD_ELSEWHERE {
        let there = |snippet: &Snippet| snippet.place.0 == place && snippet.text.starts_with(text);
        assert!(snippets.iter().any(there), "README.md lost: {text}");
    }
    for snippet in snippets {
        let elsewhere = |(place, text, _): &(&str, &str, &str)| snippet.place.0 == *place && snippet.text.starts_with(text);
        if !table::HELD_ELSEWHERE.iter().any(elsewhere) {
            Rig::new().example(&snippet.text, None);
        }
    }
}

/// The words of the last lines. Words with a digit or `/tmp/` differ between runs (ports, times, digests, files) and become
/// N.
fn end_of(text: &str, lines: usize) -> Vec<String> {
    let varies = |word: &str| word.contains(|c: char| c.is_ascii_digit()) || word.contains("/tmp/");
    let word = |word: &str| if varies(word) { "N".to_owned() } else { word.to_owned() };
    let line = |line: &str| line.split_whitespace().map(word).collect::<Vec<_>>().join(" ");
    let all: Vec<_> = text.trim_end().lines().map(line).collect();
    all[all.len().saturating_sub(lines)..].to_vec()
}

/// `SCAR_MESSAGES=write` updates the README with a rehearsal's output.
#[test]
#[allow(clippy::disallowed_methods)]
fn the_readme_shows_how_a_rehearsal_ends() {
    for name in ["curl", "docker-registry"] {
        let Some(_) = peer(name) else { return };
    }
    let path = workspace().join("README.md");
    let readme = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = readme.split_once("\n```text\n").unwrap();
    let (shown, after) = rest.split_once("\n```\n").unwrap();
    // Both streams as a terminal shows them.
    let run = program("bash").args(["-c", "exec \"$0\" 2>&1"]).arg(workspace().join("shell/rehearse"));
    let outcome = run.env("SCAR_TOOLS_BIN", binaries()).timeout(Duration::from_secs(180)).run();
    let text = outcome.succeeds().stdout().replace(&format!("{}/", workspace().display()), "");
    if std::env::var_os("SCAR_MESSAGES").is_some_and(|value| value == "write") {
        let lines: Vec<_> = text.trim_end().lines().collect();
        let last = lines[lines.len() - 20..].join("\n");
        std::fs::write(path, format!("{before}\n```text\n{last}\n```\n{after}")).unwrap();
    } else {
        assert_eq!(end_of(&text, 20), end_of(shown, 20), "{outcome}");
        assert_eq!(shown.lines().count(), 20);
    }
}
