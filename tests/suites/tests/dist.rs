//! What `shell/dist` ships and runs: the install script on an unpacked archive, and the page of licences. `shell/dist
//! --check` checks the archive itself, which takes too long for a test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use scar_kit::{Run, peer, program, workspace};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Creates an unpacked archive with these files and the install script.
fn unpacked(files: &[&str]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for name in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("the content of {name}")).unwrap();
        let mode = if name.starts_with("bin/") { 0o700 } else { 0o600 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::copy(workspace().join("shell/install"), folder.path().join("install")).unwrap();
    folder
}

fn install(folder: &Path, prefix: &Path) -> Run {
    program(folder.join("install")).arg("--prefix").arg(prefix)
}

/// Every file and folder below, by name.
fn below(folder: &Path) -> BTreeSet<PathBuf> {
    let entries = walkdir::WalkDir::new(folder).min_depth(1).into_iter().map(Result::unwrap);
    entries.map(|entry| entry.path().strip_prefix(folder).unwrap().to_owned()).collect()
}

const FILES: [&str; 3] = ["bin/ocipush", "share/man/man1/ocipush.1", "share/bash-completion/completions/ocipush"];

#[test]
fn what_install_puts_uninstall_takes_away_and_nothing_else() {
    let (folder, prefix) = (unpacked(&FILES), TempDir::new().unwrap());
    fs::create_dir_all(prefix.path().join("share/man")).unwrap();
    fs::create_dir_all(prefix.path().join("bin")).unwrap();
    fs::write(prefix.path().join("bin/another"), "").unwrap();
    let before = below(prefix.path());
    install(folder.path(), prefix.path()).run().succeeds();
    for name in FILES {
        let path = prefix.path().join(name);
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("the content of {name}"));
        let mode = if name.starts_with("bin/") { 0o755 } else { 0o644 };
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, mode, "{name}");
    }
    // The installed copy knows its prefix.
    drop(folder);
    program(prefix.path().join("share/scar-tools/install")).arg("--uninstall").run().succeeds();
    assert_eq!(below(prefix.path()), before);
}

#[test]
fn a_newer_version_takes_the_place_of_an_older_one() {
    let (old, new, prefix) = (unpacked(&FILES), unpacked(&["bin/ocipush", "share/doc/new"]), TempDir::new().unwrap());
    install(old.path(), prefix.path()).run().succeeds();
    fs::write(new.path().join("bin/ocipush"), "newer").unwrap();
    for _ in 0..2 {
        install(new.path(), prefix.path()).run().succeeds();
        assert_eq!(fs::read_to_string(prefix.path().join("bin/ocipush")).unwrap(), "newer");
        assert!(!prefix.path().join(FILES[1]).exists());
    }
    install(new.path(), prefix.path()).arg("--uninstall").run().succeeds();
    assert_eq!(below(prefix.path()), BTreeSet::new());
}

#[test]
fn install_says_where_the_tools_are_not_found_and_what_it_cannot_do() {
    let (folder, prefix) = (unpacked(&FILES), TempDir::new().unwrap());
    let bin = prefix.path().join("bin");
    install(folder.path(), prefix.path()).run().reports(&format!("install: hint: {} is not in PATH\n", bin.display()));

    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let outcome = install(folder.path(), &file.join("sub")).run();
    outcome.exits(1).says(&format!("install: error: make the folder '{}/'\n", file.join("sub").display()));
    outcome.says("install: hint: choose a folder of your own with --prefix, or run it as root\n");

    let empty = TempDir::new().unwrap();
    install(folder.path(), empty.path()).arg("--uninstall").run().exits(3).says("nothing of scar-tools is installed below");
    install(folder.path(), empty.path()).arg("--sideways").run().exits(2).says("unexpected '--sideways'");
    program(workspace().join("shell/install")).run().exits(1).says("run ./install of the folder that the archive unpacks to");
}

#[test]
fn a_licence_text_is_listed_once_and_none_may_be_unknown() {
    let crates = TempDir::new().unwrap();
    for (name, file, text) in [
        ("a-1", "LICENSE-MIT", "the words\r\nof one\r\n"),
        ("b-2", "COPYING", "the words\nof one\n"),
        ("b-2", "src/license.rs", "no licence"),
        ("b-2", "deep/NOTICE.txt", "a notice\n"),
        ("c-3", "README", "no licence"),
    ] {
        let path = crates.path().join(name).join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let line =
        |name: &str, licence: &str| format!("{}\t{licence}\t{}\n", name.replace('-', " "), crates.path().join(name).display());
    let page = |list: String| program(workspace().join("shell/licences")).stdin(list).run();
    let outcome = page([line("b-2", "MIT"), line("c-3", "Zlib OR MIT"), line("a-1", "MIT"), line("a-1", "MIT")].concat());
    let text = outcome.succeeds().stdout();
    let rule = "-".repeat(100);
    let texts: Vec<_> = text.split(&format!("\n{rule}\n")).collect();
    let [list, first, second, third] = texts[..] else { panic!("{text}") };
    let width = 44;
    assert_eq!(list, format!("{:width$} MIT\n{:width$} MIT\n{:width$} Zlib OR MIT\n", "a 1", "b 2", "c 3"));
    assert_eq!(first, "a 1: LICENSE-MIT\nb 2: COPYING\n\nthe words\nof one\n");
    assert_eq!(second, "b 2: deep/NOTICE.txt\n\na notice\n");
    assert!(third.starts_with("c 3: no file; the words of MIT") && third.contains("Permission is hereby granted"), "{third}");

    let apache = page(line("c-3", "Apache-2.0/MIT"));
    assert!(apache.succeeds().stdout().contains("Version 2.0, January 2004"));
    page(line("c-3", "Zlib")).exits(1).says("licences: error: 'c 3' carries no text, and the words of 'Zlib' are not here\n");
    page(String::new()).exits(1).says("licences: error: the list is empty\n");
}

/// The list of a binary's crates is made by jq, whose versions differ in their keywords.
#[test]
fn the_list_of_crates_has_what_was_built_and_names_the_module() {
    let Some(jq) = peer("jq") else { return };
    let script = fs::read_to_string(workspace().join("shell/dist")).unwrap();
    let filter = script.split("jq --rawfile built").nth(1).unwrap().split('\'').nth(1).unwrap();
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("built"), "tool 1\nused 2\n").unwrap();
    let list = json!({
        "metadata": {"component": {"bom-ref": "tool"}, "properties": []},
        "components": [
            {"name": "used", "version": "2", "bom-ref": "used", "purl": "file:///build/used"},
            {"name": "optional", "version": "3", "bom-ref": "optional"},
        ],
        "dependencies": [{"ref": "tool", "dependsOn": ["used", "optional"]}, {"ref": "optional"}],
    });
    let run = program(jq).args(["--rawfile", "built", "built", "--arg", "folder", "file:///build/"]);
    let outcome = run.args(["--arg", "cryptography", "AWS-LC"]).arg(filter).folder(folder.path()).stdin(list.to_string()).run();
    let made: Value = serde_json::from_slice(outcome.succeeds().stdout_bytes()).unwrap();
    assert_eq!(
        made,
        json!({
            "metadata": {
                "component": {"bom-ref": "tool"},
                "properties": [{"name": "scar-tools:cryptographic-module", "value": "AWS-LC"}]
            },
            "components": [{"name": "used", "version": "2", "bom-ref": "used", "purl": "file:///used"}],
            "dependencies": [{"ref": "tool", "dependsOn": ["used"]}],
        })
    );
}
