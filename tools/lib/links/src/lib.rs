//! Where a symbolic link leads after the archive was unpacked elsewhere: only what is in the archive exists there.
//!
//! `mkmanifests` warns about dead links, and `scar-preflight` checks for them; sharing this code makes them agree.

use std::collections::VecDeque;
use std::os::fd::AsFd;

use rustix::fs::{AtFlags, FileType, Stat, readlinkat, statat};

/// The number of links that Linux follows in one path (path_resolution(7)).
const HOPS: usize = 40;

/// A dead link: its target is not in the archive.
#[derive(Debug)]
pub struct DeadEnd {
    /// The link's target.
    pub target: Vec<u8>,
    /// The reason, as a phrase after "its target".
    pub why: &'static str,
}

/// Reads the link at `path` below `root`, and follows it within the tree. `left_out` says whether an entry is left out of
/// the archive.
///
/// Returns `None` if its target is in the archive, or it is no longer a link.
pub fn dead_end(root: impl AsFd, path: &[u8], left_out: impl Fn(&[u8], &Stat) -> bool) -> Option<DeadEnd> {
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
    follow(path, &target, look).map(|why| DeadEnd { target, why })
}

/// An entry of the tree.
enum Node {
    Nothing,
    LeftOut,
    Folder,
    File,
    Link(Vec<u8>),
}

/// Why the link at `path` with this `target` is dead; `look` says what is at a path below the root.
fn follow(path: &[u8], target: &[u8], look: impl Fn(&[u8]) -> Node) -> Option<&'static str> {
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
            Node::Folder => {}
            Node::File if rest.is_empty() => {}
            Node::Nothing | Node::File => return MISSING,
            Node::LeftOut => return Some("is left out of the archive"),
            Node::Link(_) if hops == HOPS => return Some("is a loop of links"),
            Node::Link(next) if next.starts_with(b"/") => return OUTSIDE,
            Node::Link(next) => {
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
            assert_eq!(follow(path.as_bytes(), target.as_bytes(), look), expected, "{path} -> {target}");
        }
    }
}
