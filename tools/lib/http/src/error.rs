//! What can go wrong with a request, and the class of each.

use reqwest::{Method, StatusCode};
use scar_tool::{Exit, Failure};
use scar_trust::{Handshake, Proxy, Tunnel, Untrusted};
use url::Url;

use crate::{Origin, redacted};

/// A request that did not bring what it was sent for.
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
    /// The TLS handshake failed; the server acted on nothing.
    #[error("{request}: {verdict}")]
    Tls {
        /// `METHOD URL`.
        request: String,
        /// Why.
        verdict: Handshake,
    },
    /// No connection came about; nothing was sent.
    #[error("{request}: {cause}")]
    Connect {
        /// `METHOD URL`.
        request: String,
        /// The deepest cause.
        cause: String,
        /// Whether it was silence, not a refusal.
        silent: bool,
    },
    /// The proxy on the way let nothing through; nothing was sent to the server.
    #[error("{request}: from the proxy '{proxy}': {tunnel}")]
    Proxy {
        /// `METHOD URL`.
        request: String,
        /// The proxy's address.
        proxy: String,
        /// What it did.
        tunnel: Tunnel,
    },
    /// A proxy of TLS on the way could ask for the client certificate that is for the server; nothing was sent.
    #[error("{request}: the client certificate for it would be shown to the proxy '{proxy}', too")]
    Exposed {
        /// `METHOD URL`.
        request: String,
        /// The proxy's address.
        proxy: String,
    },
    /// The connection ended, or fell silent, after the request may have been received.
    #[error("{request}: {cause}")]
    Broken {
        /// `METHOD URL`.
        request: String,
        /// The deepest cause.
        cause: String,
        /// Whether it was silence, not an end.
        silent: bool,
    },
    /// What answered does not speak HTTP, as an alert of TLS does not.
    #[error("{request}: {cause}")]
    NotHttp {
        /// `METHOD URL`.
        request: String,
        /// What is wrong with the answer.
        cause: String,
    },
    /// The server answered with a status that the step cannot use.
    #[error("{request}: {status}{}", said(words))]
    Status {
        /// `METHOD URL`.
        request: String,
        /// The status.
        status: StatusCode,
        /// The server's own words.
        words: String,
        /// `Retry-After`, where it could be read.
        retry_after: Option<std::time::Duration>,
        /// Where a redirect points, redacted.
        location: Option<String>,
    },
    /// The answer is not the document that was asked for.
    #[error("{request}: {cause}")]
    Malformed {
        /// `METHOD URL`.
        request: String,
        /// What it is instead.
        cause: String,
    },
}

/// What to do where a client certificate would be shown to a proxy.
pub(crate) const EXPOSED: &str =
    "reach the proxy by http:// (what goes through it is TLS all the same), or the server without it: NO_PROXY, --no-proxy";

fn said(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!(": {words}") }
}

impl Error {
    pub(crate) fn from_reqwest(method: &Method, url: &Url, error: &reqwest::Error, proxy: Option<&Proxy>, asked: bool) -> Self {
        let request = format!("{method} {}", redacted(url));
        let proxy = proxy.filter(|proxy| proxy.covers(url.as_str())).map(Proxy::address);
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
                // Longer than any server's; asked again it would be the same.
                Some(false) => Self::Malformed { request, cause: scar_trust::cause(error) },
                None => Self::Broken { request, cause: scar_trust::cause(error), silent: false },
            },
        }
    }

    /// Silence in the middle of an exchange.
    pub fn silent(request: String, cause: &str) -> Self {
        Self::Broken { request, cause: cause.to_owned(), silent: true }
    }

    /// Whether the same request may bring another result a moment later. A caller decides whether the request may be
    /// repeated at all.
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

    /// Whether it is certain that the server did not act on the request.
    pub fn is_before_send(&self) -> bool {
        matches!(
            self,
            Self::Connect { .. } | Self::Proxy { .. } | Self::Exposed { .. } | Self::Untrusted { .. } | Self::Tls { .. }
        )
    }

    /// Whether the server answered the TLS handshake with something else.
    pub fn is_not_tls(&self) -> bool {
        matches!(self, Self::Tls { verdict: Handshake::NotTls, .. })
    }

    /// Whether what answered a plain request was no HTTP, as an alert of TLS is none.
    pub fn is_not_http(&self) -> bool {
        matches!(self, Self::NotHttp { .. })
    }

    /// Whether a server that was asked in plain HTTP may want TLS: it says so, or answers nothing that is HTTP.
    pub fn may_want_tls(&self) -> bool {
        match self {
            // nginx and Go say so in words of their own, and in no other way.
            Self::Status { status, words, .. } => *status == StatusCode::BAD_REQUEST && words.contains("HTTPS"),
            Self::Broken { silent, .. } => !silent,
            Self::NotHttp { .. } => true,
            _ => false,
        }
    }

    /// The status that the server answered with.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// The exit status of its class.
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
            // One status for silence, whoever notices it first: this request's own limit or --timeout.
            Self::Proxy { tunnel: Tunnel::Silent, .. }
            | Self::Connect { silent: true, .. }
            | Self::Broken { silent: true, .. } => Exit::TimedOut,
            Self::Connect { .. } | Self::Broken { .. } | Self::NotHttp { .. } | Self::Proxy { .. } => Exit::Unreachable,
        }
    }

    /// The failure to show for it: `act` (lower case, with its operand) and the cause; the hint is that of its class.
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
            Self::Tls { verdict, .. } => failure.hint(verdict.hint()),
            Self::NotHttp { .. } => failure.hint("is this the server's port? https and http are two ports"),
            Self::Connect { .. } | Self::Broken { .. } => failure.hint("check address, route and firewall (HTTPS_PROXY, NO_PROXY, --no-proxy); it is safe to run this step again"),
            Self::Status { .. } if self.exit() == Exit::Unreachable => failure.hint("the server has a problem; it is safe to run this step again"),
            _ => failure,
        }
    }
}

/// Whether the HTTP library could not read an answer; `Some(false)` for a head that is only longer than any server's.
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
