//! The command line: where to log in, as whom, and with what.

// Clap prints these doc comments in `--help`, where `HOST[:PORT]` is not a link.
#![allow(rustdoc::broken_intra_doc_links)]

use std::ffi::OsString;
use std::time::Duration;

use scar_http::Origin;
use scar_record::{Input, Record};
use scar_tool::{Common, Console, Failure};
use scar_trust::RouteOptions;
use scar_vertex::{AccountOptions, ApiOptions, LoginMethod};

use crate::command::Command;

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

    // What follows COMMAND is COMMAND's, options included, as with env(1).
    /// Command to run with the session; without it the record goes to standard output
    #[arg(value_name = "COMMAND [ARG]", trailing_var_arg = true)]
    command: Vec<OsString>,

    /// Time limit for the login, including retries
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = scar_tool::time_limit)]
    pub(crate) timeout: Duration,

    /// Read the password, and no record, from stdin
    #[arg(long, conflicts_with_all = ["password-file", "token-file"], help_heading = "Login options")]
    password_stdin: bool,

    #[command(flatten)]
    pub(crate) account: AccountOptions,

    #[command(flatten)]
    pub(crate) route: RouteOptions,

    #[command(flatten)]
    pub(crate) common: Common,
}

/// What to do; every named file has been read.
pub(crate) struct Plan {
    pub(crate) origin: Origin,
    pub(crate) method: LoginMethod,
    pub(crate) input: Input,
    command: Option<Command>,
}

impl Options {
    /// Reads the environment and the files.
    pub(crate) fn open(&self, console: &Console) -> Result<Plan, Failure> {
        let Some(endpoint) = self.endpoint.clone().or_else(scar_vertex::endpoint) else {
            return Err(Failure::misuse("missing: ENDPOINT")
                .hint("vertex-login https://vertex.example, or set VERTEX_ENDPOINT; 'vertex-login --help' lists the options"));
        };
        let (origin, stripped) = ApiOptions::address(&endpoint)?;
        if let Some(path) = stripped {
            console.note(format!("'/{path}' is not a part of the address and was left out: using '{origin}'"));
        }
        let method = self.account.method(Some(self.password_stdin), console)?;
        let input = if self.password_stdin { Input::New } else { Input::Stdin };
        Ok(Plan { origin, method, input, command: Command::find(&self.command)? })
    }
}

impl Plan {
    /// Prompts for a password that was not given. The time limit starts afterwards, because people take their time.
    ///
    /// # Errors
    /// Exit 2 if there is no terminal.
    pub(crate) fn ask(&mut self) -> Result<(), Failure> {
        match &mut self.method {
            LoginMethod::Password { username, password } => password.ask(username, &self.origin),
            LoginMethod::Token(_) => Ok(()),
        }
    }

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
            LoginMethod::Password { username, password } => {
                let from =
                    if password.is_given() { "the password that was given" } else { "a password asked for at the terminal" };
                format!("log in to '{}' as '{username}' with {from}, in one try", self.origin)
            }
            LoginMethod::Token(_) => format!("have '{}' check the token from the browser", self.origin),
        }
    }
}
