//! What can go wrong with a request, and the exit status of each.

use reqwest::StatusCode;
use scar_tool::{Exit, Failure, Spelling};
use scar_trust::{Handshake, Tunnel, Untrusted};
use url::Url;

use crate::Origin;
use crate::wire::EXPOSED;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server's certificate is not trusted; nothing was sent.
    #[error("{untrusted}")]
    Untrusted {
        /// `METHOD URL`.
        request: String,
        /// `HOST:PORT`.
        address: String,
        /// The certificate.
        untrusted: Box<Untrusted>,
    },
    /// The TLS handshake failed, so the server did nothing.
    #[error("{request}: {verdict}")]
    Tls {
        /// `METHOD URL`.
        request: String,
        /// Why.
        verdict: Handshake,
    },
    /// No connection; nothing was sent.
    #[error("{request}: {cause}")]
    Connect {
        /// `METHOD URL`.
        request: String,
        /// The deepest cause.
        cause: String,
        /// Whether it timed out, rather than being refused.
        silent: bool,
    },
    /// The proxy opened no tunnel; nothing was sent to the server.
    #[error("{request}: from the proxy '{proxy}': {tunnel}")]
    Proxy {
        /// `METHOD URL`.
        request: String,
        /// The proxy's address.
        proxy: String,
        /// What it did.
        tunnel: Tunnel,
    },
    /// A TLS proxy could ask for the server's client certificate; nothing was sent.
    #[error("{request}: the client certificate for it would be shown to the proxy '{proxy}', too")]
    Exposed {
        /// `METHOD URL`.
        request: String,
        /// The proxy's address.
        proxy: String,
    },
    /// The connection broke or timed out after the request may have been received.
    #[error("{request}: {cause}")]
    Broken {
        /// `METHOD URL`.
        request: String,
        /// The deepest cause.
        cause: String,
        /// Whether it timed out, rather than being closed.
        silent: bool,
    },
    /// The answer is not HTTP, such as a TLS alert.
    #[error("{request}: {cause}")]
    NotHttp {
        /// `METHOD URL`.
        request: String,
        /// What is wrong with the answer.
        cause: String,
    },
    /// The server answered with an unusable status.
    #[error("{request}: {}{}", named(*status), said(words))]
    Status {
        /// `METHOD URL`.
        request: String,
        /// The status.
        status: StatusCode,
        /// The server's message.
        words: String,
        /// `Retry-After`, if it is valid.
        retry_after: Option<std::time::Duration>,
        /// A redirect's target, redacted.
        location: Option<String>,
    },
    /// The answer is not the requested document.
    #[error("{request}: {cause}")]
    Malformed {
        /// `METHOD URL`.
        request: String,
        /// A description of what it is instead.
        cause: String,
    },
}

/// A status with its name, if it has one: `404 Not Found`, `499`.
fn named(status: StatusCode) -> String {
    format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or_default()).trim_end().to_owned()
}

fn said(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!(": {words}") }
}

impl Error {
    /// The HTTP library's error; `proxy` is the proxy's address, if one is used, and `asked` says whether the server asked for
    /// a client certificate.
    pub(crate) fn of(request: String, url: &Url, error: &reqwest::Error, proxy: Option<&str>, asked: bool) -> Self {
        if let Some(untrusted) = scar_trust::untrusted(error) {
            let address = Origin::of(url).map(|origin| origin.address()).unwrap_or_default();
            return Self::Untrusted { request, address, untrusted: Box::new(untrusted.clone()) };
        }
        if let Some((proxy, tunnel)) = proxy.zip(scar_trust::tunnel(error)) {
            return Self::Proxy { request, proxy: proxy.to_owned(), tunnel };
        }
        if let Some(verdict) = Handshake::of(error, asked) {
            return Self::Tls { request, verdict };
        }
        match (error.is_connect(), error.is_timeout(), proxy) {
            (true, true, Some(proxy)) => Self::Proxy { request, proxy: proxy.to_owned(), tunnel: Tunnel::Silent },
            (true, true, None) => Self::Connect { request, cause: "no connection in time".to_owned(), silent: true },
            (true, false, _) => Self::Connect { request, cause: scar_trust::cause(error), silent: false },
            (false, true, _) => Self::silent(request, "no answer in time"),
            (false, false, _) => match parse_error(error) {
                Some(true) => Self::NotHttp { request, cause: scar_trust::cause(error) },
                // No server sends such a long header; a retry would get the same.
                Some(false) => Self::Malformed { request, cause: scar_trust::cause(error) },
                None => Self::Broken { request, cause: scar_trust::cause(error), silent: false },
            },
        }
    }

    /// A timeout in the middle of an exchange.
    pub fn silent(request: String, cause: &str) -> Self {
        Self::Broken { request, cause: cause.to_owned(), silent: true }
    }

    pub(crate) fn too_long(request: String, limit: usize) -> Self {
        Self::Malformed { request, cause: format!("the answer is longer than {limit} bytes") }
    }

    /// Whether a retry may succeed. The caller decides whether the request may be repeated at all.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Broken { .. } | Self::NotHttp { .. } => true,
            Self::Tls { verdict, .. } => verdict.is_transient(),
            Self::Proxy { tunnel, .. } => *tunnel != Tunnel::Login,
            Self::Status { status, .. } => {
                status.is_server_error() && *status != StatusCode::NOT_IMPLEMENTED
                    || matches!(*status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
                    || status.as_u16() == 499
            }
            Self::Untrusted { .. } | Self::Exposed { .. } | Self::Malformed { .. } => false,
        }
    }

    /// Whether the server certainly did not act on the request.
    pub fn is_before_send(&self) -> bool {
        matches!(
            self,
            Self::Connect { .. } | Self::Proxy { .. } | Self::Exposed { .. } | Self::Untrusted { .. } | Self::Tls { .. }
        )
    }

    /// Whether the server answered the TLS handshake with something other than TLS.
    pub fn is_not_tls(&self) -> bool {
        matches!(self, Self::Tls { verdict: Handshake::NotTls, .. })
    }

    /// Whether the answer to a plain request was not HTTP, such as a TLS alert.
    pub fn is_not_http(&self) -> bool {
        matches!(self, Self::NotHttp { .. })
    }

    /// Whether a server that was contacted over plain HTTP may need TLS: it says so, or its answer is not HTTP.
    pub fn may_want_tls(&self) -> bool {
        match self {
            // nginx and Go only say so in their messages.
            Self::Status { status, words, .. } => *status == StatusCode::BAD_REQUEST && words.contains("HTTPS"),
            Self::Broken { silent, .. } => !silent,
            Self::NotHttp { .. } => true,
            _ => false,
        }
    }

    /// The server's status.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Its exit status.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Untrusted { .. } | Self::Exposed { .. } => Exit::Unsafe,
            Self::Tls { verdict, .. } => verdict.exit(),
            Self::Malformed { .. } => Exit::Mismatch,
            Self::Status { status, .. } => match status.as_u16() {
                401 | 403 => Exit::Refused,
                404 => Exit::Absent,
                300..=399 => Exit::Unsafe,
                _ if self.is_transient() => Exit::Unreachable,
                _ => Exit::Failed,
            },
            Self::Proxy { tunnel: Tunnel::Login, .. } => Exit::Refused,
            // One status for all timeouts, whether this request's limit or --timeout.
            Self::Proxy { tunnel: Tunnel::Silent, .. }
            | Self::Connect { silent: true, .. }
            | Self::Broken { silent: true, .. } => Exit::TimedOut,
            Self::Connect { .. } | Self::Broken { .. } | Self::NotHttp { .. } | Self::Proxy { .. } => Exit::Unreachable,
        }
    }

    /// The failure to show: `act` (in lower case, with its operand), the cause, and a hint.
    pub fn failure(&self, act: &str) -> Failure {
        if let Self::Untrusted { address, untrusted, .. } = self {
            return untrusted.failure(act, address);
        }
        let failure = Failure::new(self.exit(), format!("{act}: {self}"));
        match self {
            Self::Status { location: Some(location), status, .. } if status.is_redirection() => failure
                .detail(format!("it redirects to {location}"))
                .hint("redirects are not followed, because credentials would be sent along: use the address that it redirects to, if it is the right one"),
            Self::Proxy { tunnel: Tunnel::Login, .. } => failure.hint("give the proxy's login in HTTPS_PROXY, or reach the server without it: NO_PROXY, --no-proxy"),
            Self::Proxy { .. } => failure.hint("the proxy must allow CONNECT to the server, or the server be reached without it: NO_PROXY, --no-proxy"),
            Self::Exposed { .. } => failure.hint(EXPOSED),
            Self::Tls { verdict, .. } => failure.hint(verdict.hint(Spelling::default())),
            Self::NotHttp { .. } => failure.hint("is this the server's port? https and http are two ports"),
            Self::Connect { .. } | Self::Broken { .. } => failure.hint("check address, route and firewall (HTTPS_PROXY, NO_PROXY, --no-proxy); it is safe to run this step again"),
            Self::Status { .. } if self.exit() == Exit::Unreachable => failure.hint("the server has a problem; it is safe to run this step again"),
            _ => failure,
        }
    }
}

/// Whether the HTTP library could not parse an answer; `Some(false)` for a header that is only too long.
fn parse_error(error: &(dyn std::error::Error + 'static)) -> Option<bool> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<hyper::Error>().filter(|error| error.is_parse()) {
            return Some(!error.is_parse_too_large());
        }
        next = error.source();
    }
    None
}
