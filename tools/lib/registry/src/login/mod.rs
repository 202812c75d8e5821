//! The login: from the options, else what Docker or Podman left on this host.

mod challenge;
mod files;
mod helper;
mod recorded;
mod trust;

pub(crate) use challenge::{Challenge, Realm, challenge};
pub use files::LoginFiles;
pub use recorded::{is_named, unnamed};
pub use trust::with_certs_d;

use scar_http::{Login as Given, Origin};
use scar_tool::{Console, Failure, Spelling};
use secrecy::SecretString;

use crate::reference::Reference;

/// A login to a registry.
#[derive(Debug, Clone)]
pub enum Login {
    /// User and password.
    Password {
        /// As the registry knows the user.
        username: String,
        /// Sent only to the registry's own origin or a trusted realm.
        password: SecretString,
    },
    /// A refresh token, exchanged at the token realm (Docker's `identitytoken`).
    Identity(SecretString),
    /// A token for the registry itself (Docker's `registrytoken`).
    Registry(SecretString),
}

impl Login {
    /// The user, if there is one.
    pub fn username(&self) -> Option<&str> {
        match self {
            Self::Password { username, .. } => Some(username),
            _ => None,
        }
    }
}

/// Whether it may be a Harbor robot's name (`robot$NAME`, `robot$PROJECT+NAME`) after the shell expanded `$` and the word
/// after it.
pub fn lost_its_dollar(username: &str) -> bool {
    let rest = username.strip_prefix("robot");
    rest.is_some_and(|rest| !rest.contains('$') && !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_'))
}

/// Where the login is looked for: in the options, else in the files of this host.
#[derive(Debug, Clone)]
pub struct LoginSources {
    /// `--username`.
    pub(crate) username: Option<String>,
    /// Its password, or the prompt for it.
    pub(crate) given: Given,
    /// The files that may hold a login.
    pub(crate) files: LoginFiles,
    /// How the options are spelled.
    pub(crate) spelling: Spelling,
    /// Whether the registry is reached by plain HTTP, for messages.
    pub(crate) plain_http: bool,
}

impl LoginSources {
    /// Whether the options give a login.
    pub fn is_given(&self) -> bool {
        self.username.is_some()
    }

    /// The login for `reference`, and its source for messages; `None` without one, which a registry may accept. Prompts
    /// for a missing password, so standard input must have been read before. Exit 2 for a user that the registry cannot
    /// have, and malformed login files.
    pub fn find(&self, reference: &Reference, console: &Console) -> Result<Option<(Login, String)>, Failure> {
        let origin = Origin::at(if self.plain_http { "http" } else { "https" }, &reference.registry)?;
        let found = match &self.username {
            Some(username) => Some((self.given(username, reference, &origin)?, "the options".to_owned())),
            None => self.files.find(reference, console)?,
        };
        console.verbose(|| match found.as_ref().map(|(login, from)| (login.username(), from)) {
            Some((Some(username), from)) => format!("login to '{origin}': user '{username}' from {from}"),
            Some((None, from)) => format!("login to '{origin}': a token from {from}"),
            None => format!("login to '{origin}': none found, going without"),
        });
        Ok(found)
    }

    fn given(&self, username: &str, reference: &Reference, origin: &Origin) -> Result<Login, Failure> {
        // A token of ECR is for this user (aws/aws-cli awscli/examples/ecr/get-login-password.rst).
        if crate::ecr::Host::of(&reference.registry).is_some() && username != "AWS" {
            return Err(Failure::misuse(format!("log in to '{origin}': the user '{username}' is not known to ECR"))
                .hint(format!("the user must be AWS, upper case: {} AWS", self.spelling.user())));
        }
        // In the Basic scheme a colon ends the user name (RFC 7617, 2).
        if username.contains(':') || username.chars().any(char::is_control) {
            let option = self.spelling.option("username");
            return Err(Failure::misuse(format!("read {option}: it must not contain ':' or a control character")));
        }
        Ok(Login::Password { username: username.to_owned(), password: self.given.password(username, origin)? })
    }
}

#[cfg(fuzzing)]
pub(crate) mod fuzzing {
    /// Parses a challenge.
    pub fn challenge(header: &str) {
        _ = super::challenge::parse([header]);
    }
}
