//! The output of a run: a listing, a plan, progress, or nothing.

use std::fs;
use std::os::unix::fs::symlink;

use scar_kit::{peer, program, tool};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{in_folder, noise, tree};

#[test]
fn verbose_lists_what_tar_lists() {
    let tree = tree();
    fs::write(tree.path().join("new\nline\\\u{1b} é"), "").unwrap();
    let Some(tar) = peer("tar") else { return };
    let out = TempDir::new().unwrap();
    let ours = tool("mkmanifests").arg("-v").arg(tree.path()).folder(out.path()).run();
    let theirs = program(tar).args(["-tf", "manifests.tgz"]).folder(out.path()).run();
    let listed: Vec<String> = ours.succeeds().stderr().lines().filter(|l| l.starts_with("./")).map(String::from).collect();
    assert_eq!(listed, theirs.succeeds().stdout().lines().collect::<Vec<_>>());
    assert!(listed.contains(&"./new\\nline\\\\\\033 é".to_owned()), "{listed:?}");
}

#[test]
fn quiet_says_nothing_of_lost_links() {
    let tree = tree();
    symlink("/nowhere", tree.path().join("lost")).unwrap();
    tool("mkmanifests").args(["-q", "-o", "-"]).arg(tree.path()).run().succeeds().quiet();
}

#[test]
fn a_dry_run_says_what_it_would_do_and_does_nothing() {
    let (tree, out) = (tree(), TempDir::new().unwrap());
    let outcome = tool("mkmanifests").arg("--dry-run").arg(tree.path()).folder(out.path()).run();
    let (from, to) = (tree.path().canonicalize().unwrap(), out.path().canonicalize().unwrap());
    let line = format!(
        "mkmanifests: would pack 3 files (13 bytes), 4 directories and 1 links of '{}' into '{}/manifests.tgz'\n",
        from.display(),
        to.display()
    );
    outcome.succeeds().reports(&line);
    assert_eq!(outcome.json(), json!({"record": "scar-tools/1", "dry_run": true}));
    assert!(in_folder(out.path()).is_empty());
    let record = json!({"record": "scar-tools/1", "dry_run": true});
    let outcome = tool("mkmanifests").arg(tree.path()).folder(out.path()).record(&record).run();
    assert_eq!(outcome.succeeds().reports(&line).json(), record);
    tool("mkmanifests").arg(tree.path()).args(["-o", "-"]).record(&record).run().succeeds().writes_nothing();
}

#[test]
fn progress_on_a_terminal_shows_entries_and_bytes_and_leaves_nothing() {
    let (tree, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    fs::write(tree.path().join("large"), noise(16 << 20, 7)).unwrap();
    let outcome = tool("mkmanifests").arg(tree.path()).folder(out.path()).stderr_terminal().terminal(100).run();
    outcome.succeeds();
    let screen = outcome.screen();
    assert!(screen.contains("packing [") && screen.contains("/16.00 MiB"), "{screen}");
    assert!(screen.ends_with("\u{1b}[2K") || screen.trim_end().ends_with("\u{1b}[2K"), "the last line is cleared: {screen:?}");
}

#[test]
fn the_examples_of_the_page_work() {
    let (tree, out) = (tree(), TempDir::new().unwrap());
    let script = format!("mkmanifests --exclude '*.log' -o '{}/m.tgz' '{}'", out.path().display(), tree.path().display());
    let record: Value = scar_kit::bash(&script).run().succeeds().json();
    assert_eq!(record["archive"]["files"], 3);
}
