//! The archive to send: an open file, its state when it was opened, and its digest.
//!
//! Invariant: an archive that is truncated, or that changed since it was opened, is never pushed.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use scar_record::Digest;
use scar_tool::{Console, Exit, Failure};
use sha2::{Digest as _, Sha256};

use crate::body::{ByteSource, Content};
use crate::integrity::Integrity;

pub(crate) const BLOCK: usize = 1024 * 1024;

/// An archive with its digest: computed before or while it is sent, or taken from the record and then checked as it is sent.
#[derive(Debug)]
pub(crate) struct Archive {
    pub(crate) content: Content,
    pub(crate) file: ArchiveFile,
}

/// An open file, and its state when it was opened.
#[derive(Debug, Clone)]
pub(crate) struct ArchiveFile {
    /// The name for messages.
    pub(crate) name: String,
    /// Bytes.
    pub(crate) size: u64,
    file: Arc<File>,
    path: Option<PathBuf>,
    stamp: Stamp,
}

/// What differs after a file was changed or replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    /// The modification time. The change time would also differ after a chmod, which leaves the content as it is.
    modified: (i64, i64),
}

impl Stamp {
    fn of(file: &File) -> io::Result<Self> {
        let data = file.metadata()?;
        let modified = (data.mtime(), data.mtime_nsec());
        Ok(Self { device: data.dev(), inode: data.ino(), size: data.len(), modified })
    }
}

/// Opens a regular file.
///
/// # Errors
/// Exit 2 if it is not a regular file; exit 1 if it cannot be opened.
pub(crate) fn open(path: &Path) -> Result<File, Failure> {
    let act = format!("open the archive '{}'", path.display());
    // Check the kind first: opening a named pipe blocks until somebody writes to it (fifo(7)).
    let data = std::fs::metadata(path).map_err(|error| Failure::io(&act, &error))?;
    if data.is_dir() {
        return Err(Failure::misuse(format!("{act}: it is a directory")).hint("mkmanifests makes the archive of a directory"));
    }
    if !data.is_file() {
        return Err(Failure::misuse(format!("{act}: it is not a regular file"))
            .hint("to push an archive from standard input, give - as FILE"));
    }
    File::open(path).map_err(|error| Failure::io(act, &error))
}

impl ArchiveFile {
    /// Takes an open file; refuses an empty one, and warns if it is not gzip.
    ///
    /// # Errors
    /// Exit 2 if it is empty; exit 1 if its metadata cannot be read.
    pub(crate) fn new(path: PathBuf, file: File, console: &Console) -> Result<Self, Failure> {
        let file = Self::of_open_file(format!("'{}'", path.display()), Arc::new(file), Some(path))?;
        // A shell creates the file of `tar -czf - . >FILE` before tar starts, so an empty file is what is left if tar does not
        // start.
        if file.size == 0 {
            return Err(Failure::misuse(format!("push {}: it is empty", file.name)));
        }
        warn_unless_gzip(&file.file, &file.name, console);
        Ok(file)
    }

    /// Takes a file as it is now; a file without a path has no name on the disk.
    ///
    /// # Errors
    /// Exit 1 if its metadata cannot be read.
    pub(crate) fn of_open_file(name: String, file: Arc<File>, path: Option<PathBuf>) -> Result<Self, Failure> {
        let stamp = Stamp::of(&file).map_err(|error| Failure::io(format!("read {name}"), &error))?;
        Ok(Self { name, size: stamp.size, file, path, stamp })
    }

    pub(crate) fn handle(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// Hashes the whole file; `progress` gets the number of bytes read so far.
    ///
    /// # Errors
    /// Exit 1 if it cannot be read or is incomplete.
    pub(crate) fn hash(&self, progress: impl Fn(u64)) -> Result<Digest, Failure> {
        let (mut integrity, mut hash) = (Integrity::new(), Sha256::new());
        let mut block = vec![0; BLOCK];
        let mut at = 0;
        loop {
            // Not `read`: another thread sends from the same open file, and both would move its one offset (pread(2)).
            let read = self.file.read_at(&mut block, at).map_err(|error| Failure::io(format!("read {}", self.name), &error))?;
            if read == 0 {
                let digest = Digest::from_sha256(&hash.finalize().into());
                return integrity.fault().map_or(Ok(digest), |fault| Err(incomplete(&self.name, &fault)));
            }
            at += read as u64;
            integrity.take(&block[..read]);
            hash.update(&block[..read]);
            progress(at);
        }
    }

    pub(crate) fn with(self, digest: Digest) -> Archive {
        Archive { content: Content { source: ByteSource::File(self.handle()), size: self.size, digest }, file: self }
    }
}

impl Archive {
    /// Checks that the file is still the one that was hashed: its size, times and name.
    ///
    /// # Errors
    /// Exit 1 if it changed.
    pub(crate) fn unchanged(&self) -> Result<(), Failure> {
        let ArchiveFile { name, file, path, stamp, .. } = &self.file;
        // mkmanifests replaces an archive by rename(2): the open file stays as it was, and only its name shows the new one.
        let same_name = match path {
            Some(path) => std::fs::metadata(path).is_ok_and(|data| (data.dev(), data.ino()) == (stamp.device, stamp.inode)),
            None => true,
        };
        let now = Stamp::of(file).map_err(|error| Failure::io(format!("read {name}"), &error))?;
        match same_name && now == *stamp {
            true => Ok(()),
            false => Err(Failure::new(Exit::Failed, format!("push {name}: it has changed meanwhile"))
                .hint("make sure that nothing writes to it while this step runs, and run it again")),
        }
    }
}

/// The failure for an archive that is damaged or has no end: Specman could not unpack it.
pub(crate) fn incomplete(name: &str, fault: &str) -> Failure {
    Failure::new(Exit::Failed, format!("push {name}: {fault}"))
        .hint("the program that wrote it failed or was stopped: see its message; the tag was not moved")
}

/// Warns about an archive that is not what Specman expects.
pub(crate) fn warn_unless_gzip(file: &File, name: &str, console: &Console) {
    let mut magic = [0; 2];
    // A warning, not an error: the guide makes a .tgz (step 3), but what else Specman unpacks is not documented.
    if file.read_exact_at(&mut magic, 0).is_err() || magic != [0x1f, 0x8b] {
        console.warn(format!("{name} is not gzip; Specman expects a .tgz"));
    }
}
