//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use scar_cluster::{ClusterOptions, RouteOptions};
use scar_tool::{Common, Failure};

/// The guide's secret (step 1).
const GUIDE: &str = "spectro-manifest-registry-secrets";

const EXAMPLES: &str = "\
Examples:
  scar-secret-rm --backup /root/registry-secret.json
  scar-secret-rm --kubeconfig admin.kubeconfig |
    mkmanifests /var/www/html | ocipush harbor.example
  scar-secret-rm --dry-run -v";

#[derive(clap::Parser, Debug)]
#[command(
    name = "scar-secret-rm",
    version,
    long_version = scar_trust::module(),
    about = "delete the secret of the old manifest registry",
    after_help = EXAMPLES
)]
pub(crate) struct Options {
    /// The secret
    #[arg(value_name = "NAME", default_value = GUIDE, value_parser = scar_cluster::name::object)]
    name: String,

    /// Save the secret in FILE (0600) before it is deleted [$XDG_STATE_HOME/scar-tools/secret-...]
    #[arg(long, value_name = "FILE")]
    pub(crate) backup: Option<PathBuf>,

    /// Save nothing
    #[arg(long, conflicts_with = "backup")]
    pub(crate) no_backup: bool,

    /// Restore the secret from its backup FILE, unless a secret of that name exists
    #[arg(long, value_name = "FILE", conflicts_with_all = ["backup", "no_backup", "must_exist"])]
    pub(crate) undo: Option<PathBuf>,

    /// Exit with 3 if the secret does not exist
    #[arg(long)]
    pub(crate) must_exist: bool,

    /// Allow a secret that the guide does not name
    #[arg(long)]
    yes: bool,

    /// Overall time limit, including finalizers
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = scar_tool::time_limit)]
    pub(crate) timeout: Duration,

    #[command(flatten)]
    pub(crate) cluster: ClusterOptions,

    #[command(flatten)]
    pub(crate) route: RouteOptions,

    #[command(flatten)]
    pub(crate) common: Common,
}

impl Options {
    /// Whether the secret is the one that the guide deletes.
    pub(crate) fn is_guides(&self) -> bool {
        self.name == GUIDE
    }

    /// The secret to delete: the guide's, or another if the user confirms it.
    pub(crate) fn name(&self) -> Result<&str, Failure> {
        if !self.is_guides() && !self.yes {
            return Err(Failure::misuse(format!("delete secret '{}': the migration deletes only '{GUIDE}'", self.name))
                .hint("to delete this one anyway, add --yes"));
        }
        Ok(&self.name)
    }
}
