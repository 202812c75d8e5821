//! One replica of Specman, and a worker's connection to it: straight to its address, or through a port-forward. Either way
//! only GET requests are sent, without credentials.

use std::sync::Once;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, HOST, HeaderMap, LOCATION, RETRY_AFTER, USER_AGENT};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use scar_cluster::Error;
use scar_http::{Client, Error as Http, Method, Url};
use scar_tool::{Console, Exit, Failure};
use scar_trust::Pin;

use crate::forward::{Forward, Sender, Spares};

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
    pin: Option<Pin>,
    pin_shown: Once,
}

/// The route to a replica.
pub(crate) enum Route {
    Address(Box<Client>),
    Forward(Box<Forward>),
}

impl Replica {
    pub(crate) fn new(name: String, route: Route, pin: Option<Pin>) -> Self {
        Self { name, route, pin, pin_shown: Once::new() }
    }

    /// The failure for a file after the last try.
    pub(crate) fn failure(&self, file: &str, error: Error) -> Failure {
        let act = format!("compare '{file}' at {}", self.name);
        let failure = match (error, &self.route) {
            (Error::Credential(failure), _) => return *failure,
            // A part of the cluster says why, and what to do about it.
            (error @ Error::Refused { .. }, Route::Forward(forward)) => forward.cluster.failure(&act, &error),
            (error, _) => Failure::new(Exit::Unreachable, format!("{act}: {error}"))
                .hint("is it running, and reachable there? this step changes nothing and can be run again at any time"),
        };
        Failure { exit: Exit::Unreachable, ..failure }
    }

    /// Shows the certificate that the replica must keep for the rest of the run.
    fn show_pin(&self, console: &Console) {
        let Some(fingerprint) = self.pin.as_ref().and_then(Pin::fingerprint) else { return };
        self.pin_shown.call_once(|| {
            let name = &self.name;
            console.warn(format!(
                "the certificate of {name} is not checked (--insecure), but pinned for this run: SHA-256 {fingerprint}"
            ));
        });
    }
}

/// A worker's connection to a replica: opened when needed, and reopened when it broke or was closed.
pub(crate) struct Connection<'r> {
    pub(crate) replica: &'r Replica,
    sender: Option<Sender>,
    spares: Spares,
    console: Console,
}

/// An answer whose body was not read yet.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    headers: HeaderMap,
    pub(crate) body: BoxStream<'static, Result<Bytes, Http>>,
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
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.text(RETRY_AFTER)?.parse().map(Duration::from_secs).ok()
    }
}

impl<'r> Connection<'r> {
    pub(crate) fn new(replica: &'r Replica, console: &Console) -> Self {
        Self { replica, sender: None, spares: Spares::default(), console: console.clone() }
    }

    /// Requests a URL of the replica.
    pub(crate) async fn get(&mut self, url: &Url) -> Result<Answer, Error> {
        let answer = match &self.replica.route {
            Route::Address(client) => {
                let request = client.request(Method::GET, url.clone()).header(ACCEPT_ENCODING, "identity");
                let sent = tokio::time::timeout(SILENCE, request.send()).await.unwrap_or_else(|_| Err(silent(url)));
                let answer = sent.map_err(|error| match error.is_transient() {
                    true => error.into(),
                    false => Error::from(error.failure(&format!("ask '{}'", self.replica.name))),
                })?;
                Answer { status: answer.status(), headers: answer.headers().clone(), body: answer.stream().boxed() }
            }
            Route::Forward(forward) => self.through(forward, url).await?,
        };
        self.replica.show_pin(&self.console);
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

    async fn through(&mut self, forward: &Forward, url: &Url) -> Result<Answer, Error> {
        // The connection may still be open, and its last answer complete.
        if let Some(mut sender) = self.sender.take()
            && sender.ready().await.is_ok()
            // A server may close an idle connection at any time. A GET can then be sent again.
            && let Ok(answer) = self.send(sender, forward, url).await
        {
            return Ok(answer);
        }
        let sender = forward.connect(&mut self.spares).await?;
        self.send(sender, forward, url).await
    }

    async fn send(&mut self, mut sender: Sender, forward: &Forward, url: &Url) -> Result<Answer, Error> {
        // The request line has no origin: it is in the header Host (RFC 9112, 3.2.1).
        let target = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
        let request = Request::get(target)
            .header(HOST, forward.origin.authority())
            .header(USER_AGENT, concat!("scar-tools/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT_ENCODING, "identity")
            .body(Empty::new())
            .map_err(|_| Failure::misuse(format!("ask for '{url}': no request can carry this path")))?;
        let shown = format!("GET {url} of {}", self.replica.name);
        let pending = self.console.asking(&shown);
        self.console.trace(|| format!("> {shown}"));
        let failed = shown.clone();
        let broken = move |error: hyper::Error| Http::broken(failed.clone(), &error);
        let sent = tokio::time::timeout(SILENCE, sender.send_request(request)).await.map_err(|_| silent(url))?;
        let (head, body) = sent.map_err(&broken)?.into_parts();
        self.console.trace(|| format!("< {} for {shown}", head.status));
        // A tunnel with several connections does not show that one of them was closed.
        self.sender = (!self.spares.is_single_use()).then_some(sender);
        let body = body.into_data_stream().map_err(broken).inspect(move |_| _ = &pending).boxed();
        let answer = Answer { status: head.status, headers: head.headers, body };
        self.spares.answered(answer.length().is_some());
        Ok(answer)
    }
}

fn silent(url: &Url) -> Http {
    Http::silent(format!("GET {url}"), &format!("no answer within {} s", SILENCE.as_secs()))
}
