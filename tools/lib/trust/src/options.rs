//! The TLS options that all network tools share.

use std::path::PathBuf;

/// The route to every server. The help lists it with the common options.
#[derive(clap::Args, Debug, Clone, Copy, Default)]
#[command(next_help_heading = "Common options")]
pub struct RouteOptions {
    /// Reach every server directly, whatever HTTPS_PROXY or a kubeconfig says
    #[arg(long)]
    pub no_proxy: bool,
}

/// The trusted certificates and the client certificate.
#[derive(clap::Args, Debug, Clone, Default)]
#[command(next_help_heading = "TLS options")]
pub struct TlsOptions {
    /// Also trust the certificates in FILE (PEM)
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,

    /// Client certificate chain (PEM)
    #[arg(long, value_name = "FILE", requires = "key_file")]
    pub cert_file: Option<PathBuf>,

    /// Key of the client certificate (PEM, not encrypted)
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    pub key_file: Option<PathBuf>,

    /// Do not check the server's certificate
    #[arg(long)]
    pub insecure: bool,
}
