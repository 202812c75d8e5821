//! Where a symbolic link will lead once the archive is unpacked somewhere else: only what is in the archive is there.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FileType};

use crate::exclude::{Exclude, Output};
use crate::stamp;

/// As many links as Linux follows in one path.
const HOPS: usize = 40;

/// What stands at a path below the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing.
    Nothing,
    /// Something that is not packed.
    LeftOut,
    /// A folder.
    Folder,
    /// A file.
    File,
    /// A symbolic link, with its target.
    Link(Vec<u8>),
}

/// Why a link will lead nowhere, in words that follow "its target".
///
/// `path` is the link's own path and `target` what it holds; `look` tells what stands at a path relative to the root.
/// `None`: it will lead to something in the archive.
pub(crate) fn lost(path: &[u8], target: &[u8], mut look: impl FnMut(&[u8]) -> Found) -> Option<&'static str> {
    const OUTSIDE: Option<&str> = Some("lies outside of the tree");
    const MISSING: Option<&str> = Some("does not exist");
    if target.starts_with(b"/") {
        return Some("is an absolute path");
    }
    let mut at: Vec<Vec<u8>> = path.split(|&b| b == b'/').map(<[u8]>::to_vec).collect();
    at.pop();
    let mut rest: VecDeque<Vec<u8>> = target.split(|&b| b == b'/').map(<[u8]>::to_vec).collect();
    let mut hops = 1;
    while let Some(part) = rest.pop_front() {
        match &part[..] {
            b"" | b"." => continue,
            b".." if at.pop().is_some() => continue,
            b".." => return OUTSIDE,
            _ => at.push(part),
        }
        match look(&at.join(&b'/')) {
            Found::Folder => {}
            Found::File if rest.is_empty() => {}
            Found::Nothing | Found::File => return MISSING,
            Found::LeftOut => return Some("is left out of the archive"),
            Found::Link(_) if hops == HOPS => return Some("is a loop of links"),
            Found::Link(next) if next.starts_with(b"/") => return OUTSIDE,
            Found::Link(next) => {
                hops += 1;
                at.pop();
                for part in next.split(|&b| b == b'/').rev() {
                    rest.push_front(part.to_vec());
                }
            }
        }
    }
    None
}

/// What stands at a path, asked of the file system; never follows a link itself.
pub(crate) fn look(root: &OwnedFd, exclude: &Exclude, output: &Output, path: &[u8]) -> Found {
    if exclude.matches(path) {
        return Found::LeftOut;
    }
    let Ok(stat) = rustix::fs::statat(root, path, AtFlags::SYMLINK_NOFOLLOW) else { return Found::Nothing };
    if output.is(stamp::place(&stat)) {
        return Found::LeftOut;
    }
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Found::Folder,
        FileType::Symlink => match rustix::fs::readlinkat(root, path, Vec::new()) {
            Ok(target) => Found::Link(target.into_bytes()),
            Err(_) => Found::Nothing,
        },
        _ => Found::File,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_to_what_the_archive_holds_or_nowhere() {
        let look = |path: &[u8]| match path {
            b"a" | b"a/b" => Found::Folder,
            b"a/file" | b"top" => Found::File,
            b"a/up" => Found::Link(b"..".to_vec()),
            b"a/out" => Found::Link(b"../../www".to_vec()),
            b"a/abs" => Found::Link(b"/etc".to_vec()),
            b"a/self" => Found::Link(b"self".to_vec()),
            b"cache" => Found::LeftOut,
            _ => Found::Nothing,
        };
        for (path, target, expected) in [
            ("l", "top", None),
            ("l", "./a//b/../file", None),
            ("a/l", "file", None),
            ("a/l", "..", None),
            ("a/l", "up/top", None),
            ("a/b/l", "../up/a/b/..", None),
            ("l", "/var/www/html/top", Some("is an absolute path")),
            ("l", "../html/top", Some("lies outside of the tree")),
            ("a/l", "../..", Some("lies outside of the tree")),
            ("l", "a/out/x", Some("lies outside of the tree")),
            ("l", "a/abs/passwd", Some("lies outside of the tree")),
            ("l", "gone", Some("does not exist")),
            ("l", "top/x", Some("does not exist")),
            ("a/self", "self", Some("is a loop of links")),
            ("l", "cache", Some("is left out of the archive")),
        ] {
            assert_eq!(lost(path.as_bytes(), target.as_bytes(), look), expected, "{path} -> {target}");
        }
    }
}
