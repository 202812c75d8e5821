//! Requests to VerteX with a session's token.

use std::time::Duration;

use scar_http::header::{ACCEPT, CONTENT_TYPE};
use scar_http::{Cause, Client, Credential, Error, Method, Origin, Response, Retry, StatusCode};
use scar_record::Session;
use scar_tool::{Console, Deadline, Exit, Failure};
use scar_trust::Trust;
use secrecy::ExposeSecret;
use serde_json::value::RawValue;

use crate::{ApiOptions, OLDEST, Object, login_command, session_origin, session_tls, token};

/// The time limit of one answer.
const ANSWER: Duration = Duration::from_secs(30);
/// The number of tries of a write. It is repeated only if reading shows that the last try changed nothing.
const WRITES: usize = 3;

/// The System API, with a session.
#[derive(Debug)]
pub struct Api {
    client: Client,
    deadline: Deadline,
    login: String,
    console: Console,
}

/// The outcome of a write.
#[derive(Debug)]
pub enum WriteOutcome {
    /// The server confirmed it.
    Answered,
    /// The answer was lost or an error, but reading shows that it is done.
    ByReading,
    /// Reading shows neither the old nor the new value: someone else wrote.
    Foreign(Object),
    /// The answer was lost, and reading failed too.
    Unknown(Error),
}

impl Api {
    /// Creates the client for the session's endpoint; sends nothing.
    pub fn open(session: &Session, options: &ApiOptions, console: &Console) -> Result<Self, Failure> {
        let asked = options.endpoint.as_deref().map(ApiOptions::address).transpose()?;
        let origin = session_origin(session, asked.as_ref().map(|(origin, _)| origin))?;
        let trust = Trust::load(&session_tls(&options.tls, session))?.by(options.route);
        console.verbose(|| format!("login to '{origin}': the record's session"));
        // The user allowed plain HTTP at the login.
        let client = Client::new(origin, &trust, true, console)?;
        Self::with(client, session, Deadline::after(options.timeout), console)
    }

    /// The same with an existing client for the session's origin. Exit 2 for a malformed token.
    pub fn with(client: Client, session: &Session, deadline: Deadline, console: &Console) -> Result<Self, Failure> {
        let login = login_command(session);
        token::check(session.authorization.expose_secret()).map_err(|cause| {
            Failure::misuse(format!("use the session: its token cannot be one: {cause}")).hint(format!("log in again: {login}"))
        })?;
        // As the guide's script does (step 10): a cookie of this name, not a header.
        let credential = Credential::Cookie { name: "Authorization", value: session.authorization.clone() };
        let client = client.with_credential(Some(&credential))?;
        Ok(Self { client, deadline, login, console: console.clone() })
    }

    /// The same with another deadline.
    #[must_use]
    pub fn with_time(mut self, more: Duration) -> Self {
        self.deadline = self.deadline.extended(more);
        self
    }

    /// The deadline for all answers.
    pub fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// The origin of VerteX.
    pub fn origin(&self) -> &Origin {
        self.client.origin()
    }

    /// The login command, for messages.
    pub fn login(&self) -> &str {
        &self.login
    }

    /// Reads an object, with retries.
    pub async fn get(&self, path: &str) -> Result<Object, Error> {
        Retry::until(self.deadline).run(&self.console, || self.get_once(path)).await
    }

    /// Reads an object, without retries.
    pub async fn get_once(&self, path: &str) -> Result<Object, Error> {
        read_object(self.send(Method::GET, path, None).await?).await
    }

    /// Reads a JSON document of any shape, unchanged, with retries.
    pub async fn get_text(&self, path: &str) -> Result<String, Error> {
        let once = async || read_json(self.send(Method::GET, path, None).await?).await;
        Retry::until(self.deadline).run(&self.console, once).await.map(|text| text.get().to_owned())
    }

    /// Posts `body` to be validated, which changes nothing; with retries.
    pub async fn check(&self, path: &str, body: &str) -> Result<(), Error> {
        Retry::until(self.deadline).run(&self.console, || self.order(Method::POST, path, Some(body))).await
    }

    /// Starts a job by a GET, as the guide does; retries only if nothing arrived for certain. [`Cause::Malformed`] if a page
    /// of another server answered.
    pub async fn start(&self, path: &str) -> Result<(), Error> {
        let once = async || match self.order(Method::GET, path, None).await {
            // A job that was started twice would run twice, and there is no status to ask for.
            Err(error) if error.is_before_send() => Err(error),
            answer => Ok(answer),
        };
        Retry::until(self.deadline).run(&self.console, once).await?
    }

    /// Writes `body`. After a lost or failed answer it reads: `done` says whether what was read is the new value,
    /// `untouched` whether it is still the old one. Only in the latter case the write is repeated.
    pub async fn put(
        &self,
        path: &str,
        body: &str,
        done: impl Fn(&Object) -> bool,
        untouched: impl Fn(&Object) -> bool,
    ) -> Result<WriteOutcome, Error> {
        let once = async || {
            let error = match self.order(Method::PUT, path, Some(body)).await {
                Ok(()) => return Ok(WriteOutcome::Answered),
                // Success with another status than 204 may be a proxy's page: reading decides, as after a lost answer.
                Err(error @ Error { cause: Cause::Malformed(_), .. }) => error,
                Err(error) if error.is_before_send() || !error.is_transient() => return Err(error),
                Err(error) => error,
            };
            self.console.verbose(|| format!("{error}; reading what became of it"));
            match self.get(path).await {
                Ok(now) if done(&now) => Ok(WriteOutcome::ByReading),
                // The API describes no ETag or version that would make a write conditional. So a write is repeated only while the
                // old value is still there; anything else means that somebody else wrote, and is left alone.
                Ok(now) if untouched(&now) => Err(error),
                Ok(now) => Ok(WriteOutcome::Foreign(now)),
                Err(_) => Ok(WriteOutcome::Unknown(error)),
            }
        };
        Retry { tries: WRITES, ..Retry::until(self.deadline) }.run(&self.console, once).await
    }

    /// Sends a request whose answer has no object. VerteX confirms with 204: writes and checks by its swagger, jobs by the
    /// guide's script (step 10). Any other answer may come from a proxy, or be an error in disguise, and confirms nothing.
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

    /// The failure to show for an error, with a hint if it may be due to the session.
    pub fn failure(&self, act: &str, error: &Error) -> Failure {
        let failure = error.failure(act);
        match (error.status(), &error.cause) {
            (Some(StatusCode::UNAUTHORIZED), _) => {
                failure.hint(format!("the session has ended or is not accepted; log in again: {}", self.login))
            }
            (Some(StatusCode::FORBIDDEN), _) => {
                failure.hint(format!("the account needs the rights of a system administrator; log in as another: {}", self.login))
            }
            (Some(status), _) if status.is_redirection() => failure.hint(format!(
                "redirects are not followed, because the target would get the token; if the session has expired, log in again: {}",
                self.login
            )),
            (_, Cause::Malformed(_)) => {
                failure.hint(format!("is '{}' really VerteX, and not a proxy or a sign-on page in front of it?", self.origin()))
            }
            (Some(StatusCode::NOT_FOUND), _) => {
                failure.hint(format!("is '{}' the system console, and VerteX or Palette at least {OLDEST}?", self.origin()))
            }
            (Some(status), _) if status.is_client_error() && failure.hint.is_none() => {
                failure.hint("VerteX says why it refuses; look at the object in the system console, then run this step again")
            }
            _ => failure,
        }
    }

    /// The failure for a write with an unknown outcome.
    pub fn unknown(&self, act: &str, error: &Error) -> Failure {
        Failure::new(
            Exit::Unreachable,
            format!("{act}: {error}; reading it back failed too, so it is unknown whether the change was made"),
        )
        .hint("run this step again: it reads first, and writes only if needed")
    }
}

/// Parses the object in an answer. [`Cause::Malformed`], with a description, if it is not an object.
pub async fn read_object(response: Response) -> Result<Object, Error> {
    let request = response.request();
    let text = read_json(response).await?;
    let object = Object::parse(text.get()).map_err(|is| Error::malformed(request, format!("the answer is {is}")))?;
    object.never_show_secrets();
    Ok(object)
}

async fn read_json(response: Response) -> Result<Box<RawValue>, Error> {
    expected(response, StatusCode::OK).await?.json().await
}

/// Returns the documented answer.
async fn expected(response: Response, status: StatusCode) -> Result<Response, Error> {
    if response.status() == status {
        return Ok(response);
    }
    match response.into_error().await {
        Error { request, cause: Cause::Status { status: is, words, .. } } if is.is_success() => {
            let words = if words.is_empty() { words } else { format!(": {words}") };
            Err(Error::malformed(request, format!("the answer is {is}, not {status}{words}")))
        }
        error => Err(error),
    }
}
