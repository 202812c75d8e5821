//! The output file: written next to its final place under a temporary name, synced and renamed, so that there is always the
//! complete old or new archive.
//!
//! The run that writes a temporary file locks it. The kernel drops the lock when the process ends, however it ends (flock(2)).
//! So an unlocked file was left by a killed run, and the next run in that folder removes it.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{FlockOperation, Mode, OFlags};
use scar_tool::{Console, Exit, Failure};
use scar_tree::{ArchiveFile, RANDOM, TEMPORARY, is_temporary};
use tempfile::NamedTempFile;

use crate::background_sync::{BackgroundSync, SyncingWriter};

/// The number of tries to create a temporary file that no other run takes for a stale one.
const TRIES: usize = 16;

/// A file with a temporary name, removed when dropped.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    target: &'a ArchiveFile,
    file: NamedTempFile,
    sync: BackgroundSync,
}

/// Creates a temporary file in the folder, and locks it.
fn temporary(folder: &Path) -> io::Result<NamedTempFile> {
    for _ in 0..TRIES {
        // The mode of any new file: what the umask allows. `tempfile` alone would make it 0600, which the next tool's user
        // may not read.
        let file = tempfile::Builder::new()
            .prefix(TEMPORARY.0)
            .suffix(TEMPORARY.1)
            .rand_bytes(RANDOM)
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(folder)?;
        // Between creating and locking, another run may have taken it for a stale one and removed it.
        let locked = lock(file.as_file());
        if locked != Lock::Taken && file.as_file().metadata()?.nlink() > 0 {
            return Ok(file);
        }
    }
    Err(io::Error::from(io::ErrorKind::AlreadyExists))
}

/// Removes temporary files that no run writes any more. Failures are ignored, because nothing depends on it.
fn remove_stale(folder: &Path, console: &Console) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten().filter(|entry| is_temporary(entry.file_name().as_encoded_bytes())) {
        // RDWR: over NFS an exclusive lock needs a file that is open for writing (flock(2)). NONBLOCK and NOFOLLOW: neither
        // may a FIFO of such a name hold this run, nor a link lead it elsewhere.
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let Ok(file) = rustix::fs::open(entry.path(), flags, Mode::empty()).map(File::from) else { continue };
        let Ok(meta) = file.metadata() else { continue };
        let removed = meta.is_file() && lock(&file) == Lock::Ours && fs::remove_file(entry.path()).is_ok();
        // An empty file may belong to a run that is about to lock it, and that then creates another: print nothing.
        if removed && meta.len() > 0 {
            console.note(format_args!("removed '{}', left by a run that was killed", entry.path().display()));
        }
    }
}

impl<'a> Draft<'a> {
    /// Creates the temporary file, removes stale ones, and checks that the disk has space for an archive of the last one's
    /// size.
    ///
    /// # Errors
    /// Exit 1 if the folder is read-only or full.
    pub(crate) fn create(target: &'a ArchiveFile, console: &Console) -> Result<Self, Failure> {
        // First, because what was left behind may be what fills the disk.
        remove_stale(target.folder(), console);
        let file = temporary(target.folder()).map_err(|error| target.failed("write", &error))?;
        let sync = BackgroundSync::start(file.as_file()).map_err(|error| target.failed("write", &error))?;
        let draft = Self { target, file, sync };
        // Half of the last archive: only a disk that is certainly too small is refused.
        draft.room(target.old_size() / 2, "the new archive")?;
        Ok(draft)
    }

    /// A writer to the file.
    pub(crate) fn writer(&self) -> SyncingWriter<'_> {
        self.sync.writer(self.file.as_file())
    }

    /// Empties it, for another try.
    ///
    /// # Errors
    /// Exit 1.
    pub(crate) fn restart(&mut self) -> Result<(), Failure> {
        use io::Seek;
        let file = self.file.as_file_mut();
        file.set_len(0).and_then(|()| file.rewind()).map_err(|error| self.target.failed("write", &error))
    }

    /// Checks that the disk has `bytes` left for `what`.
    ///
    /// # Errors
    /// Exit 1 if not.
    pub(crate) fn room(&self, bytes: u64, what: &str) -> Result<(), Failure> {
        // If the file system does not say, writing will fail.
        let Some(free) = self.target.free().filter(|free| *free < bytes) else { return Ok(()) };
        let path = self.target.path().display();
        Err(Failure::new(
            Exit::Failed,
            format_args!("write '{path}': no space: {free} bytes are free, and {what} needs about {bytes}"),
        )
        .hint("free some, name another place with -o, or stream it with -o -"))
    }

    /// Commits the file: syncs it, renames it, and syncs the folder. Only then it is permanent.
    ///
    /// # Errors
    /// Exit 1, naming the operation. The old archive is in place, unless only the folder's sync failed.
    pub(crate) fn commit(self) -> Result<(), Failure> {
        let target = self.target;
        self.sync.end().and_then(|()| self.file.as_file().sync_all()).map_err(|error| target.failed("sync", &error))?;
        // rename(2) replaces the old archive in one step: a reader sees one or the other (FAULTS M8).
        self.file.persist(target.path()).map_err(|error| target.failed("rename to", &error.error))?;
        // After a power cut the rename may be lost unless the folder was synced, too (fsync(2)).
        File::open(target.folder())
            .and_then(|folder| folder.sync_all())
            .map_err(|error| Failure::io(format_args!("sync folder '{}'", target.folder().display()), &error))
            .map_err(|failure| failure.hint("the new archive is in its place, but a power cut may lose it; run it again"))
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Lock {
    Ours,
    Taken,
    /// The file system has no locks, so nothing can be known to be stale.
    Unknown,
}

fn lock(file: &File) -> Lock {
    // Without waiting: who holds the lock writes a file of its own, and this run has nothing to do with it.
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Lock::Ours,
        Err(rustix::io::Errno::WOULDBLOCK) => Lock::Taken,
        Err(_) => Lock::Unknown,
    }
}
