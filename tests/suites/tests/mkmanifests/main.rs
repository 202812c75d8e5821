//! mkmanifests: the archive's content, refusals, the record, and never an incomplete file. Rows M1 to M13 of the faults, and
//! the bad inputs 33 and 34.

// A check that cannot run fails.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod archive;
mod changing_tree;
mod disk;
mod entries;
mod interrupted;
mod limits;
mod output;
mod refused;
mod trees;

use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use scar_kit::{Outcome, Run, binary, program};
use tempfile::TempDir;

/// A small tree of manifests.
pub(crate) fn tree() -> TempDir {
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

/// Incompressible data, reproducible by its seed.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(0x9e37_79b9_7f4a_7c15) | 1;
    let words = (0..length.div_ceil(8)).flat_map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(length).collect()
}

/// The names in an archive, in order.
pub(crate) fn names(archive: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(flate2::bufread::GzDecoder::new(archive));
    archive.entries().unwrap().map(|entry| String::from_utf8_lossy(&entry.unwrap().path_bytes()).into_owned()).collect()
}

/// The names in a folder, including hidden ones.
pub(crate) fn in_folder(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

pub(crate) fn fifo(path: &Path) {
    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// A tree of one large and one small file, and a folder with an old archive.
pub(crate) struct Site {
    pub(crate) tree: TempDir,
    pub(crate) out: TempDir,
}

pub(crate) const OLD: &[u8] = b"the old archive";

impl Site {
    pub(crate) fn new(large: usize) -> Self {
        let site = Self { tree: TempDir::new().unwrap(), out: TempDir::new().unwrap() };
        fs::write(site.tree.path().join("large"), noise(large, 0)).unwrap();
        fs::write(site.tree.path().join("small"), "small\n").unwrap();
        fs::write(site.archive(), OLD).unwrap();
        site
    }

    pub(crate) fn archive(&self) -> PathBuf {
        self.out.path().join("manifests.tgz")
    }

    /// Runs the tool under strace.
    pub(crate) fn traced(&self, strace: &Path, options: &[&str]) -> Run {
        program(strace)
            .args(["-f", "-qq", "-o", "/dev/null"])
            .args(options)
            .arg(binary("mkmanifests"))
            .arg(self.tree.path())
            .args(["--threads", "2"])
            .folder(self.out.path())
            .called(self.out.path().canonicalize().unwrap().display(), "[OUT]")
    }

    /// Asserts that only the old archive exists.
    #[track_caller]
    pub(crate) fn is_as_before(&self, outcome: &Outcome) {
        assert_eq!(in_folder(self.out.path()), ["manifests.tgz"], "{outcome}");
        assert_eq!(fs::read(self.archive()).unwrap(), OLD, "{outcome}");
    }
}

pub(crate) fn is_temporary(name: &str) -> bool {
    name.starts_with(".mkmanifests-") && name.ends_with(".tmp")
}

/// Whether an archive is complete.
pub(crate) fn is_whole(archive: &[u8]) -> bool {
    let mut decoder = flate2::bufread::GzDecoder::new(archive);
    decoder.read_to_end(&mut Vec::new()).is_ok() && decoder.into_inner().is_empty()
}
