//! The HTTP client: requests to one origin with its credential, and to others without.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, COOKIE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Body, Method};
use scar_tool::{Console, Failure};
use scar_trust::Trust;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::{Error, Origin, Response, Route, Wire, redacted};

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
        // So neither Debug nor our log shows it, and HTTP/2 keeps it out of its tables (RFC 7541, 7.1.3).
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
    home: Wire,
    /// Presents none.
    away: Wire,
    credential: Option<(HeaderName, HeaderValue)>,
}

impl Client {
    /// Creates a client for `origin`; sends nothing. Exit 2 for unusable TLS options; exit 5 for plain HTTP to another host,
    /// unless the user allows it with `plain_http`.
    pub fn new(origin: Origin, trust: &Trust, plain_http: bool, console: &Console) -> Result<Self, Failure> {
        if origin.is_plain() && !origin.is_loopback() {
            if !plain_http {
                return Err(Failure::new(
                    scar_tool::Exit::Unsafe,
                    format!("connect to '{origin}': plain HTTP would show credentials to the network"),
                )
                .hint(format!(
                    "use https://, or {} if the tool offers it and the network is trusted",
                    trust.spelling.option("plain-http")
                )));
            }
            console.warn(format!("credentials and content go to '{origin}' in clear"));
        }
        if trust.insecure && !origin.is_plain() {
            console.warn(format!("the certificate of '{origin}' is not checked ({})", trust.spelling.option("insecure")));
        }
        let route = Route::of(trust)?;
        let home = Wire::new(trust, true, &route, console)?;
        let base = origin.url("/")?;
        home.tell_route(&origin, &base);
        home.check(&origin, &base)?;
        // A server that the registry redirects to must not see who we are (FAULTS P13), and TLS shows a client certificate to
        // whoever asks for one.
        let away = if trust.has_identity() { Wire::new(trust, false, &route, console)? } else { home.clone() };
        Ok(Self { origin, base, home, away, credential: None })
    }

    /// The same client with a credential for its origin, or none. Exit 2 if the credential does not fit into a header.
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
        self.home.proxy(&self.base)
    }

    /// The root URL of the origin, for callers that set path and query themselves.
    pub fn base(&self) -> Url {
        self.base.clone()
    }

    /// A request to any URL: with credential and client certificate to the client's own origin, without them to others.
    pub fn request(&self, method: Method, url: Url) -> Request<'_> {
        // Decided here, for each request and by its own URL, so that no caller can forget it (FAULTS P6, P13, P14, L6).
        let at_home = Origin::of(&url).as_ref() == Some(&self.origin);
        let mut inner = reqwest::Request::new(method, url);
        if let Some((name, value)) = self.credential.as_ref().filter(|_| at_home) {
            inner.headers_mut().insert(name.clone(), value.clone());
        }
        Request { client: self, inner, at_home }
    }

    /// A request to a path (beginning with `/`) at the client's own origin.
    pub fn at(&self, method: Method, path: &str) -> Result<Request<'_>, Failure> {
        Ok(self.request(method, self.origin.url(path)?))
    }
}

/// A request being built.
#[derive(Debug)]
pub struct Request<'c> {
    client: &'c Client,
    inner: reqwest::Request,
    at_home: bool,
}

impl Request<'_> {
    /// Sets a header, which must not be secret.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.inner.headers_mut().insert(name, value);
        }
        self
    }

    /// Sends this credential instead of the client's own; not to other origins. Exit 2 if the credential does not fit into a
    /// header.
    pub fn credential(mut self, credential: &Credential) -> Result<Self, Failure> {
        if self.at_home {
            let (name, value) = credential.header()?;
            self.inner.headers_mut().insert(name, value);
        }
        Ok(self)
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Body>) -> Self {
        *self.inner.body_mut() = Some(body.into());
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
        *self.inner.timeout_mut() = Some(timeout);
        self
    }

    /// Sends it once. Any status is an answer; see [`Response::success`].
    pub async fn send(self) -> Result<Response, Error> {
        let Self { client, mut inner, at_home } = self;
        // A method with a body must send its length, even if it is 0 (RFC 9110, 8.6); registries and proxies insist. The
        // HTTP library omits it.
        let is_empty = inner.body().is_none_or(|body| body.as_bytes().is_some_and(<[u8]>::is_empty));
        if is_empty && matches!(*inner.method(), Method::POST | Method::PUT | Method::PATCH) {
            inner.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let shown = format!("{} {}", inner.method(), redacted(inner.url()));
        let wire = if at_home { &client.home } else { &client.away };
        wire.console.trace(|| format!("> {shown}{}", headers(inner.headers())));
        wire.send(inner, shown).await
    }
}

/// A request's headers for the log.
fn headers(headers: &HeaderMap) -> String {
    let value = |value: &HeaderValue| {
        if value.is_sensitive() { "(not shown)".to_owned() } else { value.to_str().unwrap_or("?").to_owned() }
    };
    headers.iter().map(|(name, text)| format!(", {name}: {}", value(text))).collect()
}
