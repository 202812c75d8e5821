//! The archive that is to be pushed: a file, the record's archive, or a stream on standard input.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use scar_record::{Archive, Digest, Record};
use scar_tool::{Console, Exit, Failure};
use sha2::{Digest as _, Sha256};

use crate::body::{Bits, Content};
use crate::stream::{self, Stream};

/// Bytes read at a time for hashing.
const BLOCK: usize = 1024 * 1024;

/// What FILE names.
#[derive(Debug)]
pub(crate) enum Named {
    /// A file, open.
    File(PathBuf, File),
    /// `-`.
    Stdin,
    /// Nothing: the record's archive is meant.
    Record,
}

/// What there is to push.
#[derive(Debug)]
pub(crate) enum Supply {
    /// Nothing yet: in a dry run.
    Nothing,
    /// An archive.
    Whole(Source),
    /// A stream that has not ended.
    Coming(Stream),
}

impl Supply {
    /// The archive, where it is one.
    pub(crate) fn whole(&self) -> Option<&Source> {
        match self {
            Self::Whole(source) => Some(source),
            Self::Nothing | Self::Coming(_) => None,
        }
    }
}

/// The archive, open, its digest known: computed here, or told by the record and then proven by the bytes as they are sent.
#[derive(Debug)]
pub(crate) struct Source {
    /// How messages name it.
    pub(crate) name: String,
    /// Its bytes.
    pub(crate) content: Content,
    file: Arc<File>,
    path: Option<PathBuf>,
    seen: (u64, u64, u64, i64, i64),
}

impl Named {
    /// Opens FILE, before the record is read.
    ///
    /// # Errors
    /// Exit 2 for a file that is not there, a directory, a terminal, or what is no regular file; exit 1 where it cannot be
    /// opened.
    pub(crate) fn open(file: Option<&Path>) -> Result<Self, Failure> {
        match file {
            None => Ok(Self::Record),
            Some(path) if path == Path::new("-") => {
                stream::no_terminal()?;
                Ok(Self::Stdin)
            }
            Some(path) => match open(path) {
                Ok(file) => Ok(Self::File(path.to_owned(), file)),
                // A name that is none was mistyped; whatever else stands in the way is the host's.
                Err(failure) if !path.exists() => Err(Failure { exit: Exit::Misuse, ..failure }),
                Err(failure) => Err(failure),
            },
        }
    }

    /// The archive, and not another than the record's; nothing where the record has none and is that of a dry run.
    ///
    /// The record's own file is not read twice: its size is compared here, its digest while it is sent. A stream longer
    /// than `head` is given while it still comes.
    ///
    /// # Errors
    /// Exit 2 without an archive, exit 7 where it is not the record's, exit 1 where it cannot be read.
    pub(crate) fn source(self, record: &Record, head: u64, console: &Console) -> Result<Supply, Failure> {
        let told = record.section::<Archive>()?;
        let source = match self {
            Self::File(path, file) => Source::hash(path, file, console)?,
            Self::Stdin => match Stream::begin(head, console)? {
                (stream, true) => stream.wait(console)?,
                (stream, false) => return Ok(Supply::Coming(stream)),
            },
            Self::Record => {
                if told.is_none() && record.is_dry_run() {
                    return Ok(Supply::Nothing);
                }
                let told = record.need::<Archive>().map_err(|failure| {
                    failure.hint(
                        "run mkmanifests before this step and pass its record on, or name the archive: ocipush REFERENCE FILE",
                    )
                })?;
                Source::told(told, console)?
            }
        };
        match told.filter(|told| told.digest != source.content.digest) {
            Some(told) => {
                let (name, found, digest) = (&source.name, &source.content.digest, told.digest);
                Err(other(format!("push {name}: its digest is {found}, the record's archive has {digest}")))
            }
            None => Ok(Supply::Whole(source)),
        }
    }
}

/// A file that is not the archive of the record.
fn other(message: String) -> Failure {
    Failure::new(Exit::Mismatch, message)
        .hint("the archive was changed after mkmanifests wrote it; run mkmanifests again (or --new-record for another archive)")
}

impl Source {
    /// The record's archive, as the record tells it.
    fn told(told: Archive, console: &Console) -> Result<Self, Failure> {
        let path = PathBuf::from(told.path);
        let file = open(&path)?;
        let name = format!("'{}'", path.display());
        let seen = seen(&file).map_err(|error| Failure::io(format!("read {name}"), &error))?;
        if seen.2 != told.size {
            return Err(other(format!("push {name}: it has {} bytes, the record's archive has {}", seen.2, told.size)));
        }
        let (bits, file) = shared(file);
        let content = Content { bits: Bits::File(bits), size: told.size, digest: told.digest };
        Self { content, file, path: Some(path), name, seen }.check(console)
    }

    fn hash(path: PathBuf, file: File, console: &Console) -> Result<Self, Failure> {
        let name = format!("'{}'", path.display());
        let failed = |error: &io::Error| Failure::io(format!("read {name}"), error);
        let seen = seen(&file).map_err(|error| failed(&error))?;
        let progress = console.progress_bytes("hashing", Some(seen.2));
        let mut hash = Sha256::new();
        let mut block = vec![0; BLOCK];
        let mut at = 0;
        loop {
            let read = file.read_at(&mut block, at).map_err(|error| failed(&error))?;
            if read == 0 {
                break;
            }
            hash.update(&block[..read]);
            at += read as u64;
            progress.set(at);
        }
        drop(progress);
        let digest = Digest::from_sha256(&hash.finalize().into());
        let (file, kept) = shared(file);
        let source =
            Self { content: Content { bits: Bits::File(file), size: at, digest }, file: kept, path: Some(path), name, seen };
        source.unchanged()?;
        source.check(console)
    }

    /// A stream that was kept in a file without a name, whole.
    ///
    /// # Errors
    /// Exit 1 where the file cannot be looked at.
    pub(crate) fn kept(file: &Arc<File>, size: u64, digest: Digest) -> Result<Self, Failure> {
        let seen = seen(file).map_err(|error| Failure::io(format!("keep {}", stream::NAME), &error))?;
        let content = Content { bits: Bits::File(Arc::clone(file)), size, digest };
        Ok(Self { name: stream::NAME.to_owned(), content, file: Arc::clone(file), path: None, seen })
    }

    /// Refuses an empty archive; warns of one that is no gzip.
    fn check(self, console: &Console) -> Result<Self, Failure> {
        if self.content.size == 0 {
            return Err(Failure::misuse(format!("push {}: it is empty", self.name)));
        }
        warn_unless_gzip(&self.file, &self.name, console);
        Ok(self)
    }

    /// Makes sure that the file is still the one that was hashed: its length, its times, and its name.
    ///
    /// # Errors
    /// Exit 1 where it changed.
    pub(crate) fn unchanged(&self) -> Result<(), Failure> {
        let changed = || {
            Failure::new(Exit::Failed, format!("push {}: it was changed in the meantime", self.name))
                .hint("let nothing write to it while this step runs, and run it again")
        };
        let same_name = match &self.path {
            Some(path) => std::fs::metadata(path).is_ok_and(|data| (data.dev(), data.ino()) == (self.seen.0, self.seen.1)),
            None => true,
        };
        let now = seen(&self.file).map_err(|error| Failure::io(format!("read {}", self.name), &error))?;
        if same_name && now == self.seen && now.2 == self.content.size { Ok(()) } else { Err(changed()) }
    }
}

/// Warns of an archive that is not what Specman expects.
pub(crate) fn warn_unless_gzip(file: &File, name: &str, console: &Console) {
    let mut magic = [0; 2];
    if file.read_exact_at(&mut magic, 0).is_err() || magic != [0x1f, 0x8b] {
        console.warn(format!("{name} is not gzip; Specman expects a .tgz"));
    }
}

fn shared(file: File) -> (Arc<File>, Arc<File>) {
    let file = Arc::new(file);
    (Arc::clone(&file), file)
}

fn open(path: &Path) -> Result<File, Failure> {
    let act = format!("open the archive '{}'", path.display());
    // A pipe would block for ever before anybody is told: its kind is looked at first.
    let data = std::fs::metadata(path).map_err(|error| Failure::io(&act, &error))?;
    if data.is_dir() {
        return Err(Failure::misuse(format!("{act}: it is a directory")).hint("mkmanifests makes the archive of a directory"));
    }
    if !data.is_file() {
        return Err(Failure::misuse(format!("{act}: it is no regular file")).hint("FILE - reads an archive from standard input"));
    }
    File::open(path).map_err(|error| Failure::io(act, &error))
}

/// Device, inode, size, and time of the last change.
fn seen(file: &File) -> io::Result<(u64, u64, u64, i64, i64)> {
    let data = file.metadata()?;
    Ok((data.dev(), data.ino(), data.len(), data.mtime(), data.mtime_nsec()))
}
