//! What was typed.

// `--help` shows these lines as they stand: `HOST[:PORT]` is no link.
#![allow(rustdoc::broken_intra_doc_links)]

use std::path::PathBuf;

use scar_tool::Common;
use scar_vertex::ApiOptions;

use crate::credentials::CredentialOptions;

/// The command line.
#[derive(clap::Parser, Debug)]
#[command(
    name = "pack-registry-set",
    version,
    long_version = scar_trust::module(),
    about = "tell VerteX that a pack registry holds its manifests",
    after_help = "Examples:
  vertex-login https://vertex.example <push.json |
    pack-registry-set --drop-session >flag.json
  vertex-login https://vertex.example | pack-registry-set --name harbor \\
    -u 'robot$packs' --password-file harbor.password
  vertex-login https://vertex.example | pack-registry-set --name ecr \\
    --access-key-file id --secret-key-file key --dry-run"
)]
pub(crate) struct Options {
    /// The entry with this uid (else by --name, else by the host of the pushed artifact)
    #[arg(long, value_name = "UID", conflicts_with_all = ["name", "registry"])]
    pub(crate) uid: Option<String>,

    /// The entry with this name
    #[arg(long, value_name = "NAME", conflicts_with = "registry")]
    pub(crate) name: Option<String>,

    /// The entry whose endpoint is HOST[:PORT]
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(crate) registry: Option<String>,

    /// Only look: fail with status 7 where the flag is another, and write nothing
    #[arg(long, conflicts_with = "backup")]
    pub(crate) check: bool,

    /// What to set the flag to
    #[arg(long = "contains-spectro-manifests", value_name = "BOOL", default_value = "true", default_missing_value = "true",
        num_args = 0..=1, require_equals = true, action = clap::ArgAction::Set)]
    pub(crate) flag: bool,

    /// Keep what the entry was in FILE (mode 0600)
    #[arg(long, value_name = "FILE")]
    pub(crate) backup: Option<PathBuf>,

    /// Leave the session out of the record that is written
    #[arg(long)]
    pub(crate) drop_session: bool,

    #[command(flatten)]
    pub(crate) credentials: CredentialOptions,

    #[command(flatten)]
    pub(crate) api: ApiOptions,

    #[command(flatten)]
    pub(crate) common: Common,
}

impl AsRef<Common> for Options {
    fn as_ref(&self) -> &Common {
        &self.common
    }
}
