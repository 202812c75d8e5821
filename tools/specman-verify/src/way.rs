//! The ways to a replica: its address, or a port-forward of ours. Either takes GET requests alone, without a credential.

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
use scar_tool::{Console, Exit, Failure};
use scar_trust::Pin;

use crate::fault::Fault;
use crate::forward::Forward;

/// How long an answer, or the next piece of one, may take.
pub(crate) const SILENCE: Duration = Duration::from_secs(60);

/// One Specman.
pub(crate) struct Replica {
    /// The pod's name, or the address.
    pub(crate) name: String,
    /// How it is reached.
    pub(crate) way: Way,
    /// The certificate that it showed, where it is not checked.
    pub(crate) pin: Option<Pin>,
    /// Whether that was told.
    pub(crate) told: AtomicBool,
    /// Where it is.
    pub(crate) origin: Origin,
}

/// How a replica is reached.
pub(crate) enum Way {
    /// By its address.
    Address(Client),
    /// Through the cluster.
    Forward(Forward),
}

/// One connection to a replica, taken by one worker; made when it is needed, and anew when it broke.
pub(crate) struct Line<'r> {
    /// The replica.
    pub(crate) replica: &'r Replica,
    sender: Option<SendRequest<Empty<Bytes>>>,
    console: Console,
}

/// An answer whose body is still to be read.
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: StatusCode,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// The body, as it comes.
    pub(crate) body: BoxStream<'static, Result<Bytes, Fault>>,
}

impl Answer {
    fn text(&self, name: http::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// How long the body will be, where the server says it.
    pub(crate) fn length(&self) -> Option<u64> {
        self.text(CONTENT_LENGTH)?.parse().ok()
    }

    /// Where a redirect points.
    pub(crate) fn location(&self, from: &Url) -> Option<Url> {
        from.join(self.text(LOCATION)?).ok().filter(|_| self.status.is_redirection())
    }

    /// The coding in which the body comes although none was asked for.
    pub(crate) fn coding(&self) -> Option<&str> {
        self.text(CONTENT_ENCODING).filter(|coding| !coding.eq_ignore_ascii_case("identity"))
    }

    /// How long the server asks to wait, where it says so in seconds.
    pub(crate) fn asked(&self) -> Option<Duration> {
        self.text(http::header::RETRY_AFTER)?.parse().map(Duration::from_secs).ok()
    }
}

impl<'r> Line<'r> {
    /// A line that is not connected yet.
    pub(crate) fn new(replica: &'r Replica, console: &Console) -> Self {
        Self { replica, sender: None, console: console.clone() }
    }

    /// Asks for a URL of the replica.
    pub(crate) async fn get(&mut self, url: &Url) -> Result<Answer, Fault> {
        let answer = match &self.replica.way {
            Way::Address(client) => {
                let request = client.request(scar_http::Method::GET, url.clone()).header(ACCEPT_ENCODING, "identity");
                let sent = tokio::time::timeout(SILENCE, request.send()).await;
                let answer = sent.map_err(|_| self.silent(url))?.map_err(|error| self.http(&error))?;
                let (status, headers) = (answer.status(), answer.headers().clone());
                let body = answer.stream().map_err(|error| Fault::passing(error.to_string())).boxed();
                Answer { status, headers, body }
            }
            Way::Forward(forward) => self.through(forward, url).await?,
        };
        self.tell_pin();
        Ok(answer)
    }

    /// Leaves a connection whose answer was not read to its end.
    pub(crate) fn hang_up(&mut self) {
        self.sender = None;
    }

    /// The connection, where one is open and through with its last answer.
    async fn idle(&mut self) -> Option<SendRequest<Empty<Bytes>>> {
        let mut sender = self.sender.take()?;
        sender.ready().await.ok().map(|()| sender)
    }

    async fn through(&mut self, forward: &Forward, url: &Url) -> Result<Answer, Fault> {
        let mut sender = match self.idle().await {
            Some(sender) => sender,
            None => forward.connect(&self.replica.origin).await?,
        };
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        let target = format!("{}{query}", url.path());
        let host = HeaderValue::from_str(&self.replica.origin.authority());
        let host = host.map_err(|_| Failure::misuse(format!("ask '{}': it makes no header", self.replica.origin)))?;
        let request = Request::builder()
            .method(Method::GET)
            .uri(&target)
            .header(HOST, host)
            .header(USER_AGENT, concat!("scar-tools/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT_ENCODING, "identity")
            .body(Empty::new())
            .map_err(|error| Failure::misuse(format!("ask for '{target}': {error}")))?;
        self.console.trace(|| format!("> GET {target} of {}", self.replica.name));
        let broken = |error: hyper::Error| Fault::passing(format!("the connection broke: {error}"));
        let sent = tokio::time::timeout(SILENCE, sender.send_request(request)).await;
        let answer = sent.map_err(|_| self.silent(url))?.map_err(broken)?;
        self.console.trace(|| format!("< {} for GET {target} of {}", answer.status(), self.replica.name));
        self.sender = Some(sender);
        let (head, body) = answer.into_parts();
        let body = body.into_data_stream().map_err(broken).boxed();
        Ok(Answer { status: head.status, headers: head.headers, body })
    }

    fn silent(&self, url: &Url) -> Fault {
        Fault::passing(format!("GET {url}: no answer within {} s", SILENCE.as_secs()))
    }

    fn http(&self, error: &scar_http::Error) -> Fault {
        match error.is_transient() {
            true => Fault::passing(error.to_string()),
            false => error.failure(&format!("ask '{}'", self.replica.name)).into(),
        }
    }

    /// Tells the certificate that the rest of the run holds the replica to.
    fn tell_pin(&self) {
        if let Some(fingerprint) = self.replica.pin.as_ref().and_then(Pin::fingerprint)
            && !self.replica.told.swap(true, Ordering::Relaxed)
        {
            let name = &self.replica.name;
            self.console.warn(format!(
                "the certificate of {name} is not checked (--insecure), but pinned for this run: SHA-256 {fingerprint}"
            ));
        }
    }
}

/// The failure of a run that lost a replica.
pub(crate) fn lost(replica: &str, file: &str, words: &str) -> Failure {
    Failure::new(Exit::Unreachable, format!("compare '{file}' at {replica}: {words}"))
        .hint("does it run, and is it reached there? this step changes nothing, and can be run again at any time")
}
