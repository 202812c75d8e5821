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
use scar_tool::{Console, Failure};
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

/// The login for `reference`: `--username` with its password, else from the login files; `None` if there is none, which a
/// registry may accept. Prompts for a missing password, so standard input must have been read before.
///
/// # Errors
/// Exit 2 for a password without a user, a user that the registry cannot have, and malformed login files.
pub fn find(
    username: Option<&str>,
    given: &Given,
    reference: &Reference,
    origin: &Origin,
    login_files: &LoginFiles,
    console: &Console,
) -> Result<Option<Login>, Failure> {
    let ecr = crate::ecr::Host::of(&reference.registry);
    if let Some(username) = username {
        if ecr.is_some() && username != "AWS" {
            return Err(Failure::misuse(format!("log in to '{origin}': the user '{username}' is not known to ECR"))
                .hint("the user must be AWS, upper case: -u AWS"));
        }
        if username.contains(':') || username.chars().any(char::is_control) {
            return Err(Failure::misuse("read --username: no ':' and no control character may stand in it"));
        }
        let password = given.password(username, origin)?;
        console.verbose(|| format!("login to '{origin}': user '{username}' from the options"));
        return Ok(Some(Login::Password { username: username.to_owned(), password }));
    }
    if given.is_given() {
        return Err(Failure::misuse("log in: a password is given without --username").hint("add -u USER"));
    }
    match login_files.find(reference, console)? {
        Some((login, from)) => {
            console.verbose(|| match login.username() {
                Some(username) => format!("login to '{origin}': user '{username}' from {from}"),
                None => format!("login to '{origin}': a token from {from}"),
            });
            Ok(Some(login))
        }
        None => {
            console.verbose(|| format!("login to '{origin}': none found, going without"));
            Ok(None)
        }
    }
}
