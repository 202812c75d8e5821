//! Trees, packed by GNU tar and by mkmanifests, both unpacked by GNU tar.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use scar_kit::{peer, program, tool};
use scar_suites::Random;
use tempfile::TempDir;

use crate::each;

#[test]
fn an_archive_unpacks_to_what_tar_would_have_packed() {
    let Some(tar) = peer("tar") else { return };
    each(40, |random| {
        let folder = TempDir::new().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["tree", "theirs", "ours"] {
            fs::create_dir(at(name)).unwrap();
        }
        let parts = make(random, &at("tree"));
        let packed = program(&tar).args(["-czf", "theirs.tgz", "-C", "tree", "."]).folder(folder.path()).run();
        packed.succeeds();
        let ours =
            tool("mkmanifests").args(["--new-record", "--allow-empty", "-o", "ours.tgz", "tree"]).folder(folder.path()).run();
        assert_eq!(ours.status(), 0, "DIFFERS: tar packs this: {parts:?}\n{ours}");
        let unpack = |name: &str| {
            let run = program(&tar)
                .args(["--warning=no-timestamp", "-xpzf", &format!("{name}.tgz"), "-C", name, "--no-same-owner"])
                .folder(folder.path())
                .run();
            (run.status(), run.stderr(), seen(&at(name)))
        };
        let (theirs, ours) = (unpack("theirs"), unpack("ours"));
        assert_eq!((theirs.0, &theirs.1), (ours.0, &ours.1), "DIFFERS in what tar says: {parts:?}");
        for (path, theirs) in &theirs.2 {
            assert_eq!(Some(theirs), ours.2.get(path), "DIFFERS: {path:?}: {parts:?}");
        }
        let more: Vec<_> = ours.2.keys().filter(|path| !theirs.2.contains_key(*path)).collect();
        assert!(more.is_empty(), "DIFFERS: ours alone has {more:?}: {parts:?}");
    });
}

/// Fills the folder, and returns what was made.
fn make(random: &mut Random, root: &Path) -> Vec<String> {
    let (mut parts, mut folders, mut files) = (Vec::new(), vec![root.to_owned()], Vec::<PathBuf>::new());
    for _ in 0..random.below(16) {
        let path = random.of(&folders).join(OsStr::from_bytes(&name(random)));
        if fs::symlink_metadata(&path).is_ok() {
            continue;
        }
        let kind = random.below(12);
        let made = match kind {
            0..=5 => content(random, &path).map(|()| {
                let mode = random.of(&[0o644, 0o644, 0o600, 0o755, 0o4755, 0o2644, 0o1777, 0o000, 0o7777, 0o444]);
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
                time(random, &path, mode);
                files.push(path.clone());
            }),
            6 | 7 => fs::create_dir(&path).map(|()| {
                let mode = random.of(&[0o755, 0o755, 0o700, 0o2775, 0o1777, 0o000, 0o555]);
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
                folders.push(path.clone());
            }),
            8 => (0..random.of(&[2, 12, 20])).try_for_each(|depth| {
                let path = path.join(["deep", &"d".repeat(250)].join("/").repeat(usize::from(depth == 0)).trim_matches('/'));
                folders.push(path.clone());
                fs::create_dir_all(path)
            }),
            9 | 10 => {
                let target = match random.below(6) {
                    0 => random.of(&files
                        .iter()
                        .filter_map(|file| file.file_name())
                        .map(|name| name.as_bytes().to_vec())
                        .chain([b"x".to_vec()])
                        .collect::<Vec<_>>()),
                    1 => b"../outside/\xff\n".to_vec(),
                    2 => b"/etc/passwd".to_vec(),
                    3 => [b'l'].repeat(random.of(&[99, 100, 101, 255, 1000, 4000])),
                    4 => b".".to_vec(),
                    _ => name(random),
                };
                symlink(OsStr::from_bytes(&target), &path)
            }
            _ => match files.is_empty() {
                true => Ok(()),
                false => fs::hard_link(random.of(&files), &path),
            },
        };
        let shown = path.strip_prefix(root).unwrap().display().to_string();
        parts.push(format!(
            "{kind} {}{}",
            shown.chars().take(60).collect::<String>(),
            if made.is_ok() { "" } else { " (not made)" }
        ));
    }
    parts
}

/// A name of any bytes that a file system takes.
fn name(random: &mut Random) -> Vec<u8> {
    let length = random.of(&[1, 2, 5, 50, 97, 98, 99, 100, 101, 150, 153, 154, 155, 156, 200, 254, 255]);
    let mut name: Vec<u8> = match random.below(7) {
        0 | 1 => (0..random.of(&[1, 2, 8])).map(|_| random.of(b"abc")).collect(),
        2 => (0..length).map(|_| random.below(256) as u8).collect(),
        3 => (0..length).map(|_| random.of(b"abc")).collect(),
        4 => (0..1 + length / 3).flat_map(|_| random.of(&["é", "日", "e\u{301}", "\u{202e}"]).bytes()).take(255).collect(),
        5 => random
            .of(&[
                &b"-f"[..],
                b"--help",
                b"a b",
                b"a\nb",
                b"a\\b",
                b"\\n",
                b"\\101",
                b"*",
                b"'\"$(x)`",
                b".hidden",
                b"...",
                b"~",
                b"#x#",
                b"a\tb",
                b" ",
                b"\x7f",
                b"@x",
                b"manifests.tgz",
                b"PaxHeaders.0",
                b"@LongLink",
                b".wh.x",
                b"GNUSparseFile.0",
            ])
            .to_vec(),
        _ => [random.of(&[&b"x."[..], b"._", b"core."]), &[b'n'].repeat(length.min(240))].concat(),
    };
    name.iter_mut().filter(|byte| matches!(byte, b'/' | 0)).for_each(|byte| *byte = b'_');
    if name.is_empty() || name == b"." || name == b".." { b"dots".to_vec() } else { name }
}

/// A file with some content: around the sizes of blocks, or with holes.
fn content(random: &mut Random, path: &Path) -> std::io::Result<()> {
    let file = fs::File::create(path)?;
    let size = random.of(&[0, 0, 1, 2, 511, 512, 513, 1023, 10_239, 10_240, 10_241, 65_536, 131_071, 300_000, 1_048_577]);
    let byte = random.below(256) as u8;
    file.write_all_at(&(0..size).map(|n| byte.wrapping_add((n / 7) as u8)).collect::<Vec<_>>(), 0)?;
    if random.one_in(4) {
        // A hole in front, in the middle or at the end.
        let at = random.of(&[4096, 65_536, 3_000_000, 20_000_001]);
        match random.one_in(2) {
            true => file.write_all_at(b"end", at)?,
            false => file.set_len(at)?,
        }
    }
    Ok(())
}

fn time(random: &mut Random, path: &Path, mode: u32) {
    let times = [
        0,
        1,
        -1,
        -86_400,
        -2_147_483_648,
        -2_147_483_649,
        -60_000_000_000,
        1_700_000_000,
        2_147_483_647,
        2_147_483_648,
        4_294_967_296,
        8_589_934_591,
        8_589_934_592,
        15_032_385_535,
    ];
    let seconds: i64 = random.of(&times);
    let nanoseconds = Duration::from_nanos(random.of(&[0, 0, 1, 500_000_000, 999_999_999]));
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let time = if seconds < 0 { UNIX_EPOCH - whole } else { UNIX_EPOCH + whole } + nanoseconds;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Mode, time and content of each entry; a folder has no time here, because mkmanifests gives it that of its newest file.
fn seen(root: &Path) -> BTreeMap<PathBuf, (u32, Option<i64>, Vec<u8>)> {
    let entries = walkdir::WalkDir::new(root).min_depth(1).into_iter().map(Result::unwrap);
    let entry = |entry: walkdir::DirEntry| {
        let meta = entry.metadata().unwrap();
        let content = match entry.file_type() {
            kind if kind.is_symlink() => fs::read_link(entry.path()).unwrap().into_os_string().into_vec(),
            kind if kind.is_file() => fs::read(entry.path()).unwrap(),
            _ => Vec::new(),
        };
        (entry.path().strip_prefix(root).unwrap().to_owned(), (meta.mode(), (!meta.is_dir()).then(|| meta.mtime()), content))
    };
    entries.map(entry).collect()
}
