//! Requests to one registry, with its login and with retries.
//!
//! Invariants: a password is tried once until the registry has accepted it; credentials go to the registry's own origin, and
//! to another token realm only if the user allows it; the archive goes to another origin only if the user allows it.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use bytes::Bytes;
use scar_http::header::HeaderName;
use scar_http::{Cause, Client, Credential, Error, Method, Origin, Request, Response, Retry, StatusCode, Url};
use scar_tool::{Console, Exit, Failure, Spelling};
use scar_trust::Trust;

use crate::fault::Fault;
use crate::login::{Challenge, Login, Realm};
use crate::reference::Reference;
use crate::refusal::{Refusal, Sender};

/// The default time limit of a request without the archive.
pub const EXCHANGE: Duration = Duration::from_secs(60);
/// The longest URL to follow, in bytes.
// The HTTP client takes no more than 64 KiB (crate http, src/uri/mod.rs, `MAX_LEN`), and a query is still to be added (FAULTS
// P12).
const ADDRESS: usize = 60 * 1024;
/// The most redirects to follow.
// A registry needs one, to its blob store; a loop must end (FAULTS P14).
const HOPS: usize = 5;

/// The access to a repository that a tool needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Read.
    Pull,
    /// Read and write.
    Push,
}

impl Scope {
    /// The actions to request in a token's scope (Distribution "Token Scope Documentation").
    pub(crate) fn actions(self) -> &'static str {
        match self {
            // Never more than needed: Quay refuses a scope with `delete`, and creates a missing repository as soon as a token
            // with `push` is requested for it (quay/quay endpoints/v2/v2auth.py, `_authorize_or_downscope_request`).
            Self::Pull => "pull",
            Self::Push => "pull,push",
        }
    }

    /// The verb for messages.
    pub fn act(self) -> &'static str {
        match self {
            Self::Pull => "pull from",
            Self::Push => "push to",
        }
    }
}

/// How to talk to a registry: what the user allows, and time limits.
#[derive(Debug, Clone)]
pub struct RegistryConfig {
    /// The access needed.
    pub scope: Scope,
    /// Hosts of token realms that may get the login.
    pub trust_realm: Vec<String>,
    /// Hosts of upload locations that may get the archive.
    pub trust_upload: Vec<String>,
    /// Whether plain HTTP is allowed.
    pub plain_http: bool,
    /// The retry policy.
    pub retry: Retry,
    /// How long an exchange without the archive may take.
    pub patience: Duration,
    /// How the options of the login are spelled.
    pub login: Spelling,
}

/// A registry and the state of the login there.
#[derive(Debug)]
pub struct Registry {
    /// The client for its origin.
    pub client: Client,
    /// The certificates that options and `certs.d` trust.
    pub(crate) trust: Trust,
    /// The repository and tag at hand.
    pub reference: Reference,
    /// The login, if there is one.
    pub login: Option<Login>,
    /// How to talk to it.
    pub config: RegistryConfig,
    /// Where notes and warnings go.
    pub console: Console,
    /// The credential to send with each request.
    pub(crate) credential: RefCell<Option<Credential>>,
    /// Whether the registry has accepted the credential once.
    pub(crate) proven: Cell<bool>,
    /// The token realm, after a challenge has named it.
    pub(crate) realm: RefCell<Option<Realm>>,
    /// When the token was fetched, if it may expire before its first use.
    pub(crate) since: Cell<Option<Instant>>,
}

impl Registry {
    /// Creates the client; sends nothing. Exit 2 or 5 for what the TLS options or `--plain-http` do not allow.
    pub fn new(
        reference: &Reference,
        login: Option<Login>,
        trust: Trust,
        config: RegistryConfig,
        console: &Console,
    ) -> Result<Self, Failure> {
        let origin = Origin::at(if config.plain_http { "http" } else { "https" }, &reference.registry)?;
        Ok(Self {
            client: Client::new(origin, &trust, config.plain_http, console)?,
            trust,
            reference: reference.clone(),
            login,
            config,
            console: console.clone(),
            credential: RefCell::new(None),
            realm: RefCell::new(None),
            proven: Cell::new(false),
            since: Cell::new(None),
        })
    }

    /// Connects: finds out whether the registry speaks TLS, and how to log in.
    pub async fn connect(&mut self) -> Result<(), Fault> {
        let door = self.reach().await?;
        self.log_in(door).await
    }

    /// Requests `/v2/` without a login. On loopback a server without TLS is accepted. Any answer will do: not every registry
    /// has this address, and the answer says nothing about the repository.
    pub async fn reach(&mut self) -> Result<Response, Fault> {
        let act = format!("connect to '{}'", self.reference.registry);
        let home = self.client.origin();
        // As in Docker, where every registry in 127.0.0.0/8 is an insecure one (moby daemon/pkg/registry/config.go): nobody can
        // listen in on the host itself.
        if home.is_loopback() && !home.is_plain() && self.client.proxy().is_none() {
            // Some servers without TLS answer a TLS hello with plain text, others just close (FAULTS Q64).
            match ping(&self.client, self.config.patience).await {
                Ok(door) => return Ok(door),
                Err(error) if error.is_not_tls() || matches!(error.cause, Cause::Connect { .. }) => self.try_in_clear().await?,
                Err(error) if !error.is_transient() => return Err(error.into()),
                Err(_) => {}
            }
        }
        let home = self.client.origin();
        let plain_http = self.trust.spelling.option("plain-http");
        let wants_tls = |failure: Failure| Err(failure.hint(format!("if the server speaks TLS, leave out {plain_http}")).into());
        match self.retry(|| async { Ok(ping(&self.client, self.config.patience).await?) }).await {
            // A registry that does not speak TLS is the operator's decision: falling back silently would send the login in clear.
            Err(Fault::Http(error)) if error.is_not_tls() => {
                let failure = Failure { exit: Exit::Unsafe, ..error.failure(&act) };
                Err(failure.hint(format!("{plain_http} speaks to it without TLS, if the network is trusted")).into())
            }
            Err(Fault::Http(error)) if home.is_plain() => match error.cause {
                Cause::NotHttp => wants_tls(Failure { exit: Exit::Misuse, ..error.failure(&act) }),
                // A closed connection may have other reasons, too.
                Cause::Broken { silent: false, .. } => wants_tls(error.failure(&act)),
                _ => Err(error.into()),
            },
            Ok(door) if home.is_plain() && wants_tls_instead(&door) => {
                wants_tls(Failure { exit: Exit::Misuse, ..door.into_error().await.failure(&act) })
            }
            answer => answer,
        }
    }

    /// Switches to plain HTTP, if a server answers there.
    async fn try_in_clear(&mut self) -> Result<(), Failure> {
        let registry = &self.reference.registry;
        let client = Client::new(Origin::at("http", registry)?, &self.trust, self.config.plain_http, &self.console)?;
        let door = ping(&client, self.config.patience).await;
        // Any other answer is HTTP, such as a proxy's 502 while the registry is down.
        if door.is_ok_and(|door| !wants_tls_instead(&door)) {
            self.console.verbose(|| format!("'{registry}' does not speak TLS; it is on this host: plain HTTP"));
            self.client = client;
        }
        Ok(())
    }

    /// Logs in as the answer of `/v2/` demands, if this host has a login. Other answers of `/v2/` decide nothing: Pulp
    /// refuses a token for a repository there (pulp_container/app/token_verification.py, `TokenPermission`), and a firewall
    /// may refuse anything.
    pub async fn log_in(&self, door: Response) -> Result<(), Fault> {
        match crate::login::challenge(&door) {
            // Whoever has no login cannot answer it. The repository may be open to all, and says so itself.
            Ok(Challenge::Basic) if self.login.is_none() => Ok(()),
            Ok(_) => self.answer_challenge(door).await.map(drop),
            Err(_) => Ok(()),
        }
    }

    /// Runs `work` with the retry policy.
    pub async fn retry<T>(&self, work: impl AsyncFnMut() -> Result<T, Fault>) -> Result<T, Fault> {
        self.config.retry.run(&self.console, work).await
    }

    /// A URL below the registry's origin.
    pub fn url(&self, path: &str) -> Result<Url, Fault> {
        Ok(self.client.origin().url(path)?)
    }

    /// The URL of a path below the repository, such as `manifests/0.0.0`.
    pub fn in_repository(&self, rest: &str) -> Result<Url, Fault> {
        self.url(&format!("/v2/{}/{rest}", self.reference.repository))
    }

    /// A request that carries the credential if it goes to the registry's own origin.
    pub fn request(&self, method: Method, url: &Url) -> Result<Request<'_>, Fault> {
        let request = self.client.request(method, url.clone());
        match &*self.credential.borrow() {
            Some(credential) => Ok(request.credential(credential)?),
            None => Ok(request),
        }
    }

    /// Sends a request whose body, if any, can be sent again: answers a challenge and follows an allowed redirect. Any
    /// status but a refused login is an answer.
    pub async fn exchange(
        &self,
        method: Method,
        url: &Url,
        headers: &[(HeaderName, &str)],
        body: Option<&Bytes>,
    ) -> Result<Response, Fault> {
        self.exchange_with(method, url, headers, body, |request| request.timeout(self.config.patience)).await
    }

    /// Sends a GET whose body is streamed: only the start of the answer has a time limit.
    pub async fn download(&self, url: &Url, headers: &[(HeaderName, &str)]) -> Result<Response, Fault> {
        // A limit on the whole answer would end the download of a large blob on a slow link.
        let begun = self.exchange_with(Method::GET, url, headers, None, |request| request);
        tokio::time::timeout(self.config.patience, begun)
            .await
            .unwrap_or_else(|_| Err(Error::silent(format!("GET {}", scar_http::redacted(url)), "no answer in time").into()))
    }

    /// Returns a successful answer.
    pub async fn success(&self, answer: Response) -> Result<Response, Fault> {
        if answer.status().is_success() { Ok(answer) } else { Err(self.refusal(answer, false).await) }
    }

    /// Turns an answer into a refusal; `login` if it refuses a login that was just made.
    pub(crate) async fn refusal(&self, answer: Response, login: bool) -> Fault {
        let from = match Origin::of(answer.url()) {
            // A blob store answers 403 to an expired signature or a wrong clock, which says nothing about the user (FAULTS
            // Q50).
            Some(origin) if origin != *self.client.origin() => Sender::Elsewhere(origin.to_string()),
            _ => Sender::Registry,
        };
        Fault::Refused(Box::new(Refusal::of(answer, from, login).await))
    }

    /// The verb and its operand, for messages.
    pub(crate) fn act(&self) -> String {
        format!("{} '{}'", self.config.scope.act(), self.reference.registry)
    }

    async fn exchange_with(
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
            // This loop ends: a credential that is refused is an error, and is not sent again.
            let Some(answer) = self.answer_challenge(request.send().await?).await? else { continue };
            // Only 307 and 308 keep method and body. After 301 to 303 most clients send a GET instead, which would look like a
            // success (RFC 9110, 15.4.2 to 15.4.4).
            let carries = body.is_some() || method == Method::POST;
            match answer.location() {
                Some(next) if answer.status().is_redirection() && hops < HOPS && (!carries || is_kept(answer.status())) => {
                    self.check_location(&next, carries)?;
                    url = next;
                    hops += 1;
                }
                _ => return Ok(answer),
            }
        }
    }

    /// Checks the target of a redirect or `Location`: never from TLS to plain HTTP, and with the archive to another origin
    /// only if the user allows it. Credentials are never sent there. Exit 5, naming the option that would allow it.
    pub fn check_location(&self, url: &Url, with_archive: bool) -> Result<(), Fault> {
        let (home, shown) = (self.client.origin(), scar_http::redacted(url));
        let act = self.act();
        if url.as_str().len() > ADDRESS {
            let cause = format!("{act}: it points to a URL longer than {ADDRESS} bytes");
            return Err(Failure::new(Exit::Failed, cause).into());
        }
        let origin = Origin::of(url)
            .ok_or_else(|| Failure::new(Exit::Unsafe, format!("{act}: it points to '{shown}', which is not an HTTP URL")))?;
        // Where the archive may go, the login never follows: requests to another origin carry no credential (FAULTS P13).
        if origin == *home {
            return Ok(());
        }
        // Clouds serve instance credentials at 169.254.169.254 (Amazon EC2 User Guide, "Retrieve instance metadata"); no
        // redirect may lead there.
        if origin.is_link_local() && !names(&self.config.trust_upload, &origin) {
            let cause = format!("{act}: it points to '{shown}', a link-local address, where no registry is");
            return Err(Failure::new(Exit::Unsafe, cause).into());
        }
        // Distribution behind a proxy that ends TLS writes an http Location, unless the proxy sends X-Forwarded-Proto
        // (distribution/distribution#479).
        if origin.is_plain() && !home.is_plain() {
            let failure = Failure::new(Exit::Unsafe, format!("{act}: it points to '{shown}', which is plain HTTP"));
            return Err(match origin.host() == home.host() {
                true => failure.hint("the registry does not know that it is reached by TLS: set its external URL, or X-Forwarded-Proto in the proxy in front of it"),
                false => failure.hint(format!(
                    "'{origin}' is where the registry keeps its blobs: give that store TLS, or have the registry hand the blobs \
                     out itself (Distribution: storage.redirect.disable, Harbor: disableredirect)"
                )),
            }
            .into());
        }
        // The specification allows an upload session on any server (OCI distribution specification, "POST then PUT"), so
        // whoever alters one answer would get the archive (FAULTS P13).
        if with_archive && !names(&self.config.trust_upload, &origin) {
            let option = format!("--trust-upload {}", origin.authority());
            let hint = match origin.host() == home.host() && url.port().is_none() {
                // nginx's `$host` has no port, so Distribution's recipe passes on `$http_host` (distribution
                // docs/content/recipes/nginx.md).
                true => format!(
                    "the registry may not know its external port: set its external URL, or the Host header of the proxy in front of it; if it does take uploads there: {option}"
                ),
                false => format!("if that server belongs to the registry, add {option}"),
            };
            let cause = format!("{act}: it asks to send the archive to another server, '{origin}'");
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

/// Whether a port that was asked over plain HTTP is one for TLS: it answers 400, as nginx and Go do there and no registry does
/// to this question (OCI distribution specification, "Determining Support"), or redirects to TLS on the same host.
fn wants_tls_instead(door: &Response) -> bool {
    let goal = door.location().filter(|_| door.status().is_redirection());
    // nginx: src/http/ngx_http_request.c, `NGX_HTTP_TO_HTTPS`; Go: src/net/http/server.go, `conn.serve`.
    door.status() == StatusCode::BAD_REQUEST
        || goal.is_some_and(|goal| goal.scheme() == "https" && goal.host() == door.url().host())
}

/// Whether a redirect keeps method and body (RFC 9110, 15.4.8 and 15.4.9).
fn is_kept(status: StatusCode) -> bool {
    matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT)
}

/// Whether one of `hosts` (`HOST[:PORT]`) is this origin.
pub(crate) fn names(hosts: &[String], origin: &Origin) -> bool {
    hosts.iter().any(|host| host.eq_ignore_ascii_case(&origin.authority()) || host.eq_ignore_ascii_case(&origin.address()))
}
