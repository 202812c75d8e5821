//! The options of all tools that look at Specman.

use crate::Cluster;
use crate::options::ClusterOptions;
use crate::specman::Specman;

/// Where Specman is.
#[derive(clap::Args, Debug, Clone)]
#[command(next_help_heading = "Cluster options")]
pub struct SpecmanOptions {
    /// The cluster and Specman's namespace.
    #[command(flatten)]
    pub cluster: ClusterOptions,

    /// Specman's StatefulSet
    #[arg(long, value_name = "NAME", default_value = "specman", value_parser = crate::name::object)]
    pub statefulset: String,
}

impl SpecmanOptions {
    /// Specman in this cluster; `container` is the one that the user named.
    pub fn at(&self, cluster: Cluster, container: Option<String>) -> Specman {
        Specman { cluster, statefulset: self.statefulset.clone(), container }
    }
}
