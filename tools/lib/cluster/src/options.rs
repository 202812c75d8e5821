//! The options that all cluster tools share.

use std::path::PathBuf;

/// The cluster, the user and the namespace.
#[derive(clap::Args, Debug, Clone, Default)]
#[command(next_help_heading = "Cluster options")]
pub struct ClusterOptions {
    /// The cluster [$KUBECONFIG, ~/.kube/config, the pod's]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig [default: its current one]
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,

    /// Namespace of Specman
    #[arg(short, long, value_name = "NAME", default_value = "hubble-system", value_parser = crate::name::namespace)]
    pub namespace: String,
}

impl ClusterOptions {
    /// Whether anything names a cluster: an option, `KUBECONFIG`, `~/.kube/config`, or a pod's service account.
    pub fn name_one(&self) -> bool {
        self.kubeconfig.is_some() || self.context.is_some() || crate::kubeconfig::Environment::read().names_one()
    }
}
