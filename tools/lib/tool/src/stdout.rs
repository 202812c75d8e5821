//! Standard output, through which a result leaves.

use std::io::{IsTerminal, Write};

use rustix::fs::{FileType, OFlags};

use crate::{Console, Failure, text::io_cause};

/// Says that the result will be lost, if standard output may be closed.
pub(crate) fn warn_if_lost(console: &Console) {
    // Rust replaces a closed standard output by `/dev/null`, opened for reading and writing, before `main` (rust
    // library/std/src/sys/pal/unix/mod.rs, `init`), while a shell's `>/dev/null` only writes. If standard error is one too, a
    // parent has detached the process on purpose (FAULTS Q49).
    if is_null_for_reading_and_writing(std::io::stdout()) && !is_null_for_reading_and_writing(std::io::stderr()) {
        console.warn("standard output is /dev/null, or closed: what this step writes there is lost");
    }
}

/// Whether it is a terminal.
pub fn is_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// Whether it is a regular file that its group or others can read.
pub fn is_readable_by_others() -> bool {
    rustix::fs::fstat(std::io::stdout())
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_mode & 0o044 != 0)
}

/// Writes a tool's result, all of it. Exit 1 with the system's cause (no space, reader gone).
pub fn write(result: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(result).and_then(|()| out.flush()).map_err(|error| failed(&error))
}

/// Writes requested output, such as a page, with colour only on a terminal. A reader may close the pipe early, such as `head`.
pub(crate) fn print(answer: &[u8]) -> Result<(), Failure> {
    let mut out = anstream::AutoStream::auto(std::io::stdout());
    match out.write_all(answer).and_then(|()| out.flush()) {
        // Rust ignores SIGPIPE, which would end other programs here (signal(7)).
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|error| failed(&error)),
    }
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
