//! From a listed tree to an archive: entries are read ahead, written as tar, compressed and output, all in parallel and in
//! bounded memory.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;

use scar_tool::{Console, Interrupt, Progress};
use scar_tree::{Tree, quoted};
use sha2::{Digest as _, Sha256};
use tar::Builder;

use crate::entry::{self, Body, Meta};
use crate::error::PackError;
use crate::gzip::{self, Blocks};
use crate::read::{Batch, Content, Entry, ReadAhead};

#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    /// Compressors; readers and writer are further threads.
    pub(crate) threads: usize,
    /// Deflate level.
    pub(crate) level: u32,
    /// Store what a link leads to, instead of the link.
    pub(crate) dereference: bool,
    /// A time for every entry, instead of its own.
    pub(crate) mtime: Option<i64>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Written {
    /// In bytes.
    pub(crate) size: u64,
    pub(crate) sha256: [u8; 32],
}

/// Observers of the work.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Watch<'a> {
    /// Lists the entries, with `-v`.
    pub(crate) console: &'a Console,
    /// Stops the work at a signal; `None` if there is no temporary file to remove.
    pub(crate) interrupt: Option<&'a Interrupt>,
    /// Counts the files' bytes.
    pub(crate) progress: &'a Progress,
}

/// Writes the archive of `tree`, listed at `root`, to `out`, which messages call `name`.
///
/// # Errors
/// The first fault in the archive's order, or an error of the output. `out` is then incomplete.
pub(crate) fn pack(
    root: OwnedFd,
    tree: &Tree,
    settings: Settings,
    watch: Watch<'_>,
    out: &mut (impl Write + Send),
    name: &str,
) -> Result<Written, PackError> {
    std::thread::scope(|scope| {
        let ahead = ReadAhead::start(scope, root, tree, settings.dereference);
        let (blocks, member) = gzip::start(scope, settings.threads, settings.level);
        let writer = scope.spawn(move || {
            let mut counted = Counted { out, size: 0, sum: Sha256::new(), failed: false };
            let result = member.write(&mut counted).and_then(|()| counted.flush());
            let Counted { size, sum, failed, .. } = counted;
            result.map(|()| Written { size, sha256: sum.finalize().into() }).map_err(|error| (error, failed))
        });
        let entries = write_entries(&ahead, blocks, settings, watch);
        // The readers stop when their receiver is gone.
        drop(ahead);
        match (entries, writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))) {
            (Ok(()), Ok(written)) => Ok(written),
            // The output's error comes first: what stopped the other side is only its consequence.
            (_, Err((source, true))) => Err(PackError::Output { to: name.to_owned(), source }),
            (Err(fault), _) => Err(fault),
            (Ok(()), Err((error, false))) => Err(PackError::Compress(error.to_string())),
        }
    })
}

fn write_entries(ahead: &ReadAhead, blocks: Blocks, settings: Settings, watch: Watch<'_>) -> Result<(), PackError> {
    let mut to = Builder::new(blocks);
    let mut files = 0_u64;
    while let Some(mut batch) = ahead.next() {
        for entry in std::mem::take(&mut batch.entries) {
            if let Some(interrupt) = watch.interrupt {
                interrupt.check().map_err(PackError::Interrupted)?;
            }
            write_entry(&mut to, entry?, &batch, settings, watch)?;
            files += 1;
        }
        watch.progress.message(format_args!("{files} entries"));
        ahead.done(batch);
    }
    to.into_inner().and_then(Blocks::finish).map_err(unwrap)
}

fn write_entry(
    to: &mut Builder<Blocks>,
    entry: Entry,
    batch: &Batch,
    settings: Settings,
    watch: Watch<'_>,
) -> Result<(), PackError> {
    let mut name = Vec::with_capacity(entry.path.len() + 3);
    // As `tar .` names its entries (guide, step 3).
    name.extend_from_slice(b"./");
    name.extend_from_slice(&entry.path);
    if matches!(entry.content, Content::Folder) && !entry.path.is_empty() {
        name.push(b'/');
    }
    watch.console.listing(|| quoted(&name));
    // A folder without a file below it has no time: its own would differ in each copy of the tree.
    let own = if entry.mtime == i64::MIN { 0 } else { entry.mtime };
    let meta = Meta { name: &name, mode: entry.mode, mtime: settings.mtime.unwrap_or(own) };
    let result = match entry.content {
        Content::Folder => entry::append(to, meta, Body::<io::Empty>::Folder),
        Content::Link(target) => entry::append(to, meta, Body::<io::Empty>::Link { target }),
        Content::Small(range) => {
            watch.progress.add(range.len() as u64);
            let content = &batch.bytes[range];
            entry::append(to, meta, Body::File { size: content.len() as u64, content })
        }
        Content::Large(file) => {
            let size = file.size();
            entry::append(to, meta, Body::File { size, content: ReadWithProgress { file, watch } })
        }
    };
    result.map_err(unwrap)
}

/// A fault that passed through a reader or writer. Any other error means that the output failed, which the writer reports
/// better.
fn unwrap(error: io::Error) -> PackError {
    let text = error.to_string();
    match error.into_inner().map(|inner| inner.downcast::<PackError>()) {
        Some(Ok(fault)) => *fault,
        _ => PackError::Compress(text),
    }
}

/// A large file, with progress.
struct ReadWithProgress<'a, R> {
    file: R,
    watch: Watch<'a>,
}

impl<R: Read> Read for ReadWithProgress<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if let Some(interrupt) = self.watch.interrupt {
            interrupt.check().map_err(|failure| io::Error::other(PackError::Interrupted(failure)))?;
        }
        let got = self.file.read(out)?;
        self.watch.progress.add(got as u64);
        Ok(got)
    }
}

/// The output, counted and hashed.
struct Counted<'a, W> {
    out: &'a mut W,
    size: u64,
    sum: Sha256,
    // Whether the output itself failed, and not the compressors, whose end is an error of the same type.
    failed: bool,
}

impl<W: Write> Write for Counted<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes).inspect_err(|error| self.failed = error.kind() != io::ErrorKind::Interrupted)?;
        self.sum.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush().inspect_err(|_| self.failed = true)
    }
}
