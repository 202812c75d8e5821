//! The backup of the secret: what undo needs, on disk before anything is deleted.

use std::path::{Path, PathBuf};

use kube::api::DynamicObject;
use scar_tool::{Console, Exit, Failure, backup};
use serde_json::Value;

use crate::restore;
use crate::secret::{BACKUP_OF, Held};

/// The file that `--backup` names.
pub(crate) struct Backup {
    file: backup::Backup,
    /// The secret that an earlier run kept.
    kept: Option<Value>,
}

impl Backup {
    /// Looks at the file and its folder; writes nothing.
    ///
    /// # Errors
    /// Exit 2 if it cannot become a backup of this secret.
    pub(crate) fn find(path: &Path, namespace: &str, name: &str, console: &Console) -> Result<Self, Failure> {
        let file = backup::Backup::find(path, console)?;
        let other = || {
            let what = format!("it exists and is no backup of secret '{name}' in namespace '{namespace}'");
            Failure::misuse(format!("keep a backup in '{}': {what}", path.display()))
                .hint("name another file; an existing one is never overwritten")
        };
        let kept = file.kept().map(|text| parse(text, namespace, name).ok_or_else(other)).transpose()?;
        Ok(Self { file, kept })
    }

    /// Its absolute path, where there is a file.
    pub(crate) fn existing(&self) -> Option<String> {
        self.kept.as_ref().map(|_| self.path())
    }

    fn path(&self) -> String {
        self.file.path().display().to_string()
    }

    /// Makes sure that the disk holds this secret, or an earlier state of the same, and gives the file's path.
    ///
    /// # Errors
    /// Exit 7 where the file is the backup of another object of that name: the one in the cluster is newer than the
    /// migration, and is to stay. Exit 1 where the file cannot be written and synced.
    pub(crate) fn keep(&self, secret: &Held, console: &Console) -> Result<String, Failure> {
        let manifest = secret.manifest();
        if let Some(kept) = &self.kept {
            let uid = kept["metadata"]["annotations"][BACKUP_OF].as_str().unwrap_or_default();
            if uid != secret.uid() {
                return Err(Failure::new(
                    Exit::Mismatch,
                    format!(
                        "keep the first backup '{}': it is of the secret with uid {uid}, but the one that is there now has uid {} and was made {}",
                        self.path(),
                        secret.uid(),
                        secret.created()
                    ),
                )
                .hint("the platform made the secret anew after the migration's step was done: it stays; go on with the next step"));
            }
            if *kept != manifest {
                console.warn(format!("'{}' is of an earlier state of this secret and is kept as it is", self.path()));
            }
            self.file.sync()?;
            return Ok(self.path());
        }
        self.file.save(format!("{manifest:#}\n").as_bytes())?;
        Ok(self.path())
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
    pub(crate) fn read(path: &Path, namespace: &str, name: &str, console: &Console) -> Result<Self, Failure> {
        let act = format!("read the backup '{}'", path.display());
        let text = backup::read(path, console)?;
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

/// A backup of this secret; `None` for anything else.
fn parse(text: &[u8], namespace: &str, name: &str) -> Option<Value> {
    let object: Value = serde_json::from_slice(text).ok()?;
    let metadata = &object["metadata"];
    let ours = object["kind"] == "Secret" && metadata["name"] == name && metadata["namespace"] == namespace;
    (ours && metadata["annotations"][BACKUP_OF].is_string()).then_some(object)
}
