//! Links (dead, looping and followed) and special files.

use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use scar_kit::tool;
use tempfile::TempDir;

use crate::{fifo, in_folder, names, tree};

#[test]
fn m5_links_are_stored_as_links_and_lost_ones_are_named() {
    let (tree, outside, out) = (tree(), TempDir::new().unwrap(), TempDir::new().unwrap());
    fs::write(outside.path().join("secret"), "outside").unwrap();
    let link = |target: &Path, name: &str| symlink(target, tree.path().join(name)).unwrap();
    link(outside.path(), "absolute");
    link(Path::new("../../etc/passwd"), "escape");
    link(Path::new("gone"), "dangling");
    link(Path::new("loop"), "loop");
    link(Path::new(".."), "roar/up");
    link("x/".repeat(200).as_ref(), "long");
    let run = || tool("mkmanifests").arg(tree.path()).folder(out.path()).called(outside.path().display(), "[OUT]");
    let long = "x/".repeat(200);
    let lost = |link: &str, target: &str, why: &str| {
        format!("mkmanifests: warning: link './{link}' -> '{target}': its target {why}, Specman will not have it\n")
    };
    let warnings = lost("absolute", "[OUT]", "is an absolute path")
        + &lost("dangling", "gone", "does not exist")
        + &lost("escape", "../../etc/passwd", "lies outside of the tree")
        + &lost("long", &long, "does not exist")
        + &lost("loop", "loop", "is a loop of links");
    let outcome = run().run();
    outcome.succeeds().reports(&warnings);
    assert_eq!(outcome.json()["archive"]["links"], 7);
    let bytes = fs::read(out.path().join("manifests.tgz")).unwrap();
    let mut archive = tar::Archive::new(flate2::bufread::GzDecoder::new(&bytes[..]));
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        if let Some(target) = entry.link_name_bytes().map(|target| target.into_owned()) {
            let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
            let real = fs::read_link(tree.path().join(name)).unwrap();
            assert_eq!(target, real.as_os_str().as_encoded_bytes());
        }
        let mut content = String::new();
        entry.read_to_string(&mut content).unwrap();
        assert!(!content.contains("outside"));
    }
}

#[test]
fn m5_dereference_stores_targets_and_a_loop_or_a_lost_link_is_an_error() {
    let (tree, outside) = (tree(), TempDir::new().unwrap());
    fs::write(outside.path().join("file"), "outside").unwrap();
    symlink(outside.path(), tree.path().join("linked")).unwrap();
    let run = || tool("mkmanifests").args(["--dereference", "-o", "-"]).arg(tree.path()).run();
    let outcome = run();
    let mut archive = tar::Archive::new(flate2::bufread::GzDecoder::new(outcome.succeeds().quiet().stdout_bytes()));
    let mut found = false;
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        assert!(!entry.header().entry_type().is_symlink());
        if &*entry.path_bytes() == b"./linked/file" {
            let mut content = String::new();
            entry.read_to_string(&mut content).unwrap();
            found = content == "outside";
        }
    }
    assert!(found && names(outcome.stdout_bytes()).contains(&"./latest/versions.yaml".to_owned()));
    symlink("..", tree.path().join("roar/up")).unwrap();
    run().exits(1).says("mkmanifests: error: pack './roar/up': the link leads back to a folder above it\n").writes_nothing();
    fs::remove_file(tree.path().join("roar/up")).unwrap();
    symlink("self", tree.path().join("self")).unwrap();
    symlink("gone", tree.path().join("lost")).unwrap();
    run().fails(
        1,
        "mkmanifests: error: follow './lost': no such file or directory\n  follow './self': too many levels of symbolic links\n\
         mkmanifests: hint: --exclude leaves it out\n",
    );
}

#[test]
fn m6_special_files_are_refused_by_name_and_never_opened() {
    let (tree, out) = (tree(), TempDir::new().unwrap());
    fifo(&tree.path().join("roar/fifo"));
    let _listener = std::os::unix::net::UnixListener::bind(tree.path().join("socket")).unwrap();
    // Only root creates devices, and not in every container.
    let device = Command::new("mknod").arg(tree.path().join("zero")).args(["c", "1", "5"]).stderr(Stdio::null()).status();
    let mut details = "  pack './socket': it is a socket\n".to_owned();
    if device.is_ok_and(|status| status.success()) {
        details += "  pack './zero': it is a character device\n";
    }
    let run = || tool("mkmanifests").arg(tree.path()).folder(out.path()).timeout(Duration::from_secs(20));
    run().run().fails(
        2,
        &format!("mkmanifests: error: pack './roar/fifo': it is a FIFO\n{details}mkmanifests: hint: --exclude leaves it out\n"),
    );
    assert!(in_folder(out.path()).is_empty());
    run().args(["--exclude", "fifo", "--exclude", "socket", "--exclude", "zero"]).run().succeeds().quiet();
}
