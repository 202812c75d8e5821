//! The options of all tools that talk to a registry.

// Clap prints these doc comments in `--help`, where `HOST[:PORT]` is not a link.
#![allow(rustdoc::broken_intra_doc_links)]

use std::path::PathBuf;
use std::time::Duration;

use scar_http::{LoginOptions, Retry};
use scar_tool::{Bare, Console, Failure, Prefix, Spelling};
use scar_trust::{RouteOptions, TlsOptions, Trust};

use crate::login::{LoginFiles, LoginSources};
use crate::registry::{RegistryConfig, Scope};

/// Parses the name of another server; a clap value parser. Anything else would match no server, and nobody would say so.
fn host(text: &str) -> Result<String, String> {
    match text.is_empty() || text.contains(|c: char| matches!(c, '/' | '@') || c.is_whitespace()) {
        true => Err(format!("'{text}' is not HOST[:PORT], such as auth.example:8443")),
        false => Ok(text.to_owned()),
    }
}

/// How to reach the registry, and who logs in; a tool may spell the login (`L`) otherwise than the connection.
#[derive(clap::Args, Debug, Clone)]
#[group(skip)]
#[command(next_help_heading = P::heading("Registry options"))]
pub struct RegistryOptions<P: Prefix = Bare, L: Prefix = P> {
    /// Look for the registry's login only in FILE
    #[arg(long, value_name = "FILE")]
    registry_config: Option<PathBuf>,

    /// Also send the login to a token server there
    #[arg(long, value_name = "HOST[:PORT]", value_parser = host)]
    trust_realm: Vec<String>,

    /// Use HTTP without TLS for the registry
    #[arg(id = P::name("plain-http"), long = P::name("plain-http"))]
    plain_http: bool,

    /// Who logs in.
    #[command(flatten)]
    pub login: LoginOptions<L>,

    /// Whom to trust.
    #[command(flatten)]
    tls: TlsOptions<P>,
}

/// Where to push to, and what the registry may ask for then.
#[derive(clap::Args, Debug, Clone)]
#[group(skip)]
#[command(next_help_heading = "Registry options")]
pub struct PushOptions {
    /// Base path for a host alone [spectro-packs]
    #[arg(long, value_name = "PATH")]
    pub base_path: Option<String>,

    /// Also send the archive there, but never the login
    #[arg(long, value_name = "HOST[:PORT]", value_parser = host)]
    pub trust_upload: Vec<String>,
}

impl<P: Prefix, L: Prefix> RegistryOptions<P, L> {
    /// Whom to trust there; the registry's own folders are not read yet.
    pub fn trust(&self, route: RouteOptions) -> Result<Trust, Failure> {
        Ok(Trust::load(&self.tls)?.by(route))
    }

    /// Checks that a password, if one `is_given`, is for a user. Exit 2 for a password alone.
    pub fn check(&self, is_given: bool) -> Result<(), Failure> {
        let spelling = Spelling::of::<L>();
        match is_given && self.login.username.is_none() {
            true => Err(Failure::misuse(format!("log in: a password is given without {}", spelling.option("username")))
                .hint(format!("add {} USER", spelling.user()))),
            false => Ok(()),
        }
    }

    /// Where the login is looked for, with the password read that is in a file; `stdin` says whether it is on standard
    /// input, for a tool that takes it there. Exit 2 for a file without a password, and a password without a user.
    pub fn login(&self, stdin: Option<bool>, console: &Console) -> Result<LoginSources, Failure> {
        let given = self.login.open(stdin, console)?;
        self.check(given.is_given())?;
        let spelling = Spelling::of::<L>();
        let files = LoginFiles::from_environment(self.registry_config.clone());
        Ok(LoginSources { username: self.login.username.clone(), given, files, spelling, plain_http: self.plain_http })
    }

    /// How to talk to the registry.
    pub fn config(&self, scope: Scope, retry: Retry, patience: Duration) -> RegistryConfig {
        RegistryConfig {
            scope,
            trust_realm: self.trust_realm.clone(),
            trust_upload: Vec::new(),
            plain_http: self.plain_http,
            retry,
            patience,
            login: Spelling::of::<L>(),
        }
    }
}
