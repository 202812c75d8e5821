//! Malformed trees, outputs and records, and missing permissions. The bad inputs 33 and 34.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use scar_kit::{binary, peer, program, tool};
use tempfile::TempDir;

use crate::{fifo, in_folder, names, tree};

#[test]
fn refuses_what_names_no_tree() {
    let tree = tree();
    let hint = "mkmanifests: hint: name the folder that the file server serves, such as /var/www/html\n";
    let gone = format!("mkmanifests: error: open '/nowhere': no such file or directory\n{hint}");
    tool("mkmanifests").arg("/nowhere").run().fails(2, &gone);
    let file = format!("mkmanifests: error: open 'index.html': not a directory\n{hint}");
    tool("mkmanifests").arg("index.html").folder(tree.path()).run().fails(2, &file);
}

#[test]
fn b33_a_tree_without_a_file_is_refused_unless_it_is_allowed() {
    let (tree, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    fs::create_dir(tree.path().join("folder")).unwrap();
    let says = "mkmanifests: error: pack '[TREE]': nothing to pack: it contains no files\n\
        mkmanifests: hint: --allow-empty packs it anyway\n";
    let run = || tool("mkmanifests").arg(tree.path()).folder(out.path()).called(tree.path().display(), "[TREE]");
    run().run().fails(2, says);
    fs::write(tree.path().join("a.log"), "x").unwrap();
    run().args(["--exclude", "*.log"]).run().fails(2, says);
    assert!(in_folder(out.path()).is_empty());
    let outcome = run().args(["--exclude", "*.log", "--allow-empty"]).run();
    assert_eq!(outcome.succeeds().json()["archive"]["files"], 0);
    assert_eq!(names(&fs::read(out.path().join("manifests.tgz")).unwrap()), ["./", "./folder/"]);
}

#[test]
fn b34_the_archive_is_never_packed_into_itself() {
    let tree = tree();
    let run = || tool("mkmanifests").arg(".").folder(tree.path()).run();
    let first = run().succeeds().quiet().json();
    let archive = fs::read(tree.path().join("manifests.tgz")).unwrap();
    assert!(!names(&archive).iter().any(|name| name.contains("tgz")));
    // The guide runs it there again: neither the old archive nor the folder's new time changes the result.
    assert_eq!(run().succeeds().json(), first);
    // Recognized by inode: under another name, through a link, and on standard output.
    fs::hard_link(tree.path().join("manifests.tgz"), tree.path().join("roar/copy")).unwrap();
    symlink("../manifests.tgz", tree.path().join("empty/link")).unwrap();
    let outcome = tool("mkmanifests").args([".", "-o", "empty/link"]).folder(tree.path()).run();
    outcome.succeeds().says("its target is left out of the archive");
    assert!(fs::symlink_metadata(tree.path().join("empty/link")).unwrap().is_symlink(), "the link stays");
    assert!(!names(&fs::read(tree.path().join("manifests.tgz")).unwrap()).iter().any(|name| name.contains("copy")));
    let to = tree.path().join("stream.tgz");
    tool("mkmanifests").args([".", "-o", "-"]).folder(tree.path()).stdout_file(&to).run().succeeds();
    assert!(!names(&fs::read(to).unwrap()).iter().any(|name| name.contains("stream")));
}

#[test]
fn b34_an_output_that_is_not_a_file_is_refused() {
    let tree = tree();
    tool("mkmanifests").args([".", "-o", "roar"]).folder(tree.path()).run().fails(
        2,
        "mkmanifests: error: write 'roar': it is a directory\n\
         mkmanifests: hint: name the archive too, for example -o DIR/manifests.tgz\n",
    );
    tool("mkmanifests").args([".", "-o", "/dev/null"]).folder(tree.path()).run().fails(
        2,
        "mkmanifests: error: write '/dev/null': it is not a regular file\n\
         mkmanifests: hint: -o - writes the archive to standard output\n",
    );
    let outcome = tool("mkmanifests").args([".", "-o", "-"]).folder(tree.path()).stdout_terminal().run();
    outcome.exits(2).reports(
        "mkmanifests: error: write the archive: standard output is a terminal\n\
         mkmanifests: hint: pipe it into ocipush REFERENCE -\n",
    );
    tool("mkmanifests").args([".", "-o", "-", "--retries", "1"]).folder(tree.path()).run().exits(2);
}

#[test]
fn reads_the_record_to_its_end_before_it_touches_anything() {
    let (tree, out) = (tree(), TempDir::new().unwrap());
    for run in [tool("mkmanifests").arg(tree.path()), tool("mkmanifests").arg(tree.path()).args(["-o", "-"])] {
        run.folder(out.path()).stdin("").run().exits(2).says("not run: the stage before it wrote no record").writes_nothing();
    }
    assert!(in_folder(out.path()).is_empty());
}

#[test]
fn a_lost_record_is_a_failure() {
    let (tree, out) = (tree(), TempDir::new().unwrap());
    tool("mkmanifests").arg(tree.path()).folder(out.path()).stdout_full().run().exits(1).says("no space left on device");
    tool("mkmanifests")
        .arg(tree.path())
        .args(["-o", "-"])
        .stdout_full()
        .run()
        .fails(1, "mkmanifests: error: write 'standard output': no space left on device\n");
}

/// A copy of the tool in a public folder, run as a user without privileges.
struct Unprivileged {
    folder: TempDir,
    setpriv: PathBuf,
}

impl Unprivileged {
    fn new() -> Option<Self> {
        let setpriv = peer("setpriv")?;
        let folder = TempDir::new().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::copy(binary("mkmanifests"), folder.path().join("mkmanifests")).unwrap();
        Some(Self { folder, setpriv })
    }

    fn run(&self) -> scar_kit::Run {
        let drop = ["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"];
        program(&self.setpriv).args(drop).arg(self.folder.path().join("mkmanifests")).folder(self.folder.path())
    }
}

#[test]
fn m1_an_unreadable_folder_or_file_is_named_and_the_old_archive_stays() {
    let Some(user) = Unprivileged::new() else { return };
    let open = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let (tree, out) = (tree(), TempDir::new().unwrap());
    open(tree.path(), 0o755);
    open(out.path(), 0o777);
    fs::write(out.path().join("manifests.tgz"), "old").unwrap();
    let run = || user.run().arg(tree.path()).arg("-o").arg(out.path().join("manifests.tgz")).run();
    open(&tree.path().join("roar/nickfury"), 0);
    run().fails(
        1,
        "mkmanifests: error: list './roar/nickfury': permission denied\n\
         mkmanifests: hint: run this as a user that can read all of the tree, or leave it out (--exclude)\n",
    );
    open(&tree.path().join("roar/nickfury"), 0o755);
    open(&tree.path().join("index.html"), 0);
    run().fails(
        1,
        "mkmanifests: error: open './index.html': permission denied\n\
         mkmanifests: hint: run this as a user that can read all of the tree, or leave it out (--exclude)\n",
    );
    assert_eq!(in_folder(out.path()), ["manifests.tgz"]);
    assert_eq!(fs::read(out.path().join("manifests.tgz")).unwrap(), b"old");
}

#[test]
fn m10_a_folder_that_takes_no_file_is_reported_before_the_walk() {
    let tree = tree();
    // What the walk would fail on first.
    fifo(&tree.path().join("fifo"));
    tool("mkmanifests")
        .arg(tree.path())
        .args(["-o", "/nowhere/m.tgz"])
        .run()
        .fails(1, "mkmanifests: error: write '/nowhere/m.tgz': folder '/nowhere': no such file or directory\n");
    let Some(user) = Unprivileged::new() else { return };
    fs::set_permissions(tree.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let run = || user.run().arg(tree.path()).called(user.folder.path().canonicalize().unwrap().display(), "[OUT]");
    let says = "mkmanifests: error: write '[OUT]/manifests.tgz': permission denied\n";
    run().run().fails(1, says);
    run().arg("--dry-run").run().fails(1, says);
}

#[test]
fn a_path_that_is_not_utf8_is_not_recorded() {
    use std::os::unix::ffi::OsStrExt;
    let (tree, out) = (tree(), TempDir::new().unwrap());
    let odd = std::ffi::OsStr::from_bytes(b"\xff.tgz");
    let outcome = tool("mkmanifests").arg(tree.path()).arg("-o").arg(odd).folder(out.path()).run();
    outcome.exits(2).writes_nothing().says("\\377.tgz' is not UTF-8, and the record can hold only UTF-8\n");
    assert!(in_folder(out.path()).is_empty());
}
