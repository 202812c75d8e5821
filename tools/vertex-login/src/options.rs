//! The command line: where to log in, as whom, and with what.

// Clap prints these doc comments in `--help`, where `HOST[:PORT]` is not a link.
#![allow(rustdoc::broken_intra_doc_links)]

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use scar_http::{Login, LoginOptions, Origin, secret_file};
use scar_record::{Input, Record};
use scar_tool::{Common, Console, Failure};
use scar_trust::{RouteOptions, TlsOptions};
use scar_vertex::ApiOptions;
use secrecy::SecretString;

use crate::command::Command;

/// The options.
#[derive(clap::Parser, Debug)]
#[command(
    name = "vertex-login",
    version,
    long_version = scar_trust::module(),
    about = "log in to the System API of VerteX or Palette",
    after_help = "Examples:
  vertex-login https://vertex.example pack-registry-set --name harbor \\
    -u robot --password-file harbor.password
  vertex-login https://vertex.example --ca-file vertex.pem \\
    --password-file vertex.password | scar-get
  vertex-login https://vertex.example --token-file token scar-get"
)]
pub(crate) struct Options {
    /// Address of VerteX: https://HOST[:PORT] [env: VERTEX_ENDPOINT]
    #[arg(value_name = "ENDPOINT")]
    endpoint: Option<String>,

    /// Command to run with the session; without it the record goes to standard output
    #[arg(value_name = "COMMAND [ARG]", trailing_var_arg = true)]
    command: Vec<OsString>,

    /// Use the token in FILE, copied from a logged-in browser (MFA, single sign-on)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["username", "password_file", "password_stdin"])]
    token_file: Option<PathBuf>,

    /// Time limit for the login, including retries
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = scar_tool::duration)]
    pub(crate) timeout: Duration,

    /// Allow plain HTTP to another host
    #[arg(long)]
    pub(crate) plain_http: bool,

    #[command(flatten)]
    login: LoginOptions,

    #[command(flatten)]
    pub(crate) tls: TlsOptions,

    #[command(flatten)]
    pub(crate) route: RouteOptions,

    #[command(flatten)]
    pub(crate) common: Common,
}

impl AsRef<Common> for Options {
    fn as_ref(&self) -> &Common {
        &self.common
    }
}

/// What to do; every named file has been read.
pub(crate) struct Plan {
    pub(crate) origin: Origin,
    pub(crate) method: LoginMethod,
    pub(crate) input: Input,
    command: Option<Command>,
}

/// How to get a session.
pub(crate) enum LoginMethod {
    /// With user and password.
    Password {
        username: String,
        /// The password, or where to read it.
        login: Login,
    },
    /// With a token from a browser.
    Token(SecretString),
}

impl Options {
    /// Reads the environment and the files.
    pub(crate) fn open(&self, console: &Console) -> Result<Plan, Failure> {
        let Some(endpoint) = self.endpoint.clone().or_else(|| text(set("VERTEX_ENDPOINT"))) else {
            return Err(Failure::misuse("missing: ENDPOINT")
                .hint("vertex-login https://vertex.example, or set VERTEX_ENDPOINT; 'vertex-login --help' lists the options"));
        };
        let (origin, stripped) = ApiOptions::address(&endpoint)?;
        if let Some(path) = stripped {
            console.note(format!("'/{path}' is not a part of the address and was left out: using '{origin}'"));
        }
        let method = match &self.token_file {
            Some(path) => LoginMethod::Token(secret_file(path, "the token file", console)?),
            None => self.password(console)?,
        };
        let input = if self.login.password_stdin { Input::New } else { Input::Stdin };
        Ok(Plan { origin, method, input, command: Command::find(&self.command)? })
    }

    fn password(&self, console: &Console) -> Result<LoginMethod, Failure> {
        let mut login = self.login.clone();
        if login.password_file.is_none() && !login.password_stdin {
            login.password_file = set("VERTEX_PASSWORD_FILE").map(PathBuf::from);
        }
        let username = login.username.clone().or_else(|| text(set("VERTEX_USERNAME"))).unwrap_or_else(|| "admin".to_owned());
        if username.is_empty() || username.chars().any(char::is_control) {
            return Err(Failure::misuse(format!("log in as '{username}': that is no user name")));
        }
        Ok(LoginMethod::Password { username, login: login.open(console)? })
    }
}

impl Plan {
    /// Passes the record to COMMAND, which replaces this process, or to standard output.
    pub(crate) fn pass_on(&self, record: &Record, console: &Console) -> Result<(), Failure> {
        match &self.command {
            Some(command) => command.run(record),
            None => record.write(console),
        }
    }

    /// The plan in one line, for `--dry-run`.
    pub(crate) fn as_text(&self) -> String {
        match &self.method {
            LoginMethod::Password { username, login } => {
                let from = if login.is_given() { "the password that was given" } else { "a password asked for at the terminal" };
                format!("log in to '{}' as '{username}' with {from}, in one try", self.origin)
            }
            LoginMethod::Token(_) => format!("have '{}' check the token from the browser", self.origin),
        }
    }
}

/// An environment variable, unless it is empty.
fn set(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

fn text(value: Option<OsString>) -> Option<String> {
    value.map(|value| value.to_string_lossy().into_owned())
}
