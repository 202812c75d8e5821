//! The archive that is to be pushed: a file, the record's archive, or a stream on standard input.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use scar_record::{Archive, Digest, Record};
use scar_tool::{Console, Exit, Failure};
use sha2::{Digest as _, Sha256};
use tokio::sync::oneshot;

use crate::body::{Bits, Content};
use crate::stream::{self, Stream};
use crate::whole::Whole;

/// Bytes read at a time for hashing.
const BLOCK: usize = 1024 * 1024;
/// A file of so many bytes takes a while to be hashed: it may be sent before its digest is known.
const LARGE: u64 = 64 << 20;

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
    /// An archive whose digest is not known yet.
    Unhashed(Unhashed),
}

impl Supply {
    /// The archive, where it is one.
    pub(crate) fn whole(&self) -> Option<&Source> {
        match self {
            Self::Whole(source) => Some(source),
            Self::Nothing | Self::Unhashed(_) => None,
        }
    }
}

/// The archive, its digest known: computed before it was sent or on the way, or told by the record and then proven by the
/// bytes as they are sent.
#[derive(Debug)]
pub(crate) struct Source {
    /// Its bytes.
    pub(crate) content: Content,
    /// Where they are.
    pub(crate) place: Place,
}

/// An archive whose digest is that of what will have been sent.
#[derive(Debug)]
pub(crate) enum Unhashed {
    /// A file.
    File(Place),
    /// A stream that has not ended.
    Stream(Stream),
}

/// An open file, and what it was like when it was opened.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// How messages name it.
    pub(crate) name: String,
    file: Arc<File>,
    path: Option<PathBuf>,
    seen: Seen,
}

/// What changes with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
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
    /// The record's own file is not read twice: its size is compared here, its digest while it is sent. Where a push is
    /// `ahead`, a stream longer than so many bytes is given while it still comes, and a large file before it is hashed.
    ///
    /// # Errors
    /// Exit 2 without an archive, exit 7 where it is not the record's, exit 1 where it cannot be read.
    pub(crate) fn source(self, record: &Record, ahead: Option<u64>, console: &Console) -> Result<Supply, Failure> {
        let told = record.section::<Archive>()?;
        let source = match self {
            Self::File(path, file) => {
                let place = Place::new(path, file, console)?;
                if ahead.is_some() && told.is_none() && place.seen.size >= LARGE {
                    return Ok(Supply::Unhashed(Unhashed::File(place)));
                }
                place.hash(console)?
            }
            Self::Stdin => match Stream::begin(ahead.unwrap_or(u64::MAX), console)? {
                (stream, true) => stream.place()?.hash(console)?,
                (stream, false) => return Ok(Supply::Unhashed(Unhashed::Stream(stream))),
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
                let (name, found, digest) = (&source.place.name, &source.content.digest, told.digest);
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
        let place = Place::new(path, file, console)?;
        if place.seen.size != told.size {
            let (name, size) = (&place.name, place.seen.size);
            return Err(other(format!("push {name}: it has {size} bytes, the record's archive has {}", told.size)));
        }
        Ok(place.with(told.digest))
    }
}

impl Unhashed {
    /// Its bytes, as far as they are there.
    pub(crate) fn bits(&self) -> Bits {
        match self {
            Self::File(place) => Bits::File(Arc::clone(&place.file)),
            Self::Stream(stream) => stream.bits(),
        }
    }

    /// Its size, where all of it is there.
    pub(crate) fn size(&self) -> Option<u64> {
        match self {
            Self::File(place) => Some(place.seen.size),
            Self::Stream(_) => None,
        }
    }

    /// Waits until so many bytes are there, or all; says how many there are, and whether these are all.
    ///
    /// # Errors
    /// Exit 1 where a stream cannot be read or kept.
    pub(crate) async fn until(&self, bytes: u64) -> Result<(u64, bool), Failure> {
        match self {
            Self::File(place) => Ok((place.seen.size, true)),
            Self::Stream(stream) => stream.until(bytes, None).await,
        }
    }

    /// Begins to read a file to see whether it is complete, in a thread, while it is sent. A stream is looked at as it comes.
    pub(crate) fn check(&self) -> Option<oneshot::Receiver<Result<(), Failure>>> {
        let Self::File(place) = self else { return None };
        let (done, checked) = oneshot::channel();
        let place = place.clone();
        // Nobody may want to know any more.
        std::thread::spawn(move || drop(done.send(place.read(|_, _| ()))));
        Some(checked)
    }

    /// The archive, all of it, with the digest of what was `sent`, once it is `checked`; or read now.
    ///
    /// # Errors
    /// Exit 1 where it cannot be read or kept, is incomplete, or was changed meanwhile.
    pub(crate) async fn source(
        &self,
        sent: Option<Digest>,
        checked: Option<oneshot::Receiver<Result<(), Failure>>>,
        console: &Console,
    ) -> Result<Source, Failure> {
        let place = match self {
            Self::File(place) => place.clone(),
            Self::Stream(stream) => stream.whole(console).await?,
        };
        let Some(digest) = sent else { return place.hash_aside(console).await };
        if let Some(checked) = checked {
            checked.await.map_err(|_| Failure::new(Exit::Failed, format!("read {}: its thread has ended", place.name)))??;
        }
        let source = place.with(digest);
        source.unchanged().map(|()| source)
    }
}

impl Place {
    /// Refuses an empty archive; warns of one that is no gzip.
    fn new(path: PathBuf, file: File, console: &Console) -> Result<Self, Failure> {
        let name = format!("'{}'", path.display());
        let seen = Seen::of(&file).map_err(|error| Failure::io(format!("read {name}"), &error))?;
        if seen.size == 0 {
            return Err(Failure::misuse(format!("push {name}: it is empty")));
        }
        warn_unless_gzip(&file, &name, console);
        Ok(Self { name, file: Arc::new(file), path: Some(path), seen })
    }

    /// A file without a name, in which a stream is kept whole.
    ///
    /// # Errors
    /// Exit 1 where the file cannot be looked at.
    pub(crate) fn kept(file: &Arc<File>) -> Result<Self, Failure> {
        let seen = Seen::of(file).map_err(|error| Failure::io(format!("keep {}", stream::NAME), &error))?;
        Ok(Self { name: stream::NAME.to_owned(), file: Arc::clone(file), path: None, seen })
    }

    fn with(self, digest: Digest) -> Source {
        let content = Content { bits: Bits::File(Arc::clone(&self.file)), size: self.seen.size, digest };
        Source { content, place: self }
    }

    /// Reads all of it, hands each block on with its end, and makes sure that the archive is complete.
    fn read(&self, mut block_read: impl FnMut(&[u8], u64)) -> Result<(), Failure> {
        let mut whole = Whole::new();
        let mut block = vec![0; BLOCK];
        let mut at = 0;
        loop {
            let read = self.file.read_at(&mut block, at).map_err(|error| Failure::io(format!("read {}", self.name), &error))?;
            if read == 0 {
                return whole.fault().map_or(Ok(()), |fault| Err(incomplete(&self.name, &fault)));
            }
            at += read as u64;
            whole.take(&block[..read]);
            block_read(&block[..read], at);
        }
    }

    fn hash(self, console: &Console) -> Result<Source, Failure> {
        let progress = console.progress_bytes("hashing", Some(self.seen.size));
        let mut hash = Sha256::new();
        self.read(|block, at| {
            hash.update(block);
            progress.set(at);
        })?;
        drop(progress);
        let source = self.with(Digest::from_sha256(&hash.finalize().into()));
        source.unchanged().map(|()| source)
    }

    /// The same in a thread, for a caller that a signal may end meanwhile.
    async fn hash_aside(self, console: &Console) -> Result<Source, Failure> {
        let (done, hashed) = oneshot::channel();
        let (act, console) = (format!("hash {}", self.name), console.clone());
        // Nobody may be there any more to be told.
        std::thread::spawn(move || drop(done.send(self.hash(&console))));
        hashed.await.map_err(|_| Failure::new(Exit::Failed, format!("{act}: the thread for it has ended")))?
    }
}

impl Source {
    /// Makes sure that the file is still the one that was hashed: its length, its times, and its name.
    ///
    /// # Errors
    /// Exit 1 where it changed.
    pub(crate) fn unchanged(&self) -> Result<(), Failure> {
        let Place { name, file, path, seen } = &self.place;
        let same_name = match path {
            Some(path) => std::fs::metadata(path).is_ok_and(|data| (data.dev(), data.ino()) == (seen.device, seen.inode)),
            None => true,
        };
        let now = Seen::of(file).map_err(|error| Failure::io(format!("read {name}"), &error))?;
        match same_name && now == *seen {
            true => Ok(()),
            false => Err(Failure::new(Exit::Failed, format!("push {name}: it was changed in the meantime"))
                .hint("let nothing write to it while this step runs, and run it again")),
        }
    }
}

impl Seen {
    fn of(file: &File) -> io::Result<Self> {
        let data = file.metadata()?;
        let changed = (data.mtime(), data.mtime_nsec());
        Ok(Self { device: data.dev(), inode: data.ino(), size: data.len(), changed })
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
