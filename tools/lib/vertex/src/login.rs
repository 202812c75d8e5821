//! `POST /v1/auth/syslogin`: the password is sent once. A try is repeated only if nothing arrived, or the server asked to
//! come back later without checking the password.

use std::time::Duration;

use scar_http::header::ACCEPT;
use scar_http::{Cause, Client, Error, Method, Origin, Retry, StatusCode, Url};
use scar_tool::{Console, Deadline, Exit, Failure, Spelling};
use scar_trust::Trust;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use crate::user::IN_THE_BROWSER;
use crate::{Object, read_object, token};

/// The path of the guide's script (step 10).
const PATH: &str = "/v1/auth/syslogin";
/// The number of connection attempts. Only these are repeated.
// A password that was sent may have counted: the fifth failed login suspends the account for 15 minutes (Palette documentation,
// "Manage User Credentials").
const CONNECTS: usize = 3;

/// The hint for an account that needs more than a password.
fn browser(spelling: Spelling) -> String {
    let option = spelling.option("token-file");
    format!("log in with a browser, save its token ({IN_THE_BROWSER}) in a file of mode 0600, and use {option} FILE")
}

/// The hint if the login succeeds but its token opens nothing, as with a passkey.
pub(crate) fn no_access(spelling: Spelling) -> String {
    let browser = browser(spelling);
    format!("the login succeeded, but its token gives no access, as with a passkey or a second factor: {browser}")
}

/// VerteX, before the login.
#[derive(Debug)]
pub struct Entrance<'a> {
    /// The client for its origin, without a credential.
    pub client: &'a Client,
    /// What the client trusts.
    pub trust: &'a Trust,
    /// When the login must be done.
    pub deadline: Deadline,
    /// Where notes go.
    pub console: &'a Console,
}

impl Entrance<'_> {
    /// Logs in with a password and returns the token.
    pub(crate) async fn syslogin(&self, username: &str, password: &SecretString) -> Result<SecretString, Failure> {
        let (origin, spelling) = (self.client.origin(), self.trust.spelling);
        let act = format!("log in to '{origin}' as '{username}'");
        self.console.verbose(|| format!("login to '{origin}': user '{username}'"));
        match self.post(username, password).await {
            Ok(answer) => token_of(&answer, &act, spelling),
            Err(Error { cause: Cause::Status { status, location, .. }, .. }) if status.is_redirection() => {
                Err(redirected(&act, origin, location.as_deref(), status, spelling))
            }
            Err(error) => Err(refusal(&error, &act, spelling)),
        }
    }

    async fn post(&self, username: &str, password: &SecretString) -> Result<Object, Error> {
        let retry = Retry { tries: CONNECTS, ..Retry::until(self.deadline) };
        let send = async || match once(self.client, username, password).await {
            Err(error) if error.is_before_send() => Err(error),
            verdict => Ok(verdict),
        };
        let verdict = retry.run(self.console, send).await?;
        let Some(wait) = verdict.as_ref().err().and_then(|error| asked_to_wait(error, self.deadline)) else { return verdict };
        self.console.note(format!("VerteX is busy and asks to wait {} s", wait.as_secs()));
        tokio::time::sleep(wait).await;
        retry.run(self.console, send).await?
    }
}

async fn once(client: &Client, username: &str, password: &SecretString) -> Result<Object, Error> {
    let mut url = client.base();
    url.set_path(PATH);
    // The guide's script sends the same two fields (step 10).
    let body = json!({"username": username, "password": password.expose_secret()});
    let request = client.request(Method::POST, url).header(ACCEPT, "application/json").json(&body);
    read_object(request.send().await?).await
}

/// How long to wait, if the server postponed the login without checking it, and there is time.
fn asked_to_wait(error: &Error, deadline: Deadline) -> Option<Duration> {
    match error.cause {
        Cause::Status { status: StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE, retry_after, .. } => {
            retry_after.filter(|wait| *wait < deadline.remaining())
        }
        _ => None,
    }
}

/// The token in a login's answer.
fn token_of(answer: &Object, act: &str, spelling: Spelling) -> Result<SecretString, Failure> {
    // The API's description spells it `isMfa` (v1UserToken), real sites answer `IsMfa` (VerteX documentation, "Manage User
    // Credentials").
    if answer.fields().any(|(name, value)| name.eq_ignore_ascii_case("ismfa") && value.get() == "true") {
        return Err(Failure::new(Exit::Refused, format!("{act}: the account has a second factor (MFA)")).hint(browser(spelling)));
    }
    let token = answer.text_or_empty(&["Authorization"]);
    if token.is_empty() {
        return Err(Failure::new(Exit::Mismatch, format!("{act}: the server accepted the login and gave no token"))
            .hint(format!("the account may have to set a second factor or a new password first; {}", browser(spelling))));
    }
    let token = token::bare(&token);
    match token::check(token) {
        Ok(()) => Ok(token.to_owned().into()),
        Err(cause) => Err(Failure::new(Exit::Mismatch, format!("{act}: the server's token is malformed: {cause}"))
            .hint("is this really VerteX, and not a proxy in front of it?")),
    }
}

/// The failure for a refused login.
fn refusal(error: &Error, act: &str, spelling: Spelling) -> Failure {
    let failure = error.failure(act);
    match error.status().map(|status| status.as_u16()) {
        Some(401) => failure.hint(
            "user name or password is wrong, or the account is locked; it was tried once and will not be tried again, since wrong \
             tries lock the account",
        ),
        // The codes with which VerteX says more are not public.
        Some(403 | 423) => Failure { exit: Exit::Refused, ..failure }.hint(format!(
            "the account may be locked (every further try may prolong that: wait, or have another administrator unlock it), or may not \
             log in here; if it uses single sign-on, {}",
            browser(spelling)
        )),
        Some(404) => failure.hint("is this the address of VerteX's system console?"),
        Some(400 | 422) => Failure { exit: Exit::Refused, ..failure }.hint("check user name and password; they were sent once"),
        _ => match error.cause {
            Cause::Broken { .. } => {
                failure.hint("the answer to the login was lost, and the password is not sent again automatically: run this step again")
            }
            Cause::Malformed(_) => failure.hint(format!(
                "a proxy or a sign-on page may be in front of VerteX: check the address; for single sign-on, {}",
                browser(spelling)
            )),
            _ => failure,
        },
    }
}

/// The failure for a redirect, which is not followed because the password would be sent along.
fn redirected(act: &str, origin: &Origin, to: Option<&str>, status: StatusCode, spelling: Spelling) -> Failure {
    let Some(to) = to else {
        return Failure::new(Exit::Mismatch, format!("{act}: the server answers {status} without saying where to"));
    };
    let at_home = Url::parse(to).ok().as_ref().and_then(Origin::of).as_ref() == Some(origin);
    if at_home {
        return Failure::new(Exit::Refused, format!("{act}: the server answers {status} and wants the login at {to}"))
            .hint(format!("for single sign-on, {}", browser(spelling)));
    }
    let message = format!("{act}: the server answers {status} and redirects to {to}; the password does not go there");
    Failure::new(Exit::Unsafe, message)
        .hint(format!("if that address is VerteX, log in there; if it is a sign-on page, {}", browser(spelling)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token_in(answer: &str) -> Result<String, Failure> {
        token_of(&Object::parse(answer).unwrap(), "log in", Spelling::default()).map(|token| token.expose_secret().to_owned())
    }

    #[test]
    fn only_a_well_formed_token_is_accepted() {
        assert_eq!(token_in(r#"{"Authorization":"a.b.c","isMfa":false}"#).unwrap(), "a.b.c");
        assert_eq!(token_in(r#"{"Authorization":"Bearer a.b.c"}"#).unwrap(), "a.b.c");
        for (answer, exit, says) in [
            (r#"{"Authorization":"a.b.c","isMfa":true}"#, Exit::Refused, "MFA"),
            (r#"{"Authorization":"a.b.c","IsMfa":true}"#, Exit::Refused, "MFA"),
            (r#"{"isMfa":false}"#, Exit::Mismatch, "gave no token"),
            (r#"{"Authorization":"","isMfa":false}"#, Exit::Mismatch, "gave no token"),
            (r#"{"Authorization":5}"#, Exit::Mismatch, "gave no token"),
            (r#"{"Authorization":"can\nary"}"#, Exit::Mismatch, "character 4"),
        ] {
            let failure = token_in(answer).unwrap_err();
            assert_eq!(failure.exit, exit, "{answer}");
            assert!(failure.message.contains(says) && !failure.message.contains("can\nary"), "{}", failure.message);
        }
    }

    #[test]
    fn a_redirect_to_another_origin_is_unsafe_and_one_at_home_is_a_sign_on_page() {
        let origin = Origin::parse("https://v.example").unwrap().0;
        let exit = |to: Option<&str>| redirected("log in", &origin, to, StatusCode::FOUND, Spelling::default()).exit;
        assert_eq!(exit(Some("https://sso.example/?next=canary")), Exit::Unsafe);
        assert_eq!(exit(Some("http://v.example/")), Exit::Unsafe);
        assert_eq!(exit(Some("https://v.example/login")), Exit::Refused);
        assert_eq!(exit(None), Exit::Mismatch);
    }
}
