//! The file server's folder and the room for its archive. F1: each prerequisite missing, one at a time.

use std::path::Path;

use scar_kit::{binary, peer, program};
use serde_json::{Value, json};

use crate::rig::{NAMESPACE, Rig, but, is_blocked, lines, says, skipped};

const AFTER_TREE: [&str; 6] =
    ["content.readable", "content.special", "content.links", "content.quiet", "content.disk", "content.claim"];

#[test]
fn f1_there_is_no_folder() {
    let rig = Rig::new();
    is_blocked(
        &rig,
        &rig.run_with(&[("--content", Some("no-such-folder"))]),
        "content.tree",
        &skipped(&AFTER_TREE),
        "no such file",
    );
}

#[test]
fn f1_the_folder_is_empty() {
    let rig = Rig::new();
    let empty = rig.migration.folder().join("empty");
    std::fs::create_dir(&empty).unwrap();
    is_blocked(&rig, &rig.run_with(&[("--content", empty.to_str())]), "content.tree", &[], "has no file");
}

/// mkmanifests packs it, and specman-verify finds nothing to compare.
#[test]
fn f1_the_folder_has_a_link_alone() {
    let rig = Rig::new();
    let folder = rig.migration.folder().join("link");
    std::fs::create_dir(&folder).unwrap();
    std::os::unix::fs::symlink("nothing", folder.join("dangling")).unwrap();
    let run = || rig.call(&[("--content", folder.to_str())]);
    is_blocked(&rig, &run().run(), "content.tree", &[("content.links", "warning")], "has no file");
    let outcome = run().arg("--unverified").run();
    let expected = but(&[("content.links", "warning"), ("cluster.verify-access", "skipped")]);
    assert_eq!(lines(&outcome.succeeds().stderr()), expected, "{outcome}");
}

#[test]
fn f1_a_file_is_no_file() {
    let rig = Rig::new();
    let fifo = rig.migration.tree().join("charts/fifo");
    program("mkfifo").arg(&fifo).run().succeeds();
    is_blocked(&rig, &rig.run(), "content.special", &[], "pack './charts/fifo': it is a FIFO");
}

/// What mkmanifests would leave out or follow is not looked at otherwise here.
#[test]
fn what_is_left_out_blocks_nothing_and_links_are_followed_on_request() {
    let rig = Rig::new();
    let tree = rig.migration.tree();
    program("mkfifo").arg(tree.join("charts/fifo")).run().succeeds();
    std::os::unix::fs::symlink("gone", tree.join("dangling")).unwrap();
    let run = || rig.call(&[]).args(["--exclude", "fifo"]);
    assert_eq!(lines(&run().run().succeeds().stderr()), but(&[("content.links", "warning")]));
    let outcome = run().arg("--dereference").run();
    is_blocked(&rig, &outcome, "content.readable", &[], "follow './dangling': no such file");
    let outcome = run().args(["--dereference", "--exclude", "dangling"]).run();
    assert_eq!(lines(&outcome.succeeds().stderr()), but(&[]), "{outcome}");
    says(&outcome, "4 files in 3 folders, 0 links");
}

/// The record, in which JSON needs UTF-8, is written after all the work.
#[test]
fn f1_a_path_is_not_utf_8() {
    use std::os::unix::ffi::OsStrExt as _;
    let rig = Rig::new();
    let odd = |name: &[u8]| rig.migration.folder().join(std::ffi::OsStr::from_bytes(name));
    std::fs::create_dir(odd(b"latin-\xe9")).unwrap();
    std::fs::write(odd(b"latin-\xe9/file"), "x").unwrap();
    crate::rig::age(&odd(b"latin-\xe9"));
    let outcome = rig.call(&[("--content", None)]).arg("--content").arg(odd(b"latin-\xe9")).run();
    is_blocked(&rig, &outcome, "content.tree", &skipped(&AFTER_TREE), "is not UTF-8");
    let outcome = rig.call(&[("--archive", None)]).arg("--archive").arg(odd(b"\xe9.tgz")).run();
    is_blocked(&rig, &outcome, "content.disk", &[], "is not UTF-8");
}

/// Root can read everything, so the tool runs as somebody else, on the content alone.
#[test]
fn f1_a_file_cannot_be_read() {
    use std::os::unix::fs::PermissionsExt;
    let Some(setpriv) = peer("setpriv") else { return };
    let folder = tempfile::TempDir::new().unwrap();
    let mode = |path: &Path, mode: u32| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    let (tree, out) = (folder.path().join("tree"), folder.path().join("out"));
    mode(folder.path(), 0o755);
    std::fs::create_dir_all(tree.join("closed")).unwrap();
    std::fs::create_dir(&out).unwrap();
    for name in ["open", "secret"] {
        std::fs::write(tree.join(name), "text").unwrap();
    }
    crate::rig::age(&tree);
    mode(&tree.join("secret"), 0o600);
    mode(&tree.join("closed"), 0o700);
    mode(&out, 0o777);
    std::fs::copy(binary("scar-preflight"), folder.path().join("scar-preflight")).unwrap();
    let outcome = program(setpriv)
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"])
        .arg(folder.path().join("scar-preflight"))
        .args(["--only", "content", "--content", tree.to_str().unwrap(), "--archive", "out/m.tgz"])
        .folder(folder.path())
        .run();
    outcome.exits(3).writes_nothing();
    says(&outcome, "'./secret'");
    says(&outcome, "'./closed'");
    let found = lines(&outcome.stderr());
    let blocked: Vec<_> = found.iter().filter(|(_, result)| *result == "blocked").map(|(name, _)| name.as_str()).collect();
    assert_eq!((blocked, found["content.disk"].as_str()), (vec!["content.readable"], "ok"), "{outcome}");
}

#[test]
fn f1_the_archive_has_no_place() {
    let rig = Rig::new();
    is_blocked(&rig, &rig.run_with(&[("--archive", Some("no-such-folder/m.tgz"))]), "content.disk", &[], "no such file");
}

#[test]
fn f1_the_claim_is_too_small() {
    let rig = Rig::new();
    let small = |claim: &mut Value| claim["status"]["capacity"]["storage"] = json!("100");
    rig.migration.site.cluster.edit("persistentvolumeclaims", NAMESPACE, "data-specman-0", small);
    is_blocked(&rig, &rig.run(), "content.claim", &[("cluster.claim", "warning")], "Specman cannot keep it");
}

#[test]
fn q56_links_are_judged_as_mkmanifests_judges_them_and_fresh_files_are_named() {
    let rig = Rig::new();
    let tree = rig.migration.tree();
    std::os::unix::fs::symlink("gone", tree.join("dangling")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", tree.join("absolute")).unwrap();
    // Out of the folder and back in by its name: on Specman's side that name does not exist.
    let back = format!("../../{}/index.yaml", tree.file_name().unwrap().to_str().unwrap());
    std::os::unix::fs::symlink(&back, tree.join("charts/back")).unwrap();
    std::fs::write(tree.join("charts/fresh.yaml"), "new").unwrap();
    std::fs::write(rig.migration.archive(), "old archive").unwrap();
    let outcome = rig.run();
    let record = outcome.succeeds().json();
    assert_eq!(lines(&outcome.stderr()), but(&[("content.links", "warning"), ("content.quiet", "warning")]), "{outcome}");
    let found = |name: &str| {
        record["preflight"]["checks"].as_array().unwrap().iter().find(|check| check["name"] == name).unwrap()["found"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let packed =
        scar_kit::tool("mkmanifests").arg(&tree).args(["-o", "other.tgz", "--new-record"]).folder(rig.migration.folder()).run();
    for (name, target, why) in [
        ("dangling", "gone", "does not exist"),
        ("absolute", "/etc/passwd", "is an absolute path"),
        ("charts/back", &back, "lies outside of the tree"),
    ] {
        assert!(packed.succeeds().stderr().contains(&format!("'./{name}' -> '{target}': its target {why}")), "{packed}");
        assert!(found("content.links").contains(&format!("'./{name}' -> '{target}': its target {why}")), "{outcome}");
    }
    assert_eq!(found("content.quiet"), "changed in the last 10 minutes: './charts/fresh.yaml'");
}
