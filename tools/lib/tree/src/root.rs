//! The tree's own folder: everything is opened relative to its descriptor, so that a folder that is renamed or replaced
//! meanwhile cannot lead elsewhere.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{Mode, OFlags, Stat};
use scar_tool::{Console, Exit, Failure, Interrupt};

use crate::links::{DeadLink, dead_link};
use crate::walk::{Look, Rules, walk};
use crate::{Fault, Kind, Tree, stamp};

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The open root of a tree.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
    path: PathBuf,
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Root {
    /// Opens the tree's root.
    ///
    /// # Errors
    /// Exit 2 if the folder does not exist, exit 1 if it cannot be opened.
    pub fn open(dir: &Path) -> Result<Self, Failure> {
        let failed = |error: io::Error| {
            let failure = Failure::io(format_args!("open '{}'", dir.display()), &error);
            match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Failure { exit: Exit::Misuse, ..failure }
                    .hint("name the folder that the file server serves, such as /var/www/html"),
                _ => failure,
            }
        };
        let fd = rustix::fs::open(dir, FOLDER, Mode::empty()).map_err(|errno| failed(errno.into()))?;
        let path = fs::canonicalize(dir).map_err(failed)?;
        Ok(Self { fd, path })
    }

    /// Its absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the root again: a duplicate descriptor would share the read position of the last listing (dup(2)).
    ///
    /// # Errors
    /// Exit 1.
    pub fn again(&self) -> Result<OwnedFd, Failure> {
        rustix::fs::openat(&self.fd, ".", FOLDER, Mode::empty())
            .map_err(|errno| Failure::io(format_args!("open '{}'", self.path.display()), &errno.into()))
    }

    /// Lists the tree, and all faults that prevent an archive of it; the tree is then incomplete. `look` sees each file.
    ///
    /// # Errors
    /// A signal, if `interrupt` notices it; exit 1 if the root cannot be opened any more.
    pub fn list(
        &self,
        rules: Rules<'_>,
        look: Option<&Look<'_>>,
        interrupt: Option<&Interrupt>,
        console: &Console,
    ) -> Result<(Tree, Vec<Fault>), Failure> {
        raise_open_files();
        let seen = AtomicU64::new(0);
        let progress = console.progress_waiting("listing");
        let check = || interrupt.map_or(Ok(()), Interrupt::check);
        let stop = || {
            progress.message(format_args!("{} entries", seen.load(Ordering::Relaxed)));
            check().is_err()
        };
        let listed = walk(self.again()?, rules, look, &seen, &stop);
        // A stopped walk has only seen a part of the tree.
        check()?;
        Ok(listed)
    }

    /// Calls `see` with each link of the listed tree that leads to nothing in its archive, in the archive's order.
    pub fn dead_links(&self, tree: &Tree, rules: Rules<'_>, mut see: impl FnMut(DeadLink)) {
        if tree.count.links == 0 {
            return;
        }
        let left_out = |at: &[u8], stat: &Stat| rules.exclude.matches(at) || rules.own.is(stamp::file_id(stat));
        tree.each(|path, kind| {
            // A link that has vanished meanwhile is reported when it is read.
            if matches!(kind, Kind::Link { .. })
                && let Some(dead) = dead_link(self, path, left_out)
            {
                see(dead);
            }
        });
    }
}

/// Raises the limit of open files (setrlimit(2)): a deep tree needs a descriptor for each folder on the way down.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Without the permission a tree that is too deep fails with EMFILE, naming the folder.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}
