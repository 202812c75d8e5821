//! The archive's content, and that the same tree gives the same bytes.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use scar_kit::tool;
use serde_json::json;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::{in_folder, names, tree};

#[test]
fn packs_the_tree_and_adds_the_section_to_the_record() {
    let (tree, out) = (tree(), TempDir::new().unwrap());
    let before = json!({"zeta": [1.50], "record": "scar-tools/1", "secret": {"namespace": "hubble-system",
        "name": "spectro-manifest-registry-secrets", "found": false, "deleted": false}});
    let outcome = tool("mkmanifests").arg(tree.path()).folder(out.path()).record(&before).run();
    outcome.succeeds().quiet();
    let archive = fs::read(out.path().join("manifests.tgz")).unwrap();
    let mut after = before;
    after["archive"] = json!({
        "path": out.path().canonicalize().unwrap().join("manifests.tgz"), "title": "manifests.tgz",
        "digest": format!("sha256:{}", hex::encode(Sha256::digest(&archive))), "size": archive.len(),
        "files": 3, "directories": 4, "links": 1, "bytes": 13, "source": tree.path().canonicalize().unwrap(),
    });
    assert_eq!(outcome.json(), after);
    assert_eq!(
        names(&archive),
        [
            "./",
            "./empty/",
            "./index.html",
            "./latest",
            "./roar-x",
            "./roar/",
            "./roar/nickfury/",
            "./roar/nickfury/versions.yaml"
        ]
    );
    assert_eq!(in_folder(out.path()), ["manifests.tgz"]);
}

#[test]
fn the_gzip_header_has_no_name_and_no_time_and_nothing_follows_the_one_member() {
    let tree = tree();
    let outcome = tool("mkmanifests").args(["-o", "-"]).arg(tree.path()).run();
    outcome.succeeds().quiet();
    let bytes = outcome.stdout_bytes();
    assert_eq!(&bytes[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]);
    let mut decoder = flate2::bufread::GzDecoder::new(bytes);
    decoder.read_to_end(&mut Vec::new()).unwrap();
    assert!(decoder.into_inner().is_empty());
}

#[test]
fn a_stream_is_the_same_archive_as_the_file() {
    let (tree, out) = (tree(), TempDir::new().unwrap());
    tool("mkmanifests").arg(tree.path()).arg("-o").arg(out.path().join("a.tgz")).run().succeeds();
    let outcome = tool("mkmanifests").arg(tree.path()).args(["--output", "-"]).run();
    assert_eq!(outcome.succeeds().stdout_bytes(), fs::read(out.path().join("a.tgz")).unwrap());
}

#[test]
fn excludes_names_everywhere_and_paths_where_they_are() {
    let tree = tree();
    fs::create_dir_all(tree.path().join("a/logs")).unwrap();
    fs::create_dir_all(tree.path().join("logs")).unwrap();
    for path in ["a/logs/1", "logs/1", "a/x.log", "a/y"] {
        fs::write(tree.path().join(path), "x").unwrap();
    }
    let run = |globs: &[&str]| {
        let globs = globs.iter().flat_map(|glob| ["--exclude", glob]);
        let outcome = tool("mkmanifests").args(globs).args(["-o", "-"]).arg(tree.path()).run();
        names(outcome.succeeds().stdout_bytes())
    };
    let all = run(&[]);
    let without = |parts: &[&str]| all.iter().filter(|n| !parts.iter().any(|p| n.contains(p))).cloned().collect::<Vec<_>>();
    assert_eq!(run(&["logs", "*.log"]), without(&["logs", ".log"]));
    assert_eq!(run(&["a/logs"]), without(&["a/logs"]));
    assert_eq!(run(&["./logs", "roar/**"]), without(&["./logs", "./roar/nickfury"]));
    tool("mkmanifests")
        .args(["--exclude", "a["])
        .arg(tree.path())
        .run()
        .fails(2, "mkmanifests: error: --exclude: 'a[' is not a glob: unclosed character class; missing ']'\n");
}

#[test]
fn the_title_is_what_specman_expects_whatever_the_file_is_called() {
    let (tree, out) = (tree(), TempDir::new().unwrap());
    let outcome = tool("mkmanifests").arg(tree.path()).args(["-o", "other.tar.gz"]).folder(out.path()).run();
    assert_eq!(outcome.succeeds().json()["archive"]["title"], "manifests.tgz");
    assert_eq!(in_folder(out.path()), ["other.tar.gz"]);
}

#[test]
fn the_archive_has_the_mode_that_the_umask_gives() {
    let (tree, out) = (tree(), TempDir::new().unwrap());
    let script = format!("umask 027; mkmanifests '{}'", tree.path().display());
    scar_kit::bash(&script).folder(out.path()).run().succeeds();
    let mode = fs::metadata(out.path().join("manifests.tgz")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o640);
}

#[test]
fn every_time_can_be_set_and_a_bad_one_is_refused() {
    let tree = tree();
    for run in [
        tool("mkmanifests").env("SOURCE_DATE_EPOCH", "1733488994"),
        tool("mkmanifests").args(["--mtime", "1733488994"]).env("SOURCE_DATE_EPOCH", "7"),
    ] {
        let outcome = run.args(["-o", "-"]).arg(tree.path()).run();
        let mut archive = tar::Archive::new(flate2::bufread::GzDecoder::new(outcome.succeeds().stdout_bytes()));
        for entry in archive.entries().unwrap() {
            assert_eq!(entry.unwrap().header().mtime().unwrap(), 1_733_488_994);
        }
    }
    tool("mkmanifests")
        .env("SOURCE_DATE_EPOCH", "soon")
        .args(["-o", "-"])
        .arg(tree.path())
        .run()
        .fails(2, "mkmanifests: error: read SOURCE_DATE_EPOCH 'soon': it is not a number of seconds since 1970\n");
    tool("mkmanifests")
        .args(["--mtime", "soon", "-o", "-"])
        .arg(tree.path())
        .run()
        .fails(2, "mkmanifests: error: bad value for '--mtime <SECONDS>': 'soon' is not a number of seconds since 1970\n");
    tool("mkmanifests").env("SOURCE_DATE_EPOCH", "").args(["-o", "-"]).arg(tree.path()).run().succeeds();
}

/// Creates the same content twice, in different order.
fn twin(names: &[String]) -> TempDir {
    let dir = TempDir::new().unwrap();
    for (n, name) in names.iter().enumerate() {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, name.repeat(400)).unwrap();
        let time = std::time::UNIX_EPOCH + Duration::new(1_700_000_000 + name.len() as u64, n as u32);
        File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    }
    dir
}

#[test]
fn m11_the_same_content_gives_the_same_bytes() {
    let mut list: Vec<String> = (0..800).map(|n| format!("dir-{}/{}/file {n}", n % 7, n % 3)).collect();
    list.extend(["dir-1.txt".to_owned(), "dir-1/0-".to_owned(), "é/ü".to_owned()]);
    let one = twin(&list);
    list.reverse();
    let other = twin(&list);
    fs::create_dir(one.path().join("new")).unwrap();
    fs::create_dir(other.path().join("new")).unwrap();
    fs::write(one.path().join("dir-1/passing"), "").unwrap();
    fs::remove_file(one.path().join("dir-1/passing")).unwrap();
    // Only root can change owners; otherwise they are the same.
    let _ = Command::new("chown").args(["-R", "12345:54321"]).arg(other.path()).stderr(Stdio::null()).status();
    let archive = |run: scar_kit::Run, tree: &Path| run.args(["-o", "-"]).arg(tree).run().succeeds().stdout_bytes().to_vec();
    let first = archive(tool("mkmanifests"), one.path());
    assert!(first.len() > 1000);
    for threads in ["1", "2", "3", "7", "16"] {
        assert!(archive(tool("mkmanifests").args(["--threads", threads]), one.path()) == first, "{threads} threads");
    }
    let elsewhere = tool("mkmanifests").env("TZ", "Asia/Tokyo").env("LC_ALL", "tr_TR.UTF-8").env("LANG", "C");
    assert!(archive(elsewhere, other.path()) == first, "another order of making, owner, zone and locale");
    fs::write(other.path().join("é/ü"), "x").unwrap();
    assert!(archive(tool("mkmanifests"), other.path()) != first);
}
