//! mkmanifests: what goes into the archive, what is refused, and what the record says. Rows M1 to M6, M10, M11 and M13
//! of the faults, and the bad inputs 33 and 34.

// A check that cannot be made fails.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod archive;
mod entries;
mod limits;
mod motion;
mod refused;
mod told;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

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

/// Bytes that do not compress, the same for the same seed.
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

/// Names in an archive, in its order.
pub(crate) fn names(archive: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(flate2::bufread::GzDecoder::new(archive));
    archive.entries().unwrap().map(|entry| String::from_utf8_lossy(&entry.unwrap().path_bytes()).into_owned()).collect()
}

/// What lies in a folder, hidden or not.
pub(crate) fn in_folder(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

pub(crate) fn fifo(path: &Path) {
    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
}
