//! mkmanifests: what goes into the archive, what is refused, and what the record says. Rows M1 to M6, M10, M11 and M13
//! of the faults, and the bad inputs 33 and 34.

// A check that cannot be made fails.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use scar_kit::{binary, peer, program, tool};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// A small tree of manifests.
fn tree() -> TempDir {
    let dir = TempDir::new().unwrap();
    let at = |path: &str| dir.path().join(path);
    fs::create_dir_all(at("roar/nickfury")).unwrap();
    fs::create_dir(at("empty")).unwrap();
    fs::write(at("index.html"), "hello\n").unwrap();
    fs::write(at("roar/nickfury/versions.yaml"), "4.5.15\n").unwrap();
    fs::write(at("roar-x"), "").unwrap();
    symlink("roar/nickfury", at("latest")).unwrap();
    dir
}

/// Bytes that do not compress, the same for the same seed.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(0x9e37_79b9_7f4a_7c15) | 1;
    let words = (0..length.div_ceil(8)).flat_map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(length).collect()
}

/// Names in an archive, in its order.
fn names(archive: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(flate2::bufread::GzDecoder::new(archive));
    archive.entries().unwrap().map(|entry| String::from_utf8_lossy(&entry.unwrap().path_bytes()).into_owned()).collect()
}

/// What lies in a folder, hidden or not.
fn in_folder(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A copy of the tool in a folder that every user can reach, and a run of it as a user without privileges.
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
    outcome.succeeds().tells(&line);
    assert_eq!(outcome.json(), json!({"record": "scar-tools/1", "dry_run": true}));
    assert!(in_folder(out.path()).is_empty());
    let record = json!({"record": "scar-tools/1", "dry_run": true});
    let outcome = tool("mkmanifests").arg(tree.path()).folder(out.path()).record(&record).run();
    assert_eq!(outcome.succeeds().tells(&line).json(), record);
    tool("mkmanifests").arg(tree.path()).args(["-o", "-"]).record(&record).run().succeeds().writes_nothing();
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
        .fails(2, "mkmanifests: error: --exclude: 'a[' is no glob: unclosed character class; missing ']'\n");
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
        .fails(2, "mkmanifests: error: read SOURCE_DATE_EPOCH 'soon': it is no number of seconds since 1970\n");
    tool("mkmanifests")
        .args(["--mtime", "soon", "-o", "-"])
        .arg(tree.path())
        .run()
        .fails(2, "mkmanifests: error: bad value for '--mtime <SECONDS>': 'soon' is no number of seconds since 1970\n");
    tool("mkmanifests").env("SOURCE_DATE_EPOCH", "").args(["-o", "-"]).arg(tree.path()).run().succeeds();
}

#[test]
fn refuses_what_names_no_tree() {
    let tree = tree();
    let hint = "mkmanifests: hint: name the folder that the file server serves, such as /var/www/html\n";
    let gone = format!("mkmanifests: error: pack '/nowhere': no such file or directory\n{hint}");
    tool("mkmanifests").arg("/nowhere").run().fails(2, &gone);
    let file = format!("mkmanifests: error: pack 'index.html': not a directory\n{hint}");
    tool("mkmanifests").arg("index.html").folder(tree.path()).run().fails(2, &file);
}

#[test]
fn b33_a_tree_without_a_file_is_refused_unless_it_is_allowed() {
    let (tree, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    fs::create_dir(tree.path().join("folder")).unwrap();
    let says = "mkmanifests: error: pack '[TREE]': nothing to pack, it holds no file\n\
        mkmanifests: hint: --allow-empty packs it all the same\n";
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
    // The guide runs it there again; neither the old archive nor the folder's new time changes a byte.
    assert_eq!(run().succeeds().json(), first);
    // By inode: under another name, through a link, and on standard output.
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
fn b34_an_output_that_is_no_file_is_refused() {
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
    outcome.exits(2).tells(
        "mkmanifests: error: write the archive: standard output is a terminal\n\
         mkmanifests: hint: pipe it into ocipush REFERENCE -\n",
    );
    tool("mkmanifests").args([".", "-o", "-", "--retries", "1"]).folder(tree.path()).run().exits(2);
}

#[test]
fn reads_the_record_to_its_end_before_it_touches_anything() {
    let (tree, out) = (tree(), TempDir::new().unwrap());
    for run in [tool("mkmanifests").arg(tree.path()), tool("mkmanifests").arg(tree.path()).args(["-o", "-"])] {
        run.folder(out.path()).stdin("").run().exits(2).says("an earlier stage of the pipe may have failed").writes_nothing();
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

/// Starts to stream a tree that is larger than what is read ahead, and stops taking it once its listing is done; then
/// `meddle` may change the tree. Gives what the tool said in the end.
fn meddled(meddle: impl FnOnce(&Path)) -> (Option<i32>, String, Vec<u8>) {
    let tree = TempDir::new().unwrap();
    fs::create_dir(tree.path().join("a")).unwrap();
    for n in 0..1000 {
        fs::write(tree.path().join(format!("a/{n:04}")), noise(16 << 10, n)).unwrap();
    }
    for (name, size) in [("y-large", 1 << 20), ("z", 100)] {
        fs::write(tree.path().join(name), noise(size, 1)).unwrap();
    }
    symlink("z", tree.path().join("z-link")).unwrap();
    let mut child = Command::new(binary("mkmanifests"))
        .args(["-o", "-", "--new-record", "--level", "1", "--threads", "2"])
        .arg(tree.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut archive = vec![0; 10];
    let mut stdout = child.stdout.take().unwrap();
    // The header is written when the listing is done.
    stdout.read_exact(&mut archive).unwrap();
    meddle(tree.path());
    stdout.read_to_end(&mut archive).unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    (child.wait().unwrap().code(), said, archive)
}

fn is_cut(archive: &[u8]) -> bool {
    flate2::bufread::GzDecoder::new(archive).read_to_end(&mut Vec::new()).is_err()
}

const IN_MOTION: &str = "mkmanifests: hint: stop what writes to the tree, leave it out (--exclude), or use --retries\n";

#[test]
fn an_undisturbed_stream_is_whole() {
    let (status, said, archive) = meddled(|_| ());
    assert_eq!((status, said.as_str()), (Some(0), ""));
    assert_eq!(names(&archive).len(), 1005);
}

#[test]
fn m2_a_file_or_folder_that_vanishes_is_named() {
    let (status, said, archive) = meddled(|tree| fs::remove_file(tree.join("z")).unwrap());
    assert_eq!(said, format!("mkmanifests: error: pack './z': vanished while reading\n{IN_MOTION}"));
    assert!(status == Some(1) && is_cut(&archive));
    let (status, said, _) = meddled(|tree| fs::remove_file(tree.join("z-link")).unwrap());
    assert_eq!((status, said), (Some(1), format!("mkmanifests: error: pack './z-link': vanished while reading\n{IN_MOTION}")));
}

#[test]
fn m3_a_file_that_changes_is_named_and_no_archive_is_whole() {
    let append = |path: &Path| File::options().append(true).open(path).unwrap().write_all(b"x").unwrap();
    type Meddle<'a> = &'a dyn Fn(&Path);
    let cases: [(Meddle, &str); 6] = [
        (&|tree| append(&tree.join("z")), "./z': changed while reading (since it was listed)"),
        (&|tree| File::create(tree.join("y-large")).unwrap().set_len(5).unwrap(), "./y-large': changed while reading ("),
        // The same size and the same time of content: the time of status tells.
        (
            &|tree| {
                let time = fs::metadata(tree.join("z")).unwrap().modified().unwrap();
                let file = File::create(tree.join("z")).unwrap();
                (&file).write_all(&noise(100, 2)).unwrap();
                file.set_modified(time).unwrap();
            },
            "./z': changed while reading (since it was listed)",
        ),
        (&|tree| fs::rename(tree.join("y-large"), tree.join("z")).unwrap(), "./y-large': vanished while reading"),
        (
            &|tree| {
                fs::remove_file(tree.join("z")).unwrap();
                symlink("/etc/passwd", tree.join("z")).unwrap();
            },
            "./z': changed while reading (it became something else)",
        ),
        (
            &|tree| {
                fs::remove_file(tree.join("z")).unwrap();
                rustix_fifo(&tree.join("z"));
            },
            "./z': changed while reading (since it was listed)",
        ),
    ];
    for (meddle, expected) in cases {
        let (status, said, archive) = meddled(meddle);
        assert!(status == Some(1) && said.contains(expected), "{status:?} {expected}: {said}");
        assert!(is_cut(&archive), "{expected}");
    }
}

fn rustix_fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// While a large file is being read: the stream stands still in its middle.
#[test]
fn m3_a_large_file_that_grows_or_shrinks_in_the_middle_is_named() {
    let cases: [(u64, &str); 2] = [(20 << 20, "(it grew)"), (14 << 20, "(it shrank)")];
    for (length, how) in cases {
        let tree = TempDir::new().unwrap();
        let path = tree.path().join("large");
        fs::write(&path, noise(16 << 20, 3)).unwrap();
        let mut child = Command::new(binary("mkmanifests"))
            .args(["-o", "-", "--new-record", "--level", "1", "--threads", "2"])
            .arg(tree.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = child.stdout.take().unwrap();
        // More than the header: the first block is compressed, so the file is being read.
        let mut archive = vec![0; 100_000];
        stdout.read_exact(&mut archive).unwrap();
        File::options().write(true).open(&path).unwrap().set_len(length).unwrap();
        stdout.read_to_end(&mut archive).unwrap();
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(said, format!("mkmanifests: error: pack './large': changed while reading {how}\n{IN_MOTION}"));
        assert!(child.wait().unwrap().code() == Some(1) && is_cut(&archive));
    }
}

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
    outcome.succeeds().tells(&warnings);
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
    run().fails(
        1,
        "mkmanifests: error: follow './self': too many levels of symbolic links\n\
         mkmanifests: hint: --exclude leaves it out\n",
    );
    fs::remove_file(tree.path().join("self")).unwrap();
    symlink("gone", tree.path().join("lost")).unwrap();
    run().fails(
        1,
        "mkmanifests: error: follow './lost': no such file or directory\n\
         mkmanifests: hint: --exclude leaves it out\n",
    );
}

#[test]
fn m6_special_files_are_refused_by_name_and_never_opened() {
    let (tree, out) = (tree(), TempDir::new().unwrap());
    rustix_fifo(&tree.path().join("roar/fifo"));
    let _listener = std::os::unix::net::UnixListener::bind(tree.path().join("socket")).unwrap();
    // Only root makes devices, and not in every container.
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

#[test]
fn m10_a_folder_that_takes_no_file_is_told_before_the_walk() {
    let tree = tree();
    // What the walk would stumble over first.
    rustix_fifo(&tree.path().join("fifo"));
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

/// Makes the same content twice, each time in another order.
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
    // Only root can give files away; elsewhere the owners are the same.
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

#[test]
fn m13_names_of_any_length_and_bytes() {
    let Some(python) = peer("python3") else { return };
    let (tree, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    // Folders within folders until the path is longer than the system takes in one call.
    let script = "import os, sys\nos.chdir(sys.argv[1])\nfor n in range(30):\n  os.mkdir('d' * 200); os.chdir('d' * 200)\n\
        open(b'\\xff\\n -' + b'x' * 250, 'w').write('deep')\n";
    program(&python).args(["-c", script]).arg(tree.path()).run().succeeds();
    fs::write(tree.path().join("y".repeat(255)), "").unwrap();
    tool("mkmanifests").arg(tree.path()).folder(out.path()).run().succeeds().quiet();
    let check = "import sys, tarfile\nt = tarfile.open('manifests.tgz')\nm = t.getmembers()\n\
        name = './' + ('d' * 200 + '/') * 30 + '\\udcff\\n -' + 'x' * 250\n\
        assert m[-2].name == name, m[-2].name\nassert t.extractfile(m[-2]).read() == b'deep'\n\
        assert m[-1].name == './' + 'y' * 255 and len(m) == 33, len(m)\n";
    program(&python).args(["-c", check]).folder(out.path()).run().succeeds();
}

#[test]
fn m13_a_file_of_more_than_eight_gibibytes() {
    let Some(tar) = peer("tar") else { return };
    let tree = TempDir::new().unwrap();
    File::create(tree.path().join("large")).unwrap().set_len((8 << 30) + 1).unwrap();
    fs::write(tree.path().join("z"), "after it\n").unwrap();
    let mut ours = Command::new(binary("mkmanifests"))
        .args(["-o", "-", "--level", "1", "--new-record"])
        .arg(tree.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut theirs =
        Command::new(tar).args(["-tvf", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut decoder = flate2::read::GzDecoder::new(ours.stdout.take().unwrap());
    // tar lists an entry before it looks for its content: the headers suffice.
    let mut headers = [0; 1024];
    decoder.read_exact(&mut headers).unwrap();
    theirs.stdin.take().unwrap().write_all(&headers).unwrap();
    let listed = String::from_utf8(theirs.wait_with_output().unwrap().stdout).unwrap();
    let sizes: Vec<_> = listed.lines().map(|line| line.split_whitespace().nth(2).unwrap()).collect();
    assert_eq!(sizes, ["0", "8589934593"], "{listed}");
    // The rest is as long as it must be, and the checksum is right, or the decoder would say so.
    let rest = std::io::copy(&mut decoder, &mut std::io::sink()).unwrap();
    assert_eq!(rest, (8 << 30) + 512 + 1024 + 1024);
    assert!(ours.wait().unwrap().success());
}

#[test]
fn m13_memory_is_bounded_whatever_the_tree() {
    let Some(python) = peer("python3") else { return };
    let (tree, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    // So many that the listing of one folder is shared between threads.
    for folder in ["a", "b"] {
        fs::create_dir(tree.path().join(folder)).unwrap();
        for file in 0..10_000 {
            File::create(tree.path().join(format!("{folder}/manifest-of-some-pack-{file}.yaml"))).unwrap();
        }
    }
    fs::write(tree.path().join("large"), noise(40 << 20, 5)).unwrap();
    let script = "import resource, subprocess, sys\nsubprocess.run(sys.argv[1:], check=True, capture_output=True)\n\
        print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)";
    for threads in ["2", "8"] {
        let run = program(&python).args(["-c", script]).arg(binary("mkmanifests")).arg(tree.path());
        let outcome = run.args(["--new-record", "--threads", threads]).folder(out.path()).run();
        let kib: u64 = outcome.succeeds().stdout().trim().parse().unwrap();
        assert!(kib < 64 * 1024, "{kib} KiB with {threads} threads");
    }
    let packed = names(&fs::read(out.path().join("manifests.tgz")).unwrap());
    assert!(packed.len() == 20_004 && packed.is_sorted(), "{}", packed.len());
}

#[test]
fn a_path_that_is_no_text_goes_into_no_record() {
    use std::os::unix::ffi::OsStrExt;
    let (tree, out) = (tree(), TempDir::new().unwrap());
    let odd = std::ffi::OsStr::from_bytes(b"\xff.tgz");
    let outcome = tool("mkmanifests").arg(tree.path()).arg("-o").arg(odd).folder(out.path()).run();
    outcome.exits(2).writes_nothing().says("\\377.tgz' is not UTF-8, and the record holds text alone\n");
    assert!(in_folder(out.path()).is_empty());
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
