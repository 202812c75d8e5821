//! A server's requests, in order: the evidence of what a tool did and did not do.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use jiff::Timestamp;

use crate::faults::Match;

/// How many bytes of each request body are kept for tests.
pub const KEPT_BODY: usize = 64 * 1024;

/// One request, from its header on; fields are filled in as it proceeds.
#[derive(Clone, Debug)]
pub struct Request {
    /// When its header had arrived.
    pub at: Timestamp,
    /// The method.
    pub method: Method,
    /// The path, still percent-encoded.
    pub path: String,
    /// The query without its question mark.
    pub query: Option<String>,
    /// The headers as they came.
    pub headers: HeaderMap,
    /// Body bytes that the server has read so far.
    pub body_bytes: u64,
    /// The first [`KEPT_BODY`] bytes of the body.
    pub body: Vec<u8>,
    /// The answer's status; `None` while it is pending, or if a fault cut it off.
    pub status: Option<StatusCode>,
    /// Whether no route or fault matched it.
    pub unexpected: bool,
}

impl Request {
    /// One header, if it exists and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The kept body as text, lossy.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The kept body as JSON; `Null` if it is not.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// `METHOD path[?query] -> status`, with `-` for no answer.
    pub fn line(&self) -> String {
        let query = self.query.as_ref().map(|q| format!("?{q}"));
        let status = self.status.map(|s| s.as_u16().to_string());
        format!("{} {}{} -> {}", self.method, self.path, query.unwrap_or_default(), status.as_deref().unwrap_or("-"))
    }
}

#[derive(Default)]
struct State {
    requests: Vec<Request>,
    connections: usize,
    tls_failures: Vec<String>,
}

/// The log of one server. Readers get copies, so a test may read while the server runs.
#[derive(Default)]
pub struct RequestLog {
    state: Mutex<State>,
    changed: Condvar,
}

impl RequestLog {
    /// All requests so far, in the order of their headers' arrival.
    pub fn requests(&self) -> Vec<Request> {
        self.lock().requests.clone()
    }

    /// The requests that `matcher` selects, in order.
    pub fn matching(&self, matcher: &Match) -> Vec<Request> {
        let mut found = self.requests();
        found.retain(|r| matcher.selects(&r.method, &r.path, r.query.as_deref()));
        found
    }

    /// How many requests `matcher` selects.
    pub fn count(&self, matcher: &Match) -> usize {
        self.matching(matcher).len()
    }

    /// Every request as [`Request::line`].
    pub fn lines(&self) -> Vec<String> {
        self.lock().requests.iter().map(Request::line).collect()
    }

    /// Body bytes of all requests together.
    pub fn body_bytes(&self) -> u64 {
        self.lock().requests.iter().map(|r| r.body_bytes).sum()
    }

    /// The number of accepted connections, also without a request.
    pub fn connections(&self) -> usize {
        self.lock().connections
    }

    /// The errors of failed TLS handshakes, in order.
    pub fn tls_failures(&self) -> Vec<String> {
        self.lock().tls_failures.clone()
    }

    /// The requests that no route or fault expected.
    pub fn unexpected(&self) -> Vec<Request> {
        let mut found = self.requests();
        found.retain(|r| r.unexpected);
        found
    }

    /// Clears the log.
    pub fn clear(&self) {
        *self.lock() = State::default();
    }

    /// Blocks until `ready` is true for the requests; returns false after `limit`. So a test can act in the middle of a
    /// request without sleeping.
    pub fn wait(&self, limit: Duration, mut ready: impl FnMut(&[Request]) -> bool) -> bool {
        self.wait_state(limit, |state| ready(&state.requests))
    }

    /// Blocks until a TLS handshake has failed, which the server notices after the client; returns false as in
    /// [`RequestLog::wait`].
    pub fn wait_tls_failure(&self, limit: Duration) -> bool {
        self.wait_state(limit, |state| !state.tls_failures.is_empty())
    }

    fn wait_state(&self, limit: Duration, mut ready: impl FnMut(&State) -> bool) -> bool {
        let end = Instant::now() + limit;
        let mut state = self.lock();
        while !ready(&state) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    pub(crate) fn connected(&self) {
        self.lock().connections += 1;
        self.changed.notify_all();
    }

    pub(crate) fn tls_failed(&self, cause: String) {
        self.lock().tls_failures.push(cause);
        self.changed.notify_all();
    }

    /// Creates an entry and returns its index.
    pub(crate) fn begin(&self, head: &Parts) -> usize {
        let mut state = self.lock();
        state.requests.push(Request {
            at: Timestamp::now(),
            method: head.method.clone(),
            path: head.uri.path().to_owned(),
            query: head.uri.query().map(str::to_owned),
            headers: head.headers.clone(),
            body_bytes: 0,
            body: Vec::new(),
            status: None,
            unexpected: false,
        });
        self.changed.notify_all();
        state.requests.len() - 1
    }

    pub(crate) fn received(&self, place: usize, data: &[u8]) {
        self.change(place, |request| {
            request.body_bytes += data.len() as u64;
            let room = KEPT_BODY - request.body.len();
            request.body.extend_from_slice(&data[..room.min(data.len())]);
        });
    }

    pub(crate) fn answered(&self, place: usize, status: StatusCode, unexpected: bool) {
        self.change(place, |request| {
            request.status = Some(status);
            request.unexpected = unexpected;
        });
    }

    /// Does nothing for an entry that [`RequestLog::clear`] has removed.
    fn change(&self, place: usize, change: impl FnOnce(&mut Request)) {
        if let Some(request) = self.lock().requests.get_mut(place) {
            change(request);
        }
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
