//! The TLS options that every tool with a peer shares.

use std::path::PathBuf;

/// The way to every server. The help names it among what all tools have.
#[derive(clap::Args, Debug, Clone, Copy, Default)]
#[command(next_help_heading = "Common options")]
pub struct RouteOptions {
    /// Reach every server directly, whatever HTTPS_PROXY or a kubeconfig says
    #[arg(long)]
    pub no_proxy: bool,
}

/// Whom to trust and as whom to appear.
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
