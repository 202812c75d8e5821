//! The command line.

use std::time::Duration;

use scar_tool::Common;
use scar_trust::{RouteOptions, TlsOptions};

const EXAMPLES: &str = "\
Examples:
  HOST=123456789012.dkr.ecr.us-east-1.amazonaws.com
  ocipush -u AWS --password-file <(ecr-password $HOST) $HOST manifests.tgz
  ecr-password $HOST | skopeo login -u AWS --password-stdin $HOST
  ecr-password --endpoint-url https://ecr.vpc.example $HOST
A Harbor registry needs no such token: give its robot account to ocipush.";

#[derive(clap::Parser, Debug)]
#[command(
    name = "ecr-password",
    version,
    long_version = scar_trust::module(),
    about = "print a password for an Amazon ECR registry",
    after_help = EXAMPLES,
    // It is not a stage of the pipe, so it reads no record.
    mut_arg("new_record", |arg| arg.hide(true))
)]
pub(crate) struct Options {
    /// The registry's host name, with its account and region [default: $ECR_PACK_REGISTRY]
    #[arg(value_name = "HOST")]
    pub(crate) host: Option<String>,

    /// The registry's region [default: HOST's, $ECR_PACK_REGISTRY_REGION, the AWS configuration's]
    #[arg(long, value_name = "REGION")]
    pub(crate) region: Option<String>,

    /// The registry's account [default: HOST's, else that of the credentials]
    #[arg(long, value_name = "ACCOUNT")]
    pub(crate) registry_id: Option<String>,

    /// Use ECR's API at URL, such as a VPC endpoint
    #[arg(long, value_name = "URL")]
    pub(crate) endpoint_url: Option<String>,

    /// Overall time limit
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = scar_tool::time_limit)]
    pub(crate) timeout: Duration,

    #[command(flatten)]
    pub(crate) tls: TlsOptions,

    #[command(flatten)]
    pub(crate) route: RouteOptions,

    #[command(flatten)]
    pub(crate) common: Common,
}

/// The airgap set-up's variables; an empty one counts as unset.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    /// `ECR_PACK_REGISTRY`: the registry's host name.
    pub(crate) registry: Option<String>,
    /// `ECR_PACK_REGISTRY_REGION`: its region.
    pub(crate) region: Option<String>,
}

impl Environment {
    /// Reads this process's environment.
    pub(crate) fn read() -> Self {
        Self { registry: variable("ECR_PACK_REGISTRY"), region: variable("ECR_PACK_REGISTRY_REGION") }
    }
}

/// A variable, unless it is empty.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var_os(name)?.into_string().ok().filter(|text| !text.is_empty())
}
