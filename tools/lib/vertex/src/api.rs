//! Requests to VerteX with the token of a session.

use std::time::Duration;

use scar_http::header::{ACCEPT, CONTENT_TYPE};
use scar_http::{Client, Credential, Error, Method, Origin, Response, Retry, StatusCode};
use scar_record::Session;
use scar_tool::{Console, Deadline, Exit, Failure};
use scar_trust::Trust;
use secrecy::ExposeSecret;
use serde_json::value::RawValue;

use crate::{ApiOptions, OLDEST, Object, login_command, token};

/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(30);
/// How often a write is tried: again only where reading shows that the one before did nothing.
const WRITES: usize = 3;

/// VerteX, as a session opens it.
#[derive(Debug)]
pub struct Api {
    client: Client,
    deadline: Deadline,
    login: String,
    console: Console,
}

/// What became of a write.
#[derive(Debug)]
pub enum Settled {
    /// The server said that it is done.
    Answered,
    /// The server's answer was lost or an error, and reading shows that it is done.
    ByReading,
    /// Reading shows what is neither the old nor the new: someone else wrote.
    Foreign(Object),
    /// The answer was lost and reading failed too.
    Unknown(Error),
}

impl Api {
    /// VerteX at the endpoint of `session`. Nothing is sent yet.
    ///
    /// # Errors
    /// Exit 2 for a session or an option that cannot be used; exit 5 where `--endpoint` is another than the session's.
    pub fn open(session: &Session, options: &ApiOptions, console: &Console) -> Result<Self, Failure> {
        let origin = options.origin(session)?;
        let trust = Trust::load(&options.tls(session))?.by(options.route);
        console.verbose(|| format!("login to '{origin}': the record's session"));
        // Whoever logged in over plain HTTP gave their word for it then.
        let client = Client::new(origin, &trust, true, console)?;
        Self::with(client, session, Deadline::after(options.timeout), console)
    }

    /// The same over a client for the session's origin that is there already.
    ///
    /// # Errors
    /// Exit 2 for a token that cannot be one.
    pub fn with(client: Client, session: &Session, deadline: Deadline, console: &Console) -> Result<Self, Failure> {
        let login = login_command(session);
        token::check(session.authorization.expose_secret()).map_err(|cause| {
            Failure::misuse(format!("use the session: its token cannot be one: {cause}")).hint(format!("log in again: {login}"))
        })?;
        let credential = Credential::Cookie { name: "Authorization", value: session.authorization.clone() };
        let client = client.with_credential(Some(&credential))?;
        Ok(Self { client, deadline, login, console: console.clone() })
    }

    /// The same with more time.
    #[must_use]
    pub fn with_time(mut self, more: Duration) -> Self {
        self.deadline = self.deadline.extended(more);
        self
    }

    /// When all of its answers must be there.
    pub fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// Where it is.
    pub fn origin(&self) -> &Origin {
        self.client.origin()
    }

    /// The command that logs in to it, for a message.
    pub fn login(&self) -> &str {
        &self.login
    }

    /// Reads an object; tried again while time is left.
    ///
    /// # Errors
    /// The last try's.
    pub async fn get(&self, path: &str) -> Result<Object, Error> {
        Retry::until(self.deadline).run(&self.console, || self.get_once(path)).await
    }

    /// Reads an object, in one try.
    ///
    /// # Errors
    /// As [`read_object`].
    pub async fn get_once(&self, path: &str) -> Result<Object, Error> {
        read_object(self.send(Method::GET, path, None).await?).await
    }

    /// Reads a JSON document as it is written, of any shape; tried again while time is left.
    ///
    /// # Errors
    /// The last try's.
    pub async fn get_text(&self, path: &str) -> Result<String, Error> {
        let once = async || read_json(self.send(Method::GET, path, None).await?).await;
        Retry::until(self.deadline).run(&self.console, once).await.map(|text| text.get().to_owned())
    }

    /// Asks for a check of `body` that changes nothing there; tried again while time is left.
    ///
    /// # Errors
    /// The last try's.
    pub async fn check(&self, path: &str, body: &str) -> Result<(), Error> {
        Retry::until(self.deadline).run(&self.console, || self.order(Method::POST, path, Some(body))).await
    }

    /// Starts something by a GET, as the guide starts a job; tried again only where it is certain that nothing arrived.
    ///
    /// # Errors
    /// The last try's; [`Error::Malformed`] where a page answered in the server's place.
    pub async fn start(&self, path: &str) -> Result<(), Error> {
        let once = async || match self.order(Method::GET, path, None).await {
            Err(error) if error.is_before_send() => Err(error),
            answer => Ok(answer),
        };
        Retry::until(self.deadline).run(&self.console, once).await?
    }

    /// Writes `body`. A lost or failed answer is settled by reading: `done` tells whether what is read is the new,
    /// `untouched` whether it is still the old, and only then is the write tried again.
    ///
    /// # Errors
    /// A refusal, or the last try's error where reading showed that nothing was changed.
    pub async fn put(
        &self,
        path: &str,
        body: &str,
        done: impl Fn(&Object) -> bool,
        untouched: impl Fn(&Object) -> bool,
    ) -> Result<Settled, Error> {
        let once = async || {
            let error = match self.order(Method::PUT, path, Some(body)).await {
                Ok(()) => return Ok(Settled::Answered),
                Err(error @ Error::Malformed { .. }) => error,
                Err(error) if error.is_before_send() || !error.is_transient() => return Err(error),
                Err(error) => error,
            };
            self.console.verbose(|| format!("{error}; reading what became of it"));
            match self.get(path).await {
                Ok(now) if done(&now) => Ok(Settled::ByReading),
                Ok(now) if untouched(&now) => Err(error),
                Ok(now) => Ok(Settled::Foreign(now)),
                Err(_) => Ok(Settled::Unknown(error)),
            }
        };
        Retry { tries: WRITES, ..Retry::until(self.deadline) }.run(&self.console, once).await
    }

    /// Sends what needs no object in answer. VerteX says yes with 204, for writes and checks by the swagger, for jobs by the
    /// guide's script (step 10); any other answer may be a proxy's, or an error in other clothes, and is not a yes.
    async fn order(&self, method: Method, path: &str, body: Option<&str>) -> Result<(), Error> {
        expected(self.send(method, path, body).await?, StatusCode::NO_CONTENT).await.map(drop)
    }

    async fn send(&self, method: Method, path: &str, body: Option<&str>) -> Result<Response, Error> {
        let mut url = self.client.base();
        url.set_path(path);
        let mut request = self.client.request(method, url).header(ACCEPT, "application/json");
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body.to_owned());
        }
        request.timeout(ANSWER).send().await
    }

    /// The failure to show for an error: what a session can have to do with it is said.
    pub fn failure(&self, act: &str, error: &Error) -> Failure {
        let failure = error.failure(act);
        match (error.status(), error) {
            (Some(StatusCode::UNAUTHORIZED), _) => {
                failure.hint(format!("the session has ended or is not accepted; log in again: {}", self.login))
            }
            (Some(StatusCode::FORBIDDEN), _) => {
                failure.hint(format!("the account needs the rights of a system administrator; log in as another: {}", self.login))
            }
            (Some(status), _) if status.is_redirection() => failure.hint(format!(
                "redirects are not followed, since the token would go along; an expired session may be the cause: {}",
                self.login
            )),
            (_, Error::Malformed { .. }) => {
                failure.hint(format!("is '{}' VerteX itself, and not a proxy or a sign-on page before it?", self.origin()))
            }
            (Some(StatusCode::NOT_FOUND), _) => {
                failure.hint(format!("is '{}' the system console, of VerteX or Palette {OLDEST} at least?", self.origin()))
            }
            (Some(status), _) if status.is_client_error() && failure.hint.is_none() => {
                failure.hint("VerteX says why it refuses; look at the object in the system console, then run this step again")
            }
            _ => failure,
        }
    }

    /// The failure for a write of which nobody knows whether it was done.
    pub fn unknown(&self, act: &str, error: &Error) -> Failure {
        Failure::new(
            Exit::Unreachable,
            format!("{act}: {error}; reading it back failed too: it is not known whether it was done"),
        )
        .hint("run this step again: it reads first, and writes only what is not in place")
    }
}

/// Reads the object in an answer.
///
/// # Errors
/// The answer's own error; [`Error::Malformed`] if it holds something else, saying what.
pub async fn read_object(response: Response) -> Result<Object, Error> {
    let request = response.request();
    let text = read_json(response).await?;
    let object = Object::parse(text.get()).map_err(|is| Error::Malformed { request, cause: format!("the answer is {is}") })?;
    object.never_show_secrets();
    Ok(object)
}

async fn read_json(response: Response) -> Result<Box<RawValue>, Error> {
    match expected(response, StatusCode::OK).await?.json().await {
        // What is quoted there may be a part of a secret; that it is no JSON is enough.
        Err(Error::Malformed { request, cause }) if cause.contains("not the expected JSON") => {
            Err(Error::Malformed { request, cause: "the answer is not JSON".to_owned() })
        }
        read => read,
    }
}

/// Lets the documented answer through.
async fn expected(response: Response, status: StatusCode) -> Result<Response, Error> {
    if response.status() == status {
        return Ok(response);
    }
    match response.into_error().await {
        Error::Status { request, status: is, words, .. } if is.is_success() => {
            let words = if words.is_empty() { words } else { format!(": {words}") };
            Err(Error::Malformed { request, cause: format!("the answer is {is}, not {status}{words}") })
        }
        error => Err(error),
    }
}
