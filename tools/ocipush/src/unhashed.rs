//! An archive whose digest is still computed: a large file, or standard input. A thread reads it to its end, hashes it and
//! checks that it is complete, while the part read so far is sent.
//!
//! Standard input is copied to a file without a name, so that it can be sent again. That file vanishes with the process.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::sync::Arc;

use scar_record::Digest;
use scar_tool::{Console, Deadline, Exit, Failure, Progress};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use crate::archive::{Archive, ArchiveFile, BLOCK, incomplete, warn_unless_gzip};
use crate::body::ByteSource;
use crate::integrity::Integrity;

/// The name of standard input in messages.
const STDIN: &str = "the archive from standard input";

/// An archive that a thread is reading.
#[derive(Debug)]
pub(crate) struct Unhashed {
    file: Arc<File>,
    /// The file that was named, unless it is standard input.
    named: Option<ArchiveFile>,
    state: watch::Receiver<State>,
}

/// The thread's progress.
#[derive(Debug, Default)]
struct State {
    /// Bytes that are available.
    size: u64,
    /// The result, at the end.
    end: Option<Result<Digest, Failure>>,
}

impl Unhashed {
    pub(crate) fn file(named: ArchiveFile) -> Self {
        let (sender, state) = watch::channel(State { size: named.size, end: None });
        let reading = named.clone();
        std::thread::spawn(move || {
            let end = reading.hash(|_| ());
            sender.send_modify(|state| state.end = Some(end));
        });
        Self { file: named.handle(), named: Some(named), state }
    }

    /// Starts to read standard input; returns when `bytes` are available or it has ended.
    ///
    /// # Errors
    /// Exit 2 if it is empty; exit 1 if it cannot be read or stored.
    pub(crate) fn stdin(bytes: u64, console: &Console) -> Result<Self, Failure> {
        // A pipe cannot be read twice, and any upload may need a second try. The file has no name, so that it vanishes even after
        // SIGKILL (open(2), O_TMPFILE).
        let file = Arc::new(tempfile::tempfile().map_err(|error| not_stored(&error))?);
        let (sender, state) = watch::channel(State::default());
        let archive = Self { file: Arc::clone(&file), named: None, state };
        std::thread::spawn(move || {
            let end = copy_stdin(&file, &sender);
            sender.send_modify(|state| state.end = Some(end));
        });
        // Nothing can end a read of standard input that blocks, so nobody joins this thread: it ends with the process (FAULTS
        // P40).
        let progress = console.progress_bytes("reading", None);
        let begun = archive.until(bytes, Some(&progress));
        // The deadline begins with the first request. What comes before it is the time of the stage that makes the archive.
        let (size, _) = scar_http::run(Deadline::never(), console, "read standard input", begun)?;
        drop(progress);
        if size == 0 {
            return Err(Failure::misuse(format!("push {STDIN}: it is empty"))
                .hint("an earlier stage of the pipe may have failed; look at its message"));
        }
        warn_unless_gzip(&archive.file, STDIN, console);
        Ok(archive)
    }

    /// Waits until `bytes` are available or the archive is complete; returns how many are available, and whether it is
    /// complete.
    ///
    /// # Errors
    /// Exit 1 if it cannot be read or stored, or is incomplete.
    pub(crate) async fn until(&self, bytes: u64, progress: Option<&Progress>) -> Result<(u64, bool), Failure> {
        let mut state = self.state.clone();
        loop {
            {
                let state = state.borrow_and_update();
                progress.inspect(|progress| progress.set(state.size));
                match &state.end {
                    Some(Err(failure)) => return Err(failure.clone()),
                    Some(Ok(_)) => return Ok((state.size, true)),
                    None if state.size >= bytes => return Ok((state.size, false)),
                    None => {}
                }
            }
            if state.changed().await.is_err() {
                return Err(no_reader());
            }
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.state.borrow().end.is_some()
    }

    /// Its size, if known from the start.
    pub(crate) fn size(&self) -> Option<u64> {
        self.named.as_ref().map(|named| named.size)
    }

    pub(crate) fn source(&self) -> ByteSource {
        ByteSource::File(Arc::clone(&self.file))
    }

    /// The archive, after it was read to its end.
    ///
    /// # Errors
    /// As [`Self::until`]; exit 1 if the file changed meanwhile.
    pub(crate) async fn archive(&self, console: &Console) -> Result<Archive, Failure> {
        let progress = console.progress_bytes(if self.named.is_some() { "hashing" } else { "reading" }, self.size());
        self.until(u64::MAX, Some(&progress)).await?;
        drop(progress);
        let file = match &self.named {
            Some(named) => named.clone(),
            None => ArchiveFile::of_open_file(STDIN.to_owned(), Arc::clone(&self.file), None)?,
        };
        let Some(digest) = self.state.borrow().end.clone().transpose()? else { return Err(no_reader()) };
        let archive = file.with(digest);
        archive.unchanged().map(|()| archive)
    }
}

fn copy_stdin(mut file: &File, sender: &watch::Sender<State>) -> Result<Digest, Failure> {
    let (mut integrity, mut hash) = (Integrity::new(), Sha256::new());
    let mut block = vec![0; BLOCK];
    let mut stdin = io::stdin().lock();
    loop {
        let read = match stdin.read(&mut block) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Failure::io(format!("read {STDIN}"), &error)),
        };
        if read == 0 {
            let digest = Digest::from_sha256(&hash.finalize().into());
            return integrity.fault().map_or(Ok(digest), |fault| Err(incomplete(STDIN, &fault)));
        }
        // A program that fails closes its pipe as one that succeeds does; only the archive's own end shows the difference (FAULTS
        // Q12).
        integrity.take(&block[..read]);
        hash.update(&block[..read]);
        file.write_all(&block[..read]).map_err(|error| not_stored(&error))?;
        sender.send_modify(|state| state.size += read as u64);
    }
}

fn no_reader() -> Failure {
    Failure::new(Exit::Failed, "read the archive: the thread for it has ended")
}

fn not_stored(error: &io::Error) -> Failure {
    Failure::io(format!("store {STDIN}"), error)
        .hint("$TMPDIR names the directory for temporary files; it must have room for the archive")
}

/// Refuses a terminal, because nobody types an archive.
///
/// # Errors
/// Exit 2.
pub(crate) fn no_terminal() -> Result<(), Failure> {
    match io::stdin().is_terminal() {
        true => Err(Failure::misuse("read the archive from standard input: it is a terminal")
            .hint("pipe an archive into it, such as mkmanifests -o - DIR | ocipush REFERENCE -")),
        false => Ok(()),
    }
}
