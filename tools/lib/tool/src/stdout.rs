//! Standard output, through which a result leaves.

use std::io::Write;

use rustix::fs::{FileType, OFlags};

use crate::{Console, Failure, text::io_cause};

/// Says that the result will be lost, if standard output may be closed.
///
/// Rust's start-up code replaces a closed standard output by `/dev/null`, opened for reading and writing, while a shell's
/// `>/dev/null` is write-only. If standard error is such a device too, a parent has detached the process on purpose.
pub(crate) fn warn_if_lost(console: &Console) {
    if is_null_for_reading_and_writing(std::io::stdout()) && !is_null_for_reading_and_writing(std::io::stderr()) {
        console.warn("standard output is /dev/null, or closed: what this step writes there is lost");
    }
}

/// Standard output for a tool's result.
#[derive(Debug)]
pub struct Stdout;

impl Stdout {
    /// Whether it is a terminal.
    pub fn is_terminal(&self) -> bool {
        std::io::IsTerminal::is_terminal(&std::io::stdout())
    }

    /// Whether it is a regular file that its group or others can read.
    pub fn is_readable_by_others(&self) -> bool {
        rustix::fs::fstat(std::io::stdout())
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_mode & 0o044 != 0)
    }

    /// Writes all of `bytes` and flushes. Exit 1 with the system's cause (no space, reader gone).
    pub fn write(&self, bytes: &[u8]) -> Result<(), Failure> {
        print_bytes(bytes)
    }
}

/// Writes text to standard output, with colour only on a terminal.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = anstream::AutoStream::auto(std::io::stdout());
    read_or_left(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// Writes requested output, such as a page.
pub(crate) fn print_answer(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    read_or_left(out.write_all(bytes).and_then(|()| out.flush()))
}

/// Accepts a reader that closes the pipe early, such as `head`. For a record that would be an error.
fn read_or_left(written: std::io::Result<()>) -> Result<(), Failure> {
    match written {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|error| failed(&error)),
    }
}

/// Writes bytes to standard output.
pub(crate) fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| failed(&error))
}

fn failed(error: &std::io::Error) -> Failure {
    Failure::new(crate::Exit::Failed, format_args!("write to standard output: {}", io_cause(error)))
}

fn is_null_for_reading_and_writing(stream: impl std::os::fd::AsFd) -> bool {
    let null = rustix::fs::makedev(1, 3);
    let device = rustix::fs::fstat(&stream)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == null);
    device && rustix::fs::fcntl_getfl(&stream).is_ok_and(|flags| flags.contains(OFlags::RDWR))
}
