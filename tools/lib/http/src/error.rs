//! What can go wrong with a request, and the exit status of each.

use std::time::Duration;

use reqwest::StatusCode;
use scar_tool::{Exit, Failure, Spelling};
use scar_trust::{Handshake, Tunnel};
use url::Url;

use crate::Origin;
use crate::wire::EXPOSED;

/// A request that failed.
#[derive(Debug, thiserror::Error)]
#[error("{request}: {cause}")]
pub struct Error {
    /// `METHOD URL`.
    pub request: String,
    /// Why.
    pub cause: Cause,
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The TLS handshake failed, so nothing was sent.
    #[error("{handshake}")]
    Tls {
        /// What failed.
        handshake: Handshake,
        /// The server's `HOST:PORT`.
        address: String,
        /// How the options are spelled that may help.
        spelling: Spelling,
    },
    /// No connection; nothing was sent.
    #[error("{words}")]
    Connect {
        /// The deepest cause.
        words: String,
        /// Whether it timed out, rather than being refused.
        silent: bool,
    },
    /// The proxy opened no tunnel; nothing was sent to the server.
    #[error("from the proxy '{proxy}': {tunnel}")]
    Proxy {
        /// The proxy's address.
        proxy: String,
        /// What it did.
        tunnel: Tunnel,
    },
    /// This TLS proxy could ask for the server's client certificate; nothing was sent.
    #[error("the client certificate for it would be shown to the proxy '{0}', too")]
    Exposed(String),
    /// The connection broke or timed out after the request may have been received.
    #[error("{words}")]
    Broken {
        /// The deepest cause.
        words: String,
        /// Whether it timed out, rather than being closed.
        silent: bool,
    },
    /// The answer is not HTTP, such as a TLS alert.
    #[error("the answer is not HTTP")]
    NotHttp,
    /// The server answered with an unusable status.
    #[error("{}{}", named(*status), said(words))]
    Status {
        /// The status.
        status: StatusCode,
        /// The server's message.
        words: String,
        /// `Retry-After`, if it is valid.
        retry_after: Option<Duration>,
        /// A redirect's target, redacted.
        location: Option<String>,
    },
    /// The answer is not the requested document; what it is instead.
    #[error("{0}")]
    Malformed(String),
}

/// A status with its name, if it has one: `404 Not Found`, `499`.
fn named(status: StatusCode) -> String {
    format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or_default()).trim_end().to_owned()
}

fn said(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!(": {words}") }
}

impl Error {
    /// The HTTP library's error for a request; `proxy` is the proxy's address, if one is used, `asked` says whether the server
    /// asked for a client certificate.
    pub(crate) fn of(
        request: String,
        url: &Url,
        error: &reqwest::Error,
        proxy: Option<&str>,
        asked: bool,
        spelling: Spelling,
    ) -> Self {
        let cause = match (Handshake::of(error, asked), proxy.zip(scar_trust::tunnel(error))) {
            (Some(handshake @ Handshake::Untrusted(_)), _) | (Some(handshake), None) => {
                let address = Origin::of(url).map(|origin| origin.address()).unwrap_or_default();
                Cause::Tls { handshake, address, spelling }
            }
            (_, Some((proxy, tunnel))) => Cause::Proxy { proxy: proxy.to_owned(), tunnel },
            (None, None) => match (error.is_connect(), error.is_timeout(), proxy) {
                (true, true, Some(proxy)) => Cause::Proxy { proxy: proxy.to_owned(), tunnel: Tunnel::Silent },
                (true, true, None) => Cause::Connect { words: "no connection in time".to_owned(), silent: true },
                (true, false, _) => Cause::Connect { words: scar_trust::cause(error), silent: false },
                (false, ..) => return Self::broken(request, error),
            },
        };
        Self { request, cause }
    }

    /// The HTTP library's error after the request has left.
    pub fn broken(request: String, error: &(dyn std::error::Error + 'static)) -> Self {
        if error.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_timeout) {
            return Self::silent(request, "no answer in time");
        }
        let cause = match parse_error(error) {
            Some(parse) if !parse.is_parse_too_large() => Cause::NotHttp,
            // No server sends such a long header; a retry would get the same.
            Some(_) => Cause::Malformed("the answer's header is too long".to_owned()),
            None => Cause::Broken { words: scar_trust::cause(error), silent: false },
        };
        Self { request, cause }
    }

    /// A timeout in the middle of an exchange.
    pub fn silent(request: String, words: &str) -> Self {
        Self { request, cause: Cause::Broken { words: words.to_owned(), silent: true } }
    }

    /// An answer that is not the requested document; `words` say what it is instead.
    pub fn malformed(request: String, words: String) -> Self {
        Self { request, cause: Cause::Malformed(words) }
    }

    pub(crate) fn too_long(request: String, limit: usize) -> Self {
        Self::malformed(request, format!("the answer is longer than {limit} bytes"))
    }

    /// Whether a retry may succeed. The caller decides whether the request may be repeated at all.
    pub fn is_transient(&self) -> bool {
        match &self.cause {
            Cause::Connect { .. } | Cause::Broken { .. } | Cause::NotHttp => true,
            Cause::Tls { handshake, .. } => handshake.is_transient(),
            // A wrong login at the proxy stays wrong, and more tries may lock that account.
            Cause::Proxy { tunnel, .. } => *tunnel != Tunnel::Login,
            // 501 means that the server does not know the method (RFC 9110, 15.6.2). nginx and Distribution say 499 if the
            // client went away (distribution registry/handlers/helpers.go, `copyFullPayload`): the one before it, a proxy or
            // load balancer, has given up.
            Cause::Status { status, .. } => {
                status.is_server_error() && *status != StatusCode::NOT_IMPLEMENTED || matches!(status.as_u16(), 408 | 429 | 499)
            }
            Cause::Exposed(_) | Cause::Malformed(_) => false,
        }
    }

    /// Whether the server certainly did not act on the request.
    pub fn is_before_send(&self) -> bool {
        matches!(self.cause, Cause::Connect { .. } | Cause::Proxy { .. } | Cause::Exposed(_) | Cause::Tls { .. })
    }

    /// Whether the server's certificate is not trusted.
    pub fn is_untrusted(&self) -> bool {
        matches!(self.cause, Cause::Tls { handshake: Handshake::Untrusted(_), .. })
    }

    /// Whether the server answered the TLS handshake with something other than TLS.
    pub fn is_not_tls(&self) -> bool {
        matches!(self.cause, Cause::Tls { handshake: Handshake::NotTls, .. })
    }

    /// The server's status.
    pub fn status(&self) -> Option<StatusCode> {
        match &self.cause {
            Cause::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Its exit status.
    pub fn exit(&self) -> Exit {
        match &self.cause {
            Cause::Exposed(_) => Exit::Unsafe,
            Cause::Tls { handshake, .. } => handshake.exit(),
            Cause::Malformed(_) => Exit::Mismatch,
            Cause::Status { status, .. } => match status.as_u16() {
                401 | 403 => Exit::Refused,
                404 => Exit::Absent,
                300..=399 => Exit::Unsafe,
                _ if self.is_transient() => Exit::Unreachable,
                _ => Exit::Failed,
            },
            Cause::Proxy { tunnel: Tunnel::Login, .. } => Exit::Refused,
            // One status for all timeouts, whether this request's limit or --timeout: the operator may raise either.
            Cause::Proxy { tunnel: Tunnel::Silent, .. }
            | Cause::Connect { silent: true, .. }
            | Cause::Broken { silent: true, .. } => Exit::TimedOut,
            Cause::Connect { .. } | Cause::Broken { .. } | Cause::NotHttp | Cause::Proxy { .. } => Exit::Unreachable,
        }
    }

    /// The failure to show: `act` (in lower case, with its operand), the cause, and a hint.
    pub fn failure(&self, act: &str) -> Failure {
        let failure = Failure::new(self.exit(), format!("{act}: {self}"));
        match &self.cause {
            Cause::Status { location: Some(location), status, .. } if status.is_redirection() => failure
                .detail(format!("it redirects to {location}"))
                .hint("redirects are not followed, because the target would get the credentials: use the target's address, if it is the right server"),
            Cause::Proxy { tunnel: Tunnel::Login, .. } => failure.hint("put the proxy's login into HTTPS_PROXY (http://USER:PASSWORD@HOST:PORT), or bypass the proxy: NO_PROXY, --no-proxy"),
            Cause::Proxy { .. } => failure.hint("allow CONNECT to this server in the proxy, or bypass the proxy: NO_PROXY, --no-proxy"),
            Cause::Exposed(_) => failure.hint(EXPOSED),
            Cause::Tls { handshake, address, spelling } => match handshake {
                // Its description says enough without the URL.
                Handshake::Untrusted(_) => handshake.failure(act, address, *spelling),
                _ => handshake.failure(&format!("{act}: {}", self.request), address, *spelling),
            },
            Cause::NotHttp => failure.hint("is this the server's port? https and http are two ports"),
            Cause::Connect { .. } | Cause::Broken { .. } => failure.hint("check address, route and firewall (HTTPS_PROXY, NO_PROXY, --no-proxy); it is safe to run this step again"),
            Cause::Status { .. } if self.exit() == Exit::Unreachable => failure.hint("the server has a problem; it is safe to run this step again"),
            Cause::Status { .. } | Cause::Malformed(_) => failure,
        }
    }
}

/// The HTTP library's error if it could not parse an answer.
fn parse_error<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e hyper::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<hyper::Error>().filter(|error| error.is_parse()) {
            return Some(error);
        }
        next = error.source();
    }
    None
}
