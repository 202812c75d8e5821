//! Reads ahead: many files at a time, passed on in the archive's order, in bounded memory.
//!
//! The readers read small files completely. They only open large ones and let the system prefetch their beginning;
//! [`LargeFile`] reads them when their turn comes. Every file is compared with its stamp before and after. At most [`AHEAD`]
//! batches exist, each of about [`BATCH`] bytes and few open folders, so that neither memory nor file descriptors depend on
//! the tree.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Scope;

use rustix::buffer::spare_capacity;
use rustix::fs::{Advice, AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use scar_tree::{Cursor, Fault, Kind, Tree, join, open_folder, stamp};

use crate::error::PackError;

/// Reading threads: more than processors, because each waits for the disk most of the time.
const READERS: usize = 16;
/// Batches at a time; times [`BATCH`] this is what reading ahead takes of the memory (FAULTS M13).
const AHEAD: usize = 32;
/// About as many bytes in a batch.
const BATCH: u64 = 256 * 1024;
/// A batch ends here although it has fewer bytes: one of links and empty files would never be full.
const ENTRIES: usize = 64;
/// The most folders of a batch, because each stays open until the batch is done.
const FOLDERS: usize = 8;
/// A larger file is only read when its turn comes.
const LARGE: u64 = 128 * 1024;
const CHUNK: usize = 256 * 1024;

/// An entry that was read, or is ready to be read.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Its path relative to the root.
    pub(crate) path: Vec<u8>,
    /// As in `st_mode`.
    pub(crate) mode: u32,
    /// Seconds since 1970; for a folder that of the newest file below it.
    pub(crate) mtime: i64,
    pub(crate) content: Content,
}

#[derive(Debug)]
pub(crate) enum Content {
    Folder,
    Link(Vec<u8>),
    /// A small file: a range of the batch's bytes.
    Small(std::ops::Range<usize>),
    /// A large file, open.
    Large(LargeFile),
}

/// Consecutive entries of the archive.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// The entries in order, up to the first that failed.
    pub(crate) entries: Vec<Result<Entry, PackError>>,
    /// The contents of small files.
    pub(crate) bytes: Vec<u8>,
}

#[derive(Debug)]
struct EntryToRead {
    folder: Arc<OwnedFd>,
    name: Vec<u8>,
    path: Vec<u8>,
    what: ToRead,
}

#[derive(Debug)]
enum ToRead {
    File {
        size: u64,
        stamp: u32,
    },
    Link {
        stamp: u32,
    },
    /// An entry of an open folder.
    Folder {
        mode: u32,
        mtime: i64,
    },
    /// An entry whose folder could not be opened.
    Failed(Fault),
}

type Task = (Vec<EntryToRead>, SyncSender<Batch>);

/// Buffers to reuse, so that not every batch allocates.
type Pool = Arc<Mutex<Vec<Vec<u8>>>>;

/// The entries of a tree in the archive's order.
#[derive(Debug)]
pub(crate) struct ReadAhead {
    order: Receiver<Receiver<Batch>>,
    pool: Pool,
}

impl ReadAhead {
    /// Starts to read `tree`, which was listed at `root`.
    pub(crate) fn start<'scope>(scope: &'scope Scope<'scope, '_>, root: OwnedFd, tree: &'scope Tree, dereference: bool) -> Self {
        let (order, in_order) = sync_channel(AHEAD);
        let (tasks, todo) = sync_channel::<Task>(READERS);
        let todo = Arc::new(Mutex::new(todo));
        let pool = Pool::default();
        for _ in 0..READERS {
            let (todo, pool) = (todo.clone(), pool.clone());
            scope.spawn(move || {
                loop {
                    let task = todo.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((wanted, done)) = task else { return };
                    let bytes = pool.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
                    // Nobody waits for it after the archive has failed.
                    let _ = done.send(load(wanted, bytes, dereference));
                }
            });
        }
        scope.spawn(move || {
            let mut planner = Planner { wanted: Vec::new(), weight: 0, folders: 0, order, tasks };
            // The planner ends early if the archive has failed, which is reported elsewhere.
            let _ = planner.plan(root, tree, dereference);
        });
        Self { order: in_order, pool }
    }

    /// The next entries; `None` at the end.
    pub(crate) fn next(&self) -> Option<Batch> {
        self.order.recv().ok()?.recv().ok()
    }

    /// Returns a batch's memory.
    pub(crate) fn done(&self, batch: Batch) {
        let mut bytes = batch.bytes;
        bytes.clear();
        self.pool.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
    }
}

/// Divides the tree into batches.
struct Planner {
    wanted: Vec<EntryToRead>,
    weight: u64,
    folders: usize,
    order: SyncSender<Receiver<Batch>>,
    tasks: SyncSender<Task>,
}

/// The receiver is gone: the archive has failed, and nobody needs more entries.
struct ReceiverGone;

impl Planner {
    fn plan(&mut self, root: OwnedFd, tree: &Tree, dereference: bool) -> Result<(), ReceiverGone> {
        let root = Arc::new(root);
        self.folder(&root, &[], tree, 0)?;
        let mut above = vec![(0, Cursor::default(), root, Vec::new())];
        while let Some((number, cursor, folder, path)) = above.last_mut() {
            let Some(kind) = cursor.next(tree.listing(*number)) else {
                above.pop();
                // The next entries belong to the parent again, whose descriptor this batch may not hold yet.
                self.folders += 1;
                continue;
            };
            let name = cursor.name();
            let path = join(path, name);
            let what = match kind {
                Kind::File { size, stamp } => ToRead::File { size, stamp },
                Kind::Link { stamp } => ToRead::Link { stamp },
                Kind::Folder { number } => match open_folder(folder, name, dereference) {
                    Ok(fd) => {
                        let fd = Arc::new(fd);
                        self.folder(&fd, &path, tree, number)?;
                        above.push((number, Cursor::default(), fd, path));
                        continue;
                    }
                    Err(errno) => ToRead::Failed(Fault::entry("open", &path, errno)),
                },
            };
            let wanted = EntryToRead { folder: folder.clone(), name: name.to_vec(), path, what };
            self.add(wanted)?;
        }
        self.send_batch()
    }

    /// Adds a folder itself, which must still be the listed one.
    fn folder(&mut self, fd: &Arc<OwnedFd>, path: &[u8], tree: &Tree, number: u32) -> Result<(), ReceiverGone> {
        let listed = tree.folder(number);
        let what = match rustix::fs::fstat(fd) {
            Ok(stat) if stamp::file_id(&stat) == listed.id => ToRead::Folder { mode: stat.st_mode, mtime: listed.newest },
            Ok(_) => ToRead::Failed(Fault::changed(path, "another folder took its place")),
            Err(errno) => ToRead::Failed(Fault::entry("open", path, errno)),
        };
        self.folders += 1;
        self.add(EntryToRead { folder: fd.clone(), name: Vec::new(), path: path.to_vec(), what })
    }

    fn add(&mut self, wanted: EntryToRead) -> Result<(), ReceiverGone> {
        self.weight += match wanted.what {
            ToRead::File { size, .. } => size.min(LARGE),
            _ => 0,
        };
        self.wanted.push(wanted);
        match self.weight >= BATCH || self.wanted.len() >= ENTRIES || self.folders >= FOLDERS {
            true => self.send_batch(),
            false => Ok(()),
        }
    }

    fn send_batch(&mut self) -> Result<(), ReceiverGone> {
        let wanted = std::mem::take(&mut self.wanted);
        (self.weight, self.folders) = (0, 0);
        if wanted.is_empty() {
            return Ok(());
        }
        let (done, batch) = sync_channel(1);
        // Its place in the order first: the archive's order must not depend on which reader is faster (FAULTS M11).
        self.order.send(batch).map_err(|_| ReceiverGone)?;
        self.tasks.send((wanted, done)).map_err(|_| ReceiverGone)
    }
}

fn load(wanted: Vec<EntryToRead>, mut bytes: Vec<u8>, dereference: bool) -> Batch {
    let mut entries = Vec::with_capacity(wanted.len());
    for EntryToRead { folder, name, path, what } in wanted {
        let loaded = match what {
            ToRead::Folder { mode, mtime } => Ok((mode, mtime, Content::Folder)),
            ToRead::Failed(fault) => Err(fault.into()),
            ToRead::Link { stamp } => link(&folder, &name, &path, stamp),
            ToRead::File { size, stamp } => file(&folder, &name, &path, (size, stamp), dereference, &mut bytes),
        };
        let failed = loaded.is_err();
        entries.push(loaded.map(|(mode, mtime, content)| Entry { path, mode, mtime, content }));
        if failed {
            break;
        }
    }
    Batch { entries, bytes }
}

type Loaded = Result<(u32, i64, Content), PackError>;

fn link(folder: &OwnedFd, name: &[u8], path: &[u8], listed: u32) -> Loaded {
    let fault = |errno| Fault::entry("read the link", path, errno);
    let target = rustix::fs::readlinkat(folder, name, Vec::new()).map_err(|errno| match errno {
        // It is not a link any more (readlink(2)).
        Errno::INVAL => Fault::changed(path, "it became something else"),
        errno => fault(errno),
    })?;
    // After the target was read: a link that was replaced in between has another stamp.
    let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).map_err(fault)?;
    if stamp::of(&stat) != listed {
        return Err(Fault::changed(path, "since it was listed").into());
    }
    Ok((stat.st_mode, stat.st_mtime, Content::Link(target.into_bytes())))
}

fn file(folder: &OwnedFd, name: &[u8], path: &[u8], (size, stamp): (u64, u32), dereference: bool, bytes: &mut Vec<u8>) -> Loaded {
    // A FIFO may have replaced the file since it was listed: opening it must not block (fifo(7); FAULTS M6).
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let flags = if dereference { flags } else { flags | OFlags::NOFOLLOW };
    let fd = rustix::fs::openat(folder, name, flags, Mode::empty()).map_err(|errno| match errno {
        // A link with O_NOFOLLOW, and a socket (open(2)).
        Errno::LOOP | Errno::NXIO => Fault::changed(path, "it became something else"),
        errno => Fault::entry("open", path, errno),
    })?;
    let stat = rustix::fs::fstat(&fd).map_err(|errno| Fault::entry("open", path, errno))?;
    if stamp::of(&stat) != stamp || stat.st_size as u64 != size || FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile
    {
        return Err(Fault::changed(path, "since it was listed").into());
    }
    let content = if size > LARGE {
        // A file system that ignores the advice is only slower. The first doubles the read-ahead, the second starts it now
        // (posix_fadvise(2)).
        let _ = rustix::fs::fadvise(&fd, 0, None, Advice::Sequential);
        let _ = rustix::fs::fadvise(&fd, 0, std::num::NonZeroU64::new(4 * CHUNK as u64), Advice::WillNeed);
        Content::Large(LargeFile { file: fd.into(), path: path.to_vec(), size, stamp, at: 0, buffer: Vec::new(), taken: 0 })
    } else {
        Content::Small(read_small(&fd, path, &stat, bytes)?)
    };
    Ok((stat.st_mode, stat.st_mtime, content))
}

/// Reads a small file, which must have its listed size, and checks that it is unchanged afterwards.
fn read_small(fd: &OwnedFd, path: &[u8], stat: &Stat, bytes: &mut Vec<u8>) -> Result<std::ops::Range<usize>, PackError> {
    let (start, size) = (bytes.len(), stat.st_size as usize);
    // Read one byte more than expected, so that one call also shows whether the file grew.
    bytes.reserve(size + 1);
    while bytes.len() - start < size {
        let offset = (bytes.len() - start) as u64;
        match rustix::io::read(fd, spare_capacity(bytes)) {
            Ok(0) => return Err(Fault::changed(path, "it shrank").into()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(PackError::Read { path: path.to_vec(), offset, source: errno.into() }),
        }
    }
    if bytes.len() - start > size {
        return Err(Fault::changed(path, "it grew").into());
    }
    check_unchanged(fd, path, stamp::of(stat), stat.st_size as u64)?;
    Ok(start..bytes.len())
}

/// Checks that an open file is the one that was listed.
fn check_unchanged(fd: impl AsFd, path: &[u8], stamp: u32, size: u64) -> Result<(), PackError> {
    let stat = rustix::fs::fstat(fd).map_err(|errno| Fault::entry("read", path, errno))?;
    match (stat.st_size as u64).cmp(&size) {
        std::cmp::Ordering::Greater => Err(Fault::changed(path, "it grew").into()),
        std::cmp::Ordering::Less => Err(Fault::changed(path, "it shrank").into()),
        std::cmp::Ordering::Equal if stamp::of(&stat) != stamp => Err(Fault::changed(path, "it was written to").into()),
        std::cmp::Ordering::Equal => Ok(()),
    }
}

/// A large file: yields exactly its listed size, or fails with a [`PackError`] inside the error.
#[derive(Debug)]
pub(crate) struct LargeFile {
    file: File,
    path: Vec<u8>,
    size: u64,
    stamp: u32,
    at: u64,
    buffer: Vec<u8>,
    taken: usize,
}

impl LargeFile {
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    fn fill(&mut self) -> Result<(), PackError> {
        let wanted = usize::try_from(self.size - self.at).unwrap_or(CHUNK).min(CHUNK);
        self.buffer.resize(wanted, 0);
        self.taken = 0;
        let got = match self.file.read_at(&mut self.buffer, self.at) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(source) => return Err(PackError::Read { path: self.path.clone(), offset: self.at, source }),
            Ok(0) => return Err(Fault::changed(&self.path, "it shrank").into()),
            Ok(got) => got,
        };
        self.buffer.truncate(got);
        self.at += got as u64;
        match self.at == self.size {
            true => check_unchanged(&self.file, &self.path, self.stamp, self.size),
            false => Ok(()),
        }
    }
}

impl io::Read for LargeFile {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.buffer.len() {
            if self.at == self.size {
                return Ok(0);
            }
            self.fill().map_err(io::Error::other)?;
        }
        let length = out.len().min(self.buffer.len() - self.taken);
        out[..length].copy_from_slice(&self.buffer[self.taken..][..length]);
        self.taken += length;
        Ok(length)
    }
}
