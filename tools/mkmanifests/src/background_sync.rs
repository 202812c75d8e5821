//! Syncs the archive while it is written, so that the final sync is short: a sync of some GiB takes long, and no signal ends
//! it.

use std::fs::File;
use std::io::{self, Write};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Bytes between two syncs.
const STEP: u64 = 8 * 1024 * 1024;

/// Syncs a file repeatedly, in parallel to its writers.
#[derive(Debug)]
pub(crate) struct BackgroundSync {
    requests: SyncSender<()>,
    thread: JoinHandle<io::Result<()>>,
}

/// Writes a file, and requests a sync after every [`STEP`].
#[derive(Debug)]
pub(crate) struct SyncingWriter<'a> {
    file: &'a File,
    requests: &'a SyncSender<()>,
    since: u64,
}

impl BackgroundSync {
    /// Starts the thread for `file`.
    ///
    /// # Errors
    /// Errors of duplicating the handle and of the thread.
    pub(crate) fn start(file: &File) -> io::Result<Self> {
        let (requests, received) = sync_channel(1);
        let file = file.try_clone()?;
        let work = move || received.iter().try_for_each(|()| file.sync_data());
        Ok(Self { requests, thread: std::thread::Builder::new().name("sync".to_owned()).spawn(work)? })
    }

    /// A writer to `file`, for which it was started.
    pub(crate) fn writer<'a>(&'a self, file: &'a File) -> SyncingWriter<'a> {
        SyncingWriter { file, requests: &self.requests, since: 0 }
    }

    /// Waits for a running sync. The kernel reports a lost write only once for each open file, so the next sync would not see an
    /// error that was seen here (Linux Documentation/filesystems/vfs.rst, "Handling errors during writeback").
    ///
    /// # Errors
    /// The error of the first sync that failed.
    pub(crate) fn end(self) -> io::Result<()> {
        drop(self.requests);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Write for SyncingWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.since += written as u64;
        if self.since >= STEP {
            self.since = 0;
            // A pending request counts for this one too; after the thread has ended, its error is reported at the end.
            let _ = self.requests.try_send(());
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
