//! The backup: what undo needs, on the disk and synced before anything is deleted.
//!
//! Invariants: mode 0600; never written through a symbolic link; complete or not there; the first one is kept, and an
//! existing file is never overwritten.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use kube::api::DynamicObject;
use rustix::fs::{Access, OFlags};
use scar_tool::{Console, Exit, Failure};
use serde_json::Value;

use crate::restore;
use crate::secret::{BACKUP_OF, Held};

/// The most bytes that a backup is read of; a secret has 1.5 MiB at most.
const LIMIT: u64 = 16 * 1024 * 1024;

/// The file that `--backup` names.
pub(crate) struct Backup {
    path: PathBuf,
    folder: PathBuf,
    /// What stands there from an earlier run.
    kept: Option<Value>,
}

impl Backup {
    /// Looks at the file and its folder; writes nothing.
    ///
    /// # Errors
    /// Exit 2 where it cannot become a backup of this secret; exit 1 where it cannot be read.
    pub(crate) fn find(path: &Path, namespace: &str, name: &str, console: &Console) -> Result<Self, Failure> {
        let act = format!("use --backup '{}'", path.display());
        if path == Path::new("-") {
            return Err(Failure::misuse(format!("{act}: a backup goes into a file, standard output carries the record")));
        }
        let path = std::path::absolute(path).map_err(|error| Failure::io(&act, &error))?;
        if path.to_str().is_none() {
            return Err(Failure::misuse(format!("{act}: the record can hold only a path that is valid UTF-8")));
        }
        let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
        rustix::fs::access(&folder, Access::WRITE_OK | Access::EXEC_OK)
            .map_err(|error| misuse(format!("{act}: folder '{}'", folder.display()), &error.into()))?;
        let kept = match read(&path).map_err(|error| misuse(&act, &error))? {
            None => None,
            Some((text, mode)) => {
                if mode & 0o077 != 0 {
                    console.warn(format!("'{}' can be read by others: chmod 600 it", path.display()));
                }
                Some(parse(&text, namespace, name).ok_or_else(|| {
                    Failure::misuse(format!("{act}: it exists and is no backup of secret '{name}' in namespace '{namespace}'"))
                        .hint("name another file; an existing one is never overwritten")
                })?)
            }
        };
        Ok(Self { path, folder, kept })
    }

    /// Its absolute path, where there is a file.
    pub(crate) fn existing(&self) -> Option<String> {
        self.kept.as_ref().map(|_| self.path())
    }

    fn path(&self) -> String {
        self.path.display().to_string()
    }

    /// Makes sure that the disk holds this secret, or an earlier state of the same, and gives the file's path.
    ///
    /// # Errors
    /// Exit 7 where the file is the backup of another object of that name: the one in the cluster is newer than the
    /// migration, and is to stay. Exit 1 where the file cannot be written and synced.
    pub(crate) fn keep(&self, secret: &Held, console: &Console) -> Result<String, Failure> {
        let act = format!("save the secret in '{}'", self.path.display());
        let manifest = secret.manifest();
        if let Some(kept) = &self.kept {
            let uid = kept["metadata"]["annotations"][BACKUP_OF].as_str().unwrap_or_default();
            if uid != secret.uid() {
                return Err(Failure::new(
                    Exit::Mismatch,
                    format!(
                        "keep the first backup '{}': it is of the secret with uid {uid}, but the one that is there now has uid {} and was made {}",
                        self.path.display(),
                        secret.uid(),
                        secret.created()
                    ),
                )
                .hint("the platform made the secret anew after the migration's step was done: it stays; go on with the next step"));
            }
            if *kept != manifest {
                console.warn(format!("'{}' is of an earlier state of this secret and is kept as it is", self.path.display()));
            }
            // An earlier run may have been cut off between the rename and the sync.
            sync(&self.folder).map_err(|error| Failure::io(act, &error))?;
            return Ok(self.path());
        }
        self.write(&manifest).map_err(|error| Failure::io(act, &error))?;
        Ok(self.path())
    }

    fn write(&self, manifest: &Value) -> std::io::Result<()> {
        let mut file = tempfile::Builder::new().prefix(".scar-secret-rm-").suffix(".tmp").tempfile_in(&self.folder)?;
        serde_json::to_writer_pretty(&mut file, manifest)?;
        file.write_all(b"\n")?;
        file.as_file().sync_all()?;
        file.persist_noclobber(&self.path).map_err(|error| error.error)?;
        sync(&self.folder)
    }
}

/// A backup that is to come back.
pub(crate) struct Saved {
    path: PathBuf,
    manifest: Value,
    object: DynamicObject,
}

impl Saved {
    /// Reads a backup of this secret.
    ///
    /// # Errors
    /// Exit 2 where the file is none.
    pub(crate) fn read(path: &Path, namespace: &str, name: &str) -> Result<Self, Failure> {
        let act = format!("read the backup '{}'", path.display());
        let text = read(path).map_err(|error| misuse(&act, &error))?;
        let (text, _) = text.ok_or_else(|| Failure::misuse(format!("{act}: no such file")))?;
        let none = || {
            Failure::misuse(format!("{act}: it is no backup of secret '{name}' in namespace '{namespace}'"))
                .hint("give the file that --backup named; --namespace and NAME as then")
        };
        let manifest = parse(&text, namespace, name).ok_or_else(none)?;
        let object = serde_json::from_value(manifest.clone()).map_err(|_| none())?;
        Ok(Self { path: path.to_owned(), manifest, object })
    }

    /// Its path, for messages.
    pub(crate) fn path(&self) -> String {
        self.path.display().to_string()
    }

    /// What goes back.
    pub(crate) fn object(&self) -> DynamicObject {
        self.object.clone()
    }

    /// Whether a secret holds what this one does.
    pub(crate) fn is(&self, now: &Held) -> bool {
        restore::same(&self.manifest, &now.manifest())
    }
}

fn misuse(act: impl std::fmt::Display, error: &std::io::Error) -> Failure {
    Failure { exit: Exit::Misuse, ..Failure::io(act, error) }
}

/// The text and the mode of a file that is no symbolic link; `None` where there is none.
fn read(path: &Path) -> std::io::Result<Option<(Vec<u8>, u32)>> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            return Err(std::io::Error::other("it is a symbolic link"));
        }
        Err(error) => return Err(error),
    };
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(std::io::Error::other("it is no regular file"));
    }
    let mut text = Vec::new();
    file.take(LIMIT).read_to_end(&mut text)?;
    Ok(Some((text, about.mode())))
}

/// A backup of this secret; `None` for anything else.
fn parse(text: &[u8], namespace: &str, name: &str) -> Option<Value> {
    let object: Value = serde_json::from_slice(text).ok()?;
    let metadata = &object["metadata"];
    let ours = object["kind"] == "Secret" && metadata["name"] == name && metadata["namespace"] == namespace;
    (ours && metadata["annotations"][BACKUP_OF].is_string()).then_some(object)
}

fn sync(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}
