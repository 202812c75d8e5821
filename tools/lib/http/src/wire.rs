//! What carries every request of every tool: the HTTP library's client with our certificates, proxy and limits.
//!
//! Invariants: redirects are not followed, and nothing is sent twice; a client certificate is shown to no proxy.

use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use scar_tool::{Console, Exit, Failure, Spelling};
use scar_trust::{LastHandshake, Proxy, Trust};
use url::Url;

use crate::{Cause, Error, Origin, Response};

/// The time limit to connect: name, TCP, proxy and TLS.
const CONNECT: Duration = Duration::from_secs(10);
/// The hint if a client certificate would be shown to a proxy.
pub(crate) const EXPOSED: &str =
    "use an http:// address for the proxy (the tunnel through it is still TLS), or bypass the proxy: NO_PROXY, --no-proxy";

/// A client without an origin and a credential. Clones share their connections.
#[derive(Debug, Clone)]
pub struct Wire {
    inner: reqwest::Client,
    proxy: Option<Proxy>,
    last: LastHandshake,
    spelling: Spelling,
    /// The trusted certificates, for messages.
    trust: String,
    has_identity: bool,
    pub(crate) console: Console,
}

/// How servers are reached.
#[derive(Debug, Clone)]
pub struct Route {
    /// The proxy, for the servers that it covers.
    pub proxy: Option<Proxy>,
    /// The host to connect to, if it is not the URL's.
    pub host: Option<String>,
    /// The time limit to connect.
    pub connect: Duration,
}

impl Route {
    /// Directly to each server.
    pub fn direct() -> Self {
        Self { proxy: None, host: None, connect: CONNECT }
    }

    /// The usual route: through the environment's proxy, unless the user wants none. Exit 2 if the proxy's address cannot be
    /// used.
    pub fn of(trust: &Trust) -> Result<Self, Failure> {
        Ok(Self { proxy: trust.proxy()?, ..Self::direct() })
    }
}

impl Wire {
    /// A client; sends nothing. `with_identity` shows the client certificate to every server that asks for one. Exit 2 if
    /// the TLS options cannot be used.
    pub fn new(trust: &Trust, with_identity: bool, route: &Route, console: &Console) -> Result<Self, Failure> {
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(trust.client_config(with_identity)?)
            // By default reqwest follows ten; a 307 or 308 would take a password in the body along (RFC 9110, 15.4.8; FAULTS
            // L6).
            .redirect(reqwest::redirect::Policy::none())
            // By default reqwest sends a request again that HTTP/2 refused (reqwest src/retry.rs, `is_retryable_error`). A
            // login is sent once.
            .retry(reqwest::retry::never())
            // No read timeout: it would end the stream of a log that is quiet.
            .connect_timeout(route.connect)
            // By default 30 s: the system then ends a connection whose other side takes nothing for so long (tcp(7),
            // TCP_USER_TIMEOUT), where a registry may need longer. What is too long, our own limits say.
            .tcp_user_timeout(None)
            .user_agent(concat!("scar-tools/", env!("CARGO_PKG_VERSION")))
            // reqwest would also take ALL_PROXY and the system's proxy (hyper-util src/client/proxy/matcher.rs, `from_system`),
            // and match NO_PROXY without ports.
            .no_proxy();
        if let Some(proxy) = route.proxy.clone() {
            builder =
                builder.proxy(reqwest::Proxy::custom(move |url| proxy.covers(url.as_str()).then(|| proxy.url().to_owned())));
        }
        if let Some(host) = &route.host {
            builder = builder.dns_resolver(OneHost(host.clone()));
        }
        let shown = if with_identity { trust.words() } else { trust.for_another().words() };
        Ok(Self {
            inner: builder.build().map_err(|error| Failure::misuse(format!("set up the HTTP client: {error}")))?,
            proxy: route.proxy.clone(),
            last: trust.last_handshake().clone(),
            spelling: trust.spelling,
            trust: shown,
            has_identity: with_identity && trust.has_identity(),
            console: console.clone(),
        })
    }

    /// The address of the proxy to this URL; `None` if its server is reached directly.
    pub fn proxy(&self, url: &Url) -> Option<&str> {
        self.proxy.as_ref().filter(|proxy| proxy.covers(url.as_str())).map(Proxy::address)
    }

    /// The proxy that could ask for the client certificate of this URL's server: a proxy with TLS and the server behind it
    /// share one TLS configuration.
    pub(crate) fn exposing(&self, url: &Url) -> Option<&str> {
        // reqwest clones it for the proxy (reqwest src/connect.rs, `tls_proxy`).
        self.proxy(url).filter(|_| self.has_identity && self.proxy.as_ref().is_some_and(Proxy::is_tls))
    }

    /// Refuses a route on which a proxy could ask for the client certificate; [`Self::send`] refuses it, too.
    pub fn check(&self, origin: &Origin, url: &Url) -> Result<(), Failure> {
        match self.exposing(url) {
            None => Ok(()),
            Some(proxy) => Err(Failure::new(
                Exit::Unsafe,
                format!("connect to '{origin}': the client certificate for it would be shown to the proxy '{proxy}', too"),
            )
            .hint(EXPOSED)),
        }
    }

    /// Prints the route to a server, and which certificates are trusted there (`-v`).
    pub fn tell_route(&self, origin: &Origin, url: &Url) {
        self.console.verbose(|| match self.proxy(url) {
            Some(proxy) => format!("'{origin}' is reached through the proxy '{proxy}'"),
            None => format!("'{origin}' is reached directly"),
        });
        if !origin.is_plain() {
            self.console.verbose(|| format!("the certificate of '{origin}' is {}", self.trust));
        }
    }

    /// Sends a request once; `shown` is its `METHOD URL` for messages. Any status is an answer.
    pub async fn send(&self, request: reqwest::Request, shown: String) -> Result<Response, Error> {
        let (method, url) = (request.method().clone(), request.url().clone());
        if let Some(proxy) = self.exposing(&url) {
            return Err(Error { request: shown, cause: Cause::Exposed(proxy.to_owned()) });
        }
        let pending = self.console.asking(&shown);
        match self.inner.execute(request).await {
            Ok(inner) => {
                self.console.trace(|| format!("< {} for {shown}", inner.status()));
                Ok(Response { inner, method, request: shown, pending })
            }
            Err(error) => {
                let error = Error::of(shown, &url, &error, self.proxy(&url), self.last.asked(), self.spelling);
                self.console.trace(|| format!("< {error}"));
                Err(error)
            }
        }
    }
}

/// Resolves every name to the addresses of one host. The HTTP library has no setting for the name that TLS asks for: it is
/// the URL's. So the URL has that name, and this leads to the host.
struct OneHost(String);

impl Resolve for OneHost {
    fn resolve(&self, _: Name) -> Resolving {
        let host = self.0.clone();
        Box::pin(async move {
            // reqwest puts the URL's port in the place of 0 (reqwest src/dns/resolve.rs, `Resolve`).
            let found = tokio::net::lookup_host((host, 0)).await?;
            Ok(Box::new(found) as Addrs)
        })
    }
}
