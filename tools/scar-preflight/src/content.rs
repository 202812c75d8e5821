//! The file server's folder: what is in it, and what would stand in the archive's way. Nothing is followed or written.

use std::fs::{self, Metadata};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{Access, AtFlags, CWD, accessat};
use scar_record::Check;
use scar_tool::{Console, Failure};
use walkdir::WalkDir;

use crate::check::{Side, blocked, failed, needs, ok, warning};
use crate::goal::Content;
use crate::links;
use crate::room::{self, size};
use crate::sample::Sample;

const TREE: &str = "content.tree";
const READABLE: &str = "content.readable";
const SPECIAL: &str = "content.special";
const LINKS: &str = "content.links";
const QUIET: &str = "content.quiet";

/// What changed since may be under way still.
const FRESH: Duration = Duration::from_secs(10 * 60);
/// Names that a line shows.
const SHOWN: usize = 3;

/// What was found.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) checks: Vec<Check>,
    /// Bytes of all files, and of the archive to be.
    pub(crate) bytes: Option<(u64, u64)>,
}

/// A few names, and how many there are.
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

    fn told(&self) -> String {
        let more = self.count - self.first.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{}{more}", self.first.join(", "))
    }
}

/// The tree as it was walked.
#[derive(Debug, Default)]
struct Tree {
    files: u64,
    folders: u64,
    links: u64,
    bytes: u64,
    unreadable: Names,
    special: Names,
    lost: Names,
    fresh: Names,
    sample: Sample,
}

/// Checks the side; it takes as long as the tree is large.
pub(crate) fn look(goal: &Content, console: &Console) -> Found {
    let shown = goal.folder.display();
    let root = match fs::canonicalize(&goal.folder).and_then(|root| fs::read_dir(&root).map(|_| root)) {
        Ok(root) => root,
        Err(error) => {
            let failure = Failure::io(format!("open the folder '{shown}'"), &error);
            let failure =
                failure.hint("name the folder that the file server serves with --content, and run as a user who may read it");
            let after = [READABLE, SPECIAL, LINKS, QUIET, room::DISK, room::CLAIM];
            return Found { checks: [vec![failed(TREE, failure, Side::Own)], needs(after, TREE)].concat(), bytes: None };
        }
    };
    let tree = walk(&root, &goal.archive, console);
    let estimate = tree.sample.estimate();
    let mut checks = lines(&goal.folder, &tree, estimate);
    checks.push(room::disk(&goal.archive, estimate));
    Found { checks, bytes: Some((tree.bytes, estimate)) }
}

fn walk(root: &Path, archive: &Path, console: &Console) -> Tree {
    let progress = console.progress_waiting("walking the folder");
    let archive = real(archive);
    let now = SystemTime::now();
    let mut tree = Tree::default();
    for (number, entry) in WalkDir::new(root).into_iter().enumerate() {
        if number % 1000 == 0 {
            progress.message(format_args!("{number} entries"));
        }
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                let path = error.path().unwrap_or(root).to_owned();
                tree.unreadable.push(|| below(root, &path));
                continue;
            }
        };
        // The archive is never packed into itself.
        if archive.as_deref() == Some(entry.path()) {
            continue;
        }
        match entry.metadata() {
            Ok(data) => note(&mut tree, root, entry.path(), &data, now),
            Err(_) => tree.unreadable.push(|| below(root, entry.path())),
        }
    }
    tree
}

fn note(tree: &mut Tree, root: &Path, path: &Path, data: &Metadata, now: SystemTime) {
    let kind = data.file_type();
    let name = || below(root, path);
    if kind.is_dir() {
        tree.folders += 1;
        return;
    }
    if kind.is_symlink() {
        tree.links += 1;
        if let Some(why) = links::lost(root, path) {
            tree.lost.push(|| format!("{} {why}", name()));
        }
        return;
    }
    if !kind.is_file() {
        let what = match () {
            () if kind.is_fifo() => "FIFO",
            () if kind.is_socket() => "socket",
            () => "device",
        };
        return tree.special.push(|| format!("{} is a {what}", name()));
    }
    tree.files += 1;
    tree.bytes += data.len();
    if accessat(CWD, path, Access::READ_OK, AtFlags::EACCESS).is_err() {
        tree.unreadable.push(name);
    }
    // A time to come is of a wrong clock, not of the last minutes.
    let fresh = data.modified().is_ok_and(|time| now.duration_since(time).is_ok_and(|age| age < FRESH));
    if fresh {
        tree.fresh.push(name);
    }
    tree.sample.add(path, data.len());
}

fn lines(folder: &Path, tree: &Tree, estimate: u64) -> Vec<Check> {
    let shown = folder.display();
    let all = format!(
        "'{shown}': {} in {}, {}, {}; about {} packed",
        many(tree.files, "file"),
        many(tree.folders, "folder"),
        many(tree.links, "link"),
        size(tree.bytes),
        size(estimate)
    );
    let tree_line = match tree.files {
        0 => blocked(TREE, format!("'{shown}' has no file"), "is it the folder that the file server serves?"),
        _ => ok(TREE, all),
    };
    let none = |name: &str, names: &Names, found: &str, line: fn(String, String) -> Check, hint: &str| match names.count {
        0 => ok(name, found),
        _ => line(names.told(), hint.to_owned()),
    };
    vec![
        tree_line,
        none(
            READABLE,
            &tree.unreadable,
            "every file and folder can be read",
            |found, hint| blocked(READABLE, format!("cannot be read: {found}"), hint),
            "run as a user who may read all of it, or leave them out: mkmanifests --exclude GLOB",
        ),
        none(
            SPECIAL,
            &tree.special,
            "files, folders and links alone",
            |found, hint| blocked(SPECIAL, found, hint),
            "remove what no file server serves, or leave it out: mkmanifests --exclude GLOB",
        ),
        none(
            LINKS,
            &tree.lost,
            "every link leads into the folder",
            |found, hint| warning(LINKS, found, hint),
            "Specman will not have what they lead to: mend them, or mkmanifests --dereference",
        ),
        none(
            QUIET,
            &tree.fresh,
            "no file changed in the last 10 minutes",
            |found, hint| warning(QUIET, format!("changed in the last 10 minutes: {found}"), hint),
            "stop what writes there until the archive is made",
        ),
    ]
}

/// `1 file`, `2 files`.
fn many(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// A path below the folder, as a message shows it.
fn below(root: &Path, path: &Path) -> String {
    let path = path.strip_prefix(root).unwrap_or(path);
    format!("'./{}'", path.display())
}

/// Where the archive really is, or will be.
fn real(archive: &Path) -> Option<PathBuf> {
    fs::canonicalize(archive).ok().or_else(|| {
        let folder = archive.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Some(fs::canonicalize(folder).ok()?.join(archive.file_name()?))
    })
}
