//! Checks of the file server's folder: its content, and what would stop the archive. Follows no link, writes nothing.

use std::fs::{self, Metadata};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{Access, AtFlags, CWD, accessat};
use scar_record::Check;
use scar_tool::{Console, Failure};
use walkdir::WalkDir;

use crate::check::{blocked, failed, ok, warning};
use crate::room::{self, Sizes, size};
use crate::sample::Sample;

const TREE: &str = "content.tree";
const READABLE: &str = "content.readable";
const SPECIAL: &str = "content.special";
const LINKS: &str = "content.links";
const QUIET: &str = "content.quiet";

/// The lines of this part.
pub(crate) const NAMES: [&str; 7] = [TREE, READABLE, SPECIAL, LINKS, QUIET, room::DISK, room::CLAIM];

/// A file that changed since then may still be changing.
const FRESH: Duration = Duration::from_secs(10 * 60);
/// The most names in a line.
const SHOWN: usize = 3;

/// The entries that a line is about: the first few, and their number.
#[derive(Debug, Default)]
struct Names {
    first: Vec<String>,
    count: usize,
}

impl Names {
    fn push(&mut self, name: impl FnOnce() -> String) {
        self.count += 1;
        if self.first.len() < SHOWN {
            self.first.push(name());
        }
    }

    /// The line: `none` if there are no entries, else what `some` makes of their names.
    fn line(&self, name: &str, none: &str, some: impl FnOnce(String) -> Check) -> Check {
        match self.count - self.first.len() {
            _ if self.count == 0 => ok(name, none),
            0 => some(self.first.join(", ")),
            more => some(format!("{} and {more} more", self.first.join(", "))),
        }
    }
}

/// The walked tree.
#[derive(Debug, Default)]
struct Tree {
    files: u64,
    folders: u64,
    links: u64,
    bytes: u64,
    unreadable: Names,
    special: Names,
    dead: Names,
    fresh: Names,
    sample: Sample,
}

/// Checks the part but for the claim; the time depends on the tree's size. `archive` is where mkmanifests will write;
/// `unverified` says that what Specman serves will not be compared.
///
/// # Errors
/// The line that blocks the rest.
pub(crate) fn look(folder: &Path, archive: &Path, unverified: bool, console: &Console) -> Result<(Vec<Check>, Sizes), Check> {
    let shown = folder.display();
    let root = Root::open(folder, archive).map_err(|error| {
        let failure = Failure::io(format!("open the folder '{shown}'"), &error);
        let hint = "name the folder that the file server serves with --content, and run as a user who may read it";
        failed(TREE, failure.hint(hint))
    })?;
    let tree = walk(&root, console);
    let packed = tree.sample.estimate();
    let (files, folders, links) = (many(tree.files, "file"), many(tree.folders, "folder"), many(tree.links, "link"));
    // mkmanifests packs links alone, in which specman-verify finds nothing to compare.
    let tree_line = match tree.files + if unverified { tree.links } else { 0 } {
        0 => blocked(TREE, format!("'{shown}' has no file"), "is it the folder that the file server serves?"),
        _ => {
            let (bytes, packed) = (size(tree.bytes), size(packed));
            ok(TREE, format!("'{shown}': {files} in {folders}, {links}, {bytes}; about {packed} packed"))
        }
    };
    let checks = [vec![tree_line], tree.lines(), vec![room::disk(archive, packed)]].concat();
    Ok((checks, Sizes { bytes: tree.bytes, packed }))
}

/// The open folder, and the file in it that is not content: the archive of an earlier run.
struct Root {
    path: PathBuf,
    fd: OwnedFd,
    archive: Option<(u64, u64)>,
}

impl Root {
    fn open(folder: &Path, archive: &Path) -> std::io::Result<Self> {
        let path = fs::canonicalize(folder)?;
        fs::read_dir(&path)?;
        let archive = fs::metadata(archive).ok().map(|data| (data.dev(), data.ino()));
        Ok(Self { fd: fs::File::open(&path)?.into(), path, archive })
    }

    /// A path below the folder, as in the archive.
    fn below<'p>(&self, path: &'p Path) -> &'p Path {
        path.strip_prefix(&self.path).unwrap_or(path)
    }

    fn shown(&self, path: &Path) -> String {
        format!("'./{}'", self.below(path).display())
    }
}

fn walk(root: &Root, console: &Console) -> Tree {
    let progress = console.progress_waiting("walking the folder");
    let now = SystemTime::now();
    let mut tree = Tree::default();
    for (number, entry) in WalkDir::new(&root.path).into_iter().enumerate() {
        if number % 1000 == 0 {
            progress.message(format_args!("{number} entries"));
        }
        match entry.and_then(|entry| Ok((entry.metadata()?, entry))) {
            // The archive never contains itself.
            Ok((data, _)) if root.archive == Some((data.dev(), data.ino())) => {}
            Ok((data, entry)) => tree.add(root, entry.path(), &data, now),
            Err(error) => tree.unreadable.push(|| root.shown(error.path().unwrap_or(&root.path))),
        }
    }
    tree
}

impl Tree {
    fn add(&mut self, root: &Root, path: &Path, data: &Metadata, now: SystemTime) {
        let kind = data.file_type();
        let name = || root.shown(path);
        if kind.is_dir() {
            self.folders += 1;
        } else if kind.is_symlink() {
            self.links += 1;
            let left_out = |_: &[u8], stat: &rustix::fs::Stat| root.archive == Some((stat.st_dev, stat.st_ino));
            if let Some(dead) = scar_links::dead_end(&root.fd, root.below(path).as_os_str().as_bytes(), left_out) {
                let target = String::from_utf8_lossy(&dead.target);
                self.dead.push(|| format!("{} -> '{target}': its target {}", name(), dead.why));
            }
        } else if !kind.is_file() {
            let what = match () {
                () if kind.is_fifo() => "FIFO",
                () if kind.is_socket() => "socket",
                () => "device",
            };
            self.special.push(|| format!("{} is a {what}", name()));
        } else {
            self.files += 1;
            self.bytes += data.len();
            // The permission bits alone do not say it: ACLs, and an NFS server that maps root to nobody, decide too.
            if accessat(CWD, path, Access::READ_OK, AtFlags::EACCESS).is_err() {
                self.unreadable.push(name);
            }
            // A time in the future comes from a wrong clock, not from a recent change.
            if data.modified().is_ok_and(|time| now.duration_since(time).is_ok_and(|age| age < FRESH)) {
                self.fresh.push(name);
            }
            self.sample.add(path, data.len());
        }
    }

    /// The lines about entries that stop an archive, or will be missing in it.
    fn lines(&self) -> Vec<Check> {
        vec![
            // mkmanifests makes no archive that lacks a file: it would look complete.
            self.unreadable.line(READABLE, "every file and folder can be read", |names| {
                let hint = "run as a user who may read all of it, or leave them out: mkmanifests --exclude GLOB";
                blocked(READABLE, format!("cannot be read: {names}"), hint)
            }),
            self.special.line(SPECIAL, "files, folders and links alone", |names| {
                blocked(SPECIAL, names, "remove what no file server serves, or leave it out: mkmanifests --exclude GLOB")
            }),
            self.dead.line(LINKS, "every link leads to something in the folder", |names| {
                let hint = "Specman will not have them: correct the links, or pack what they lead to: mkmanifests --dereference";
                warning(LINKS, names, hint)
            }),
            self.fresh.line(QUIET, "no file changed in the last 10 minutes", |names| {
                let found = format!("changed in the last 10 minutes: {names}");
                warning(QUIET, found, "stop what writes there until the archive is made")
            }),
        ]
    }
}

/// `1 file`, `2 files`.
fn many(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
