//! Checks of the file server's folder: its content, and what would stop the archive. Follows no link, writes nothing.

use std::fs::{self, Metadata};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{Access, AtFlags, CWD, accessat};
use scar_record::{Check, CheckResult};
use scar_tool::{Console, Failure};
use walkdir::WalkDir;

use crate::check::{blocked, complete, failed, line, ok};
use crate::findings::Findings;
use crate::plan::Content;
use crate::room::{self, size};
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

/// A few names, and their number.
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

/// The walked tree.
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

/// Checks the part but for the claim; the time depends on the tree's size.
pub(crate) fn look(plan: &Content, console: &Console) -> Findings {
    let root = match Root::open(plan) {
        Ok(root) => root,
        Err(error) => {
            let failure = Failure::io(format!("open the folder '{}'", plan.folder.display()), &error);
            let failure =
                failure.hint("name the folder that the file server serves with --content, and run as a user who may read it");
            return Findings { checks: complete(&NAMES, vec![failed(TREE, failure)]), ..Findings::default() };
        }
    };
    let tree = walk(&root, console);
    let estimate = tree.sample.estimate();
    let mut checks = lines(plan, &tree, estimate);
    checks.push(room::disk(&plan.archive, estimate));
    Findings { checks, content: Some((tree.bytes, estimate)), ..Findings::default() }
}

/// The open folder, and the file in it that is not content: the archive of an earlier run.
struct Root {
    path: PathBuf,
    fd: OwnedFd,
    archive: Option<(u64, u64)>,
}

impl Root {
    fn open(plan: &Content) -> std::io::Result<Self> {
        let path = fs::canonicalize(&plan.folder)?;
        fs::read_dir(&path)?;
        let archive = fs::metadata(&plan.archive).ok().map(|data| (data.dev(), data.ino()));
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
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                let path = error.path().unwrap_or(&root.path);
                tree.unreadable.push(|| root.shown(path));
                continue;
            }
        };
        match entry.metadata() {
            // The archive never contains itself.
            Ok(data) if root.archive == Some((data.dev(), data.ino())) => {}
            Ok(data) => note(&mut tree, root, entry.path(), &data, now),
            Err(_) => tree.unreadable.push(|| root.shown(entry.path())),
        }
    }
    tree
}

fn note(tree: &mut Tree, root: &Root, path: &Path, data: &Metadata, now: SystemTime) {
    let kind = data.file_type();
    let name = || root.shown(path);
    if kind.is_dir() {
        tree.folders += 1;
        return;
    }
    if kind.is_symlink() {
        tree.links += 1;
        let left_out = |_: &[u8], stat: &rustix::fs::Stat| root.archive == Some((stat.st_dev, stat.st_ino));
        if let Some(dead) = scar_links::dead_end(&root.fd, root.below(path).as_os_str().as_bytes(), left_out) {
            tree.lost.push(|| format!("{} -> '{}': its target {}", name(), String::from_utf8_lossy(&dead.target), dead.why));
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
    // A time in the future comes from a wrong clock, not from a recent change.
    let fresh = data.modified().is_ok_and(|time| now.duration_since(time).is_ok_and(|age| age < FRESH));
    if fresh {
        tree.fresh.push(name);
    }
    tree.sample.add(path, data.len());
}

fn lines(plan: &Content, tree: &Tree, estimate: u64) -> Vec<Check> {
    let shown = plan.folder.display();
    let all = format!(
        "'{shown}': {} in {}, {}, {}; about {} packed",
        many(tree.files, "file"),
        many(tree.folders, "folder"),
        many(tree.links, "link"),
        size(tree.bytes),
        size(estimate)
    );
    // mkmanifests packs links alone, in which specman-verify finds nothing to compare.
    let links = if plan.unverified { tree.links } else { 0 };
    let tree_line = match tree.files + links {
        0 => blocked(TREE, format!("'{shown}' has no file"), "is it the folder that the file server serves?"),
        _ => ok(TREE, all),
    };
    let line = |name: &str, names: &Names, result: CheckResult, [none, some, hint]: [&str; 3]| match names.count {
        0 => ok(name, none),
        _ => Check { hint: Some(hint.to_owned()), ..line(name, result, format!("{some}{}", names.told())) },
    };
    vec![
        tree_line,
        line(
            READABLE,
            &tree.unreadable,
            CheckResult::Blocked,
            [
                "every file and folder can be read",
                "cannot be read: ",
                "run as a user who may read all of it, or leave them out: mkmanifests --exclude GLOB",
            ],
        ),
        line(
            SPECIAL,
            &tree.special,
            CheckResult::Blocked,
            [
                "files, folders and links alone",
                "",
                "remove what no file server serves, or leave it out: mkmanifests --exclude GLOB",
            ],
        ),
        line(
            LINKS,
            &tree.lost,
            CheckResult::Warning,
            [
                "every link leads to something in the folder",
                "",
                "Specman will not have them: correct the links, or pack what they lead to: mkmanifests --dereference",
            ],
        ),
        line(
            QUIET,
            &tree.fresh,
            CheckResult::Warning,
            [
                "no file changed in the last 10 minutes",
                "changed in the last 10 minutes: ",
                "stop what writes there until the archive is made",
            ],
        ),
    ]
}

/// `1 file`, `2 files`.
fn many(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
