//! Where the archive will be: the file, its folder, and how a walk recognizes it.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::Access;
use scar_tool::Failure;

use crate::OwnArchive;

/// The archive's final place.
#[derive(Debug)]
pub struct ArchiveFile {
    folder: PathBuf,
    path: PathBuf,
    own: OwnArchive,
    old_size: u64,
}

impl ArchiveFile {
    /// Resolves `path`. A link is followed, so that its target is replaced and not the link.
    ///
    /// # Errors
    /// Exit 2 if it exists and is not a file, exit 1 if its folder is missing.
    pub fn find(path: &Path) -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::io(format_args!("write '{}'", path.display()), &error);
        // As a shell's `>FILE` does: rename(2) alone would put the archive in the place of the link.
        let linked = fs::symlink_metadata(path).is_ok_and(|meta| meta.is_symlink());
        let real = if linked { fs::canonicalize(path).map_err(failed)? } else { path.to_owned() };
        let old = match fs::metadata(&real) {
            Ok(meta) if meta.is_dir() => {
                return Err(Failure::misuse(format_args!("write '{}': it is a directory", path.display()))
                    .hint("name the archive too, for example -o DIR/manifests.tgz"));
            }
            Ok(meta) if !meta.is_file() => {
                return Err(Failure::misuse(format_args!("write '{}': it is not a regular file", path.display()))
                    .hint("-o - writes the archive to standard output"));
            }
            Ok(meta) => Some(meta),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(error)),
        };
        let Some(name) = real.file_name() else {
            return Err(Failure::misuse(format_args!("write '{}': it is not a file name", path.display())));
        };
        let parent = match real.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let folder = fs::canonicalize(parent)
            .map_err(|error| Failure::io(format_args!("write '{}': folder '{}'", path.display(), parent.display()), &error))?;
        let meta = fs::metadata(&folder).map_err(failed)?;
        let own = OwnArchive {
            file: old.as_ref().map(|old| (old.dev(), old.ino())),
            entry: Some(((meta.dev(), meta.ino()), name.as_encoded_bytes().to_vec())),
        };
        Ok(Self { path: folder.join(name), folder, own, old_size: old.map_or(0, |old| old.len()) })
    }

    /// Its absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder that it is written in.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// How the walk recognizes it.
    pub fn own(&self) -> &OwnArchive {
        &self.own
    }

    /// The size of the archive that is there now; 0 without one.
    pub fn old_size(&self) -> u64 {
        self.old_size
    }

    /// Checks, without changing anything, whether a file could be created.
    ///
    /// # Errors
    /// Exit 1 if not.
    pub fn probe(&self) -> Result<(), Failure> {
        rustix::fs::access(&self.folder, Access::WRITE_OK | Access::EXEC_OK).map_err(|errno| self.failed("write", &errno.into()))
    }

    /// The failure of a system call on it.
    pub fn failed(&self, act: &str, error: &io::Error) -> Failure {
        Failure::io(format_args!("{act} '{}'", self.path.display()), error)
    }

    /// The bytes that are free in the folder; `None` if the file system does not say.
    pub fn free(&self) -> Option<u64> {
        // Blocks for this user: some are reserved for root (statvfs(3)).
        let stat = rustix::fs::statvfs(&self.folder).ok()?;
        Some(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}
