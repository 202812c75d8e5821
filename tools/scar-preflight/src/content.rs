//! Checks of the file server's folder, by the look at it with which mkmanifests begins, and of the room for the archive.
//! Writes nothing.

use std::collections::BTreeSet;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{Access, AtFlags, Stat, accessat};
use scar_record::Check;
use scar_tool::Console;
use scar_tree::{ArchiveFile, Count, Exclude, Fault, OwnArchive, Root, Rules, TreeOptions, recordable};

use crate::check::{blocked, failed, ok, warning};
use crate::room::{self, Sizes, size};
use crate::sample;

const TREE: &str = "content.tree";
const READABLE: &str = "content.readable";
const SPECIAL: &str = "content.special";
const LINKS: &str = "content.links";
const QUIET: &str = "content.quiet";

/// The lines of this part.
pub(crate) const NAMES: [&str; 7] = [TREE, READABLE, SPECIAL, LINKS, QUIET, room::DISK, room::CLAIM];

/// A file that changed within this many seconds may still be changing.
const FRESH: u64 = 10 * 60;
/// The most names in a line.
const SHOWN: usize = 3;

/// The folder, and what will be made of it.
pub(crate) struct Content {
    pub(crate) folder: PathBuf,
    pub(crate) tree: TreeOptions,
    pub(crate) exclude: Exclude,
    /// Where mkmanifests will write.
    pub(crate) archive: PathBuf,
    /// Whether what Specman serves will not be compared.
    pub(crate) unverified: bool,
}

/// Checks the part but for the claim; the time depends on the tree's size.
///
/// # Errors
/// The line that blocks the rest.
pub(crate) fn look(content: &Content, console: &Console) -> Result<(Vec<Check>, Sizes), Check> {
    let hint = "name the folder that the file server serves with --content, and run as a user who may read it";
    let root = Root::open(&content.folder).map_err(|failure| failure.hint(hint));
    let root = root.and_then(|root| recordable(root.path()).map(|_| root)).map_err(|failure| failed(TREE, failure))?;
    let archive = ArchiveFile::find(&content.archive).and_then(|file| recordable(file.path()).map(|_| file));
    let none = OwnArchive::default();
    let own = archive.as_ref().map_or(&none, ArchiveFile::own);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let shown = |path: &[u8]| format!("'{}'", scar_tree::shown(path));
    let fresh = Mutex::new(Names::default());
    let see = |folder: BorrowedFd<'_>, path: &[u8], stat: &Stat| {
        // A time in the future comes from a wrong clock, not from a recent change.
        if now.checked_sub(stat.st_mtime as u64).is_some_and(|age| age < FRESH) {
            fresh.lock().unwrap_or_else(PoisonError::into_inner).add(shown(path));
        }
        // The permission bits alone do not say it: ACLs, and an NFS server that maps root to nobody, decide too.
        let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
        accessat(folder, name, Access::READ_OK, AtFlags::EACCESS)
    };
    let rules = Rules { dereference: content.tree.dereference, exclude: &content.exclude, own };
    let (tree, faults) = root.list(rules, Some(&see), None, console).map_err(|failure| failed(TREE, failure))?;
    let mut fresh = fresh.into_inner().unwrap_or_else(PoisonError::into_inner);
    let (changing, faults): (Vec<_>, Vec<_>) = faults.into_iter().partition(Fault::is_transient);
    changing.iter().for_each(|fault| fresh.add(shown(fault.path())));
    let (special, unreadable) = faults.into_iter().partition(|fault| matches!(fault, Fault::Special { .. }));
    let mut dead = Names::default();
    root.dead_links(&tree, rules, |link| dead.add(link.to_string()));
    let packed = sample::estimate(&root, &tree);
    let checks = vec![
        tree_line(content, &tree.count, packed),
        faults_line(READABLE, unreadable, "every file and folder can be read"),
        faults_line(SPECIAL, special, "files, folders and links alone"),
        dead.line(LINKS, "every link leads to something in the folder", |dead| {
            let hint = "Specman will not have them: correct the links, or pack what they lead to: --dereference";
            warning(LINKS, dead, hint)
        }),
        fresh.line(QUIET, "no file changed in the last 10 minutes", |fresh| {
            let found = format!("changed in the last 10 minutes: {fresh}");
            warning(QUIET, found, "stop what writes there until the archive is made")
        }),
        room::disk(archive, packed),
    ];
    Ok((checks, Sizes { bytes: tree.count.bytes, packed }))
}

fn tree_line(content: &Content, count: &Count, packed: u64) -> Check {
    let shown = content.folder.display();
    // mkmanifests packs links alone, in which specman-verify finds nothing to compare.
    if count.files + if content.unverified { count.links } else { 0 } == 0 {
        return blocked(TREE, format!("'{shown}' has no file"), "is it the folder that the file server serves?");
    }
    let (files, folders, links) = (many(count.files, "file"), many(count.folders, "folder"), many(count.links, "link"));
    let (bytes, packed) = (size(count.bytes), size(packed));
    ok(TREE, format!("'{shown}': {files} in {folders}, {links}, {bytes}; about {packed} packed"))
}

/// What mkmanifests would stop with.
fn faults_line(name: &str, faults: Vec<Fault>, none: &str) -> Check {
    Fault::combined(faults, SHOWN - 1).map_or_else(|| ok(name, none), |failure| failed(name, failure))
}

/// `1 file`, `2 files`.
fn many(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// The entries that a line is about: their number, and the first few.
#[derive(Default)]
struct Names {
    count: usize,
    first: BTreeSet<String>,
}

impl Names {
    fn add(&mut self, name: String) {
        self.count += 1;
        self.first.insert(name);
        if self.first.len() > SHOWN {
            self.first.pop_last();
        }
    }

    /// The line: `none` if there are no entries, else what `some` makes of their names.
    fn line(self, name: &str, none: &str, some: impl FnOnce(String) -> Check) -> Check {
        let more = self.count - self.first.len();
        let names = self.first.into_iter().collect::<Vec<_>>().join(", ");
        match (self.count, more) {
            (0, _) => ok(name, none),
            (_, 0) => some(names),
            _ => some(format!("{names} and {more} more")),
        }
    }
}
