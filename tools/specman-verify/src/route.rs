//! The route to a replica: directly, or through a port-forward. Either way only GET requests are sent, without credentials.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, HOST, HeaderMap, HeaderValue, LOCATION, USER_AGENT};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::SendRequest;
use scar_http::{Client, Origin, Url};
use scar_tool::{Console, Failure};
use scar_trust::Pin;

use crate::forward::{Forward, Spares};
use crate::outcome::TryError;

/// The time limit for an answer, or for its next piece.
pub(crate) const SILENCE: Duration = Duration::from_secs(60);
/// How many remaining bytes of an answer to read in order to keep its connection.
const REST: u64 = 64 * 1024;

/// One Specman replica.
pub(crate) struct Replica {
    /// The pod's name, or its address.
    pub(crate) name: String,
    pub(crate) route: Route,
    /// The certificate that it showed first, if certificates are not verified.
    pub(crate) pin: Option<Pin>,
    /// Whether that certificate's fingerprint was already shown.
    pub(crate) is_pin_shown: AtomicBool,
    pub(crate) origin: Origin,
}

/// The route to a replica.
pub(crate) enum Route {
    Address(Box<Client>),
    Forward(Forward),
}

/// A worker's connection to a replica: opened when needed, and reopened when it broke or was closed.
pub(crate) struct Connection<'r> {
    pub(crate) replica: &'r Replica,
    sender: Option<SendRequest<Empty<Bytes>>>,
    spares: Spares,
    console: Console,
}

/// An answer whose body was not read yet.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: BoxStream<'static, Result<Bytes, TryError>>,
}

impl Answer {
    fn text(&self, name: http::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body's length, if the server says so.
    pub(crate) fn length(&self) -> Option<u64> {
        self.text(CONTENT_LENGTH)?.parse().ok()
    }

    /// The target of a redirect.
    pub(crate) fn location(&self, from: &Url) -> Option<Url> {
        from.join(self.text(LOCATION)?).ok().filter(|_| self.status.is_redirection())
    }

    /// The `Content-Encoding`, although none was requested.
    pub(crate) fn coding(&self) -> Option<&str> {
        self.text(CONTENT_ENCODING).filter(|coding| !coding.eq_ignore_ascii_case("identity"))
    }

    /// `Retry-After`, if it is in seconds.
    pub(crate) fn asked(&self) -> Option<Duration> {
        self.text(http::header::RETRY_AFTER)?.parse().map(Duration::from_secs).ok()
    }
}

impl<'r> Connection<'r> {
    pub(crate) fn new(replica: &'r Replica, console: &Console) -> Self {
        Self { replica, sender: None, spares: Spares::default(), console: console.clone() }
    }

    /// Requests a URL of the replica.
    pub(crate) async fn get(&mut self, url: &Url) -> Result<Answer, TryError> {
        let answer = match &self.replica.route {
            Route::Address(client) => {
                let request = client.request(scar_http::Method::GET, url.clone()).header(ACCEPT_ENCODING, "identity");
                let sent = tokio::time::timeout(SILENCE, request.send()).await;
                let answer = sent.map_err(|_| silent(url))?.map_err(|error| self.http(&error))?;
                let (status, headers) = (answer.status(), answer.headers().clone());
                let body = answer.stream().map_err(|error| TryError::passing(error.to_string())).boxed();
                Answer { status, headers, body }
            }
            Route::Forward(forward) => self.through(forward, url).await?,
        };
        self.show_pin();
        Ok(answer)
    }

    /// Finishes an answer that was not read to its end: reads a short rest, so that the connection can be reused, else
    /// closes it.
    pub(crate) async fn finish(&mut self, mut answer: Answer) {
        let mut left = answer.length().filter(|length| *length <= REST);
        while let Some(rest) = left {
            match tokio::time::timeout(SILENCE, answer.body.next()).await {
                Ok(Some(Ok(piece))) => left = rest.checked_sub(piece.len() as u64),
                Ok(None) => return,
                _ => left = None,
            }
        }
        self.hang_up();
    }

    /// Closes the connection and its tunnel.
    pub(crate) fn hang_up(&mut self) {
        self.sender = None;
        self.spares = Spares::default();
    }

    /// The connection, if it is open and its last answer complete.
    async fn idle(&mut self) -> Option<SendRequest<Empty<Bytes>>> {
        let mut sender = self.sender.take()?;
        sender.ready().await.ok().map(|()| sender)
    }

    async fn through(&mut self, forward: &Forward, url: &Url) -> Result<Answer, TryError> {
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        let target = format!("{}{query}", url.path());
        if let Some(sender) = self.idle().await {
            // A server may close an idle connection at any time. A GET can then be sent again.
            if let Ok(answer) = self.send(sender, &target, url).await {
                return Ok(answer);
            }
        }
        let sender = forward.connect(&self.replica.origin, &mut self.spares).await?;
        self.send(sender, &target, url).await
    }

    async fn send(&mut self, mut sender: SendRequest<Empty<Bytes>>, target: &str, url: &Url) -> Result<Answer, TryError> {
        let host = HeaderValue::from_str(&self.replica.origin.authority());
        let host = host.map_err(|_| Failure::misuse(format!("ask '{}': it makes no header", self.replica.origin)))?;
        let request = Request::builder()
            .method(Method::GET)
            .uri(target)
            .header(HOST, host)
            .header(USER_AGENT, concat!("scar-tools/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT_ENCODING, "identity")
            .body(Empty::new())
            .map_err(|error| Failure::misuse(format!("ask for '{target}': {error}")))?;
        let name = &self.replica.name;
        self.console.trace(|| format!("> GET {target} of {name}"));
        let broken = |error: hyper::Error| TryError::passing(format!("the connection broke: {error}"));
        let sent = tokio::time::timeout(SILENCE, sender.send_request(request)).await;
        let answer = sent.map_err(|_| silent(url))?.map_err(broken)?;
        self.console.trace(|| format!("< {} for GET {target} of {name}", answer.status()));
        // A tunnel with several connections does not show that one of them was closed.
        self.sender = (!self.spares.is_single_use()).then_some(sender);
        let (head, body) = answer.into_parts();
        let body = body.into_data_stream().map_err(broken).boxed();
        let answer = Answer { status: head.status, headers: head.headers, body };
        self.spares.answered(answer.length().is_some());
        Ok(answer)
    }

    fn http(&self, error: &scar_http::Error) -> TryError {
        match error.is_transient() {
            true => TryError::passing(error.to_string()),
            false => error.failure(&format!("ask '{}'", self.replica.name)).into(),
        }
    }

    /// Shows the certificate that the replica must keep for the rest of the run.
    fn show_pin(&self) {
        if let Some(fingerprint) = self.replica.pin.as_ref().and_then(Pin::fingerprint)
            && !self.replica.is_pin_shown.swap(true, Ordering::Relaxed)
        {
            let name = &self.replica.name;
            self.console.warn(format!(
                "the certificate of {name} is not checked (--insecure), but pinned for this run: SHA-256 {fingerprint}"
            ));
        }
    }
}

fn silent(url: &Url) -> TryError {
    TryError::passing(format!("GET {url}: no answer within {} s", SILENCE.as_secs()))
}
