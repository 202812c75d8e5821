//! A copy of what is about to be changed: on disk and synced before the change, readable by its owner alone, and never
//! written over.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use scar_tool::{Exit, Failure};

/// How many copies of one name are kept.
const MOST: usize = 1000;
/// The largest file that is looked at as an earlier copy, in bytes.
const LARGEST: u64 = 16 * 1024 * 1024;

/// Where a copy is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// Its absolute path.
    pub path: PathBuf,
    /// Whether it was written now; false where an earlier one holds the same.
    pub written: bool,
    /// Whether the name that was asked for holds another copy, which is kept.
    pub renamed: bool,
}

/// Saves `text` at `path`. A file that is there is kept: it is the copy where `same` says that it holds the same, else
/// the copy is written beside it with a number at its end.
///
/// # Errors
/// Exit 1 with the system's cause; nothing is left half written.
pub fn save(path: &Path, text: &str, same: impl Fn(&str) -> bool) -> Result<Saved, Failure> {
    let failed = |error: &std::io::Error| Failure::io(format!("save the backup '{}'", path.display()), error);
    let asked = std::path::absolute(path).map_err(|error| failed(&error))?;
    let directory = asked.parent().unwrap_or(Path::new("/")).to_owned();
    for number in 0..MOST {
        let path = numbered(&asked, number);
        let renamed = number > 0;
        match File::open(&path) {
            Ok(file) => {
                let mut held = String::new();
                // A file that is no text is none of ours: it is kept, and that is all.
                let read = std::io::Read::read_to_string(&mut std::io::Read::take(file, LARGEST), &mut held);
                if read.is_ok() && same(&held) {
                    return Ok(Saved { path, written: false, renamed });
                }
                continue;
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed(&error)),
        }
        let write = || -> std::io::Result<tempfile::NamedTempFile> {
            let mut file = tempfile::Builder::new().prefix(".scar-backup.").tempfile_in(&directory)?;
            file.write_all(text.as_bytes())?;
            file.as_file().sync_all()?;
            Ok(file)
        };
        match write().map_err(|error| failed(&error))?.persist_noclobber(&path) {
            Ok(_) => {
                File::open(&directory).and_then(|directory| directory.sync_all()).map_err(|error| failed(&error))?;
                return Ok(Saved { path, written: true, renamed });
            }
            Err(error) if error.error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(&error.error)),
        }
    }
    Err(Failure::new(Exit::Failed, format!("save the backup '{}': {MOST} of its name are there", path.display())))
}

/// Makes sure, before anything is sent, that a backup can be put there.
///
/// # Errors
/// Exit 2 where its folder is not there, or it is a folder itself.
pub fn place(path: &Path) -> Result<(), Failure> {
    let folder = std::path::absolute(path).ok().and_then(|path| path.parent().map(Path::to_owned));
    let wrong = match folder {
        _ if path.is_dir() => "it is a folder",
        Some(folder) if folder.is_dir() => return Ok(()),
        _ => "its folder is not there",
    };
    Err(Failure::misuse(format!("save the backup '{}': {wrong}", path.display())))
}

/// Makes the folder for backups, readable by its owner alone, where it is not there.
///
/// # Errors
/// Exit 1 with the system's cause.
pub(crate) fn folder(path: &Path) -> Result<(), Failure> {
    let make = || -> std::io::Result<()> {
        if path.is_dir() {
            return Ok(());
        }
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
    };
    make().map_err(|error| Failure::io(format!("make the folder '{}'", path.display()), &error))
}

fn numbered(path: &Path, number: usize) -> PathBuf {
    if number == 0 {
        return path.to_owned();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_first_backup_is_kept_and_a_later_one_stands_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("b.json");
        let save = |text: &str| save(&path, text, |held| held == text).unwrap();
        let first = save("one");
        assert_eq!(first, Saved { path: path.clone(), written: true, renamed: false });
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(save("one"), Saved { path: path.clone(), written: false, renamed: false });
        let second = save("two");
        assert!(second.written && second.renamed && second.path.ends_with("b.json.1"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let failure = save(Path::new("/nonexistent-folder/b.json"), "x", |_| false).unwrap_err();
        assert!(failure.message.contains("/nonexistent-folder/b.json'"), "{}", failure.message);
        assert_eq!(failure.exit, Exit::Failed);
    }
}
