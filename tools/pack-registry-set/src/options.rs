//! The command line: which entry, which flag, and the login to write instead of the hidden one.

// Clap prints these doc comments in `--help`, where `HOST[:PORT]` is not a link.
#![allow(rustdoc::broken_intra_doc_links)]

use std::path::PathBuf;

use scar_record::Artifact;
use scar_tool::{Common, Console, Exit, Failure};
use scar_vertex::entry::{Selector, same_host};
use scar_vertex::{ApiOptions, EntryLoginOptions, EntryOptions, GivenLogin};

use crate::backup::EntryBackup;

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
    #[command(flatten)]
    entry: EntryOptions,

    /// Choose the entry by its endpoint HOST[:PORT]
    #[arg(long, value_name = "HOST[:PORT]", conflicts_with_all = ["uid", "name"], help_heading = "Entry options")]
    registry: Option<String>,

    /// Only compare: exit with 7 if the flag differs, and write nothing
    #[arg(long, conflicts_with = "backup")]
    pub(crate) check: bool,

    // The console's "Contains Spectro Manifests" (guide, step 8).
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
    credentials: EntryLoginOptions,

    #[command(flatten)]
    pub(crate) api: ApiOptions,

    #[command(flatten)]
    pub(crate) common: Common,
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
        let wanted = match &undo {
            Some(saved) => Some(Selector::Uid(saved.uid.clone())),
            None => self.entry.selector().or_else(|| self.registry.clone().map(Selector::Host)),
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
    // The variables that the set-up of an airgapped site exports (VerteX documentation, airgap environment setup), so likely set
    // here.
    let named: Vec<_> = ["OCI_PACK_REGISTRY", "ECR_PACK_REGISTRY"].into_iter().filter_map(set).collect();
    match named.first() {
        Some(first) if !named.iter().any(|named| same_host(named, registry)) => Err(Failure::new(
            Exit::Unsafe,
            format!("find the entry of '{registry}': the record names this registry, but the environment names '{first}'"),
        )
        .hint("is the record from another site? nothing was sent; to choose the entry, add --registry HOST")),
        _ => Ok(()),
    }
}
