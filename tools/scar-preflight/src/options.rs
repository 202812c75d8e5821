//! The command line.

// `--help` shows these lines as they stand: `HOST[:PORT]` is no link.
#![allow(rustdoc::broken_intra_doc_links)]

use std::path::PathBuf;
use std::time::Duration;

use scar_cluster::SpecmanOptions;
use scar_registry::{PushOptions, RegistryOptions};
use scar_tool::{Common, Console, Deadline, Failure};
use scar_tree::TreeOptions;
use scar_trust::RouteOptions;
use scar_vertex::{AccountOptions, EntryLoginOptions, EntryOptions, GivenLogin};

const EXAMPLES: &str = "\
Examples:
  scar-preflight --content /var/www/html --reference harbor.example \\
    --registry-username robot --registry-password-file harbor.password \\
    --endpoint https://vertex.example
  scar-preflight --only content --only registry --content /var/www/html \\
    --reference 123456789012.dkr.ecr.us-east-1.amazonaws.com";

/// A part of the site.
#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// VerteX.
    Platform,
    /// Specman's cluster.
    Cluster,
    /// The file server's folder.
    Content,
    /// The OCI registry.
    Registry,
}

scar_tool::prefix!(OfRegistry, "registry-", "Registry options");
scar_tool::prefix!(OfVertex, "vertex-", "VerteX options");
scar_tool::prefix!(OfEntry, "pack-registry-", "Pack registry options");

/// The command line.
#[derive(clap::Parser, Debug)]
#[command(
    name = "scar-preflight",
    version,
    long_version = scar_trust::module(),
    about = "check every prerequisite of the migration, and change nothing",
    after_help = EXAMPLES
)]
pub(crate) struct Options {
    /// Check platform, cluster, content or registry only
    #[arg(long, value_name = "SIDE", hide_possible_values = true)]
    pub(crate) only: Vec<Part>,

    /// Time for each check but the folder's
    #[arg(long, value_name = "DURATION", default_value = "8s", value_parser = scar_tool::time_limit)]
    pub(crate) timeout: Duration,

    /// The folder that the file server serves
    #[arg(long, value_name = "DIR")]
    pub(crate) content: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) tree: TreeOptions,

    /// Where the archive will go
    #[arg(long, value_name = "FILE", default_value = "manifests.tgz")]
    pub(crate) archive: PathBuf,

    /// HOST[:PORT], or HOST[:PORT]/REPOSITORY[:TAG]
    #[arg(long, value_name = "REFERENCE", help_heading = "Registry options")]
    pub(crate) reference: Option<String>,

    #[command(flatten)]
    pub(crate) push: PushOptions,

    #[command(flatten)]
    pub(crate) registry: RegistryOptions<OfRegistry>,

    /// Address of VerteX: https://HOST[:PORT]
    #[arg(long, value_name = "ENDPOINT", help_heading = "VerteX options")]
    pub(crate) endpoint: Option<String>,

    /// It is Palette; accepted, and changes nothing
    #[arg(long = "palette", help_heading = "VerteX options")]
    _palette: bool,

    #[command(flatten)]
    pub(crate) account: AccountOptions<OfVertex>,

    #[command(flatten)]
    pub(crate) entry: EntryOptions<OfEntry>,

    #[command(flatten)]
    pub(crate) entry_login: EntryLoginOptions<OfEntry>,

    #[command(flatten)]
    pub(crate) specman: SpecmanOptions,

    #[command(flatten)]
    pub(crate) route: RouteOptions,

    /// Specman's container, if its name does not tell
    #[arg(long, value_name = "NAME", value_parser = scar_cluster::name::object, help_heading = "Cluster options")]
    pub(crate) container: Option<String>,

    /// Where specman-verify goes, not through the cluster
    #[arg(long, value_name = "URL", help_heading = "Cluster options")]
    pub(crate) specman_url: Option<String>,

    /// What Specman serves will not be compared
    #[arg(long, help_heading = "Cluster options")]
    pub(crate) unverified: bool,

    #[command(flatten)]
    pub(crate) common: Common,
}

impl Options {
    /// Whether a part is checked if it has its settings.
    pub(crate) fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    /// Whether a part without its settings is an error.
    pub(crate) fn insists_on(&self, part: Part) -> bool {
        self.only.contains(&part)
    }

    /// The deadline of a check that begins now.
    pub(crate) fn deadline(&self) -> Deadline {
        Deadline::after(self.timeout)
    }

    /// The login that `pack-registry-set` will be given for the entry; that of the registry if there is no other.
    ///
    /// # Errors
    /// Exit 2 for a file that holds no secret.
    pub(crate) fn given(&self, console: &Console) -> Result<GivenLogin, Failure> {
        let mut given = self.entry_login.open(console)?;
        if given.username.is_none() {
            given.username = self.registry.login.username.clone();
            given.password = self.registry.login.open(None, console)?;
        }
        // A user without a file would be asked for a password at the terminal: not by a check.
        given.username = given.username.filter(|_| given.password.is_given());
        Ok(given)
    }
}
