//! Which archive to push: a file, the record's archive, or standard input.

use std::fs::File;
use std::path::{Path, PathBuf};

use scar_record::{self as record, Record};
use scar_tool::{Console, Exit, Failure};

use crate::archive::{Archive, ArchiveFile, open};
use crate::unhashed::{self, Unhashed};

/// A file of this size may be sent before its digest is known; hashing a smaller one takes no noticeable time.
const LARGE: u64 = 64 << 20;

/// The operand FILE.
#[derive(Debug)]
pub(crate) enum FileArgument {
    File(PathBuf, File),
    /// `-`.
    Stdin,
    /// No operand: the record's archive.
    Record,
}

/// The archive to push.
#[derive(Debug)]
pub(crate) enum Supply {
    /// None: in a dry run mkmanifests has not written it.
    Nothing,
    Archive(Archive),
    /// An archive whose digest is still computed.
    Unhashed(Unhashed),
}

impl Supply {
    /// The archive, if its digest is known.
    pub(crate) fn archive(&self) -> Option<&Archive> {
        match self {
            Self::Archive(archive) => Some(archive),
            Self::Nothing | Self::Unhashed(_) => None,
        }
    }
}

impl FileArgument {
    /// Opens FILE, before the record is read.
    ///
    /// # Errors
    /// Exit 2 for a missing file, a directory, a terminal, or another kind of file; exit 1 if it cannot be opened.
    pub(crate) fn open(file: Option<&Path>) -> Result<Self, Failure> {
        match file {
            None => Ok(Self::Record),
            Some(path) if path == Path::new("-") => {
                unhashed::no_terminal()?;
                Ok(Self::Stdin)
            }
            Some(path) => match open(path) {
                Ok(file) => Ok(Self::File(path.to_owned(), file)),
                // A name that does not exist was mistyped; other errors are the host's.
                Err(failure) if !path.exists() => Err(Failure { exit: Exit::Misuse, ..failure }),
                Err(failure) => Err(failure),
            },
        }
    }

    /// The archive to push. If the record has an archive, it must be that one.
    ///
    /// The record's file is not read twice: its size is compared here, its digest while it is sent. `ahead` permits to send
    /// before the digest is known: a large file at once, a stream after `ahead` bytes have arrived.
    ///
    /// # Errors
    /// Exit 2 without an archive, exit 7 if it is not the record's, exit 1 if it cannot be read.
    pub(crate) fn supply(self, record: &Record, ahead: Option<u64>, console: &Console) -> Result<Supply, Failure> {
        let recorded = record.section::<record::Archive>()?;
        let archive = match self {
            Self::File(path, file) => {
                let file = ArchiveFile::new(path, file, console)?;
                // With a record the digest is known, so the registry can be asked for the layer before anything is sent.
                if ahead.is_some() && recorded.is_none() && file.size >= LARGE {
                    return Ok(Supply::Unhashed(Unhashed::file(file)));
                }
                let progress = console.progress_bytes("hashing", Some(file.size));
                let digest = file.hash(|at| progress.set(at))?;
                let archive = file.with(digest);
                archive.unchanged().map(|()| archive)?
            }
            Self::Stdin => {
                let archive = Unhashed::stdin(ahead.unwrap_or(u64::MAX), console)?;
                if !archive.has_ended() {
                    return Ok(Supply::Unhashed(archive));
                }
                // No deadline while the stage before this one works: packing a large tree takes as long as it takes.
                scar_http::run(scar_tool::Deadline::never(), console, "read standard input", archive.archive(console))?
            }
            Self::Record => {
                if recorded.is_none() && record.is_dry_run() {
                    return Ok(Supply::Nothing);
                }
                let recorded = record.need::<record::Archive>().map_err(|failure| {
                    failure.hint(
                        "run mkmanifests before this step and pass its record on, or name the archive: ocipush REFERENCE FILE",
                    )
                })?;
                of_record(recorded, console)?
            }
        };
        match recorded.filter(|recorded| recorded.digest != archive.content.digest) {
            Some(recorded) => {
                let (name, found, digest) = (&archive.file.name, &archive.content.digest, recorded.digest);
                Err(differs_from_record(format!("push {name}: its digest is {found}, the record's archive has {digest}")))
            }
            None => Ok(Supply::Archive(archive)),
        }
    }
}

fn of_record(recorded: record::Archive, console: &Console) -> Result<Archive, Failure> {
    let path = PathBuf::from(recorded.path);
    let file = ArchiveFile::new(path.clone(), open(&path)?, console)?;
    if file.size != recorded.size {
        let (name, size) = (&file.name, file.size);
        return Err(differs_from_record(format!("push {name}: it has {size} bytes, the record's archive has {}", recorded.size)));
    }
    Ok(file.with(recorded.digest))
}

/// The failure for a file that is not the archive in the record.
fn differs_from_record(message: String) -> Failure {
    Failure::new(Exit::Mismatch, message)
        .hint("the archive was changed after mkmanifests wrote it; run mkmanifests again (or --new-record for another archive)")
}
