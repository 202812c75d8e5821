//! An answer: its status and headers, and its body, read within limits of size and time.

use std::time::{Duration, SystemTime};

use futures::StreamExt;
use http_body_util::{BodyExt, Limited};
use reqwest::header::{DATE, HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{Body, Method, StatusCode};
use scar_tool::Pending;
use serde::de::DeserializeOwned;
use url::Url;

use crate::{Cause, Error, Origin, redacted, retry, words};

/// The time limit for the next piece of an answer.
const SILENCE: Duration = Duration::from_secs(60);
/// How many bytes of an error's body are read: one more than a message shows, so that it shows the cut.
const ERROR: usize = 64 * 1024 + 1;

/// An answer whose body was not read yet.
#[derive(Debug)]
pub struct Response {
    pub(crate) inner: reqwest::Response,
    pub(crate) method: Method,
    /// The request, for messages.
    pub(crate) request: String,
    /// The request is pending until its body was read.
    pub(crate) pending: Pending,
}

impl Response {
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
        self.inner.url()
    }

    /// `Location`, resolved against the request's URL. `None` also for one with a backslash, which the parser would treat as
    /// a slash (URL standard, "special authority slashes state"), unlike other clients.
    pub fn location(&self) -> Option<Url> {
        // It may be relative (RFC 9110, 10.2.2), and registries make use of that (OCI distribution specification, "POST then
        // PUT").
        let location = self.header(LOCATION.as_str()).filter(|location| !location.contains('\\'))?;
        // Some servers write HOST:PORT/…, which would be parsed as a path or a scheme.
        let origin = Origin::of(self.url())?;
        let rest = |name: String| location.strip_prefix(&name).filter(|rest| rest.starts_with('/'));
        let itself = rest(origin.authority()).or_else(|| rest(origin.address()));
        self.url().join(itself.unwrap_or(location)).ok()
    }

    /// Returns a 2xx answer.
    pub async fn success(self) -> Result<Self, Error> {
        if self.status().is_success() { Ok(self) } else { Err(self.into_error().await) }
    }

    /// Turns the answer into an error, whatever its status; reads at most 64 KiB of its body, for at most a minute.
    pub async fn into_error(self) -> Error {
        self.into_error_and_body().await.0
    }

    /// The same, with the bytes read, for callers that know the server's errors.
    pub async fn into_error_and_body(self) -> (Error, Vec<u8>) {
        let request = self.request.clone();
        let status = self.status();
        // A date is by the server's clock (RFC 9110, 10.2.3), which may differ from ours.
        let now =
            self.header(DATE.as_str()).and_then(|date| httpdate::parse_http_date(date).ok()).unwrap_or_else(SystemTime::now);
        let retry_after = self.header(RETRY_AFTER.as_str()).and_then(|value| retry::after(value, now));
        let location = self.location().map(|url| redacted(&url));
        let mut body = Vec::new();
        // Show what arrived of the server's message, even if the rest fails.
        let _ = tokio::time::timeout(SILENCE, self.read(&mut body, ERROR)).await;
        (Error { request, cause: Cause::Status { status, words: words::of(&body), retry_after, location } }, body)
    }

    /// Reads the whole body. An error if it is longer than `limit` bytes, is cut, or stalls.
    pub async fn bytes(self, limit: usize) -> Result<Vec<u8>, Error> {
        let request = self.request.clone();
        let mut body = Vec::new();
        match self.read(&mut body, limit).await? {
            false => Ok(body),
            true => Err(Error::too_long(request, limit)),
        }
    }

    /// Parses the body as a JSON document of at most [`crate::DOCUMENT`] bytes.
    pub async fn json<T: DeserializeOwned>(self) -> Result<T, Error> {
        let request = self.request.clone();
        let body = self.bytes(crate::DOCUMENT).await?;
        serde_json::from_slice(&body).map_err(|_| {
            let is = match &*body {
                body if body.iter().all(u8::is_ascii_whitespace) => "empty".to_owned(),
                body if words::is_page(body) => words::of(body),
                // The JSON library's text may quote a value, which may be a secret.
                _ => "not the expected JSON".to_owned(),
            };
            Error::malformed(request, format!("the answer is {is}"))
        })
    }

    /// Streams the body, for a caller that limits and watches it.
    pub fn stream(self) -> impl futures::Stream<Item = Result<bytes::Bytes, Error>> + Send + Unpin {
        let Self { inner, request, pending, .. } = self;
        inner.bytes_stream().map(move |piece| {
            let _ = &pending;
            piece.map_err(|error| Error::broken(request.clone(), &error))
        })
    }

    /// `METHOD URL` of the request, for messages.
    pub fn request(&self) -> String {
        self.request.clone()
    }

    /// The answer for a library that reads it itself: at most `limit` bytes, and any error as an [`Error`].
    pub fn into_http(self, limit: usize) -> http::Response<impl http_body::Body<Data = bytes::Bytes, Error = Error>> {
        let Self { inner, request, .. } = self;
        let convert = move |error: Box<dyn std::error::Error + Send + Sync>| match error.downcast::<reqwest::Error>() {
            Ok(error) => Error::broken(request.clone(), &error),
            Err(_) => Error::too_long(request.clone(), limit),
        };
        http::Response::from(inner).map(|body: Body| Limited::new(body, limit).map_err(convert))
    }

    /// Appends up to `limit` bytes; returns whether there was more.
    async fn read(self, body: &mut Vec<u8>, limit: usize) -> Result<bool, Error> {
        let request = self.request.clone();
        let mut stream = self.stream();
        loop {
            let Ok(piece) = tokio::time::timeout(SILENCE, stream.next()).await else {
                return Err(Error::silent(request, "the answer stalled"));
            };
            let Some(piece) = piece.transpose()? else { return Ok(false) };
            // What is beyond the limit is never kept, however much a server sends (FAULTS P41 and R9).
            let room = limit - body.len();
            body.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.len() > room {
                return Ok(true);
            }
        }
    }
}
