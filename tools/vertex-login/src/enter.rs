//! Creates a session from a password or a browser's token; it counts only after VerteX has said whose it is.

use std::time::Duration;

use scar_http::{Client, Origin};
use scar_record::Session;
use scar_tool::{Console, Deadline, Failure};
use scar_trust::Trust;
use scar_vertex::{Api, browser, login, token, user};
use secrecy::{ExposeSecret, SecretString};

use crate::options::{LoginMethod, Plan};

/// Logs in, within `time`.
///
/// # Errors
/// Errors of the login, the token, the network or the server.
pub(crate) fn run(plan: &Plan, trust: &Trust, client: Client, time: Duration, console: &Console) -> Result<Session, Failure> {
    let act = format!("log in to '{}'", plan.origin);
    let session = match &plan.method {
        LoginMethod::Token(given) => {
            console.verbose(|| format!("login to '{}': the token of --token-file", plan.origin));
            let session = session(&plan.origin, browser::shaped(given)?, trust);
            let deadline = Deadline::after(time);
            scar_http::run(deadline, console, &act, browser::accepted(client, &session, deadline, console))?;
            session
        }
        LoginMethod::Password { username, login: given } => {
            let password = given.password(username, &plan.origin)?;
            let deadline = Deadline::after(time);
            scar_http::run(deadline, console, &act, async {
                let token = login::syslogin(&client, username, &password, deadline, console).await?;
                let session = session(&plan.origin, token, trust);
                let api = Api::with(client.clone(), &session, deadline, console)?;
                user::me(&api, &format!("{act} as '{username}'"), &login::no_access()).await?;
                Ok(session)
            })?
        }
    };
    match session.expires_at {
        Some(end) => console.note(format!("logged in to '{}'; the session ends at {end}", plan.origin)),
        None => console.note(format!("logged in to '{}'", plan.origin)),
    }
    Ok(session)
}

/// The record's session, which later stages use without options.
fn session(origin: &Origin, authorization: SecretString, trust: &Trust) -> Session {
    Session {
        endpoint: origin.to_string(),
        expires_at: token::expiry(authorization.expose_secret()),
        authorization,
        ca_file: trust.ca_file().map(|path| path.display().to_string()),
        insecure: trust.is_insecure(),
    }
}
