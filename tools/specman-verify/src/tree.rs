//! The files that Specman should serve: names with their content, links resolved.
//!
//! Invariants: every name is relative, without `.` and `..`; nothing is below a file or a link; links are followed only
//! among these names.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use scar_tree::links;
use sha2::{Digest as _, Sha256};

/// The most names of a tree, with the files behind links to folders counted, so that memory stays bounded.
const NAMES: usize = 4_000_000;

/// A regular file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct File {
    /// The number of bytes.
    pub(crate) size: u64,
    /// The content.
    pub(crate) content: Content,
}

/// The content of a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// The SHA-256.
    Sum([u8; 32]),
    /// The path to read it from.
    Path(PathBuf),
}

impl Content {
    /// The SHA-256; reads the file if it is not known.
    pub(crate) fn sum(&self) -> io::Result<[u8; 32]> {
        match self {
            Self::Sum(sum) => Ok(*sum),
            Self::Path(path) => sum(&mut std::fs::File::open(path)?).map(|(_, sum)| sum),
        }
    }
}

/// Length and SHA-256 of all remaining bytes.
pub(crate) fn sum(reader: &mut impl Read) -> io::Result<(u64, [u8; 32])> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut size = 0;
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok((size, hash.finalize().into())),
            Ok(read) => {
                hash.update(&buffer[..read]);
                size += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// One entry.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    /// A folder.
    Folder,
    /// A regular file; hard links share it.
    File(Arc<File>),
    /// A symbolic link with its target.
    Link(Vec<u8>),
}

/// Entries by name.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    nodes: BTreeMap<Vec<u8>, Node>,
}

/// A name under which Specman should serve a file.
#[derive(Debug, Clone)]
pub(crate) struct Expected {
    pub(crate) name: Vec<u8>,
    pub(crate) file: Arc<File>,
}

/// Normalizes a name; empty for the tree's root.
///
/// # Errors
/// Describes a name that leaves the tree.
pub(crate) fn plain(name: &[u8]) -> Result<Vec<u8>, &'static str> {
    if name.first() == Some(&b'/') {
        return Err("its name is absolute");
    }
    let mut plain = Vec::with_capacity(name.len());
    for part in name.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err("its path leaves the archive"),
            part => push(&mut plain, part),
        }
    }
    Ok(plain)
}

fn push(name: &mut Vec<u8>, part: &[u8]) {
    if !name.is_empty() {
        name.push(b'/');
    }
    name.extend_from_slice(part);
}

impl Tree {
    /// Adds an entry; a later file or link replaces an earlier one, as in tar. Nothing is unpacked here, but Specman unpacks the
    /// same archive.
    ///
    /// # Errors
    /// Describes an entry whose unpacking would write outside the tree.
    pub(crate) fn insert(&mut self, name: Vec<u8>, node: Node) -> Result<(), &'static str> {
        if name.is_empty() {
            return if matches!(node, Node::Folder) { Ok(()) } else { Err("it takes the place of the tree's own folder") };
        }
        for at in name.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at) {
            match self.nodes.get(&name[..at]) {
                Some(Node::Folder) => {}
                // A link `d -> /etc` and then `d/passwd` is the classic way to write outside of the folder that an archive is
                // unpacked into.
                Some(Node::Link(_)) => return Err("its path goes through a link in the archive"),
                Some(Node::File(_)) => return Err("it lies below a file"),
                None => drop(self.nodes.insert(name[..at].to_vec(), Node::Folder)),
            }
        }
        match (self.nodes.get(&name), &node) {
            (Some(Node::Folder), Node::Folder) => return Ok(()),
            (Some(Node::Folder), _) => return Err("a folder of that name came before it"),
            (Some(_), Node::Folder) => return Err("a file or link of that name came before it"),
            (Some(Node::Link(_)), Node::File(_)) => return Err("a link of that name came before it"),
            _ => {}
        }
        self.nodes.insert(name, node);
        Ok(())
    }

    /// The file with this name.
    pub(crate) fn file(&self, name: &[u8]) -> Option<Arc<File>> {
        match self.nodes.get(name) {
            Some(Node::File(file)) => Some(file.clone()),
            _ => None,
        }
    }

    /// Every name that should be served, in order, and the dead links, each with its target and the reason.
    ///
    /// A link to a folder adds all files below it under the link's name; links to folders found there are not followed: two
    /// links to each other's folders would add names without end.
    ///
    /// # Errors
    /// Exit 7 if links to folders multiply the names too much.
    pub(crate) fn expected(&self) -> Result<(Vec<Expected>, Vec<String>), scar_tool::Failure> {
        let mut expected = Vec::new();
        let mut dead = Vec::new();
        for (name, node) in &self.nodes {
            match node {
                Node::Folder => {}
                Node::File(file) => expected.push(Expected { name: name.clone(), file: file.clone() }),
                Node::Link(target) => match self.follow(name, target) {
                    Ok(path) => match self.file(&path) {
                        Some(file) => expected.push(Expected { name: name.clone(), file }),
                        None => expected.extend(self.below(path, name)),
                    },
                    Err(why) => dead.push(format!("'{}' -> '{}': its target {why}", text(name), text(target))),
                },
            }
            if expected.len() > NAMES {
                return Err(scar_tool::Failure::new(
                    scar_tool::Exit::Mismatch,
                    format!("list what is to be compared: its links to folders come to more than {NAMES} names"),
                )
                .hint("compare a part: --sample counts names too, so give a DIR further down and --path-prefix"));
            }
        }
        Ok((expected, dead))
    }

    /// The files below `folder`, named as below its link `alias`.
    fn below<'t>(&'t self, mut folder: Vec<u8>, alias: &'t [u8]) -> impl Iterator<Item = Expected> + use<'t> {
        if !folder.is_empty() {
            folder.push(b'/');
        }
        let nodes = self.nodes.range(folder.clone()..).map_while(move |(name, node)| {
            let rest = name.strip_prefix(&folder[..])?;
            Some((name, rest, node))
        });
        nodes.filter_map(move |(name, rest, node)| {
            let file = match node {
                Node::File(file) => file.clone(),
                Node::Link(target) => self.file(&self.follow(name, target).ok()?)?,
                Node::Folder => return None,
            };
            let mut name = alias.to_vec();
            push(&mut name, rest);
            Some(Expected { name, file })
        })
    }

    /// What the link `name` leads to: the name of a file or folder.
    fn follow(&self, name: &[u8], target: &[u8]) -> Result<Vec<u8>, &'static str> {
        links::follow(name, target, |path| match self.nodes.get(path) {
            None => links::Node::Nothing,
            Some(Node::Folder) => links::Node::Folder,
            Some(Node::File(_)) => links::Node::File,
            Some(Node::Link(target)) => links::Node::Link(target.clone()),
        })
    }
}

/// A name, escaped for messages.
pub(crate) fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(size: u64) -> Node {
        Node::File(Arc::new(File { size, content: Content::Sum([0; 32]) }))
    }

    fn link(target: &str) -> Node {
        Node::Link(target.into())
    }

    fn names(tree: &Tree) -> (Vec<(String, u64)>, Vec<String>) {
        let (expected, outside) = tree.expected().unwrap();
        (expected.iter().map(|e| (text(&e.name), e.file.size)).collect(), outside)
    }

    #[test]
    fn a_link_counts_as_what_it_leads_to_inside_and_is_listed_if_it_leads_out() {
        let mut tree = Tree::default();
        let mut add = |name: &str, node| tree.insert(plain(name.as_bytes()).unwrap(), node).unwrap();
        add("./", Node::Folder);
        add("./a/b/one", file(1));
        add("a/two", file(2));
        add("direct", link("a/b/one"));
        add("a/up", link("../direct"));
        add("folder", link("./a/"));
        add("a/b/round", link("../b"));
        add("through", link("folder/b/../two"));
        add("absolute", link("/a/two"));
        add("above", link("../x"));
        add("dangling", link("a/three"));
        add("loop", link("loop"));
        add("file-below-file", link("a/two/x"));
        let (served, outside) = names(&tree);
        let served: Vec<(&str, u64)> = served.iter().map(|(name, size)| (name.as_str(), *size)).collect();
        let expected = [
            ("a/b/one", 1),
            ("a/b/round/one", 1),
            ("a/two", 2),
            ("a/up", 1),
            ("direct", 1),
            ("folder/b/one", 1),
            ("folder/two", 2),
            ("folder/up", 1),
            ("through", 2),
        ];
        assert_eq!(served, expected);
        let listed = [
            "'above' -> '../x': its target lies outside of the tree",
            "'absolute' -> '/a/two': its target is an absolute path",
            "'dangling' -> 'a/three': its target does not exist",
            "'file-below-file' -> 'a/two/x': its target does not exist",
            "'loop' -> 'loop': its target is a loop of links",
        ];
        assert_eq!(outside, listed);
    }

    #[test]
    fn bad_input_35_what_would_be_written_elsewhere_is_refused() {
        for (name, why) in [("../x", "leaves the archive"), ("a/../../x", "leaves the archive"), ("/etc/x", "absolute")] {
            assert!(plain(name.as_bytes()).unwrap_err().contains(why), "{name}");
        }
        assert_eq!(plain(b"./a//b/.").unwrap(), b"a/b");
        for (first, second, why) in [
            (("l", link("/tmp")), ("l/x", file(1)), "through a link"),
            (("l", link("/tmp/x")), ("l", file(1)), "a link of that name"),
            (("f", file(1)), ("f/x", file(1)), "below a file"),
            (("d/x", file(1)), ("d", link("/tmp")), "a folder of that name"),
            (("l", link("x")), ("l", Node::Folder), "a file or link of that name"),
        ] {
            let mut tree = Tree::default();
            tree.insert(first.0.into(), first.1).unwrap();
            assert!(tree.insert(second.0.into(), second.1).unwrap_err().contains(why), "{why}");
        }
    }

    #[test]
    fn a_later_file_takes_the_place_of_an_earlier_one() {
        let mut tree = Tree::default();
        tree.insert(b"x".to_vec(), file(1)).unwrap();
        tree.insert(b"x".to_vec(), file(2)).unwrap();
        assert_eq!(names(&tree).0, [("x".to_owned(), 2)]);
    }
}
