//! The backup of the secret, on disk before anything is deleted.

use std::path::{Path, PathBuf};

use kube::api::DynamicObject;
use scar_tool::{Console, Failure, backup};
use serde_json::Value;

use crate::restore;
use crate::secret::{BACKUP_AT, BACKUP_OF, SecretObject};

pub(crate) struct Backup {
    file: backup::Backup,
    server: String,
    /// The content that an earlier run has saved; it is never overwritten.
    first: Option<Value>,
}

impl Backup {
    /// Checks the file and its folder, without writing. The default file is in the state folder, named after this cluster
    /// and secret, so that the same command finds it again.
    ///
    /// # Errors
    /// Exit 2 if it cannot be a backup of this secret.
    pub(crate) fn find(named: Option<&Path>, of: &Identity<'_>, console: &Console) -> Result<Self, Failure> {
        let file = match named {
            Some(path) => backup::Backup::find(path, console)?,
            None => backup::Backup::in_state_folder(&of.file_name(), console)?,
        };
        let other = |cause| {
            Failure::misuse(format!("keep a backup in '{}': {cause}", file.path().display()))
                .hint("name another file; an existing one is never overwritten")
        };
        let first = file.existing().map(|text| of.parse(text).map_err(other)).transpose()?;
        Ok(Self { file, server: of.server.to_owned(), first })
    }

    /// The file's absolute path.
    pub(crate) fn path(&self) -> String {
        self.file.path().display().to_string()
    }

    /// Its path, if an earlier run has written it.
    pub(crate) fn existing(&self) -> Option<String> {
        self.first.as_ref().map(|_| self.path())
    }

    /// Whether it is the backup of an older object with the same name.
    pub(crate) fn is_older(&self, secret: &SecretObject) -> bool {
        // The platform creates the secret again as soon as the pack registry's flag is set. A second run of the pipe must not
        // delete that one (FAULTS S11), and a uid is never used twice (Kubernetes, "Object Names and IDs").
        let uid = self.first.as_ref().and_then(|first| first["metadata"]["annotations"][BACKUP_OF].as_str());
        uid.is_some_and(|uid| !secret.comes_from(uid))
    }

    /// Makes sure that a backup of this secret is on disk. One from an earlier run is kept: it is what undo must restore.
    ///
    /// # Errors
    /// Exit 1 if the file cannot be written and synced.
    pub(crate) fn save(&self, secret: &SecretObject, console: &Console) -> Result<(), Failure> {
        let manifest = secret.manifest(&self.server);
        let Some(first) = &self.first else { return self.file.save(format!("{manifest:#}\n").as_bytes()) };
        if !restore::same(first, &manifest) {
            console.warn(format!("'{}' holds an earlier state of this secret and is kept as it is", self.path()));
        }
        self.file.sync()
    }
}

/// The secret that a backup must contain.
pub(crate) struct Identity<'a> {
    /// The API server's address.
    pub(crate) server: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
}

impl Identity<'_> {
    fn file_name(&self) -> String {
        // The server is a part of the name, so that two sites never share a file.
        let host = self.server.split_once("://").map_or(self.server, |(_, host)| host);
        let plain = |c: char| if c.is_ascii_alphanumeric() || "-.".contains(c) { c } else { '_' };
        format!("secret-{host}-{}-{}.json", self.namespace, self.name).chars().map(plain).collect()
    }

    /// Checks that a file is a backup of this secret; else says what it is.
    fn parse(&self, text: &[u8]) -> Result<Value, String> {
        let Self { server, namespace, name } = self;
        let none = || format!("it is not a backup of secret '{name}' in namespace '{namespace}'");
        let object: Value = serde_json::from_slice(text).map_err(|_| none())?;
        let metadata = &object["metadata"];
        let ours = object["kind"] == "Secret" && metadata["name"] == *name && metadata["namespace"] == *namespace;
        if !ours || !metadata["annotations"][BACKUP_OF].is_string() {
            return Err(none());
        }
        // Every site has a secret with this name. The backup of one must not prevent deleting another's (FAULTS Q9).
        match metadata["annotations"][BACKUP_AT].as_str() {
            Some(other) if other != *server => Err(format!("it is of the cluster '{other}', not of '{server}'")),
            _ => Ok(object),
        }
    }
}

/// A backup to restore from.
pub(crate) struct Saved {
    path: PathBuf,
    manifest: Value,
    object: DynamicObject,
}

impl Saved {
    /// Reads a backup of this secret.
    ///
    /// # Errors
    /// Exit 2 if the file is not a backup.
    pub(crate) fn read(path: &Path, of: &Identity<'_>, console: &Console) -> Result<Self, Failure> {
        let misused = |cause| {
            Failure::misuse(format!("read the backup '{}': {cause}", path.display()))
                .hint("give the file that --backup wrote, with the same --context, --namespace and NAME")
        };
        let manifest = of.parse(&backup::read(path, console)?).map_err(misused)?;
        let object = serde_json::from_value(manifest.clone()).map_err(|_| misused("it is incomplete".to_owned()))?;
        Ok(Self { path: path.to_owned(), manifest, object })
    }

    pub(crate) fn path(&self) -> String {
        self.path.display().to_string()
    }

    /// The secret to create.
    pub(crate) fn object(&self) -> DynamicObject {
        self.object.clone()
    }

    /// Whether the cluster's secret has the saved content.
    pub(crate) fn is(&self, now: &SecretObject) -> bool {
        restore::same(&self.manifest, &now.manifest(""))
    }
}
