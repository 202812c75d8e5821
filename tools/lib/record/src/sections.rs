//! The sections of the record, one for each tool. `scar-record(5)` describes each field; a comment here adds what it does
//! not say.

#![allow(missing_docs)]

use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize, Serializer};

use crate::{Digest, Time};

/// A part of the record that one tool writes.
pub trait Section: Serialize + DeserializeOwned {
    const NAME: &'static str;
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

/// The result of the checks (guide, "Prerequisites").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "an object")]
pub struct Preflight {
    pub checks: Vec<Check>,
}

impl Preflight {
    /// The name of the check of the secret that the guide deletes.
    pub const SECRET: &'static str = "cluster.secret";

    /// Whether the platform made the secret for a flag that is set: VerteX does not make it again, so it must stay.
    pub fn secret_stays(&self) -> bool {
        self.checks.iter().any(|check| check.name == Self::SECRET && check.result == CheckResult::Warning)
    }
}

/// One prerequisite.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "an object")]
pub struct Check {
    pub name: String,
    pub result: CheckResult,
    pub found: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// A check's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckResult {
    /// Nothing to do.
    Ok,
    /// The migration can run, but the user should take a look.
    Warning,
    /// The migration would fail.
    Blocked,
    Skipped,
}

/// What happened to the old secret (guide, step 1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "an object")]
pub struct Secret {
    pub namespace: String,
    pub name: String,
    pub found: bool,
    pub deleted: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<String>,
}

/// The archive of the file server's tree (guide, step 3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "an object")]
pub struct Archive {
    pub path: String,
    /// The file name that Specman expects in the artifact (guide, step 9).
    pub title: String,
    pub digest: Digest,
    pub size: u64,
    pub files: u64,
    pub directories: u64,
    pub links: u64,
    /// Bytes of all files before compression.
    pub bytes: u64,
    pub source: String,
}

/// The artifact in the registry (guide, step 5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "an object")]
pub struct Artifact {
    pub reference: String,
    pub registry: String,
    pub repository: String,
    pub tag: String,
    pub digest: Digest,
    /// The layer's digest, which is the archive's.
    pub layer: Digest,
    pub size: u64,
    /// The manifest's `org.opencontainers.image.created`.
    pub created: Time,
    /// When the tag was moved to this manifest, by the registry's clock; absent if it held this layer already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pushed_at: Option<Time>,
    pub uploaded: bool,
    /// The digest of another manifest that the tag held before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced: Option<Digest>,
}

/// A login to VerteX. It is a secret that saved records never contain.
#[derive(Clone, Deserialize, Serialize)]
#[serde(expecting = "an object")]
pub struct Session {
    /// The origin that the token is for: `https://HOST[:PORT]`.
    pub endpoint: String,
    /// The token, sent in the cookie `Authorization` as in the guide (step 10).
    #[serde(serialize_with = "exposed")]
    pub authorization: SecretString,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    pub insecure: bool,
}

/// The pack registry's entry in VerteX (guide, steps 6 to 8).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "an object")]
pub struct PackRegistry {
    pub uid: String,
    pub name: String,
    pub kind: String,
    pub endpoint: String,
    /// The origin of its VerteX: `https://HOST[:PORT]`.
    pub vertex: String,
    pub contains_spectro_manifest: bool,
    pub changed: bool,
}

/// When Specman persisted the tag (guide, step 9).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "an object")]
pub struct Specman {
    pub namespace: String,
    pub tag: String,
    pub persisted_at: Time,
    pub pods: Vec<String>,
}

/// What Specman serves, compared with what was pushed. A file counts once, whichever replica differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "an object")]
pub struct Verified {
    /// The digest of the layer that was compared; absent for a folder, which proves nothing about a layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<Digest>,
    pub compared: u64,
    /// Files that a replica does not serve.
    pub missing: u64,
    /// Files that a replica serves with other content.
    pub different: u64,
    /// Files that a replica could not deliver, or that could not be read here.
    pub unreadable: u64,
    pub bytes: u64,
    /// Absolute path of the archive or folder, or the reference of the artifact.
    pub source: String,
}

/// The SCAR setting (guide, steps 10 to 12).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "an object")]
pub struct Scar {
    pub endpoint: String,
    /// The origin of its VerteX: `https://HOST[:PORT]`.
    pub vertex: String,
    pub changed: bool,
    pub validated: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spectro_version: Option<String>,
    pub previous: Previous,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<String>,
    pub jobs: Vec<Job>,
}

/// The SCAR setting before the change, without its secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "an object")]
pub struct Previous {
    pub endpoint: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_content_path: Option<String>,
    pub insecure_verify: bool,
    pub has_ca_cert: bool,
    pub has_password: bool,
}

/// A job and its state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "an object")]
pub struct Job {
    pub name: String,
    /// Always `started`: a job that was already running does not count.
    pub status: String,
}

/// The only place where the token leaves its type: into the pipe.
fn exposed<S: Serializer>(secret: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose_secret())
}
