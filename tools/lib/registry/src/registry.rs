//! One registry: requests to it with the login that it asks for, tried again where that makes sense.
//!
//! Invariants: a password is sent once, until the registry took it; credentials go to the registry's own origin, and to a
//! token realm elsewhere only by the user's word; the archive goes to another origin only by the user's word.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use scar_http::header::HeaderName;
use scar_http::{Attempt, Client, Credential, Error, Method, Origin, Request, Response, Retry, StatusCode, Url};
use scar_tool::{Console, Exit, Failure};
use scar_trust::Trust;

use crate::login::Login;
use crate::reference::Reference;

/// How long an exchange without the archive may take, where nobody says otherwise.
pub const EXCHANGE: Duration = Duration::from_secs(60);
/// The longest address that is followed, in bytes: the HTTP client knows none of 64 KiB.
const ADDRESS: usize = 60 * 1024;
/// How many redirects are followed, where they may be.
const HOPS: usize = 5;

/// What is wanted of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// To read it.
    Pull,
    /// To read it and to write to it.
    Push,
    /// The same, and to take back what was begun, where that may be had.
    Trial,
}

impl Scope {
    /// The actions that a token is asked for (Distribution "Token Scope Documentation").
    pub(crate) fn actions(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "pull,push",
            Self::Trial => "pull,push,delete",
        }
    }

    /// What is done, for messages.
    pub(crate) fn act(self) -> &'static str {
        match self {
            Self::Pull => "pull from",
            Self::Push | Self::Trial => "push to",
        }
    }
}

/// What the user allows and how patient they are.
#[derive(Debug, Clone)]
pub struct Terms {
    /// What is wanted of the repository.
    pub scope: Scope,
    /// Hosts of token realms that may have the login.
    pub trust_realm: Vec<String>,
    /// Hosts of upload locations that may have the archive.
    pub trust_upload: Vec<String>,
    /// Whether plain HTTP is allowed.
    pub plain_http: bool,
    /// `$HOME`, for `certs.d`.
    pub home: Option<PathBuf>,
    /// Tries and waits.
    pub retry: Retry,
    /// How long an exchange without the archive may take.
    pub patience: Duration,
}

/// What a try ended with when it did not bring what it was for.
#[derive(Debug)]
pub enum Fault {
    /// What the network or the server said.
    Http(Error),
    /// The registry or its token realm refused who we are.
    Refused(Error),
    /// The same as [`Self::Http`], after all the tries that the user's terms allow.
    Spent(Error),
    /// The upload session is lost, for this reason; another one may do.
    Lost(String),
    /// It would be the same again.
    Fatal(Failure),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(error) | Self::Refused(error) | Self::Spent(error) => error.fmt(f),
            Self::Lost(cause) => f.write_str(cause),
            Self::Fatal(failure) => f.write_str(&failure.message),
        }
    }
}

impl Attempt for Fault {
    fn is_transient(&self) -> bool {
        match self {
            // Nothing makes a server learn TLS, or forget it, between two tries.
            Self::Http(error) => error.is_transient() && !error.is_not_tls() && !error.is_not_http(),
            Self::Lost(_) => true,
            Self::Refused(_) | Self::Spent(_) | Self::Fatal(_) => false,
        }
    }

    fn asked(&self) -> Option<Duration> {
        match self {
            Self::Http(error) => error.asked(),
            _ => None,
        }
    }
}

impl Fault {
    /// The failure to show for it; `act` is what was being done, in lower case with its operand.
    pub fn failure(self, act: &str) -> Failure {
        match self {
            Self::Http(error) | Self::Spent(error) => error.failure(act),
            Self::Refused(error) => Failure { exit: Exit::Refused, ..error.failure(act) },
            Self::Lost(cause) => Failure::new(Exit::Unreachable, format!("{act}: {cause}")),
            Self::Fatal(failure) => failure,
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Http(error)
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        Self::Fatal(failure)
    }
}

/// A registry, spoken to.
#[derive(Debug)]
pub struct Registry {
    /// The client of its origin.
    pub client: Client,
    /// Whom the options and `certs.d` trust.
    pub(crate) trust: Trust,
    /// What is spoken about.
    pub reference: Reference,
    /// Who logs in.
    pub login: Option<Login>,
    /// On which terms.
    pub terms: Terms,
    /// For messages.
    pub console: Console,
    /// What is sent with each request.
    pub(crate) credential: RefCell<Option<Credential>>,
    /// Whether the credential has been taken once.
    pub(crate) proven: Cell<bool>,
    /// Since when it is had, where it may have ended before it was taken: once.
    pub(crate) since: Cell<Option<Instant>>,
}

impl Registry {
    /// The registry at `origin`. Nothing is sent yet.
    ///
    /// # Errors
    /// Exit 2 or 5 for what the TLS options and `--plain-http` do not allow.
    pub fn new(
        origin: Origin,
        reference: &Reference,
        login: Option<Login>,
        trust: Trust,
        terms: Terms,
        console: &Console,
    ) -> Result<Self, Failure> {
        Ok(Self {
            client: Client::new(origin, &trust, terms.plain_http, console)?,
            trust,
            reference: reference.clone(),
            login,
            terms,
            console: console.clone(),
            credential: RefCell::new(None),
            proven: Cell::new(false),
            since: Cell::new(None),
        })
    }

    /// Asks the registry whether it is one, and how it wants to be logged in to. On loopback alone a server that does not
    /// speak TLS is taken for what it is.
    ///
    /// # Errors
    /// What the network, the certificate or the login is to blame for.
    pub async fn connect(&mut self) -> Result<(), Fault> {
        let registry = &self.reference.registry;
        let act = format!("connect to '{registry}'");
        match self.ping().await {
            Err(Fault::Http(error)) if error.is_not_tls() => {
                if !self.client.origin().is_loopback() {
                    let failure = Failure { exit: Exit::Unsafe, ..error.failure(&act) };
                    return Err(failure.hint("--plain-http speaks to it without TLS, if the network is trusted").into());
                }
                self.console.verbose(|| format!("'{registry}' does not speak TLS; it is on this host: plain HTTP"));
                let origin = Origin::at("http", registry)?;
                self.client = Client::new(origin, &self.trust, self.terms.plain_http, &self.console)?;
                self.ping().await
            }
            Err(Fault::Http(error)) if self.client.origin().is_plain() && error.may_want_tls() => {
                // An end without a word may have other reasons, too.
                let exit = if error.is_not_http() || !error.is_transient() { Exit::Misuse } else { error.exit() };
                Err(Failure { exit, ..error.failure(&act) }.hint("does it speak TLS there? then drop --plain-http").into())
            }
            answer => answer,
        }
    }

    async fn ping(&self) -> Result<(), Fault> {
        let url = self.url("/v2/")?;
        self.retry(|| async {
            let answer = self.exchange(Method::GET, &url, &[], None).await?;
            match answer.status() {
                // Not every registry has the bare address; the next request decides.
                StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Ok(()),
                _ => Ok(answer.success().await.map(drop)?),
            }
        })
        .await
    }

    /// Tries again as the user's terms say.
    pub async fn retry<T, F, W>(&self, work: F) -> Result<T, Fault>
    where
        F: FnMut() -> W,
        W: Future<Output = Result<T, Fault>>,
    {
        self.terms.retry.run(&self.console, work).await
    }

    /// The URL of a path at the registry.
    pub fn url(&self, path: &str) -> Result<Url, Fault> {
        Ok(self.client.origin().url(path)?)
    }

    /// The URL of something in the repository, such as `manifests/0.0.0`.
    pub fn in_repository(&self, rest: &str) -> Result<Url, Fault> {
        self.url(&format!("/v2/{}/{rest}", self.reference.repository))
    }

    /// A request with the login that the registry asked for, where it goes to the registry's own origin.
    pub fn request(&self, method: Method, url: &Url) -> Result<Request<'_>, Fault> {
        let request = self.client.request(method, url.clone());
        match &*self.credential.borrow() {
            Some(credential) => Ok(request.credential(credential)?),
            None => Ok(request),
        }
    }

    /// One exchange whose body, if any, can be sent again: a challenge is answered, a permitted redirect followed.
    ///
    /// # Errors
    /// No answer, or a login that was not taken. Any other status is an answer.
    pub async fn exchange(
        &self,
        method: Method,
        url: &Url,
        headers: &[(HeaderName, &str)],
        body: Option<&Bytes>,
    ) -> Result<Response, Fault> {
        self.conversation(method, url, headers, body, |request| request.timeout(self.terms.patience)).await
    }

    /// A GET whose body is streamed: the answer must begin in time, how long the rest may take is the caller's concern.
    ///
    /// # Errors
    /// As [`Self::exchange`].
    pub async fn download(&self, url: &Url) -> Result<Response, Fault> {
        let begun = self.conversation(Method::GET, url, &[], None, |request| request);
        match tokio::time::timeout(self.terms.patience, begun).await {
            Ok(answer) => answer,
            Err(_) => {
                let request = format!("GET {}", scar_http::redacted(url));
                Err(Error::Broken { request, cause: "no answer in time".to_owned(), silent: true }.into())
            }
        }
    }

    async fn conversation(
        &self,
        method: Method,
        url: &Url,
        headers: &[(HeaderName, &str)],
        body: Option<&Bytes>,
        bound: impl Fn(Request<'_>) -> Request<'_>,
    ) -> Result<Response, Fault> {
        let mut url = url.clone();
        let mut hops = 0;
        loop {
            let mut request = bound(self.request(method.clone(), &url)?);
            for (name, value) in headers {
                request = request.header(name.clone(), value);
            }
            if let Some(body) = body {
                request = request.body(body.clone());
            }
            let Some(answer) = self.unchallenged(request.send().await?).await? else { continue };
            let carries = body.is_some() || method == Method::POST;
            match answer.location() {
                Some(next) if answer.status().is_redirection() && hops < HOPS && (!carries || is_kept(answer.status())) => {
                    self.may_go(&next, carries)?;
                    url = next;
                    hops += 1;
                }
                _ => return Ok(answer),
            }
        }
    }

    /// Whether a request may go where an answer points: never from TLS to clear; with the archive elsewhere only by the
    /// user's word. (Credentials never go along.)
    ///
    /// # Errors
    /// Exit 5, with the option that would allow it.
    pub fn may_go(&self, url: &Url, with_archive: bool) -> Result<(), Fault> {
        let (home, shown) = (self.client.origin(), scar_http::redacted(url));
        let act = format!("{} '{}'", self.terms.scope.act(), self.reference.registry);
        if url.as_str().len() > ADDRESS {
            let cause = format!("{act}: it points to an address longer than {ADDRESS} bytes");
            return Err(Failure::new(Exit::Failed, cause).into());
        }
        let origin = Origin::of(url)
            .ok_or_else(|| Failure::new(Exit::Unsafe, format!("{act}: it points to '{shown}', which is not of HTTP")))?;
        if origin == *home {
            return Ok(());
        }
        if origin.is_link_local() && !names(&self.terms.trust_upload, &origin) {
            let cause = format!("{act}: it points to '{shown}', an address of this host's own link, where no registry is");
            return Err(Failure::new(Exit::Unsafe, cause).into());
        }
        if origin.is_plain() && !home.is_plain() {
            return Err(Failure::new(Exit::Unsafe, format!("{act}: it points to '{shown}', which is plain HTTP"))
                .hint("the registry does not know that it is reached by TLS: set its external URL, or X-Forwarded-Proto in the proxy before it")
                .into());
        }
        if with_archive && !names(&self.terms.trust_upload, &origin) {
            let option = format!("--trust-upload {}", origin.authority());
            let hint = match origin.host() == home.host() && url.port().is_none() {
                true => format!(
                    "the registry may not know the port that it is reached at: set its external URL, or the Host header of \
                     the proxy before it; if it does take uploads there: {option}"
                ),
                false => format!("if it belongs to the registry: {option}"),
            };
            let cause = format!("{act}: it wants the archive at another server, '{origin}'");
            return Err(Failure::new(Exit::Unsafe, cause).hint(hint).into());
        }
        Ok(())
    }
}

/// Whether a redirect keeps method and body.
fn is_kept(status: StatusCode) -> bool {
    matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT)
}

/// Whether one of `hosts` (`HOST[:PORT]`) is this origin.
pub(crate) fn names(hosts: &[String], origin: &Origin) -> bool {
    hosts.iter().any(|host| host.eq_ignore_ascii_case(&origin.authority()) || host.eq_ignore_ascii_case(&origin.address()))
}
