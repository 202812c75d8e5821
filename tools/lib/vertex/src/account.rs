//! The options of a login to VerteX.

use std::path::PathBuf;

use scar_http::{LoginOptions, secret_file};
use scar_tool::{Bare, Console, Failure, Prefix};
use scar_trust::TlsOptions;

use crate::enter::LoginMethod;

/// How to log in to VerteX, and whom to trust there.
#[derive(clap::Args, Debug, Clone)]
#[group(skip)]
#[command(next_help_heading = P::heading("Login options"))]
pub struct AccountOptions<P: Prefix = Bare> {
    /// User and password.
    #[command(flatten)]
    login: LoginOptions<P>,

    /// Use a browser's token in FILE (MFA, SSO)
    #[arg(id = P::name("token-file"), long = P::name("token-file"), value_name = "FILE",
        conflicts_with_all = [P::name("username"), P::name("password-file")])]
    token_file: Option<PathBuf>,

    /// Allow plain HTTP to another host
    #[arg(id = P::name("plain-http"), long = P::name("plain-http"))]
    pub plain_http: bool,

    /// The certificates to trust.
    #[command(flatten)]
    pub tls: TlsOptions<P>,
}

impl<P: Prefix> AccountOptions<P> {
    /// The user: the option's, that of `VERTEX_USERNAME`, or `admin`.
    pub fn username(&self) -> Result<String, Failure> {
        let username = self.login.username.clone().or_else(|| set("VERTEX_USERNAME")).unwrap_or_else(|| "admin".to_owned());
        match username.is_empty() || username.chars().any(char::is_control) {
            true => Err(Failure::misuse(format!("log in as '{username}': that is not a user name"))),
            false => Ok(username),
        }
    }

    /// Reads the token, or the password (else that of `VERTEX_PASSWORD_FILE`); `stdin` says whether the password is on
    /// standard input, for a tool that takes it there. Exit 2 for a file without the secret.
    pub fn method(&self, stdin: Option<bool>, console: &Console) -> Result<LoginMethod, Failure> {
        if let Some(path) = &self.token_file {
            return Ok(LoginMethod::Token(secret_file(path, "the token file", console)?));
        }
        let mut login = self.login.clone();
        if login.password_file.is_none() && stdin != Some(true) {
            login.password_file = set("VERTEX_PASSWORD_FILE").map(PathBuf::from);
        }
        let password = login.open(stdin, console)?;
        Ok(LoginMethod::Password { username: self.username()?, password })
    }
}

/// The address of VerteX in the environment.
pub fn endpoint() -> Option<String> {
    set("VERTEX_ENDPOINT")
}

/// An environment variable that is set and not empty.
fn set(name: &str) -> Option<String> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(|value| value.to_string_lossy().into_owned())
}
