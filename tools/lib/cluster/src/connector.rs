//! The connection to the API server: TCP, directly or in a proxy's tunnel; the client adds TLS.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use scar_tool::Failure;
use scar_trust::{Proxy, Trust, Tunnel as Fate};
use tokio::net::TcpStream;
use tower::{BoxError, Service};

/// The time limit of a TCP connect.
const CONNECT: Duration = Duration::from_secs(10);
/// The time limit of a proxy's tunnel, including its own connect.
const TUNNEL: Duration = Duration::from_secs(15);
/// The idle time before keep-alive probes, so that a dead peer ends a quiet log stream.
const PROBE: Duration = Duration::from_secs(20);

/// The stream of each kind of connection; with TLS inside if the proxy uses it.
type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

/// The kind of connection.
#[derive(Clone)]
pub(crate) enum Connector {
    /// Without a proxy.
    Direct(HttpConnector),
    /// Through a proxy without TLS; TLS to the server goes through its tunnel.
    Tunnel(Tunnel<HttpConnector>),
    /// Through a proxy with TLS.
    SecureTunnel(Tunnel<HttpsConnector<HttpConnector>>),
}

impl Connector {
    /// The connection to `server`, through `proxy` if it applies.
    ///
    /// # Errors
    /// Exit 2 if TLS to the proxy cannot be configured.
    pub(crate) fn new(server: &Uri, proxy: Option<&Proxy>) -> Result<Self, Failure> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_connect_timeout(Some(CONNECT));
        http.set_keepalive(Some(PROBE));
        http.set_keepalive_interval(Some(PROBE / 2));
        http.set_keepalive_retries(Some(3));
        http.set_nodelay(true);
        let Some(proxy) = proxy else { return Ok(Self::Direct(http)) };
        let Some(way) = Matcher::builder().https(proxy.url().to_owned()).build().intercept(server) else {
            return Ok(Self::Direct(http));
        };
        let secure = way.uri().scheme_str() == Some("https");
        let login = way.basic_auth().cloned();
        if secure {
            let tls = Trust::system()?.client_config(false)?;
            let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http1().wrap_connector(http);
            let tunnel = Tunnel::new(way.uri().clone(), https);
            return Ok(Self::SecureTunnel(match login {
                Some(login) => tunnel.with_auth(login),
                None => tunnel,
            }));
        }
        let tunnel = Tunnel::new(way.uri().clone(), http);
        Ok(Self::Tunnel(match login {
            Some(login) => tunnel.with_auth(login),
            None => tunnel,
        }))
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match self {
            Self::Direct(way) => way.poll_ready(context).map_err(Into::into),
            Self::Tunnel(way) => way.poll_ready(context).map_err(Into::into),
            Self::SecureTunnel(way) => way.poll_ready(context).map_err(Into::into),
        }
    }

    fn call(&mut self, server: Uri) -> Self::Future {
        match self {
            Self::Direct(way) => {
                let connecting = way.call(server);
                Box::pin(async move { Ok(MaybeHttpsStream::Http(connecting.await?)) })
            }
            Self::Tunnel(way) => {
                let connecting = tokio::time::timeout(TUNNEL, way.call(server));
                Box::pin(async move { Ok(MaybeHttpsStream::Http(connecting.await.map_err(|_| Fate::Silent)??)) })
            }
            Self::SecureTunnel(way) => {
                let connecting = tokio::time::timeout(TUNNEL, way.call(server));
                Box::pin(async move { Ok(connecting.await.map_err(|_| Fate::Silent)??) })
            }
        }
    }
}
