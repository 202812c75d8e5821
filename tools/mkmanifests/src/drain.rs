//! Bytes on their way to the disk while more are written, so that little is left for the sync at the end.

use std::fs::File;
use std::io::{self, Write};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Bytes after which the disk is asked again.
const STEP: u64 = 8 * 1024 * 1024;

/// Syncs a file again and again, beside those who write it.
#[derive(Debug)]
pub(crate) struct Drain {
    bell: SyncSender<()>,
    thread: JoinHandle<io::Result<()>>,
}

/// Writes a file, and rings for every [`STEP`].
#[derive(Debug)]
pub(crate) struct Draining<'a> {
    file: &'a File,
    bell: &'a SyncSender<()>,
    since: u64,
}

impl Drain {
    /// Starts it for `file`.
    ///
    /// # Errors
    /// Those of a second handle to the file, and of a thread.
    pub(crate) fn start(file: &File) -> io::Result<Self> {
        let (bell, rung) = sync_channel(1);
        let file = file.try_clone()?;
        let work = move || rung.iter().try_for_each(|()| file.sync_data());
        Ok(Self { bell, thread: std::thread::Builder::new().name("drain".to_owned()).spawn(work)? })
    }

    /// A writer to `file`, the one it was started for.
    pub(crate) fn writer<'a>(&'a self, file: &'a File) -> Draining<'a> {
        Draining { file, bell: &self.bell, since: 0 }
    }

    /// Waits for the sync at work. The system tells of a lost write once for each opened file, so an error that was met
    /// here is not met again by whoever syncs next.
    ///
    /// # Errors
    /// That of the first sync that failed.
    pub(crate) fn end(self) -> io::Result<()> {
        drop(self.bell);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Write for Draining<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.since += written as u64;
        if self.since >= STEP {
            self.since = 0;
            // One that rings already counts for this too; where the thread has ended, its error waits for the end.
            let _ = self.bell.try_send(());
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
