//! The AWS SDK's requests on the project's own HTTP: one TLS stack, one trust, one proxy for all of them.
//!
//! Invariants: no redirect is followed; plain HTTP goes to loopback and, for the credential chain, to the link-local
//! addresses at which AWS serves credentials, nowhere else; an answer that is read is bounded; no header and no body is
//! shown.

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
use scar_http::{DOCUMENT, Error, Origin, Transport, Url};
use scar_tool::{Console, Failure};
use scar_trust::Trust;

/// How long a connection may take to come about: three tries and their pauses fit into the default `--timeout`.
const CONNECT: Duration = Duration::from_secs(5);

/// Where AWS serves credentials over plain HTTP: instance metadata, ECS tasks, EKS pods, each as IPv4 and IPv6.
const CREDENTIAL_HOSTS: [&str; 5] = ["169.254.169.254", "[fd00:ec2::254]", "169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"];

/// Headers that prove who asks: a session's token, the metadata service's, single sign-on's, a container's.
const SECRET_HEADERS: [&str; 4] = ["x-amz-security-token", "x-aws-ec2-metadata-token", "x-amz-sso_bearer_token", "authorization"];

/// Plain HTTP that was not sent.
#[derive(Debug, Clone)]
pub(crate) struct PlainHttp(pub(crate) String);

impl fmt::Display for PlainHttp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}': plain HTTP would show credentials to the network", self.0)
    }
}

impl std::error::Error for PlainHttp {}

/// What became of the requests so far: the SDK's errors leave out what an administrator needs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    /// The last answer.
    pub(crate) answer: Option<Answer>,
    /// A request that was not sent.
    pub(crate) refused: Option<PlainHttp>,
}

/// The head of an answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// `METHOD URL`, redacted.
    pub(crate) request: String,
    /// The status with its reason.
    pub(crate) status: scar_http::StatusCode,
    /// `Date`, the server's clock.
    pub(crate) date: Option<String>,
}

/// An HTTP client as the SDK takes one; clones share connections and what was seen.
#[derive(Debug, Clone)]
pub(crate) struct SdkHttp {
    transport: Arc<Transport>,
    for_credentials: bool,
    seen: Arc<Mutex<Seen>>,
}

impl SdkHttp {
    /// The client of the credential chain; shows no client certificate.
    ///
    /// # Errors
    /// As [`Transport::new`].
    pub(crate) fn for_credentials(trust: &Trust, console: &Console) -> Result<Self, Failure> {
        let transport = Arc::new(Transport::new(trust, false, CONNECT, console)?);
        Ok(Self { transport, for_credentials: true, seen: Arc::default() })
    }

    /// The client of the registry's API; shows the client certificate where one is configured.
    ///
    /// # Errors
    /// As [`Transport::new`].
    pub(crate) fn for_ecr(trust: &Trust, console: &Console) -> Result<Self, Failure> {
        let transport = Arc::new(Transport::new(trust, true, CONNECT, console)?);
        Ok(Self { transport, for_credentials: false, seen: Arc::default() })
    }

    /// What it saw.
    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn see(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Sends one request and reads its answer whole.
    async fn exchange(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
        let (head, body) = request.into_parts();
        SECRET_HEADERS.iter().filter_map(|name| head.headers.get(*name)?.to_str().ok()).for_each(scar_tool::never_show);
        let url = Url::parse(&head.uri.to_string()).map_err(|error| ConnectorError::user(error.into()))?;
        if !may_go(&url, self.for_credentials) {
            let refused = PlainHttp(Origin::of(&url).map_or_else(|| url.scheme().to_owned(), |origin| origin.to_string()));
            self.see(|seen| seen.refused = Some(refused.clone()));
            return Err(ConnectorError::user(refused.into()));
        }
        let Some(body) = body.bytes().map(<[u8]>::to_vec) else {
            return Err(ConnectorError::user("the request's body is a stream".into()));
        };
        let shown = format!("{} {}", head.method, scar_http::redacted(&url));
        let response = self.transport.send(head.method, url, head.headers, body.into()).await.map_err(connector_error)?;
        let date = response.header("date").map(str::to_owned);
        self.see(|seen| seen.answer = Some(Answer { request: shown, status: response.status(), date }));
        let status = response.status().as_u16().try_into().map_err(|_| ConnectorError::user("a status that is none".into()))?;
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

/// The SDK repeats I/O errors and silence, and nothing else: another try would not change a certificate.
fn connector_error(error: Error) -> ConnectorError {
    match &error {
        Error::Broken { silent: true, .. } => ConnectorError::timeout(error.into()),
        error_ if error_.is_transient() => ConnectorError::io(error.into()),
        _ => ConnectorError::user(error.into()),
    }
}

impl HttpClient for SdkHttp {
    fn http_connector(&self, settings: &HttpConnectorSettings, _components: &RuntimeComponents) -> SharedHttpConnector {
        // The SDK asks for short limits where a host may not be what it hopes for: no metadata service, no task.
        let limit = settings.read_timeout().map(|read| read + settings.connect_timeout().unwrap_or(CONNECT));
        SharedHttpConnector::new(Bounded { http: self.clone(), limit })
    }
}

/// The client with the limits of one operation.
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
