//! The sections of the record, one a tool; field by field as in `scar-record(5)`.

use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize, Serializer};

use crate::{Digest, Time};

/// A part of the record that one tool writes.
pub trait Section: Serialize + DeserializeOwned {
    /// The field's name.
    const NAME: &'static str;
    /// The tool that writes it.
    const WRITER: &'static str;
}

macro_rules! section {
    ($type:ty, $name:literal, $writer:literal) => {
        impl Section for $type {
            const NAME: &'static str = $name;
            const WRITER: &'static str = $writer;
        }
    };
}

section!(Preflight, "preflight", "scar-preflight");
section!(Secret, "secret", "scar-secret-rm");
section!(Archive, "archive", "mkmanifests");
section!(Artifact, "artifact", "ocipush");
section!(Session, "session", "vertex-login");
section!(PackRegistry, "pack_registry", "pack-registry-set");
section!(Specman, "specman", "specman-wait");
section!(Verified, "verified", "specman-verify");
section!(Scar, "scar", "scar-set");

/// What was found before anything was done (the guide's prerequisites).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preflight {
    /// In the order in which they are shown.
    pub checks: Vec<Check>,
}

/// One prerequisite.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// `side.what`, such as `registry.push`.
    pub name: String,
    /// What it came to.
    pub result: CheckResult,
    /// What is there.
    pub found: String,
    /// The way out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// What a check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckResult {
    /// All is as it must be.
    Ok,
    /// The migration can run, and a person should look.
    Warning,
    /// The migration would fail.
    Blocked,
    /// It was not checked.
    Skipped,
}

/// What became of the old secret (guide step 1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Whether it was there.
    pub found: bool,
    /// Whether this run deleted it.
    pub deleted: bool,
    /// The uid of the object that was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Absolute path of the backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<String>,
}

/// The archive of the file server's tree (guide step 3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Archive {
    /// Absolute path.
    pub path: String,
    /// The file name that Specman expects in the artifact.
    pub title: String,
    /// Digest of the archive's bytes.
    pub digest: Digest,
    /// Bytes of the archive.
    pub size: u64,
    /// Regular files in it.
    pub files: u64,
    /// Directories in it.
    pub directories: u64,
    /// Symbolic links in it.
    pub links: u64,
    /// Bytes of all files before compression.
    pub bytes: u64,
    /// Absolute path of the tree.
    pub source: String,
}

/// The artifact in the registry (guide step 5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// `registry/repository:tag`.
    pub reference: String,
    /// `HOST[:PORT]`.
    pub registry: String,
    /// The repository's name.
    pub repository: String,
    /// The tag.
    pub tag: String,
    /// Digest of the manifest.
    pub digest: Digest,
    /// Digest of the layer, which is the archive's.
    pub layer: Digest,
    /// Bytes of the layer.
    pub size: u64,
    /// The manifest's `org.opencontainers.image.created`.
    pub created: Time,
    /// When the tag was moved to this manifest; absent if it held this layer already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pushed_at: Option<Time>,
    /// Whether this run sent anything.
    pub uploaded: bool,
    /// The manifest digest that the tag held before, where it was another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced: Option<Digest>,
}

/// A login to VerteX. It is a secret; saved records never hold it.
#[derive(Clone, Deserialize, Serialize)]
pub struct Session {
    /// The origin that the token is for: `https://HOST[:PORT]`.
    pub endpoint: String,
    /// The token, sent in the cookie `Authorization` as the guide does.
    #[serde(serialize_with = "exposed")]
    pub authorization: SecretString,
    /// When the token ends, where it tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// Absolute path of the CA file with which the login was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// Whether certificates were not checked.
    pub insecure: bool,
}

/// The pack registry's entry in VerteX (guide steps 6 to 8).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackRegistry {
    /// The entry's uid.
    pub uid: String,
    /// The entry's name.
    pub name: String,
    /// `basic` or `ecr`.
    pub kind: String,
    /// The registry's endpoint as the entry has it.
    pub endpoint: String,
    /// The origin of the VerteX that holds the entry: `https://HOST[:PORT]`.
    pub vertex: String,
    /// The flag, as read back.
    pub contains_spectro_manifest: bool,
    /// Whether this run changed it.
    pub changed: bool,
}

/// That Specman has the tag (guide step 9).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Specman {
    /// Its namespace.
    pub namespace: String,
    /// The tag that it persisted.
    pub tag: String,
    /// When the last replica said so.
    pub persisted_at: Time,
    /// The pods that said so.
    pub pods: Vec<String>,
}

/// What Specman serves, held against what was pushed. Counts are of files, whichever replica differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// Digest of the layer that was compared; absent if it was a folder, which shows nothing about a layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<Digest>,
    /// Files compared, links inside of the tree among them.
    pub compared: u64,
    /// Of these, files that a replica does not serve.
    pub missing: u64,
    /// Of these, files that a replica serves with other bytes.
    pub different: u64,
    /// Of these, files that a replica could not give, or that could not be read here.
    pub unreadable: u64,
    /// Bytes of the files compared.
    pub bytes: u64,
    /// Absolute path of the archive or folder, or the reference of the artifact.
    pub source: String,
}

/// The SCAR setting (guide steps 10 to 12).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scar {
    /// The endpoint, as read back.
    pub endpoint: String,
    /// The origin of the VerteX that has this setting: `https://HOST[:PORT]`.
    pub vertex: String,
    /// Whether this run changed it.
    pub changed: bool,
    /// Whether VerteX found the endpoint good.
    pub validated: bool,
    /// The version that validation told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spectro_version: Option<String>,
    /// What the setting was before.
    pub previous: Previous,
    /// Absolute path of the saved setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<String>,
    /// The sync jobs that were started.
    pub jobs: Vec<Job>,
}

/// The SCAR setting before the change, without its secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Previous {
    /// The endpoint.
    pub endpoint: String,
    /// The user name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The path below the endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_content_path: Option<String>,
    /// Whether its certificate was not checked.
    pub insecure_verify: bool,
    /// Whether there was a CA certificate.
    pub has_ca_cert: bool,
    /// Whether there was a password.
    pub has_password: bool,
}

/// A job and what VerteX said of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The job's name in its path.
    pub name: String,
    /// `started`, or `running` where one was under way already.
    pub status: String,
}

/// The one place where the token leaves its type: into the pipe.
fn exposed<S: Serializer>(secret: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose_secret())
}
