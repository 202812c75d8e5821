//! Where a symbolic link leads after the archive was unpacked elsewhere: only what is in the archive exists there.

use std::collections::VecDeque;
use std::fmt;
use std::os::fd::AsFd;

use rustix::fs::{AtFlags, FileType, Stat, readlinkat, statat};

use crate::name::quoted;

/// The number of links that Linux follows in one path (path_resolution(7)).
const HOPS: usize = 40;

/// A dead link: its target is not in the archive.
#[derive(Debug)]
pub struct DeadLink {
    path: Vec<u8>,
    target: Vec<u8>,
    /// The reason, as a phrase after "its target".
    why: &'static str,
}

impl fmt::Display for DeadLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'./{}' -> '{}': its target {}", quoted(&self.path), quoted(&self.target), self.why)
    }
}

/// Reads the link at `path` below `root`, and follows it within the tree. `left_out` says whether an entry is left out of
/// the archive.
///
/// Returns `None` if its target is in the archive, or it is no longer a link.
pub(crate) fn dead_link(root: impl AsFd, path: &[u8], left_out: impl Fn(&[u8], &Stat) -> bool) -> Option<DeadLink> {
    let root = root.as_fd();
    let target = readlinkat(root, path, Vec::new()).ok()?.into_bytes();
    let look = |path: &[u8]| {
        let Ok(stat) = statat(root, path, AtFlags::SYMLINK_NOFOLLOW) else { return Node::Nothing };
        if left_out(path, &stat) {
            return Node::LeftOut;
        }
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Node::Folder,
            FileType::Symlink => readlinkat(root, path, Vec::new()).map_or(Node::Nothing, |next| Node::Link(next.into_bytes())),
            _ => Node::File,
        }
    };
    follow(path, &target, look).err().map(|why| DeadLink { path: path.to_vec(), target, why })
}

/// An entry of the tree.
#[derive(Debug)]
pub enum Node {
    /// Nothing is there.
    Nothing,
    /// One that is not in the archive.
    LeftOut,
    /// A folder.
    Folder,
    /// A file.
    File,
    /// A symbolic link, with its target.
    Link(Vec<u8>),
}

/// Follows the link at `path` with this `target` to a file or folder of the tree, and returns its path; `look` says what is at
/// a path below the root.
///
/// # Errors
/// Why the link is dead, as a phrase after "its target".
pub fn follow(path: &[u8], target: &[u8], look: impl Fn(&[u8]) -> Node) -> Result<Vec<u8>, &'static str> {
    const OUTSIDE: &str = "lies outside of the tree";
    const MISSING: &str = "does not exist";
    if target.starts_with(b"/") {
        return Err("is an absolute path");
    }
    let mut at: Vec<Vec<u8>> = path.split(|&b| b == b'/').map(<[u8]>::to_vec).collect();
    at.pop();
    let mut rest: VecDeque<Vec<u8>> = target.split(|&b| b == b'/').map(<[u8]>::to_vec).collect();
    let mut hops = 1;
    while let Some(part) = rest.pop_front() {
        match &part[..] {
            b"" | b"." => continue,
            b".." if at.pop().is_some() => continue,
            b".." => return Err(OUTSIDE),
            _ => at.push(part),
        }
        match look(&at.join(&b'/')) {
            Node::Folder => {}
            Node::File if rest.is_empty() => {}
            Node::Nothing | Node::File => return Err(MISSING),
            Node::LeftOut => return Err("is left out of the archive"),
            Node::Link(_) if hops == HOPS => return Err("is a loop of links"),
            Node::Link(next) if next.starts_with(b"/") => return Err(OUTSIDE),
            Node::Link(next) => {
                hops += 1;
                at.pop();
                for part in next.split(|&b| b == b'/').rev() {
                    rest.push_front(part.to_vec());
                }
            }
        }
    }
    Ok(at.join(&b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_to_what_the_archive_holds_or_nowhere() {
        let look = |path: &[u8]| match path {
            b"a" | b"a/b" => Node::Folder,
            b"a/file" | b"top" => Node::File,
            b"a/up" => Node::Link(b"..".to_vec()),
            b"a/out" => Node::Link(b"../../www".to_vec()),
            b"a/abs" => Node::Link(b"/etc".to_vec()),
            b"a/self" => Node::Link(b"self".to_vec()),
            b"cache" => Node::LeftOut,
            _ => Node::Nothing,
        };
        for (path, target, expected) in [
            ("l", "top", Ok("top")),
            ("l", "./a//b/../file", Ok("a/file")),
            ("a/l", "file", Ok("a/file")),
            ("a/l", "..", Ok("")),
            ("a/l", "up/top", Ok("top")),
            ("a/b/l", "../up/a/b/..", Ok("a")),
            ("l", "/var/www/html/top", Err("is an absolute path")),
            ("l", "../html/top", Err("lies outside of the tree")),
            ("a/l", "../..", Err("lies outside of the tree")),
            ("l", "a/out/x", Err("lies outside of the tree")),
            ("l", "a/abs/passwd", Err("lies outside of the tree")),
            ("l", "gone", Err("does not exist")),
            ("l", "top/x", Err("does not exist")),
            ("a/self", "self", Err("is a loop of links")),
            ("l", "cache", Err("is left out of the archive")),
        ] {
            let reached = follow(path.as_bytes(), target.as_bytes(), look);
            assert_eq!(reached, expected.map(|reached: &str| reached.as_bytes().to_vec()), "{path} -> {target}");
        }
    }
}
