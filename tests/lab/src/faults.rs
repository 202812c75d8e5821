//! Faults on demand: which requests, which of them, and what goes wrong.
//!
//! A request is offered to the faults in the order in which they were added. The first match acts. Each only counts requests
//! that were offered to it, so `First(2)` of one and then `First(1)` of the next form a sequence of three.

use std::convert::Infallible;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::Response;
use futures::stream;
use http::{HeaderName, HeaderValue, Method, StatusCode};

/// Selects requests by method, path and optionally a part of the query.
#[derive(Clone, Debug)]
pub struct Match {
    method: Option<Method>,
    path: String,
    query: Option<String>,
}

impl Match {
    /// Any method. In `path`, `*` matches any text without a slash and `**` any text: `/v2/**` is a prefix.
    pub fn any(path: &str) -> Self {
        Self { method: None, path: path.to_owned(), query: None }
    }

    /// One method; `path` as in [`Match::any`].
    pub fn method(method: Method, path: &str) -> Self {
        Self { method: Some(method), ..Self::any(path) }
    }

    /// `GET`.
    pub fn get(path: &str) -> Self {
        Self::method(Method::GET, path)
    }

    /// `HEAD`.
    pub fn head(path: &str) -> Self {
        Self::method(Method::HEAD, path)
    }

    /// `POST`.
    pub fn post(path: &str) -> Self {
        Self::method(Method::POST, path)
    }

    /// `PUT`.
    pub fn put(path: &str) -> Self {
        Self::method(Method::PUT, path)
    }

    /// `PATCH`.
    pub fn patch(path: &str) -> Self {
        Self::method(Method::PATCH, path)
    }

    /// `DELETE`.
    pub fn delete(path: &str) -> Self {
        Self::method(Method::DELETE, path)
    }

    /// Only if the query contains `part`.
    pub fn query(mut self, part: &str) -> Self {
        self.query = Some(part.to_owned());
        self
    }

    /// Whether it selects this request.
    pub fn selects(&self, method: &Method, path: &str, query: Option<&str>) -> bool {
        self.method.as_ref().is_none_or(|m| m == method)
            && self.query.as_ref().is_none_or(|part| query.is_some_and(|q| q.contains(part.as_str())))
            && glob(self.path.as_bytes(), path.as_bytes())
    }
}

/// `*` matches any text without a slash, `**` any text.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match pattern {
        [] => text.is_empty(),
        [b'*', b'*', rest @ ..] => (0..=text.len()).any(|at| glob(rest, &text[at..])),
        [b'*', rest @ ..] => (0..=text.len()).take_while(|&at| at == 0 || text[at - 1] != b'/').any(|at| glob(rest, &text[at..])),
        [first, rest @ ..] => text.first() == Some(first) && glob(rest, &text[1..]),
    }
}

/// Which of the offered requests a fault takes.
#[derive(Clone, Copy, Debug)]
pub enum Times {
    /// The first ones, up to this number.
    First(usize),
    /// Only this one, counted from 1.
    Nth(usize),
    /// Every one.
    Always,
}

impl Times {
    /// `number` counts from 1.
    fn take(self, number: usize) -> bool {
        match self {
            Self::First(count) => number <= count,
            Self::Nth(which) => number == which,
            Self::Always => true,
        }
    }
}

/// An answer instead of the handler's.
#[derive(Clone, Debug)]
pub struct Answer {
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
    times: usize,
    early: bool,
}

impl Answer {
    /// A status without a body.
    pub fn status(status: u16) -> Self {
        Self {
            status: StatusCode::from_u16(status).expect("a status code"),
            headers: Vec::new(),
            body: Bytes::new(),
            times: 1,
            early: false,
        }
    }

    /// A status with a JSON body.
    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        Self::status(status).header("content-type", "application/json").body(body.to_string())
    }

    /// A status with an HTML body, like a proxy's.
    pub fn html(status: u16, body: &str) -> Self {
        Self::status(status).header("content-type", "text/html").body(body.to_owned())
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.parse().expect("a header name"), value.parse().expect("a header value")));
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends the body repeatedly in one answer, so that a large one needs no memory.
    pub fn repeated(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    /// Answers at once, without reading the request body, as nginx does for a 413. The default is to read it first.
    pub fn early(mut self) -> Self {
        self.early = true;
        self
    }

    pub(crate) fn is_early(&self) -> bool {
        self.early
    }

    pub(crate) fn response(&self) -> Response {
        let body = match self.times {
            1 => Body::from(self.body.clone()),
            times => Body::from_stream(stream::iter(std::iter::repeat_n(Ok::<_, Infallible>(self.body.clone()), times))),
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        for (name, value) in &self.headers {
            response.headers_mut().append(name, value.clone());
        }
        response
    }
}

/// What goes wrong with a request.
#[derive(Clone)]
pub enum Action {
    /// Send this answer; the handler never sees the request.
    Answer(Answer),
    /// Reset the connection before reading the body.
    Reset,
    /// Reset the connection after the handler got this many bytes of the body.
    ResetAfter(u64),
    /// Let the handler work, then reset the connection: done, but the answer is lost.
    LoseReply,
    /// Read the body and never answer; the handler never sees the request.
    Stall,
    /// Delay the request.
    Delay(Duration),
    /// Close the connection after this many bytes of the answer's body.
    CutReply(u64),
    /// Send the answer's body `bytes` at a time, with a pause of `every` between.
    TrickleReply {
        /// How many bytes at a time.
        bytes: usize,
        /// The pause between.
        every: Duration,
    },
    /// Read the request's body `bytes` at a time, with a pause of `every` between: a slow uplink.
    SlowRead {
        /// How many bytes at a time.
        bytes: usize,
        /// The pause between.
        every: Duration,
    },
    /// Read the first `bytes` of the request's body one by one, with a pause of `every` between, the rest at full speed.
    SlowStart {
        /// How many bytes.
        bytes: u64,
        /// The pause between.
        every: Duration,
    },
    /// Let the handler work, then change its answer.
    Edit(Edit),
}

/// Changes an answer; see [`Action::edit`].
pub type Edit = Arc<dyn Fn(&mut Response) + Send + Sync>;

impl Action {
    /// [`Action::Edit`] from a closure.
    pub fn edit(change: impl Fn(&mut Response) + Send + Sync + 'static) -> Self {
        Self::Edit(Arc::new(change))
    }

    /// Sets one header of the handler's answer.
    pub fn set_header(name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().expect("a header name");
        let value: HeaderValue = value.parse().expect("a header value");
        Self::edit(move |response| {
            response.headers_mut().insert(name.clone(), value.clone());
        })
    }

    /// Removes one header of the handler's answer.
    pub fn drop_header(name: &str) -> Self {
        let name: HeaderName = name.parse().expect("a header name");
        Self::edit(move |response| {
            response.headers_mut().remove(&name);
        })
    }
}

struct Rule {
    matcher: Match,
    times: Times,
    action: Action,
    offered: AtomicUsize,
    taken: AtomicUsize,
}

/// An added fault; it stays in the server when this is dropped.
#[derive(Clone)]
pub struct Fault(Arc<Rule>);

impl Fault {
    /// How many requests it has taken. A test asserts this, so that it cannot pass without the fault.
    pub fn hits(&self) -> usize {
        self.0.taken.load(Ordering::SeqCst)
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fault({:?}, {:?})", self.0.matcher, self.0.times)
    }
}

/// The faults of one server.
#[derive(Default)]
pub struct Faults {
    rules: Mutex<Vec<Fault>>,
    refusals: AtomicUsize,
}

impl Faults {
    /// Adds a fault.
    pub fn on(&self, matcher: Match, times: Times, action: Action) -> Fault {
        let fault = Fault(Arc::new(Rule { matcher, times, action, offered: AtomicUsize::new(0), taken: AtomicUsize::new(0) }));
        self.lock().push(fault.clone());
        fault
    }

    /// Resets the next `count` connections as soon as they are accepted, before TLS.
    pub fn reset_connections(&self, count: usize) {
        self.refusals.store(count, Ordering::SeqCst);
    }

    /// Removes all faults; requests in progress keep theirs.
    pub fn clear(&self) {
        self.lock().clear();
        self.refusals.store(0, Ordering::SeqCst);
    }

    pub(crate) fn refuses(&self) -> bool {
        self.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
    }

    pub(crate) fn take(&self, method: &Method, path: &str, query: Option<&str>) -> Option<Action> {
        let rules = self.lock();
        let fault = rules.iter().find(|Fault(rule)| {
            rule.matcher.selects(method, path, query) && rule.times.take(rule.offered.fetch_add(1, Ordering::SeqCst) + 1)
        })?;
        fault.0.taken.fetch_add(1, Ordering::SeqCst);
        Some(fault.0.action.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Fault>> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_selects_exact_paths_segments_and_prefixes() {
        for (pattern, path, selected) in [
            ("/v2/", "/v2/", true),
            ("/v2/", "/v2/x", false),
            ("/v2/**", "/v2/", true),
            ("/v2/**", "/v2/a/b/blobs/uploads/7", true),
            ("/v2/*/blobs/*", "/v2/a/blobs/b", true),
            ("/v2/*/blobs/*", "/v2/a/b/blobs/c", false),
            ("/v2/**/blobs/*", "/v2/a/b/blobs/c", true),
            ("/v2/**/blobs/*", "/v2/a/b/blobs/uploads/c", false),
            ("/a*c", "/abc", true),
            ("/a*c", "/ab", false),
        ] {
            assert_eq!(Match::any(pattern).selects(&Method::GET, path, None), selected, "{pattern} on {path}");
        }
    }

    #[test]
    fn method_and_query_narrow_a_match() {
        let matcher = Match::put("/**").query("digest=");
        assert!(matcher.selects(&Method::PUT, "/x", Some("a=b&digest=sha256:0")));
        assert!(!matcher.selects(&Method::PUT, "/x", None));
        assert!(!matcher.selects(&Method::GET, "/x", Some("digest=sha256:0")));
    }

    #[test]
    fn faults_follow_each_other_in_the_order_they_were_added() {
        let faults = Faults::default();
        let first = faults.on(Match::any("/**"), Times::First(2), Action::Reset);
        let second = faults.on(Match::any("/**"), Times::Nth(2), Action::Stall);
        let taken: Vec<_> = (0..5)
            .map(|_| match faults.take(&Method::GET, "/", None) {
                Some(Action::Reset) => "reset",
                Some(Action::Stall) => "stall",
                _ => "none",
            })
            .collect();
        assert_eq!(taken, ["reset", "reset", "none", "stall", "none"]);
        assert_eq!((first.hits(), second.hits()), (2, 1));
    }
}
