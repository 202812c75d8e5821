//! What can go wrong with a request, and the class of each.

use reqwest::{Method, StatusCode};
use scar_tool::{Exit, Failure};
use scar_trust::{Proxy, Untrusted};
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
    /// The server ended the handshake for want of a client certificate that it accepts; it acted on nothing.
    #[error("{request}: {cause}")]
    Identity {
        /// `METHOD URL`.
        request: String,
        /// What it has against ours.
        cause: String,
    },
    /// No connection came about; nothing was sent.
    #[error("{request}: {cause}")]
    Connect {
        /// `METHOD URL`.
        request: String,
        /// The deepest cause.
        cause: String,
    },
    /// The proxy on the way let nothing through; nothing was sent to the server.
    #[error("{request}: from the proxy '{proxy}': {cause}")]
    Proxy {
        /// `METHOD URL`.
        request: String,
        /// The proxy's address.
        proxy: String,
        /// What it answered.
        cause: String,
        /// Whether it wants a login.
        refused: bool,
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

/// What hyper says of an answer whose head is longer than any server's: HTTP it is.
const TOO_LARGE: &str = "message head is too large";

fn said(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!(": {words}") }
}

impl Error {
    /// What [`Error::Connect`] says of a server, or a route, that lets no connection come about and does not say why.
    pub const NO_CONNECTION: &str = "no connection in time";

    pub(crate) fn from_reqwest(method: &Method, url: &Url, error: &reqwest::Error, proxy: Option<&Proxy>) -> Self {
        let request = format!("{method} {}", redacted(url));
        if let Some(untrusted) = scar_trust::untrusted(error) {
            let address = Origin::of(url).map(|origin| origin.address()).unwrap_or_default();
            return Self::Untrusted { request, address, untrusted: Box::new(untrusted.clone()) };
        }
        if let Some(cause) = scar_trust::refused(error) {
            return Self::Identity { request, cause };
        }
        let cause = scar_trust::explained(error).unwrap_or_else(|| scar_trust::cause(error));
        if let Some((proxy, (cause, refused))) = proxy.zip(scar_trust::tunnel(error)) {
            return Self::Proxy { request, proxy: proxy.address().to_owned(), cause, refused };
        }
        if error.is_connect() && error.is_timeout() {
            return match proxy.filter(|proxy| proxy.covers(url.as_str())) {
                Some(proxy) => {
                    let cause = scar_trust::NO_TUNNEL.to_owned();
                    Self::Proxy { request, proxy: proxy.address().to_owned(), cause, refused: false }
                }
                None => Self::Connect { request, cause: Self::NO_CONNECTION.to_owned() },
            };
        }
        if error.is_connect() {
            return Self::Connect { request, cause };
        }
        let silent = error.is_timeout();
        let cause = if silent { "no answer in time".to_owned() } else { cause };
        Self::Broken { request, cause, silent }
    }

    /// Whether the same request may bring another result a moment later. A caller decides whether the request may be
    /// repeated at all.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect { cause, .. } => cause != scar_trust::OLD_TLS,
            Self::Broken { .. } => true,
            Self::Proxy { refused, .. } => !refused,
            Self::Status { status, .. } => {
                status.is_server_error() && *status != StatusCode::NOT_IMPLEMENTED
                    || matches!(*status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
                    || status.as_u16() == 499
            }
            Self::Untrusted { .. } | Self::Identity { .. } | Self::Exposed { .. } | Self::Malformed { .. } => false,
        }
    }

    /// Whether it is certain that the server did not act on the request.
    pub fn is_before_send(&self) -> bool {
        matches!(
            self,
            Self::Connect { .. } | Self::Proxy { .. } | Self::Exposed { .. } | Self::Untrusted { .. } | Self::Identity { .. }
        )
    }

    /// Whether the server answered the TLS handshake with something else.
    pub fn is_not_tls(&self) -> bool {
        matches!(self, Self::Connect { cause, .. } if cause == scar_trust::NOT_TLS)
    }

    /// Whether what answered a plain request was no HTTP, as an alert of TLS is none.
    pub fn is_not_http(&self) -> bool {
        matches!(self, Self::Broken { cause, .. } if cause.starts_with("invalid http"))
    }

    /// Whether a server that was asked in plain HTTP may want TLS: it says so, or answers nothing that is HTTP.
    pub fn may_want_tls(&self) -> bool {
        match self {
            Self::Status { status, words, .. } => *status == StatusCode::BAD_REQUEST && words.contains("HTTPS"),
            Self::Broken { silent, cause, .. } => !silent && cause != TOO_LARGE,
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
            Self::Connect { cause, .. } if cause == scar_trust::OLD_TLS => Exit::Unsafe,
            Self::Malformed { .. } => Exit::Mismatch,
            Self::Status { status, .. } => match status.as_u16() {
                401 | 403 => Exit::Refused,
                404 => Exit::Absent,
                300..=399 => Exit::Unsafe,
                _ if self.is_transient() => Exit::Unreachable,
                _ => Exit::Failed,
            },
            Self::Proxy { refused: true, .. } | Self::Identity { .. } => Exit::Refused,
            Self::Connect { .. } | Self::Broken { .. } | Self::Proxy { .. } => Exit::Unreachable,
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
                .hint("redirects are not followed, since credentials would go along: give the address that it redirects to, if it is the right one"),
            Self::Proxy { refused: true, .. } => failure.hint("give the proxy's login in HTTPS_PROXY, or reach the server without it: NO_PROXY, --no-proxy"),
            Self::Proxy { .. } => failure.hint("the proxy must allow CONNECT to the server, or the server be reached without it: NO_PROXY, --no-proxy"),
            Self::Exposed { .. } => failure.hint(EXPOSED),
            Self::Identity { .. } => failure.hint(
                "show it a client certificate that it accepts: --cert-file and --key-file, where the tool has them, or a registry's certs.d",
            ),
            Self::Connect { cause, .. } if cause == scar_trust::OLD_TLS => {
                failure.hint("the server, or the proxy before it, must be set up for TLS 1.2 or 1.3")
            }
            Self::Connect { .. } | Self::Broken { .. } => failure.hint("check address, route and firewall (HTTPS_PROXY, NO_PROXY, --no-proxy); it is safe to run this step again"),
            Self::Status { .. } if self.exit() == Exit::Unreachable => failure.hint("the server has a problem; it is safe to run this step again"),
            _ => failure,
        }
    }
}
