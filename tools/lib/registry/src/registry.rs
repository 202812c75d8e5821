//! One registry: requests to it with the login that it asks for, tried again where that makes sense.
//!
//! Invariants: a password is sent once, until the registry took it; credentials go to the registry's own origin, and to a
//! token realm elsewhere only by the user's word; the archive goes to another origin only by the user's word.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use scar_http::header::HeaderName;
use scar_http::{Client, Credential, Error, Method, Origin, Request, Response, Retry, StatusCode, Url};
use scar_tool::{Console, Exit, Failure};
use scar_trust::Trust;

use crate::fault::Fault;
use crate::login::{Asked, Login, Realm};
use crate::reference::Reference;
use crate::refusal::{From, Refusal};

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
}

impl Scope {
    /// The actions that a token is asked for (Distribution "Token Scope Documentation").
    pub(crate) fn actions(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "pull,push",
        }
    }

    /// What is done, for messages.
    pub(crate) fn act(self) -> &'static str {
        match self {
            Self::Pull => "pull from",
            Self::Push => "push to",
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
    /// Where tokens come from, once a challenge has named it.
    pub(crate) realm: RefCell<Option<Realm>>,
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
            realm: RefCell::new(None),
            proven: Cell::new(false),
            since: Cell::new(None),
        })
    }

    /// Finds out how the registry is spoken to, and how it wants to be logged in to.
    ///
    /// # Errors
    /// What the network, the certificate or the token realm is to blame for.
    pub async fn connect(&mut self) -> Result<(), Fault> {
        let door = self.reach().await?;
        self.log_in(door).await
    }

    /// Asks the bare address, without a login. On this host alone a server that does not speak TLS is taken for what it is.
    /// Whatever a registry answers is good: not every one has the address, and what stands there says nothing of the
    /// repository.
    ///
    /// # Errors
    /// What the network or the certificate is to blame for.
    pub async fn reach(&mut self) -> Result<Response, Fault> {
        let act = format!("connect to '{}'", self.reference.registry);
        if self.client.origin().is_loopback() && !self.client.origin().is_plain() {
            // Some servers without TLS answer its hello, others just close.
            match ping(&self.client, self.terms.patience).await {
                Ok(door) => return Ok(door),
                Err(error) if error.is_not_tls() || matches!(error, Error::Connect { .. }) => self.try_in_clear().await?,
                Err(error) if !error.is_transient() => return Err(error.into()),
                Err(_) => {}
            }
        }
        let home = self.client.origin();
        let wants_tls = |exit: Exit, failure: Failure| {
            let failure = Failure { exit, ..failure };
            Err(failure.hint("does it speak TLS there? then drop --plain-http").into())
        };
        match self.retry(|| async { Ok(ping(&self.client, self.terms.patience).await?) }).await {
            Err(Fault::Http(error)) if error.is_not_tls() => {
                let failure = Failure { exit: Exit::Unsafe, ..error.failure(&act) };
                Err(failure.hint("--plain-http speaks to it without TLS, if the network is trusted").into())
            }
            Err(Fault::Http(error)) if home.is_plain() && error.may_want_tls() => {
                // An end without a word may have other reasons, too.
                let exit = if error.is_not_http() || !error.is_transient() { Exit::Misuse } else { error.exit() };
                wants_tls(exit, error.failure(&act))
            }
            Ok(door) if home.is_plain() && door.status() == StatusCode::BAD_REQUEST => {
                let error = door.into_error().await;
                if error.may_want_tls() { wants_tls(Exit::Misuse, error.failure(&act)) } else { Err(error.into()) }
            }
            Ok(door) if home.is_plain() && leads_to_tls(&door) => wants_tls(Exit::Misuse, door.into_error().await.failure(&act)),
            answer => answer,
        }
    }

    /// Speaks plain HTTP from now on, if a registry answers that.
    async fn try_in_clear(&mut self) -> Result<(), Failure> {
        let registry = &self.reference.registry;
        let client = Client::new(Origin::at("http", registry)?, &self.trust, self.terms.plain_http, &self.console)?;
        let door = ping(&client, self.terms.patience).await;
        if door.is_ok_and(|door| matches!(door.status(), StatusCode::OK | StatusCode::UNAUTHORIZED)) {
            self.console.verbose(|| format!("'{registry}' does not speak TLS; it is on this host: plain HTTP"));
            self.client = client;
        }
        Ok(())
    }

    /// Gets the login that the bare address asks for, where this host has one.
    ///
    /// # Errors
    /// What the token realm is to blame for. What the bare address says otherwise decides nothing: Pulp refuses a token for
    /// a repository there (pulp_container/app/token_verification.py, `TokenPermission`), and a firewall may refuse anything.
    pub async fn log_in(&self, door: Response) -> Result<(), Fault> {
        match crate::login::challenge(&door) {
            Ok(Asked::Basic) if self.login.is_none() => Ok(()),
            Ok(_) => self.unchallenged(door).await.map(drop),
            Err(_) => Ok(()),
        }
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
        self.download_with(url, &[]).await
    }

    pub(crate) async fn download_with(&self, url: &Url, headers: &[(HeaderName, &str)]) -> Result<Response, Fault> {
        let begun = self.conversation(Method::GET, url, headers, None, |request| request);
        tokio::time::timeout(self.terms.patience, begun).await.unwrap_or_else(|_| {
            let request = format!("GET {}", scar_http::redacted(url));
            Err(Error::Broken { request, cause: "no answer in time".to_owned(), silent: true }.into())
        })
    }

    /// Lets an answer of success through.
    ///
    /// # Errors
    /// The refusal that every other is.
    pub async fn success(&self, answer: Response) -> Result<Response, Fault> {
        if answer.status().is_success() { Ok(answer) } else { Err(self.refusal(answer, false).await) }
    }

    /// The refusal that an answer is; `login` where it is about a login just made.
    pub(crate) async fn refusal(&self, answer: Response, login: bool) -> Fault {
        let from = match Origin::of(answer.url()) {
            Some(origin) if origin != *self.client.origin() => From::Elsewhere(origin.to_string()),
            _ => From::Registry,
        };
        Fault::Refused(Box::new(Refusal::of(answer, from, login).await))
    }

    /// What is done, with its operand, for messages.
    pub(crate) fn act(&self) -> String {
        format!("{} '{}'", self.terms.scope.act(), self.reference.registry)
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
        let act = self.act();
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
            let failure = Failure::new(Exit::Unsafe, format!("{act}: it points to '{shown}', which is plain HTTP"));
            return Err(match origin.host() == home.host() {
                true => failure.hint("the registry does not know that it is reached by TLS: set its external URL, or X-Forwarded-Proto in the proxy before it"),
                false => failure.hint(format!(
                    "'{origin}' is where the registry keeps its blobs: give that store TLS, or have the registry hand the blobs \
                     out itself (Distribution: storage.redirect.disable, Harbor: disableredirect)"
                )),
            }
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

async fn ping(client: &Client, patience: Duration) -> Result<Response, Error> {
    let mut url = client.base();
    url.set_path("/v2/");
    client.request(Method::GET, url).timeout(patience).send().await
}

/// Whether a server that was asked in clear sends to the same host with TLS.
fn leads_to_tls(answer: &Response) -> bool {
    let goal = answer.location().filter(|_| answer.status().is_redirection());
    goal.is_some_and(|goal| goal.scheme() == "https" && goal.host() == answer.url().host())
}

/// Whether a redirect keeps method and body.
fn is_kept(status: StatusCode) -> bool {
    matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT)
}

/// Whether one of `hosts` (`HOST[:PORT]`) is this origin.
pub(crate) fn names(hosts: &[String], origin: &Origin) -> bool {
    hosts.iter().any(|host| host.eq_ignore_ascii_case(&origin.authority()) || host.eq_ignore_ascii_case(&origin.address()))
}
