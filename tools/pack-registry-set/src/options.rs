//! The command line: which entry, which flag, and the login to write instead of the hidden one.

// Clap prints these doc comments in `--help`, where `HOST[:PORT]` is not a link.
#![allow(rustdoc::broken_intra_doc_links)]

use std::path::{Path, PathBuf};

use scar_http::{LoginOptions, secret_file};
use scar_record::Artifact;
use scar_tool::{Common, Console, Exit, Failure};
use scar_vertex::entry::{Selector, same_host};
use scar_vertex::{ApiOptions, GivenLogin};
use secrecy::SecretString;

use crate::backup::EntryBackup;

/// The options.
#[derive(clap::Parser, Debug)]
#[command(
    name = "pack-registry-set",
    version,
    long_version = scar_trust::module(),
    about = "set 'Contains Spectro Manifests' of a pack registry",
    after_help = "Examples:
  vertex-login https://vertex.example <push.json |
    pack-registry-set -u robot --password-file harbor.password \\
      --backup entry.json --drop-session >flag.json
  vertex-login https://vertex.example | pack-registry-set --name ecr \\
    --access-key-file id --secret-key-file key --dry-run
  vertex-login https://vertex.example |
    pack-registry-set -u robot --password-file harbor.password \\
      --undo entry.json"
)]
pub(crate) struct Options {
    /// Choose the entry by its uid (else by --name, else by host and repository of the pushed artifact)
    #[arg(long, value_name = "UID", conflicts_with_all = ["name", "registry"])]
    uid: Option<String>,

    /// Choose the entry by its name
    #[arg(long, value_name = "NAME", conflicts_with = "registry")]
    name: Option<String>,

    /// Choose the entry by its endpoint HOST[:PORT]
    #[arg(long, value_name = "HOST[:PORT]")]
    registry: Option<String>,

    /// Only compare: exit with 7 if the flag differs, and write nothing
    #[arg(long, conflicts_with = "backup")]
    pub(crate) check: bool,

    /// Set the flag to this value
    #[arg(long = "contains-spectro-manifests", value_name = "BOOL", default_value = "true", default_missing_value = "true",
        num_args = 0..=1, require_equals = true, action = clap::ArgAction::Set)]
    flag: bool,

    /// Save the old entry in FILE (mode 0600), for --undo
    #[arg(long, value_name = "FILE")]
    pub(crate) backup: Option<PathBuf>,

    /// Restore the flag that was saved in FILE
    #[arg(long, value_name = "FILE",
        conflicts_with_all = ["uid", "name", "registry", "check", "flag", "backup"])]
    undo: Option<PathBuf>,

    /// Remove the session from the record
    #[arg(long)]
    pub(crate) drop_session: bool,

    #[command(flatten)]
    credentials: CredentialOptions,

    #[command(flatten)]
    pub(crate) api: ApiOptions,

    #[command(flatten)]
    pub(crate) common: Common,
}

/// The login to write into an entry whose secrets VerteX hides.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "The entry's login, which VerteX does not show")]
struct CredentialOptions {
    /// User of the entry's login
    #[arg(short, long, value_name = "USER")]
    username: Option<String>,

    /// Read its password from FILE (also /dev/fd/N) [default: ask on the terminal]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,

    /// Read the entry's registry token from FILE
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// ECR: read the ID of the access key from FILE
    #[arg(long, value_name = "FILE", requires = "secret_key_file")]
    access_key_file: Option<PathBuf>,

    /// ECR: read the secret key from FILE
    #[arg(long, value_name = "FILE", requires = "access_key_file")]
    secret_key_file: Option<PathBuf>,

    /// ECR: read the secret token from FILE
    #[arg(long, value_name = "FILE")]
    secret_token_file: Option<PathBuf>,

    /// Read the private key of the entry's client certificate from FILE (PEM)
    #[arg(long, value_name = "FILE")]
    tls_key_file: Option<PathBuf>,

    /// Write the given login even if it is another user's, or VerteX shows the present one
    #[arg(long)]
    replace_credentials: bool,
}

impl AsRef<Common> for Options {
    fn as_ref(&self) -> &Common {
        &self.common
    }
}

/// What to do; every named file has been read.
pub(crate) struct Plan {
    /// `None` if the record's artifact decides.
    pub(crate) wanted: Option<Selector>,
    pub(crate) flag: bool,
    pub(crate) undo: Option<EntryBackup>,
    pub(crate) given: GivenLogin,
}

impl Options {
    /// Reads the named files.
    pub(crate) fn open(&self, console: &Console) -> Result<Plan, Failure> {
        let given = self.credentials.open(console)?;
        let undo = self.undo.as_deref().map(|path| EntryBackup::read(path, console)).transpose()?;
        let wanted = match (&undo, &self.uid, &self.name) {
            (Some(saved), ..) => Some(Selector::Uid(saved.uid.clone())),
            (_, Some(uid), _) => Some(Selector::Uid(uid.clone())),
            (_, _, Some(name)) => Some(Selector::Name(name.clone())),
            _ => self.registry.clone().map(Selector::Host),
        };
        Ok(Plan { wanted, flag: undo.as_ref().map_or(self.flag, |saved| saved.flag), undo, given })
    }
}

/// Checks that a record from elsewhere does not decide which entry gets the login: the operator names the registry.
///
/// # Errors
/// Exit 5 if the artifact is in another registry.
pub(crate) fn is_named(artifact: &Artifact) -> Result<(), Failure> {
    let set = |name: &str| std::env::var_os(name)?.into_string().ok().filter(|value| !value.is_empty());
    let registry = &artifact.registry;
    let named: Vec<_> = ["OCI_PACK_REGISTRY", "ECR_PACK_REGISTRY"].into_iter().filter_map(set).collect();
    match named.first() {
        Some(first) if !named.iter().any(|named| same_host(named, registry)) => Err(Failure::new(
            Exit::Unsafe,
            format!("find the entry of '{registry}': the record names this registry, and the environment '{first}'"),
        )
        .hint("is the record of another site? --registry HOST says which entry is meant; nothing was sent")),
        _ => Ok(()),
    }
}

impl CredentialOptions {
    fn open(&self, console: &Console) -> Result<GivenLogin, Failure> {
        if self.password_file.is_some() && self.username.is_none() {
            return Err(Failure::misuse("'--password-file' needs '--username': a password is for one user"));
        }
        let read = |path: &Option<PathBuf>, what: &str| path.as_ref().map(|path| secret_file(path, what, console)).transpose();
        let login = LoginOptions { password_file: self.password_file.clone(), ..LoginOptions::default() };
        Ok(GivenLogin {
            username: self.username.clone(),
            password: login.open(console)?,
            token: read(&self.token_file, "the registry token file")?,
            access_key: read(&self.access_key_file, "the access key file")?,
            secret_key: read(&self.secret_key_file, "the secret key file")?,
            secret_token: read(&self.secret_token_file, "the secret token file")?,
            tls_key: self.tls_key_file.as_deref().map(key_file).transpose()?,
            replace: self.replace_credentials,
        })
    }
}

/// Reads a private key, which goes to VerteX unchanged.
fn key_file(path: &Path) -> Result<SecretString, Failure> {
    let act = format!("read the key file '{}'", path.display());
    let bytes = std::fs::read(path).map_err(|error| Failure::misuse(Failure::io(act.clone(), &error).message))?;
    match String::from_utf8(bytes) {
        Ok(text) if text.contains("PRIVATE KEY-----") => {
            scar_tool::never_show(text.trim());
            Ok(text.into())
        }
        _ => Err(Failure::misuse(format!("{act}: it holds no PEM private key"))),
    }
}
