//! The TLS options that all network tools share.

use std::marker::PhantomData;
use std::path::PathBuf;

use scar_tool::{Bare, Prefix};

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
#[group(skip)]
#[command(next_help_heading = P::heading("TLS options"))]
pub struct TlsOptions<P: Prefix = Bare> {
    /// Also trust the certificates in FILE (PEM)
    #[arg(id = P::name("ca-file"), long = P::name("ca-file"), value_name = "FILE")]
    pub ca_file: Option<PathBuf>,

    /// Client certificate chain (PEM)
    #[arg(id = P::name("cert-file"), long = P::name("cert-file"), value_name = "FILE", requires = P::name("key-file"))]
    pub cert_file: Option<PathBuf>,

    /// Key of the client certificate (PEM, not encrypted)
    #[arg(id = P::name("key-file"), long = P::name("key-file"), value_name = "FILE", requires = P::name("cert-file"))]
    pub key_file: Option<PathBuf>,

    /// Do not check the server's certificate
    #[arg(id = P::name("insecure"), long = P::name("insecure"))]
    pub insecure: bool,

    /// How the options are spelled.
    #[arg(skip)]
    pub prefix: PhantomData<P>,
}
