//! Lists a tree, many folders at a time, because a cold disk answers many requests in the time of one.
//!
//! Only folders are opened; links are only followed with `dereference`; anything but a file, folder or link is a fault.
//! Faults are collected, so that one run names everything that must be excluded.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, Stat};
use rustix::io::Errno;

use crate::exclude::{Exclude, OwnArchive};
use crate::fault::{FOLLOW, Fault};
use crate::listing::{Cursor, Encoder, Kind};
use crate::stamp::{self, FileId};
use crate::tree::{Count, Tree};

/// Number of folders listed in parallel.
const LISTERS: usize = 16;
/// From this number of names on, threads share a single folder.
const SHARED: usize = 4096;
/// The number of faults after which the walk stops.
pub const FAULTS: usize = 1000;

/// What to list, and how.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// Store what links point to.
    pub dereference: bool,
    /// The user's globs.
    pub exclude: &'a Exclude,
    /// The archive itself.
    pub own: &'a OwnArchive,
}

/// Looks at a file, given its open folder, its path below the root and its metadata; called by several threads. A failure is
/// the file's fault, as if opening it had failed.
pub type Look<'a> = dyn Fn(BorrowedFd<'_>, &[u8], &Stat) -> Result<(), Errno> + Sync + 'a;

/// An open folder.
#[derive(Debug)]
struct OpenFolder {
    number: u32,
    fd: OwnedFd,
    path: Vec<u8>,
    id: FileId,
    above: Option<Arc<OpenFolder>>,
}

/// Folders still to list: the rest of a listing.
#[derive(Debug)]
struct Group {
    parent: Arc<OpenFolder>,
    listing: Arc<[u8]>,
    cursor: Cursor,
}

#[derive(Debug, Default)]
struct State {
    groups: Vec<Group>,
    busy: usize,
    faults: Vec<Fault>,
    tree: Tree,
}

struct Walk<'a> {
    rules: Rules<'a>,
    look: Option<&'a Look<'a>>,
    state: Mutex<State>,
    changed: Condvar,
    seen: &'a AtomicU64,
    stop: &'a (dyn Fn() -> bool + Sync),
}

/// Lists the tree at `root`, and all faults that prevent an archive. `seen` counts the entries found; `stop` ends the walk
/// early.
pub(crate) fn walk(
    root: OwnedFd,
    rules: Rules<'_>,
    look: Option<&Look<'_>>,
    seen: &AtomicU64,
    stop: &(dyn Fn() -> bool + Sync),
) -> (Tree, Vec<Fault>) {
    let walk = Walk { rules, look, state: Mutex::default(), changed: Condvar::new(), seen, stop };
    let mut faults = Vec::new();
    match rustix::fs::fstat(&root) {
        Ok(stat) => {
            let id = stamp::file_id(&stat);
            walk.state().tree.reserve(0, id);
            walk.list(Arc::new(OpenFolder { number: 0, fd: root, path: Vec::new(), id, above: None }), &mut faults);
        }
        Err(errno) => faults.push(Fault::entry("list", b"", errno)),
    }
    walk.state().faults = faults;
    std::thread::scope(|scope| {
        for _ in 0..LISTERS {
            scope.spawn(|| walk.work());
        }
    });
    let State { mut tree, faults, .. } = walk.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    tree.count.folders += 1;
    tree.settle();
    (tree, faults)
}

impl Walk<'_> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lists folders until all are listed.
    fn work(&self) {
        let mut faults = Vec::new();
        while let Some((parent, name, number)) = self.take() {
            if let Err(fault) = self.enter(&parent, &name, number, &mut faults) {
                faults.push(fault);
            }
            let mut state = self.state();
            state.busy -= 1;
            state.faults.append(&mut faults);
            if state.faults.len() >= FAULTS || (self.stop)() {
                state.groups.clear();
            }
            drop(state);
            self.changed.notify_all();
        }
    }

    /// The next folder to list; waits while other threads may still find some.
    fn take(&self) -> Option<(Arc<OpenFolder>, Vec<u8>, u32)> {
        let mut state = self.state();
        loop {
            while let Some(group) = state.groups.last_mut() {
                while let Some(kind) = group.cursor.next(&group.listing) {
                    if let Kind::Folder { number } = kind {
                        let found = (group.parent.clone(), group.cursor.name().to_vec(), number);
                        state.busy += 1;
                        return Some(found);
                    }
                }
                state.groups.pop();
            }
            if state.busy == 0 {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Opens a folder and lists it.
    fn enter(&self, parent: &Arc<OpenFolder>, name: &[u8], number: u32, faults: &mut Vec<Fault>) -> Result<(), Fault> {
        let path = join(&parent.path, name);
        let fd = open_folder(&parent.fd, name, self.rules.dereference).map_err(|errno| Fault::entry("list", &path, errno))?;
        let stat = rustix::fs::fstat(&fd).map_err(|errno| Fault::entry("list", &path, errno))?;
        let id = stamp::file_id(&stat);
        let mut up = Some(parent);
        // With --dereference a folder may contain itself. Device and inode show that, whatever the path.
        while let Some(open) = up {
            if open.id == id {
                return Err(Fault::Loop { path });
            }
            up = open.above.as_ref();
        }
        self.list(Arc::new(OpenFolder { number, fd, path, id, above: Some(parent.clone()) }), faults);
        Ok(())
    }

    /// Lists a folder, and leaves its subfolders to any idle thread.
    fn list(&self, open: Arc<OpenFolder>, faults: &mut Vec<Fault>) {
        let names = match self.names(&open, faults) {
            Ok(names) => names,
            Err(fault) => return faults.push(fault),
        };
        self.seen.fetch_add(names.entries.len() as u64, Ordering::Relaxed);
        let part = names.entries.len().div_ceil(if names.entries.len() >= SHARED { LISTERS } else { 1 }).max(1);
        let parts: Vec<Part> = match names.entries.chunks(part).collect::<Vec<_>>()[..] {
            [] => Vec::new(),
            [all] => vec![self.examine(&open, &names, all)],
            ref several => std::thread::scope(|scope| {
                let running: Vec<_> =
                    several.iter().map(|entries| scope.spawn(|| self.examine(&open, &names, entries))).collect();
                running.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
            }),
        };
        drop(names);
        let (mut newest, mut count) = (i64::MIN, Count::default());
        let mut listing = Vec::new();
        for mut part in parts {
            listing.append(&mut part.listing);
            newest = newest.max(part.newest);
            count.add(part.count);
            faults.append(&mut part.faults);
        }
        let mut state = self.state();
        state.tree.keep(open.number, &listing, newest, count);
        if count.folders > 0 {
            state.groups.push(Group { parent: open, listing: listing.into(), cursor: Cursor::default() });
        }
    }

    /// The names in a folder, in the archive's order.
    fn names(&self, open: &OpenFolder, faults: &mut Vec<Fault>) -> Result<Names, Fault> {
        let fault = |errno| Fault::entry("list", &open.path, errno);
        let mut names = Names::default();
        let mut buffer = vec![MaybeUninit::uninit(); 64 * 1024];
        let mut dir = RawDir::new(&open.fd, &mut buffer);
        while let Some(entry) = dir.next() {
            let entry = entry.map_err(fault)?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." || self.rules.own.is_named(open.id, name) {
                continue;
            }
            if self.rules.exclude.matches(&join(&open.path, name)) {
                continue;
            }
            let folder = match entry.file_type() {
                FileType::Directory => Ok(true),
                FileType::Symlink if self.rules.dereference => self.is_folder(open, name),
                // Not every file system returns an entry's type (readdir(3), d_type).
                FileType::Unknown => self.is_folder(open, name),
                _ => Ok(false),
            };
            match folder {
                Ok(folder) => names.push(name, folder).map_err(fault)?,
                Err(fault) => faults.push(fault),
            }
        }
        names.sort();
        Ok(names)
    }

    fn is_folder(&self, open: &OpenFolder, name: &[u8]) -> Result<bool, Fault> {
        let stat = self.stat(open, name)?;
        Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
    }

    fn stat(&self, open: &OpenFolder, name: &[u8]) -> Result<Stat, Fault> {
        let flags = if self.rules.dereference { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW };
        rustix::fs::statat(&open.fd, name, flags).map_err(|errno| {
            let path = join(&open.path, name);
            // With --dereference only the target may be missing.
            match rustix::fs::statat(&open.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(_) => Fault::Entry { act: FOLLOW, path, source: errno.into() },
                Err(_) => Fault::entry("read", &path, errno),
            }
        })
    }

    /// Reads the metadata of some names of a folder.
    fn examine(&self, open: &OpenFolder, names: &Names, entries: &[Name]) -> Part {
        let mut part = Part { listing: Vec::new(), newest: i64::MIN, count: Count::default(), faults: Vec::new() };
        let mut encoder = Encoder::default();
        for entry in entries {
            let name = names.get(entry);
            match self.kind(open, name, entry.folder, &mut part) {
                Ok(Some(kind)) => encoder.push(name, kind),
                Ok(None) => {}
                Err(fault) => part.faults.push(fault),
            }
        }
        part.listing = encoder.finish();
        part
    }

    fn kind(&self, open: &OpenFolder, name: &[u8], folder: bool, part: &mut Part) -> Result<Option<Kind>, Fault> {
        let path = || join(&open.path, name);
        let stat = self.stat(open, name)?;
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            _ if self.rules.own.is(stamp::file_id(&stat)) => return Ok(None),
            FileType::RegularFile if !folder => {
                if let Some(look) = self.look {
                    look(open.fd.as_fd(), &path(), &stat).map_err(|errno| Fault::entry("open", &path(), errno))?;
                }
                let size = stat.st_size as u64;
                part.count.files += 1;
                part.count.bytes += size;
                Kind::File { size, stamp: stamp::of(&stat) }
            }
            FileType::Symlink if !folder => {
                part.count.links += 1;
                Kind::Link { stamp: stamp::of(&stat) }
            }
            FileType::Directory if folder => {
                let number = self.state().tree.reserve(open.number, stamp::file_id(&stat));
                part.count.folders += 1;
                let too_many = || Fault::entry("list", &path(), Errno::OVERFLOW);
                return Ok(Some(Kind::Folder { number: number.ok_or_else(too_many)? }));
            }
            FileType::RegularFile | FileType::Symlink | FileType::Directory => {
                return Err(Fault::changed(&path(), "it became something else"));
            }
            other => return Err(Fault::Special { path: path(), kind: special(other) }),
        };
        part.newest = part.newest.max(stat.st_mtime);
        Ok(Some(kind))
    }
}

/// The result for some names of a folder.
#[derive(Debug)]
struct Part {
    listing: Vec<u8>,
    newest: i64,
    count: Count,
    faults: Vec<Fault>,
}

/// A name in [`Names`].
#[derive(Debug, Clone, Copy)]
struct Name {
    start: u32,
    length: u16,
    folder: bool,
}

/// Many names in one allocation.
#[derive(Debug, Default)]
struct Names {
    text: Vec<u8>,
    entries: Vec<Name>,
}

impl Names {
    /// Adds a name; fails above 4 GiB of names in one folder.
    fn push(&mut self, name: &[u8], folder: bool) -> Result<(), Errno> {
        let start = u32::try_from(self.text.len()).map_err(|_| Errno::OVERFLOW)?;
        let length = u16::try_from(name.len()).map_err(|_| Errno::NAMETOOLONG)?;
        self.text.extend_from_slice(name);
        self.entries.push(Name { start, length, folder });
        Ok(())
    }

    fn get(&self, name: &Name) -> &[u8] {
        &self.text[name.start as usize..][..name.length.into()]
    }

    /// Sorts the names; a folder's name counts as if it ended with a slash.
    fn sort(&mut self) {
        let text = std::mem::take(&mut self.text);
        let key = |name: &Name| &text[name.start as usize..][..name.length.into()];
        self.entries.sort_unstable_by(|a, b| compare(key(a), a.folder, key(b), b.folder));
        self.text = text;
    }
}

/// Compares two names of one folder in the archive's order.
fn compare(a: &[u8], a_is_folder: bool, b: &[u8], b_is_folder: bool) -> std::cmp::Ordering {
    let shared = a.len().min(b.len());
    a[..shared].cmp(&b[..shared]).then_with(|| {
        let next = |name: &[u8], folder: bool| name.get(shared).copied().or(folder.then_some(b'/'));
        next(a, a_is_folder).cmp(&next(b, b_is_folder)).then(a.len().cmp(&b.len()))
    })
}

/// Opens a subfolder for listing.
pub fn open_folder(parent: &OwnedFd, name: &[u8], follow: bool) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | if follow { OFlags::empty() } else { OFlags::NOFOLLOW };
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

/// A path below a folder.
pub fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(folder.len() + 1 + name.len());
    if !folder.is_empty() {
        path.extend_from_slice(folder);
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

fn special(kind: FileType) -> &'static str {
    match kind {
        FileType::Socket => "socket",
        FileType::Fifo => "FIFO",
        FileType::BlockDevice => "block device",
        FileType::CharacterDevice => "character device",
        _ => "file of an unknown kind",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cmp::Ordering::{Greater, Less};

    #[test]
    fn siblings_are_in_the_order_of_their_full_names() {
        for (a, a_is_folder, b, b_is_folder, order) in [
            ("a", true, "a-b", false, Greater),
            ("a", false, "a-b", false, Less),
            ("a", true, "a.b", true, Greater),
            ("a", true, "a0", false, Less),
            ("a", false, "b", true, Less),
            ("ab", false, "a", true, Greater),
        ] {
            assert_eq!(compare(a.as_bytes(), a_is_folder, b.as_bytes(), b_is_folder), order, "{a} {b}");
        }
    }
}
