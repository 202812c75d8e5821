//! The archive that is sent: an open file, what it was like when it was opened, and its digest.
//!
//! Invariant: an archive whose end is missing is never complete; one that changed is never sent on.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use scar_record::Digest;
use scar_tool::{Console, Exit, Failure};
use sha2::{Digest as _, Sha256};

use crate::body::{Bits, Content};
use crate::integrity::Integrity;

/// Bytes read at a time.
pub(crate) const BLOCK: usize = 1024 * 1024;

/// The archive, its digest known: computed before it was sent or on the way, or taken from the record and then proven by the
/// bytes as they are sent.
#[derive(Debug)]
pub(crate) struct Archive {
    /// Its bytes.
    pub(crate) content: Content,
    /// Where they are.
    pub(crate) file: ArchiveFile,
}

/// An open file, and what it was like when it was opened.
#[derive(Debug, Clone)]
pub(crate) struct ArchiveFile {
    /// How messages name it.
    pub(crate) name: String,
    /// Its size.
    pub(crate) size: u64,
    file: Arc<File>,
    path: Option<PathBuf>,
    stamp: Stamp,
}

/// What changes with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl Stamp {
    fn of(file: &File) -> io::Result<Self> {
        let data = file.metadata()?;
        let changed = (data.mtime(), data.mtime_nsec());
        Ok(Self { device: data.dev(), inode: data.ino(), size: data.len(), changed })
    }
}

/// Opens a regular file.
///
/// # Errors
/// Exit 2 for what is none; exit 1 if it cannot be opened.
pub(crate) fn open(path: &Path) -> Result<File, Failure> {
    let act = format!("open the archive '{}'", path.display());
    // Opening a pipe would block without a message: its kind is looked at first.
    let data = std::fs::metadata(path).map_err(|error| Failure::io(&act, &error))?;
    if data.is_dir() {
        return Err(Failure::misuse(format!("{act}: it is a directory")).hint("mkmanifests makes the archive of a directory"));
    }
    if !data.is_file() {
        return Err(Failure::misuse(format!("{act}: it is no regular file")).hint("FILE - reads an archive from standard input"));
    }
    File::open(path).map_err(|error| Failure::io(act, &error))
}

impl ArchiveFile {
    /// An open file. It is refused if it is empty; one that is no gzip gets a warning.
    ///
    /// # Errors
    /// Exit 2 if it is empty; exit 1 if it cannot be looked at.
    pub(crate) fn new(path: PathBuf, file: File, console: &Console) -> Result<Self, Failure> {
        let file = Self::looked_at(format!("'{}'", path.display()), Arc::new(file), Some(path))?;
        if file.size == 0 {
            return Err(Failure::misuse(format!("push {}: it is empty", file.name)));
        }
        warn_unless_gzip(&file.file, &file.name, console);
        Ok(file)
    }

    /// A file as it is now; one without a path has no name on the disk.
    ///
    /// # Errors
    /// Exit 1 if it cannot be looked at.
    pub(crate) fn looked_at(name: String, file: Arc<File>, path: Option<PathBuf>) -> Result<Self, Failure> {
        let stamp = Stamp::of(&file).map_err(|error| Failure::io(format!("read {name}"), &error))?;
        Ok(Self { name, size: stamp.size, file, path, stamp })
    }

    /// The file itself.
    pub(crate) fn handle(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// Reads all of it; `progress` gets the number of bytes so far.
    ///
    /// # Errors
    /// Exit 1 if it cannot be read or is incomplete.
    pub(crate) fn hash(&self, progress: impl Fn(u64)) -> Result<Digest, Failure> {
        let (mut integrity, mut hash) = (Integrity::new(), Sha256::new());
        let mut block = vec![0; BLOCK];
        let mut at = 0;
        loop {
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

    /// The archive, if this is its digest.
    pub(crate) fn with(self, digest: Digest) -> Archive {
        Archive { content: Content { bits: Bits::File(self.handle()), size: self.size, digest }, file: self }
    }
}

impl Archive {
    /// Makes sure that the file is still the one that was hashed: its length, its times, and its name.
    ///
    /// # Errors
    /// Exit 1 if it changed.
    pub(crate) fn unchanged(&self) -> Result<(), Failure> {
        let ArchiveFile { name, file, path, stamp, .. } = &self.file;
        let same_name = match path {
            Some(path) => std::fs::metadata(path).is_ok_and(|data| (data.dev(), data.ino()) == (stamp.device, stamp.inode)),
            None => true,
        };
        let now = Stamp::of(file).map_err(|error| Failure::io(format!("read {name}"), &error))?;
        match same_name && now == *stamp {
            true => Ok(()),
            false => Err(Failure::new(Exit::Failed, format!("push {name}: it was changed in the meantime"))
                .hint("let nothing write to it while this step runs, and run it again")),
        }
    }
}

/// An archive whose end is missing, or that is damaged: Specman could not unpack it.
pub(crate) fn incomplete(name: &str, fault: &str) -> Failure {
    Failure::new(Exit::Failed, format!("push {name}: {fault}"))
        .hint("the program that makes it has failed or was stopped: look at its message; the tag is as it was")
}

/// Warns of an archive that is not what Specman expects.
pub(crate) fn warn_unless_gzip(file: &File, name: &str, console: &Console) {
    let mut magic = [0; 2];
    if file.read_exact_at(&mut magic, 0).is_err() || magic != [0x1f, 0x8b] {
        console.warn(format!("{name} is not gzip; Specman expects a .tgz"));
    }
}
