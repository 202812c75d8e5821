//! Creates a session from a password or a browser's token; it counts only after VerteX has said whose it is.

use scar_http::Login;
use scar_record::Session;
use scar_tool::Failure;
use secrecy::{ExposeSecret, SecretString};

use crate::login::{Entrance, no_access};
use crate::user::{self, User};
use crate::{Api, browser, token};

/// How to get a session.
#[derive(Debug, Clone)]
pub enum LoginMethod {
    /// With user and password.
    Password {
        /// As VerteX knows the user.
        username: String,
        /// The password, or the prompt for it.
        password: Login,
    },
    /// With a token from a browser.
    Token(SecretString),
}

impl Entrance<'_> {
    /// Logs in, in one try. Prompts for a missing password.
    pub async fn enter(&self, method: &LoginMethod) -> Result<(Session, User), Failure> {
        let (origin, spelling) = (self.client.origin(), self.trust.spelling);
        let option = spelling.option("token-file");
        let (session, user) = match method {
            LoginMethod::Token(given) => {
                self.console.verbose(|| format!("login to '{origin}': the token of {option}"));
                let session = self.session(browser::shaped(given)?);
                let user = browser::accepted(self.client.clone(), &session, self.deadline, self.console).await?;
                (session, user)
            }
            LoginMethod::Password { username, password } => {
                let password = password.password(username, origin)?;
                let session = self.session(self.syslogin(username, &password).await?);
                let api = Api::with(self.client.clone(), &session, self.deadline, self.console)?;
                let act = format!("log in to '{origin}' as '{username}'");
                let user = user::me(&api, &act, &no_access(spelling)).await?;
                (session, user)
            }
        };
        Ok((session, user))
    }

    /// The record's session, which later stages use without options.
    fn session(&self, authorization: SecretString) -> Session {
        Session {
            endpoint: self.client.origin().to_string(),
            expires_at: token::expiry(authorization.expose_secret()),
            authorization,
            ca_file: self.trust.ca_file.as_ref().map(|path| path.display().to_string()),
            insecure: self.trust.insecure,
        }
    }
}
