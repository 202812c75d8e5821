//! A tree that changes while it is packed: the change is reported, and no archive is complete.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use scar_kit::binary;
use tempfile::TempDir;

use crate::{fifo, names, noise};

/// Streams a tree and reads this many bytes of the archive; then `meddle` changes the tree before the rest is read. Returns
/// the tool's outcome and the archive.
fn streamed(tree: &Path, first: usize, meddle: impl FnOnce(&Path)) -> (Option<i32>, String, Vec<u8>) {
    let mut child = Command::new(binary("mkmanifests"))
        .args(["-o", "-", "--new-record", "--level", "1", "--threads", "2"])
        .arg(tree)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut archive = vec![0; first];
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut archive).unwrap();
    meddle(tree);
    stdout.read_to_end(&mut archive).unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    (child.wait().unwrap().code(), said, archive)
}

/// A tree larger than the read-ahead, changed after it was listed.
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
    // The gzip header is written after the listing.
    streamed(tree.path(), 10, meddle)
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
        // The same size and mtime: only the ctime differs.
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
                fifo(&tree.join("z"));
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

/// While a large file is being read: the stream stops in its middle.
#[test]
fn m3_a_large_file_that_grows_or_shrinks_in_the_middle_is_named() {
    let cases: [(u64, &str); 2] = [(20 << 20, "(it grew)"), (14 << 20, "(it shrank)")];
    for (length, how) in cases {
        let tree = TempDir::new().unwrap();
        let path = tree.path().join("large");
        fs::write(&path, noise(16 << 20, 3)).unwrap();
        // More than the header, so the first block is compressed and the file is being read.
        let resize = |_: &Path| File::options().write(true).open(&path).unwrap().set_len(length).unwrap();
        let (status, said, archive) = streamed(tree.path(), 100_000, resize);
        assert_eq!(said, format!("mkmanifests: error: pack './large': changed while reading {how}\n{IN_MOTION}"));
        assert!(status == Some(1) && is_cut(&archive));
    }
}
