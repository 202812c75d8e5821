//! HTTP for a library that addresses and signs its own requests: with the trust, proxy and limits of all other requests, but
//! without an [`Origin`], because the library knows whom its signature is for.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::HeaderMap;
use scar_tool::{Console, Failure};
use scar_trust::{Proxy, Seen, Trust};
use url::Url;

use crate::client::build;
use crate::{Error, Origin, Response, redacted};

/// A client without an origin. It follows no redirect and does not retry.
#[derive(Debug)]
pub struct Transport {
    inner: reqwest::Client,
    proxy: Option<Proxy>,
    seen: Seen,
    /// The trusted certificates.
    trust: String,
    /// Whether a client certificate is configured.
    identity: bool,
    console: Console,
    /// Origins whose route was printed.
    told: Mutex<Vec<Origin>>,
}

impl Transport {
    /// A transport with the connection timeout `connect`; `with_identity` shows the client certificate to every server that
    /// asks for one, but to no proxy.
    ///
    /// # Errors
    /// Exit 2 if the TLS options or the environment's proxy cannot be used.
    pub fn new(trust: &Trust, with_identity: bool, connect: Duration, console: &Console) -> Result<Self, Failure> {
        let proxy = trust.proxy()?;
        let inner = build(trust, with_identity, proxy.as_ref(), connect)?;
        let identity = with_identity && trust.has_identity();
        let words = if with_identity { trust.words() } else { trust.for_another().words() };
        Ok(Self {
            inner,
            proxy,
            seen: trust.seen().clone(),
            trust: words,
            identity,
            console: console.clone(),
            told: Mutex::default(),
        })
    }

    /// Sends one request with headers and body unchanged; neither is printed. Any status is an answer.
    ///
    /// # Errors
    /// As [`crate::Request::send`]; [`Error::Exposed`] if a proxy would see the client certificate.
    pub async fn send(&self, method: Method, url: Url, headers: HeaderMap, body: Bytes) -> Result<Response, Error> {
        self.tell_route(&url);
        let request = format!("{method} {}", redacted(&url));
        // The proxy and the server behind it share one TLS configuration.
        let covering = self.proxy.as_ref().filter(|proxy| self.identity && proxy.is_tls() && proxy.covers(url.as_str()));
        if let Some(proxy) = covering {
            return Err(Error::Exposed { request, proxy: proxy.address().to_owned() });
        }
        self.console.trace(|| format!("> {request}"));
        let pending = self.console.asking(&request);
        match self.inner.request(method.clone(), url.clone()).headers(headers).body(body).send().await {
            Ok(inner) => {
                self.console.trace(|| format!("< {} for {request}", inner.status()));
                Ok(Response::new(inner, method, url, pending))
            }
            Err(error) => {
                let error = Error::from_reqwest(&method, &url, &error, self.proxy.as_ref(), self.seen.asked());
                self.console.trace(|| format!("< {error}"));
                Err(error)
            }
        }
    }

    fn tell_route(&self, url: &Url) {
        let Some(origin) = Origin::of(url) else { return };
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.contains(&origin) {
            return;
        }
        self.console.verbose(|| match self.proxy.as_ref().filter(|proxy| proxy.covers(url.as_str())) {
            Some(proxy) => format!("'{origin}' is reached through the proxy '{}'", proxy.address()),
            None => format!("'{origin}' is reached directly"),
        });
        if !origin.is_plain() {
            self.console.verbose(|| format!("the certificate of '{origin}' is {}", self.trust));
        }
        told.push(origin);
    }
}
