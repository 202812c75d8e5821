//! Sends a request to the API server: with our TLS, route and credentials; an error status becomes an error with the
//! server's text.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::header::{ACCEPT, AUTHORIZATION, DATE, HOST, HeaderName, HeaderValue, RETRY_AFTER, UPGRADE, USER_AGENT};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::rt::TokioExecutor;
use jiff::{SignedDuration, Timestamp};
use kube::client::Body;
use rustls_pki_types::ServerName;
use scar_tool::{Console, Failure};
use scar_trust::{Seen, Trust};
use secrecy::ExposeSecret;

use crate::connector::Connector;
use crate::credential::{Credential, Identity};
use crate::refusal::Refused;
use crate::{Access, Error};

/// How long an answer may take to begin: more than the 30 s that an admission webhook may take at most (kubernetes
/// pkg/apis/admissionregistration/validation/validation.go), so that the API server can still name it.
pub(crate) const ANSWER: Duration = Duration::from_secs(35);
/// The largest object in bytes; etcd stores at most 1.5 MiB, a list may be larger.
const OBJECT: usize = 16 * 1024 * 1024;
/// The largest refusal in bytes.
const REFUSAL: usize = 64 * 1024;

type Http = HttpClient<HttpsConnector<Connector>, Body>;

/// The state that all requests share.
pub(crate) struct Sender {
    pub(crate) server: Uri,
    pub(crate) base: String,
    pub(crate) place: String,
    pub(crate) cluster_name: String,
    pub(crate) trust: TrustSource,
    pub(crate) connector: Connector,
    pub(crate) server_name: Option<ServerName<'static>>,
    pub(crate) credential: Credential,
    pub(crate) impersonate: Vec<(HeaderName, HeaderValue)>,
    /// The client, and the plugin's certificate in it.
    pub(crate) http: Mutex<Option<(Http, Option<String>)>>,
    /// The server's clock minus ours, from its last answer.
    pub(crate) skew: Mutex<Option<SignedDuration>>,
    /// The proxy's address, if one is used.
    pub(crate) proxy: Option<String>,
    /// The server's certificate.
    pub(crate) seen: Seen,
    pub(crate) console: Console,
}

/// The source of the trust, because a plugin may return another certificate during a wait.
pub(crate) struct TrustSource {
    pub(crate) authority: Option<(Vec<u8>, String)>,
    pub(crate) insecure: bool,
    pub(crate) identity: Option<(Vec<u8>, Vec<u8>, String)>,
}

impl TrustSource {
    pub(crate) fn trust(&self, issued: Option<&Identity>) -> Result<Trust, Failure> {
        let trust = match &self.authority {
            Some((pem, what)) => Trust::only_pem(pem, what)?,
            None => Trust::system()?,
        };
        let trust = trust.insecure(self.insecure);
        match (&self.identity, issued) {
            (Some((certificate, key, what)), _) => trust.with_identity(certificate, key, what),
            (None, Some((certificate, key))) => {
                trust.with_identity(certificate.as_bytes(), key.expose_secret().as_bytes(), "the exec plugin")
            }
            (None, None) => Ok(trust),
        }
    }
}

impl Sender {
    /// The API server's address for people.
    pub(crate) fn address(&self) -> String {
        self.server.to_string().trim_end_matches('/').to_owned()
    }

    /// The HTTP client; rebuilt if a plugin returned another certificate.
    pub(crate) fn http(&self, issued: Option<&Identity>) -> Result<Http, Failure> {
        let mut kept = self.http.lock().unwrap_or_else(PoisonError::into_inner);
        let certificate = issued.map(|(certificate, _)| certificate.clone());
        if let Some((client, built_with)) = &*kept
            && *built_with == certificate
        {
            return Ok(client.clone());
        }
        let tls = self.trust.trust(issued)?.seen_by(&self.seen).client_config(true)?;
        let builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
        let builder = match &self.server_name {
            Some(name) => builder.with_server_name_resolver(FixedServerNameResolver::new(name.clone())),
            None => builder,
        };
        let connector = builder.enable_http1().wrap_connector(self.connector.clone());
        let client =
            HttpClient::builder(TokioExecutor::new()).pool_idle_timeout(Duration::from_secs(30)).build::<_, Body>(connector);
        *kept = Some((client.clone(), certificate));
        Ok(client)
    }

    /// Sends a request, and renews its credential once if the server refuses it. An error status becomes an error with the
    /// server's text.
    pub(crate) async fn send(&self, request: Request<Body>) -> Result<Response<Limited<Incoming>>, Error> {
        let (mut head, body) = request.into_parts();
        let body = body.collect_bytes().await.map_err(Error::of)?;
        let path = head.uri.path().to_owned();
        let is_log = path.ends_with("/log");
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
        head.uri = format!("{}://{}{}{target}", self.scheme(), self.authority(), self.base)
            .parse()
            .map_err(|_| Error::Connect { request: path.clone(), cause: "the path makes no URL".to_owned(), silent: false })?;
        let shown = format!("{} {}://{}{}{path}", head.method, self.scheme(), self.authority(), self.base);
        head.headers.remove(HOST);
        head.headers.insert(USER_AGENT, HeaderValue::from_static(concat!("scar-tools/", env!("CARGO_PKG_VERSION"))));
        // The API server forwards an upgrade to the kubelet with our headers. The kubelet's port-forward routes declare no
        // content type, so go-restful answers 406 to any Accept but `*/*` (kubernetes pkg/kubelet/server/server.go,
        // go-restful route.go, matchesAccept).
        if !head.headers.contains_key(ACCEPT) && !is_log && !head.headers.contains_key(UPGRADE) {
            head.headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        }
        for (name, value) in &self.impersonate {
            head.headers.append(name, value.clone());
        }
        let mut anew = false;
        loop {
            let (header, issued) = self.credential.get(anew).await.map_err(|failure| Error::Credential(Box::new(failure)))?;
            let http = self.http(issued.as_ref()).map_err(|failure| Error::Credential(Box::new(failure)))?;
            let mut head = head.clone();
            if let Some(header) = header {
                head.headers.insert(AUTHORIZATION, header);
            }
            let begun = Instant::now();
            let _pending = self.console.asking(&shown);
            let request = Request::from_parts(head.clone(), Body::from(body.clone()));
            let answer = match tokio::time::timeout(ANSWER, http.request(request)).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(error)) => {
                    let error =
                        Error::of_client(shown.clone(), &error, error.is_connect(), self.proxy.as_deref(), self.seen.asked());
                    self.console.trace(|| format!("{error}"));
                    return Err(error);
                }
                Err(_) => {
                    self.console.trace(|| format!("{shown}: no answer"));
                    return Err(Error::silent(shown, ANSWER));
                }
            };
            self.console.trace(|| format!("{shown}: {} after {} ms", answer.status(), begun.elapsed().as_millis()));
            self.note_date(answer.headers().get(DATE), begun.elapsed());
            let status = answer.status();
            // A port-forward switches protocols.
            if status.is_success() || status == http::StatusCode::SWITCHING_PROTOCOLS {
                let limit = if is_log { usize::MAX } else { OBJECT };
                return Ok(answer.map(|body| Limited::new(body, limit)));
            }
            if status == http::StatusCode::UNAUTHORIZED && !anew && self.credential.is_renewable() {
                anew = true;
                continue;
            }
            let asked = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
            let said = Limited::new(answer.into_body(), REFUSAL).collect();
            // A body that does not arrive, or is too large, is dropped.
            let said = tokio::time::timeout(ANSWER, said).await.ok().and_then(Result::ok).map(|body| body.to_bytes());
            let access = Access::of(head.method.as_str(), &path);
            let Refused { refusal, words, retry_after } =
                Refused::read(status, asked.as_deref(), &said.unwrap_or_default(), access);
            return Err(Error::Status { request: shown, status, words, retry_after, refusal });
        }
    }

    fn scheme(&self) -> &str {
        self.server.scheme_str().unwrap_or("https")
    }

    fn authority(&self) -> &str {
        self.server.authority().map_or("", |authority| authority.as_str())
    }

    fn note_date(&self, date: Option<&HeaderValue>, took: Duration) {
        let Some(date) = date.and_then(|value| value.to_str().ok()) else { return };
        let Ok(date) = httpdate::parse_http_date(date) else { return };
        let Ok(date) = Timestamp::try_from(date) else { return };
        // The header has whole seconds, and was written at some moment between request and answer.
        let half = SignedDuration::from_millis(500) + SignedDuration::try_from(took / 2).unwrap_or_default();
        let skew = date.duration_since(Timestamp::now()) + half;
        *self.skew.lock().unwrap_or_else(PoisonError::into_inner) = Some(skew);
    }
}
