//! An archive on standard input: kept in a file without a name as it comes, so that it can be sent meanwhile, and again.
//!
//! Invariants: what is told to be there is in the file; the file is gone with the process, however it ends.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::sync::Arc;

use scar_tool::{Console, Deadline, Failure, Progress};
use tokio::sync::watch;

use crate::body::Bits;
use crate::source::Place;
use crate::whole::Whole;

/// How messages name it.
pub(crate) const NAME: &str = "the archive from standard input";
/// Bytes read at a time.
const BLOCK: usize = 1024 * 1024;

/// A stream that a thread reads to its end.
#[derive(Debug)]
pub(crate) struct Stream {
    file: Arc<File>,
    state: watch::Receiver<State>,
}

/// How far it has come.
#[derive(Debug, Default)]
struct State {
    size: u64,
    end: Option<Result<(), Failure>>,
}

impl Stream {
    /// Begins to read. Gives it back once `bytes` are there or it has ended, and says whether it has.
    ///
    /// # Errors
    /// Exit 2 where it is empty; exit 1 where it cannot be read or kept.
    pub(crate) fn begin(bytes: u64, console: &Console) -> Result<(Self, bool), Failure> {
        let file = tempfile::tempfile().map_err(|error| kept(&error))?;
        let (told, state) = watch::channel(State::default());
        let stream = Self { file: Arc::new(file), state };
        let file = Arc::clone(&stream.file);
        std::thread::spawn(move || {
            let end = keep(&file, &told);
            told.send_modify(|state| state.end = Some(end));
        });
        let progress = console.progress_bytes("reading", None);
        let (size, ended) =
            scar_http::run(Deadline::never(), console, "read standard input", stream.until(bytes, Some(&progress)))?;
        drop(progress);
        if size == 0 {
            return Err(Failure::misuse(format!("push {NAME}: it is empty"))
                .hint("an earlier stage of the pipe may have failed; look at its message"));
        }
        crate::source::warn_unless_gzip(&stream.file, NAME, console);
        Ok((stream, ended))
    }

    /// Waits until so many bytes are there, or all; says how many there are, and whether these are all.
    ///
    /// # Errors
    /// Exit 1 where it cannot be read or kept.
    pub(crate) async fn until(&self, bytes: u64, progress: Option<&Progress>) -> Result<(u64, bool), Failure> {
        let mut state = self.state.clone();
        loop {
            {
                let state = state.borrow_and_update();
                progress.inspect(|progress| progress.set(state.size));
                match &state.end {
                    Some(Err(failure)) => return Err(failure.clone()),
                    Some(Ok(())) => return Ok((state.size, true)),
                    None if state.size >= bytes => return Ok((state.size, false)),
                    None => {}
                }
            }
            if state.changed().await.is_err() {
                return Err(kept(&io::Error::other("its reader has ended")));
            }
        }
    }

    /// Its bytes, as far as they are there.
    pub(crate) fn bits(&self) -> Bits {
        Bits::File(Arc::clone(&self.file))
    }

    /// Waits for its end, and says where it then is.
    ///
    /// # Errors
    /// As [`Self::until`].
    pub(crate) async fn whole(&self, console: &Console) -> Result<Place, Failure> {
        let progress = console.progress_bytes("reading", None);
        self.until(u64::MAX, Some(&progress)).await?;
        self.place()
    }

    /// Where it is, once it has ended.
    ///
    /// # Errors
    /// Exit 1 where the file cannot be looked at.
    pub(crate) fn place(&self) -> Result<Place, Failure> {
        Place::kept(&self.file)
    }
}

/// Reads standard input to its end, into the file.
fn keep(mut file: &File, told: &watch::Sender<State>) -> Result<(), Failure> {
    let mut whole = Whole::new();
    let mut block = vec![0; BLOCK];
    let mut stdin = io::stdin().lock();
    loop {
        let read = match stdin.read(&mut block) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Failure::io(format!("read {NAME}"), &error)),
        };
        if read == 0 {
            return match whole.fault() {
                None => Ok(()),
                Some(fault) => Err(crate::source::incomplete(NAME, &fault)),
            };
        }
        whole.take(&block[..read]);
        file.write_all(&block[..read]).map_err(|error| kept(&error))?;
        told.send_modify(|state| state.size += read as u64);
    }
}

fn kept(error: &io::Error) -> Failure {
    Failure::io(format!("keep {NAME}"), error)
        .hint("$TMPDIR names the directory for temporary files; it must have room for the archive")
}

/// Refuses a terminal, where nobody would type an archive.
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
