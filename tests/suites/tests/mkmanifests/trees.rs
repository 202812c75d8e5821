//! Any generated tree is the same after GNU tar or Python's tarfile has unpacked it, and any number of threads gives the
//! same bytes.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use scar_kit::{peer, program, tool};
use tempfile::TempDir;

/// The kind of an entry.
#[derive(Debug, Clone)]
enum Node {
    File {
        content: Vec<u8>,
        mode: u32,
        mtime: i64,
    },
    Folder,
    Link {
        target: Vec<u8>,
    },
    /// Another name for the first file.
    Hard,
}

/// A part of a path: any bytes that a file system accepts, short and long.
fn part() -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof![
        4 => "[a-c]{1,2}".prop_map(String::into_bytes),
        1 => "-[a-z \n\t\"'*\\\\é日]{0,12}".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 1..40),
        1 => vec(any::<u8>(), 90..110),
        1 => vec(b'a'..=b'z', 200..=255),
    ];
    name.prop_map(|mut name| {
        name.iter_mut().filter(|b| matches!(b, b'/' | 0)).for_each(|b| *b = b'_');
        if name == b"." || name == b".." { b"dots".to_vec() } else { name }
    })
}

fn node() -> impl Strategy<Value = Node> {
    let content = prop_oneof![
        3 => vec(any::<u8>(), 0..600),
        // Around the block sizes of tar and of the reader.
        1 => (prop_oneof![Just(512_usize), Just(128 << 10), Just(256 << 10), Just(600 << 10)], 0_usize..3, any::<u8>())
            .prop_map(|(near, more, byte)| (0..near + more - 1).map(|n| byte.wrapping_add((n / 7) as u8)).collect()),
    ];
    let mode = prop_oneof![Just(0o644_u32), Just(0o4755), Just(0o000), 0_u32..0o10000];
    let mtime = prop_oneof![0_i64..2_000_000_000, Just(0), Just(-1), Just(-2_000_000_000), Just(8_589_934_592)];
    prop_oneof![
        6 => (content, mode, mtime).prop_map(|(content, mode, mtime)| Node::File { content, mode, mtime }),
        2 => Just(Node::Folder),
        1 => vec(1_u8..=255, 1..300).prop_map(|target| Node::Link { target }),
        1 => Just(Node::Hard),
    ]
}

/// Creates what is possible: skips a path that is taken or leads through a file.
fn make(root: &Path, nodes: &[(Vec<Vec<u8>>, Node)]) {
    let mut first: Option<PathBuf> = None;
    for (parts, node) in nodes {
        let path = parts.iter().fold(root.to_owned(), |path, part| path.join(OsStr::from_bytes(part)));
        let above = path.parent().unwrap();
        if fs::create_dir_all(above).is_err() || fs::symlink_metadata(&path).is_ok() {
            continue;
        }
        match node {
            Node::File { content, mode, mtime } => {
                fs::write(&path, content).unwrap();
                let file = fs::File::options().write(true).open(&path).unwrap();
                let time = if *mtime < 0 {
                    UNIX_EPOCH - Duration::from_secs(mtime.unsigned_abs())
                } else {
                    UNIX_EPOCH + Duration::from_secs(*mtime as u64)
                };
                file.set_modified(time).unwrap();
                file.set_permissions(fs::Permissions::from_mode(*mode)).unwrap();
                first.get_or_insert(path);
            }
            Node::Folder => fs::create_dir(&path).unwrap(),
            Node::Link { target } => symlink(OsStr::from_bytes(target), &path).unwrap(),
            Node::Hard => drop(first.as_ref().map(|first| fs::hard_link(first, &path))),
        }
    }
}

/// Everything that an archive stores about a tree, by path.
type Seen = BTreeMap<PathBuf, (u32, Option<i64>, Vec<u8>)>;

fn see(root: &Path, path: &Path, seen: &mut Seen) {
    for entry in fs::read_dir(root.join(path)).unwrap() {
        let path = path.join(entry.unwrap().file_name());
        let full = root.join(&path);
        let meta = fs::symlink_metadata(&full).unwrap();
        let mtime = (!meta.is_dir()).then(|| meta.mtime());
        let content = if meta.is_dir() {
            see(root, &path, seen);
            Vec::new()
        } else if meta.is_symlink() {
            fs::read_link(&full).unwrap().into_os_string().into_encoded_bytes()
        } else {
            fs::read(&full).unwrap()
        };
        seen.insert(path, (meta.mode(), mtime, content));
    }
}

/// Compares a tree with the archive as Python reads it; both are arguments.
const PYTHON: &str = r#"
import os, stat, sys, tarfile
root, archive = map(os.fsencode, sys.argv[1:])
found = {}
for at, folders, files in os.walk(root):
    for name in [b''] + files + [f for f in folders if os.path.islink(os.path.join(at, f))]:
        path = os.path.join(at, name) if name else at
        found[os.path.normpath(os.path.relpath(path, root))] = os.lstat(path)
newest = {}
with tarfile.open(os.fsdecode(archive), encoding='utf-8', errors='surrogateescape') as tar:
    names = [b'./' if m.name == '.' else os.fsencode(m.name) + (b'/' if m.isdir() else b'') for m in tar]
    assert names == sorted(names), names
    for member in tar:
        assert (member.uid, member.gid, member.uname, member.gname) == (0, 0, '', ''), member
        path = os.path.normpath(os.fsencode(member.name))
        assert member.name == '.' or member.name.startswith('./'), member.name
        there = found.pop(path)
        full = os.path.join(root, path)
        assert member.mode == stat.S_IMODE(there.st_mode), path
        if not member.isdir():
            assert member.mtime == there.st_mtime_ns // 10**9, (path, member.mtime, there.st_mtime)
        if member.isreg():
            with open(full, 'rb') as file:
                assert tar.extractfile(member).read() == file.read(), path
        elif member.issym():
            assert os.fsencode(member.linkname) == os.readlink(full), path
        else:
            assert member.isdir() and stat.S_ISDIR(there.st_mode), path
assert not found, list(found)
"#;

#[test]
fn any_tree_comes_back_equal_through_gnu_tar_and_pythons_tarfile() {
    let (Some(tar), Some(python)) = (peer("tar"), peer("python3")) else { return };
    let config = Config { cases: 48, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    let strategy = (vec((vec(part(), 1..5), node()), 0..25), 1_u16..9, 1_u8..=9);
    TestRunner::new(config)
        .run(&strategy, |(nodes, threads, level)| {
            let (tree, out, back) = (TempDir::new().unwrap(), TempDir::new().unwrap(), TempDir::new().unwrap());
            make(tree.path(), &nodes);
            let archive = out.path().join("m.tgz");
            let run = |threads: u16, to: &Path| {
                let run = tool("mkmanifests").args(["-q", "--allow-empty", "--threads", &threads.to_string()]);
                run.args(["--level", &level.to_string(), "-o"]).arg(to).arg(tree.path()).run()
            };
            run(threads, &archive).succeeds();
            let again = out.path().join("again.tgz");
            run(1, &again).succeeds();
            prop_assert!(fs::read(&archive).unwrap() == fs::read(&again).unwrap(), "{threads} threads and one differ");
            program(&tar).arg("-xpf").arg(&archive).arg("-C").arg(back.path()).run().succeeds();
            let (mut before, mut after) = (Seen::new(), Seen::new());
            see(tree.path(), Path::new(""), &mut before);
            see(back.path(), Path::new(""), &mut after);
            prop_assert_eq!(before, after);
            program(&python).args(["-c", PYTHON]).arg(tree.path()).arg(&archive).run().succeeds();
            Ok(())
        })
        .unwrap();
}

#[test]
fn folders_have_the_time_of_the_newest_file_below_them() {
    let tree = TempDir::new().unwrap();
    let nodes: Vec<_> = [("a/b/new", 2_000), ("a/old", 1_000), ("c/older", 500)]
        .map(|(path, mtime)| {
            let parts = path.split('/').map(|part| part.as_bytes().to_vec()).collect();
            (parts, Node::File { content: Vec::new(), mode: 0o644, mtime })
        })
        .into();
    make(tree.path(), &nodes);
    fs::create_dir(tree.path().join("empty")).unwrap();
    let outcome = tool("mkmanifests").args(["-o", "-"]).arg(tree.path()).run();
    let mut archive = tar::Archive::new(flate2::bufread::GzDecoder::new(outcome.succeeds().stdout_bytes()));
    let times: Vec<_> = archive
        .entries()
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            (String::from_utf8(entry.path_bytes().into_owned()).unwrap(), entry.header().mtime().unwrap())
        })
        .collect();
    let expected = [
        ("./", 2_000),
        ("./a/", 2_000),
        ("./a/b/", 2_000),
        ("./a/b/new", 2_000),
        ("./a/old", 1_000),
        ("./c/", 500),
        ("./c/older", 500),
        ("./empty/", 0),
    ];
    assert_eq!(times, expected.map(|(name, time)| (name.to_owned(), time)));
    assert!(SystemTime::now() > UNIX_EPOCH);
}
