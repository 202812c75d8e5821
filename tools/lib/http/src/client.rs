//! The HTTP client: requests to one origin with its credential, and to others without.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures::StreamExt;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, COOKIE, DATE, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Body, Method, StatusCode};
use scar_tool::{Console, Failure, Pending};
use scar_trust::{Proxy, Seen, Trust};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use url::Url;

use crate::{Error, Origin, redacted, retry, words};

/// The time limit to connect.
const CONNECT: Duration = Duration::from_secs(10);
/// The time limit for an answer, or for its next piece.
const SILENCE: Duration = Duration::from_secs(60);
/// How many bytes of an error's body are read: one more than a message shows, so that it shows the cut.
const ERROR: usize = 64 * 1024 + 1;

/// A credential for an origin.
#[derive(Debug, Clone)]
pub enum Credential {
    /// User and password (RFC 7617).
    Basic {
        /// As in `user:password`, without a colon.
        username: String,
        /// Never shown; see [`scar_tool::never_show`].
        password: SecretString,
    },
    /// A token (RFC 6750).
    Bearer(SecretString),
    /// A cookie, with which VerteX receives its token.
    Cookie {
        /// The cookie's name.
        name: &'static str,
        /// Its value.
        value: SecretString,
    },
}

impl Credential {
    fn header(&self) -> Result<(HeaderName, HeaderValue), Failure> {
        let (name, text) = match self {
            Self::Basic { username, password } => {
                (AUTHORIZATION, format!("Basic {}", BASE64.encode(format!("{username}:{}", password.expose_secret()))))
            }
            Self::Bearer(token) => (AUTHORIZATION, format!("Bearer {}", token.expose_secret())),
            Self::Cookie { name, value } => (COOKIE, format!("{name}={}", value.expose_secret())),
        };
        let (Self::Basic { password: secret, .. } | Self::Bearer(secret) | Self::Cookie { value: secret, .. }) = self;
        scar_tool::never_show(secret.expose_secret());
        let mut value = HeaderValue::from_str(&text)
            .map_err(|_| Failure::misuse("use the credential: it holds characters that no HTTP header can carry"))?;
        value.set_sensitive(true);
        Ok((name, value))
    }
}

/// A client for one origin.
#[derive(Debug, Clone)]
pub struct Client {
    origin: Origin,
    base: Url,
    /// Presents the client certificate, if there is one.
    home: reqwest::Client,
    /// Presents none.
    away: reqwest::Client,
    credential: Option<(HeaderName, HeaderValue)>,
    proxy: Option<Proxy>,
    seen: Seen,
    console: Console,
}

impl Client {
    /// Creates a client for `origin`; sends nothing.
    ///
    /// # Errors
    /// Exit 2 for unusable TLS options; exit 5 for plain HTTP to another host, unless the user allows it with `plain_http`.
    pub fn new(origin: Origin, trust: &Trust, plain_http: bool, console: &Console) -> Result<Self, Failure> {
        if origin.is_plain() && !origin.is_loopback() {
            if !plain_http {
                return Err(Failure::new(
                    scar_tool::Exit::Unsafe,
                    format!("connect to '{origin}': plain HTTP would show credentials to the network"),
                )
                .hint("use https://, or --plain-http where the tool offers it and the network is trusted"));
            }
            console.warn(format!("credentials and content go to '{origin}' in clear"));
        }
        if trust.is_insecure() && !origin.is_plain() {
            console.warn(format!("the certificate of '{origin}' is not checked (--insecure)"));
        }
        let proxy = trust.proxy()?;
        console.verbose(|| match proxy.as_ref().filter(|proxy| proxy.covers(&format!("{origin}/"))) {
            Some(proxy) => format!("'{origin}' is reached through the proxy '{}'", proxy.address()),
            None => format!("'{origin}' is reached directly"),
        });
        if !origin.is_plain() {
            console.verbose(|| format!("the certificate of '{origin}' is {}", trust.words()));
        }
        // The proxy and the server behind it share one TLS configuration, and a proxy may also ask for a certificate.
        let covering = proxy.as_ref().filter(|proxy| proxy.is_tls() && proxy.covers(&format!("{origin}/")));
        if let Some(proxy) = covering.filter(|_| trust.has_identity()) {
            return Err(Failure::new(
                scar_tool::Exit::Unsafe,
                format!(
                    "connect to '{origin}': the client certificate for it would be shown to the proxy '{}', too",
                    proxy.address()
                ),
            )
            .hint(crate::error::EXPOSED));
        }
        let home = build(trust, true, proxy.as_ref(), CONNECT)?;
        let away = if trust.has_identity() { build(trust, false, proxy.as_ref(), CONNECT)? } else { home.clone() };
        let base = origin.url("/")?;
        Ok(Self { origin, base, home, away, credential: None, proxy, seen: trust.seen().clone(), console: console.clone() })
    }

    /// The same client with a credential for its origin, or none.
    ///
    /// # Errors
    /// Exit 2 where the credential cannot stand in a header.
    pub fn with_credential(mut self, credential: Option<&Credential>) -> Result<Self, Failure> {
        self.credential = credential.map(Credential::header).transpose()?;
        Ok(self)
    }

    /// The origin that the credential is for.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The proxy's address; `None` if the origin is reached directly.
    pub fn proxy(&self) -> Option<&str> {
        self.proxy.as_ref().filter(|proxy| proxy.covers(self.base.as_str())).map(Proxy::address)
    }

    /// The root URL of the origin, for callers that set path and query themselves.
    pub fn base(&self) -> Url {
        self.base.clone()
    }

    /// A request to any URL: with credential and client certificate to the client's own origin, without them to others.
    pub fn request(&self, method: Method, url: Url) -> Request<'_> {
        let at_home = Origin::of(&url).as_ref() == Some(&self.origin);
        let mut headers = HeaderMap::new();
        if let Some((name, value)) = self.credential.as_ref().filter(|_| at_home) {
            headers.insert(name.clone(), value.clone());
        }
        let client = if at_home { &self.home } else { &self.away };
        let inner = client.request(method.clone(), url.clone());
        Request { client: self, inner, headers, method, url, at_home, is_empty: true }
    }

    /// A request to a path (beginning with `/`) at the client's own origin.
    ///
    /// # Errors
    /// Exit 2 if the path is not valid in a URL.
    pub fn at(&self, method: Method, path: &str) -> Result<Request<'_>, Failure> {
        Ok(self.request(method, self.origin.url(path)?))
    }
}

/// The only place that creates a client; `connect` is the time limit to connect.
pub(crate) fn build(
    trust: &Trust,
    with_identity: bool,
    proxy: Option<&Proxy>,
    connect: Duration,
) -> Result<reqwest::Client, Failure> {
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(trust.client_config(with_identity)?)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .connect_timeout(connect)
        // By default 30 s: the system then ends a connection whose other side takes nothing for so long (tcp(7),
        // TCP_USER_TIMEOUT), where a registry may need longer. What is too long, our own limits say.
        .tcp_user_timeout(None)
        .user_agent(concat!("scar-tools/", env!("CARGO_PKG_VERSION")))
        .no_proxy();
    if let Some(proxy) = proxy.cloned() {
        builder = builder.proxy(reqwest::Proxy::custom(move |url| proxy.covers(url.as_str()).then(|| proxy.url().to_owned())));
    }
    builder.build().map_err(|error| Failure::misuse(format!("set up the HTTP client: {error}")))
}

/// A request being built.
#[derive(Debug)]
pub struct Request<'c> {
    client: &'c Client,
    inner: reqwest::RequestBuilder,
    headers: HeaderMap,
    method: Method,
    url: Url,
    at_home: bool,
    /// Whether the body is empty or missing.
    is_empty: bool,
}

impl Request<'_> {
    /// Sets a header, which must not be secret.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    /// Sends this credential instead of the client's own; not to other origins.
    ///
    /// # Errors
    /// Exit 2 where the credential cannot stand in a header.
    pub fn credential(mut self, credential: &Credential) -> Result<Self, Failure> {
        if self.at_home {
            let (name, value) = credential.header()?;
            self.headers.insert(name, value);
        }
        Ok(self)
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Body>) -> Self {
        let body = body.into();
        self.is_empty = body.as_bytes().is_some_and(<[u8]>::is_empty);
        self.inner = self.inner.body(body);
        self
    }

    /// Sets a JSON body.
    #[must_use]
    pub fn json(self, value: &serde_json::Value) -> Self {
        let body = value.to_string();
        self.header(reqwest::header::CONTENT_TYPE, "application/json").body(body)
    }

    /// Sets a time limit for the whole exchange, body included. Without it only connecting is limited: a caller that streams
    /// watches the progress itself.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.inner = self.inner.timeout(timeout);
        self
    }

    /// Sends it once. Any status is an answer; see [`Response::success`].
    ///
    /// # Errors
    /// [`Error::Untrusted`], [`Error::Connect`] or [`Error::Broken`].
    pub async fn send(self) -> Result<Response, Error> {
        let Self { client, inner, mut headers, method, url, is_empty, .. } = self;
        // A method with a body must send its length, even if it is 0 (RFC 9110, 8.6); registries and proxies insist. The
        // HTTP library omits it.
        if is_empty && matches!(method, Method::POST | Method::PUT | Method::PATCH) {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let request = format!("{method} {}", redacted(&url));
        client.console.trace(|| format!("> {request}{}", shown(&headers)));
        let pending = client.console.asking(&request);
        match inner.headers(headers).send().await {
            Ok(inner) => {
                client.console.trace(|| format!("< {} for {request}", inner.status()));
                Ok(Response::new(inner, method, url, pending))
            }
            Err(error) => Err(Error::from_reqwest(&method, &url, &error, client.proxy.as_ref(), client.seen.asked())),
        }
    }
}

/// A request's headers for the log.
fn shown(headers: &HeaderMap) -> String {
    let value = |value: &HeaderValue| {
        if value.is_sensitive() { "(not shown)".to_owned() } else { value.to_str().unwrap_or("?").to_owned() }
    };
    headers.iter().map(|(name, text)| format!(", {name}: {}", value(text))).collect()
}

/// An answer whose body was not read yet.
#[derive(Debug)]
pub struct Response {
    inner: reqwest::Response,
    method: Method,
    url: Url,
    /// The request is pending until its body was read.
    pending: Pending,
}

impl Response {
    pub(crate) fn new(inner: reqwest::Response, method: Method, url: Url, pending: Pending) -> Self {
        Self { inner, method, url, pending }
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.inner.status()
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        self.inner.headers()
    }

    /// A header, if it exists and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.inner.headers().get(name)?.to_str().ok()
    }

    /// The server's clock at the answer (`Date`), in whole seconds.
    pub fn date(&self) -> Option<SystemTime> {
        httpdate::parse_http_date(self.header("date")?).ok()
    }

    /// The method of the request.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The requested URL.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// `Location`, resolved against the request's URL. `None` also for one with a backslash, which the parser would treat as
    /// a slash (URL standard, "special authority slashes state"), unlike other clients.
    pub fn location(&self) -> Option<Url> {
        let location = self.header(LOCATION.as_str()).filter(|location| !location.contains('\\'))?;
        // Some servers write HOST:PORT/…, which would be parsed as a path or a scheme.
        let origin = Origin::of(&self.url)?;
        let rest = |name: String| location.strip_prefix(&name).filter(|rest| rest.starts_with('/'));
        let itself = rest(origin.authority()).or_else(|| rest(origin.address()));
        self.url.join(itself.unwrap_or(location)).ok()
    }

    /// Returns a 2xx answer.
    ///
    /// # Errors
    /// [`Error::Status`] with the server's message for any other.
    pub async fn success(self) -> Result<Self, Error> {
        if self.status().is_success() { Ok(self) } else { Err(self.into_error().await) }
    }

    /// Turns the answer into an error, whatever its status; reads at most 64 KiB of its body, for at most a minute.
    pub async fn into_error(self) -> Error {
        self.into_error_and_body().await.0
    }

    /// The same, with the bytes read, for callers that know the server's errors.
    pub async fn into_error_and_body(self) -> (Error, Vec<u8>) {
        let request = self.request();
        let status = self.status();
        // A date is relative to the server's clock, which may differ from ours.
        let now =
            self.header(DATE.as_str()).and_then(|date| httpdate::parse_http_date(date).ok()).unwrap_or_else(SystemTime::now);
        let retry_after = self.header(RETRY_AFTER.as_str()).and_then(|value| retry::after(value, now));
        let location = self.location().map(|url| redacted(&url));
        let mut body = Vec::new();
        // Show what arrived of the server's message, even if the rest fails.
        let _ = tokio::time::timeout(SILENCE, self.read(&mut body, ERROR)).await;
        (Error::Status { request, status, words: words::of(&body), retry_after, location }, body)
    }

    /// Reads the whole body.
    ///
    /// # Errors
    /// [`Error::Malformed`] if it is longer than `limit` bytes; [`Error::Broken`] if it is cut or stalls.
    pub async fn bytes(self, limit: usize) -> Result<Vec<u8>, Error> {
        let request = self.request();
        let mut body = Vec::new();
        match self.read(&mut body, limit).await? {
            false => Ok(body),
            true => Err(Error::Malformed { request, cause: format!("the answer is longer than {limit} bytes") }),
        }
    }

    /// Parses the body as a JSON document of at most [`crate::DOCUMENT`] bytes.
    ///
    /// # Errors
    /// As [`Self::bytes`]; [`Error::Malformed`], with a description, if it is not JSON.
    pub async fn json<T: DeserializeOwned>(self) -> Result<T, Error> {
        let request = self.request();
        let body = self.bytes(crate::DOCUMENT).await?;
        serde_json::from_slice(&body).map_err(|error| {
            let is = match words::of(&body) {
                _ if body.iter().all(u8::is_ascii_whitespace) => "empty".to_owned(),
                page if page.starts_with("an HTML page") => page,
                _ => format!("not the expected JSON ({error})"),
            };
            Error::Malformed { request, cause: format!("the answer is {is}") }
        })
    }

    /// Streams the body, for a caller that limits and watches it.
    pub fn stream(self) -> impl futures::Stream<Item = Result<bytes::Bytes, Error>> + Send + Unpin {
        let Self { inner, method, url, pending } = self;
        inner.bytes_stream().map(move |piece| {
            let _ = &pending;
            piece.map_err(|error| Error::from_reqwest(&method, &url, &error, None, false))
        })
    }

    /// `METHOD URL` of the request, for messages.
    pub fn request(&self) -> String {
        format!("{} {}", self.method, redacted(&self.url))
    }

    /// Appends up to `limit` bytes; returns whether there was more.
    async fn read(self, body: &mut Vec<u8>, limit: usize) -> Result<bool, Error> {
        let request = self.request();
        let mut stream = self.stream();
        loop {
            let Ok(piece) = tokio::time::timeout(SILENCE, stream.next()).await else {
                return Err(Error::silent(request, "the answer stalled"));
            };
            let Some(piece) = piece.transpose()? else { return Ok(false) };
            let room = limit - body.len();
            body.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.len() > room {
                return Ok(true);
            }
        }
    }
}
