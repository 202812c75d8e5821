//! Backups: what a change will destroy, on disk before the change.
//!
//! Invariants: a backup is a regular file of the user, mode 0600, never reached through a link; it is complete or missing,
//! and synced together with its folder; a file's content is never lost to another backup.

use std::ffi::OsString;
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::{Console, Exit, Failure};

/// The largest backup in bytes.
// A Kubernetes secret has at most 1 MiB (Kubernetes documentation, "Secrets"), base64 a third more.
const LARGEST: u64 = 16 * 1024 * 1024;
/// The most backups of one name that [`Backup::save_beside`] creates.
const MOST: usize = 1000;

/// A backup file, and its content from an earlier run.
#[derive(Debug)]
pub struct Backup {
    path: PathBuf,
    /// `None` for a state folder that does not exist yet.
    folder: Option<OwnedFd>,
    name: OsString,
    kept: Option<Vec<u8>>,
}

/// Where [`Backup::save_beside`] has written a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// The absolute path.
    pub path: PathBuf,
    /// Whether it was written now; false if an earlier run has written the same.
    pub written: bool,
    /// Whether the named file contains another state, which was kept.
    pub renamed: bool,
}

impl Backup {
    /// Opens the folder of `path` and reads the file, if it exists. Writes nothing. Exit 2 if a backup cannot be written
    /// there.
    pub fn find(path: &Path, console: &Console) -> Result<Self, Failure> {
        if path == Path::new("-") {
            return Err(refuse(path, "a backup goes into a file, standard output carries the record"));
        }
        let path = std::path::absolute(path).map_err(|error| Failure::io("find the current folder", &error))?;
        let Some(parent) = path.parent() else { return Err(refuse(&path, "it is a folder")) };
        let folder = open_folder(parent, OFlags::empty()).map_err(|error| match error {
            Errno::NOENT => refuse(&path, "its folder is not there"),
            error => refuse(&path, &format!("its folder: {}", words(error))),
        })?;
        Self::open(path, Some(folder), console)
    }

    /// The file with this name in the default folder: `$XDG_STATE_HOME/scar-tools`, else the one below `$HOME`. Writes
    /// nothing; the first backup creates the folder. Exit 2 if the environment names no folder, if the folder is a link or
    /// another user's, or if a backup cannot be written there.
    pub fn in_state_folder(name: &str, console: &Console) -> Result<Self, Failure> {
        // A relative path there is invalid, and to be ignored (XDG Base Directory Specification).
        let set = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let base = set("XDG_STATE_HOME").or_else(|| Some(set("HOME")?.join(".local/state"))).ok_or_else(|| {
            Failure::misuse("find a place for the backup: neither XDG_STATE_HOME nor HOME is an absolute path")
                .hint("use --backup FILE")
        })?;
        let path = base.join("scar-tools").join(name);
        let folder = state_folder(&path)?;
        Self::open(path, folder, console)
    }

    fn open(path: PathBuf, folder: Option<OwnedFd>, console: &Console) -> Result<Self, Failure> {
        if path.to_str().is_none() {
            return Err(refuse(&path, "the record can hold only a path that is valid UTF-8"));
        }
        let Some(name) = path.file_name().map(ToOwned::to_owned) else { return Err(refuse(&path, "it is a folder")) };
        let kept = match &folder {
            Some(folder) => open(folder, Path::new(&name), &path, console).map_err(|cause| refuse(&path, &cause))?,
            None => None,
        };
        Ok(Self { path, folder, name, kept })
    }

    /// Its absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The backup of an earlier run.
    pub fn existing(&self) -> Option<&[u8]> {
        self.kept.as_deref()
    }

    /// Syncs an earlier run's backup: that run may have been killed between rename and sync.
    pub fn sync(&self) -> Result<(), Failure> {
        let folder = self.folder.as_ref().map_or(Ok(()), rustix::fs::fsync);
        folder.map_err(|error| self.failed(error.into()))
    }

    /// Saves `text`, unless a file has appeared here since this was opened. No incomplete file remains after a failure.
    pub fn save(&self, text: &[u8]) -> Result<(), Failure> {
        self.write(text, |folder, new| match rustix::fs::renameat_with(folder, new, folder, &self.name, RenameFlags::NOREPLACE) {
            // File systems without this flag, such as NFS, answer EINVAL (rename(2)). A hard link is not made over a name that
            // exists, either (link(2)).
            Err(Errno::INVAL | Errno::NOSYS) => {
                rustix::fs::linkat(folder, new, folder, &self.name, AtFlags::empty())?;
                rustix::fs::unlinkat(folder, new, AtFlags::empty())
            }
            renamed => renamed,
        })
    }

    /// Saves `text`, which extends the existing backup.
    pub fn extend(&self, text: &[u8]) -> Result<(), Failure> {
        self.write(text, |folder, new| rustix::fs::renameat(folder, new, folder, &self.name))
    }

    /// Saves `text` here, or under this name with a number if the file has another state. `same` says whether a file already
    /// has this state.
    pub fn save_beside(self, text: &str, same: impl Fn(&str) -> bool, console: &Console) -> Result<Saved, Failure> {
        let first = self.path.clone();
        let mut backup = self;
        for number in 1..=MOST {
            let renamed = backup.path != first;
            let Some(kept) = &backup.kept else {
                backup.save(text.as_bytes())?;
                return Ok(Saved { path: backup.path, written: true, renamed });
            };
            // Run again after a failure, a step must not take the state that it has made itself for the one to restore.
            if std::str::from_utf8(kept).is_ok_and(&same) {
                backup.sync()?;
                return Ok(Saved { path: backup.path, written: false, renamed });
            }
            let mut next = first.clone().into_os_string();
            next.push(format!(".{number}"));
            backup = Self::find(Path::new(&next), console)?;
        }
        Err(Failure::new(Exit::Failed, format!("save the backup '{}': there are {MOST} of this name", first.display())))
    }

    fn write(&self, text: &[u8], rename: impl Fn(&OwnedFd, &str) -> rustix::io::Result<()>) -> Result<(), Failure> {
        let made;
        let folder = match &self.folder {
            Some(folder) => folder,
            None => {
                made = make_state_folder(&self.path)?;
                &made
            }
        };
        // Another run may write its own: no name is used twice.
        let new = format!(".scar-backup.{:016x}", RandomState::new().build_hasher().finish());
        // EXCL and NOFOLLOW: a name that is there already, a planted link included, is never written to (open(2)).
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let write = || -> io::Result<()> {
            let mut file = File::from(rustix::fs::openat(folder, &new, flags, Mode::RUSR | Mode::WUSR)?);
            file.write_all(text)?;
            // Before the rename: otherwise the name may be on disk before the content is, and a power cut leaves an empty
            // backup.
            file.sync_all()?;
            rename(folder, &new)?;
            // The new name is on disk only after the folder is (fsync(2)); the change that needs this backup comes after it.
            Ok(rustix::fs::fsync(folder)?)
        };
        write().map_err(|error| {
            // After the rename it no longer has this name, and stays.
            let _ = rustix::fs::unlinkat(folder, &new, AtFlags::empty());
            self.failed(error)
        })
    }

    fn failed(&self, error: io::Error) -> Failure {
        Failure::io(format!("save the backup '{}'", self.path.display()), &error)
    }
}

/// Reads a backup for an undo. Exit 2 if it is not a regular file of the user.
pub fn read(path: &Path, console: &Console) -> Result<Vec<u8>, Failure> {
    let refuse = |cause: &str| Failure::misuse(format!("read the backup '{}': {cause}", path.display()));
    open(CWD, path, path, console).map_err(|cause| refuse(&cause))?.ok_or_else(|| refuse("no such file or directory"))
}

fn refuse(path: &Path, cause: &str) -> Failure {
    Failure::misuse(format!("keep a backup in '{}': {cause}", path.display()))
}

/// The state folder with `path`; `None` if it does not exist.
fn state_folder(path: &Path) -> Result<Option<OwnedFd>, Failure> {
    let foreign = |cause: &str| refuse(path, &format!("its folder {cause}")).hint("use --backup FILE");
    match open_folder(path.parent().unwrap_or(path), OFlags::NOFOLLOW) {
        Ok(folder) => match rustix::fs::fstat(&folder) {
            Ok(stat) if stat.st_uid == rustix::process::geteuid().as_raw() => Ok(Some(folder)),
            Ok(stat) => Err(foreign(&belongs_to(stat.st_uid))),
            Err(error) => Err(foreign(&words(error))),
        },
        Err(Errno::NOENT) => Ok(None),
        // With O_DIRECTORY, Linux gives ENOTDIR for a link, too (open(2), O_NOFOLLOW).
        Err(Errno::LOOP | Errno::NOTDIR) => Err(foreign("is a symbolic link, or no folder")),
        Err(error) => Err(foreign(&format!("cannot be opened: {}", words(error)))),
    }
}

fn make_state_folder(path: &Path) -> Result<OwnedFd, Failure> {
    let folder = path.parent().unwrap_or(path);
    let failed = |error: &io::Error| Failure::io(format!("make the folder '{}'", folder.display()), error);
    // The mode that the specification demands for a folder made here (XDG Base Directory Specification).
    std::os::unix::fs::DirBuilderExt::mode(std::fs::DirBuilder::new().recursive(true), 0o700)
        .create(folder)
        .and_then(|()| File::open(folder.parent().unwrap_or(folder))?.sync_all())
        .map_err(|error| failed(&error))?;
    state_folder(path)?.ok_or_else(|| failed(&io::ErrorKind::NotFound.into()))
}

fn open_folder(path: &Path, more: OFlags) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | more, Mode::empty())
}

/// Reads a regular file of the user; `None` if it does not exist. `shown` is its path for a warning.
fn open(folder: impl std::os::fd::AsFd, name: &Path, shown: &Path, console: &Console) -> Result<Option<Vec<u8>>, String> {
    // Without NONBLOCK, opening a planted FIFO would wait for a writer (fifo(7); FAULTS Q24).
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(folder, name, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP) => return Err("it is a symbolic link".to_owned()),
        Err(error) => return Err(words(error)),
    };
    let stat = rustix::fs::fstat(&file).map_err(words)?;
    if !file.metadata().is_ok_and(|data| data.is_file()) {
        return Err("it is not a regular file".to_owned());
    }
    // Checked on the open file, not on its name, which another user could replace in between.
    if stat.st_uid != rustix::process::geteuid().as_raw() {
        return Err(format!("it {}", belongs_to(stat.st_uid)));
    }
    if stat.st_mode & 0o077 != 0 {
        console.warn(format!("others can open the backup '{}': chmod 600 it", shown.display()));
    }
    let mut text = Vec::new();
    file.take(LARGEST).read_to_end(&mut text).map_err(|error| crate::text::io_cause(&error))?;
    Ok(Some(text))
}

fn belongs_to(owner: u32) -> String {
    format!("belongs to another user (uid {owner})")
}

fn words(error: Errno) -> String {
    crate::text::io_cause(&error.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn the_first_backup_is_kept_and_another_state_goes_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let (path, console) = (folder.path().join("b.json"), Console::new("test"));
        let save = |text: &str| Backup::find(&path, &console).unwrap().save_beside(text, |kept| kept == text, &console).unwrap();
        assert_eq!(save("one"), Saved { path: path.clone(), written: true, renamed: false });
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(save("one"), Saved { path: path.clone(), written: false, renamed: false });
        let second = save("two");
        assert!(second.written && second.renamed && second.path.ends_with("b.json.1"));
        let late = Backup::find(&folder.path().join("c.json"), &console).unwrap();
        std::fs::write(folder.path().join("c.json"), "somebody else's").unwrap();
        assert_eq!(late.save(b"mine").unwrap_err().exit, Exit::Failed);
        assert_eq!(std::fs::read_to_string(folder.path().join("c.json")).unwrap(), "somebody else's");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
    }

    #[test]
    fn q24_a_link_a_fifo_and_a_missing_folder_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("real"), "").unwrap();
        symlink("real", folder.path().join("link")).unwrap();
        rustix::fs::mknodat(CWD, folder.path().join("fifo"), rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
        for (name, says) in [
            ("link", "it is a symbolic link"),
            ("fifo", "it is not a regular file"),
            ("none/b", "its folder is not there"),
            ("real/b", "its folder: not a directory"),
            (".", "it is not a regular file"),
        ] {
            let failure = Backup::find(&folder.path().join(name), &Console::new("test")).unwrap_err();
            assert!(failure.exit == Exit::Misuse && failure.message.ends_with(says), "{name}: {}", failure.message);
        }
    }
}
