//! Sends the AWS SDK's requests with the project's own HTTP client, so that TLS, certificates and proxies are the same
//! everywhere.
//!
//! Invariants: no redirect is followed; plain HTTP only goes to loopback and, for credentials, to the link-local addresses
//! where AWS serves them; answers are bounded; no header or body is shown.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use scar_http::{Cause, DOCUMENT, Error, Origin, RawRequest, Route, Url, Wire};
use scar_tool::{Console, Failure};
use scar_trust::Trust;

/// The time limit to connect: three tries and their pauses fit into the default `--timeout`.
const CONNECT: Duration = Duration::from_secs(5);

/// The addresses where AWS serves credentials over plain HTTP: instance metadata (aws-config src/imds/client.rs), ECS tasks and
/// EKS pods (src/ecs.rs), in IPv4 and IPv6. They are link-local, so that no router passes the credentials on.
const CREDENTIAL_HOSTS: [&str; 5] = ["169.254.169.254", "[fd00:ec2::254]", "169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"];

/// Headers with credentials: of a session, of the metadata service, of single sign-on, of a container.
const SECRET_HEADERS: [&str; 4] = ["x-amz-security-token", "x-aws-ec2-metadata-token", "x-amz-sso_bearer_token", "authorization"];

/// A plain HTTP request that was refused.
#[derive(Debug, Clone)]
pub(crate) struct PlainHttp(pub(crate) String);

impl fmt::Display for PlainHttp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}': plain HTTP would show credentials to the network", self.0)
    }
}

impl std::error::Error for PlainHttp {}

/// What happened so far, because the SDK's errors omit what an administrator needs.
#[derive(Debug, Clone, Default)]
pub(crate) struct LastExchange {
    pub(crate) answer: Option<Answer>,
    pub(crate) refused: Option<PlainHttp>,
    /// The servers whose route was printed.
    shown: Vec<Origin>,
}

/// An answer without its body.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// `METHOD URL`, redacted.
    pub(crate) request: String,
    /// The status and its reason.
    pub(crate) status: scar_http::StatusCode,
    /// `Date`: the server's clock.
    pub(crate) date: Option<String>,
}

/// An HTTP client for the SDK; clones share connections and state.
#[derive(Debug, Clone)]
pub(crate) struct SdkHttp {
    wire: Wire,
    for_credentials: bool,
    last: Arc<Mutex<LastExchange>>,
    console: Console,
}

impl SdkHttp {
    /// The client for credential sources, or for ECR's API: only that one has the client certificate, if there is one.
    ///
    /// # Errors
    /// Exit 2 if the TLS options or the environment's proxy cannot be used.
    pub(crate) fn new(trust: &Trust, for_credentials: bool, console: &Console) -> Result<Self, Failure> {
        let route = Route { connect: CONNECT, ..Route::of(trust)? };
        let wire = Wire::new(trust, !for_credentials, &route, console)?;
        Ok(Self { wire, for_credentials, last: Arc::default(), console: console.clone() })
    }

    pub(crate) fn last(&self) -> LastExchange {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn record(&self, change: impl FnOnce(&mut LastExchange)) {
        change(&mut self.last.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Prints the route to each server once.
    fn tell_route(&self, url: &Url) {
        if let Some(origin) = Origin::of(url) {
            self.record(|last| {
                if !last.shown.contains(&origin) {
                    self.wire.tell_route(&origin, url);
                    last.shown.push(origin);
                }
            });
        }
    }

    /// Sends one request and reads the whole answer.
    async fn exchange(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
        let (head, body) = request.into_parts();
        // A server may repeat what it was sent in its error (FAULTS Q22).
        SECRET_HEADERS.iter().filter_map(|name| head.headers.get(*name)?.to_str().ok()).for_each(scar_tool::never_show);
        let url = Url::parse(&head.uri.to_string()).map_err(|error| ConnectorError::user(error.into()))?;
        if !may_go(&url, self.for_credentials) {
            let refused = PlainHttp(Origin::of(&url).map_or_else(|| url.scheme().to_owned(), |origin| origin.to_string()));
            self.record(|last| last.refused = Some(refused.clone()));
            return Err(ConnectorError::user(refused.into()));
        }
        let Some(body) = body.bytes().map(<[u8]>::to_vec) else {
            return Err(ConnectorError::user("the request's body is a stream".into()));
        };
        let shown = format!("{} {}", head.method, scar_http::redacted(&url));
        self.tell_route(&url);
        self.console.trace(|| format!("> {shown}"));
        let mut request = RawRequest::new(head.method, url);
        *request.headers_mut() = head.headers;
        *request.body_mut() = Some(body.into());
        let response = self.wire.send(request, shown.clone()).await.map_err(connector_error)?;
        let date = response.header("date").map(str::to_owned);
        self.record(|last| last.answer = Some(Answer { request: shown, status: response.status(), date }));
        let status = response.status().as_u16().try_into().map_err(|_| ConnectorError::user("an invalid status".into()))?;
        let headers = response.headers().clone();
        let body = response.bytes(DOCUMENT).await.map_err(connector_error)?;
        let mut answer = HttpResponse::new(status, SdkBody::from(body));
        for (name, value) in &headers {
            if let Ok(value) = value.to_str() {
                answer.headers_mut().append(name.as_str().to_owned(), value.to_owned());
            }
        }
        Ok(answer)
    }
}

/// Whether a request may be sent to this URL.
fn may_go(url: &Url, for_credentials: bool) -> bool {
    let Some(origin) = Origin::of(url) else { return false };
    let serves_credentials = || url.host_str().is_some_and(|host| CREDENTIAL_HOSTS.contains(&host));
    !origin.is_plain() || origin.is_loopback() || (for_credentials && serves_credentials())
}

/// The SDK retries I/O errors and timeouts, but not certificate errors (aws-smithy-runtime src/client/retries/classifiers.rs,
/// `TransientErrorClassifier`).
fn connector_error(error: Error) -> ConnectorError {
    match error.cause {
        Cause::Broken { silent: true, .. } => ConnectorError::timeout(error.into()),
        _ if error.is_transient() => ConnectorError::io(error.into()),
        _ => ConnectorError::user(error.into()),
    }
}

impl HttpClient for SdkHttp {
    fn http_connector(&self, settings: &HttpConnectorSettings, _components: &RuntimeComponents) -> SharedHttpConnector {
        // The SDK sets short limits for requests to services that may not exist on this host (aws-config src/ecs.rs,
        // `DEFAULT_CONNECT_TIMEOUT`); a connector of one's own must keep them itself.
        let limit = settings.read_timeout().map(|read| read + settings.connect_timeout().unwrap_or(CONNECT));
        SharedHttpConnector::new(Bounded { http: self.clone(), limit })
    }
}

/// The client with one operation's time limits.
#[derive(Debug)]
struct Bounded {
    http: SdkHttp,
    limit: Option<Duration>,
}

impl HttpConnector for Bounded {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (http, limit) = (self.http.clone(), self.limit);
        HttpConnectorFuture::new(async move {
            let exchange = http.exchange(request);
            match limit {
                None => exchange.await,
                Some(limit) => tokio::time::timeout(limit, exchange)
                    .await
                    .unwrap_or_else(|_| Err(ConnectorError::timeout("no answer in time".into()))),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_goes_to_loopback_and_to_the_chains_own_addresses() {
        for (url, credentials, ecr) in [
            ("https://api.ecr.us-east-1.amazonaws.com/", true, true),
            ("http://127.0.0.1:5000/", true, true),
            ("http://[::1]:5000/", true, true),
            ("http://169.254.169.254/latest/api/token", true, false),
            ("http://[fd00:ec2::254]/latest/api/token", true, false),
            ("http://169.254.170.2/v2/credentials", true, false),
            ("http://169.254.170.23/v1/credentials", true, false),
            ("http://169.254.170.99/", false, false),
            ("http://sts.amazonaws.com/", false, false),
            ("ftp://127.0.0.1/", false, false),
        ] {
            let url = Url::parse(url).unwrap();
            assert_eq!((may_go(&url, true), may_go(&url, false)), (credentials, ecr), "{url}");
        }
    }
}
