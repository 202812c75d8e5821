//! The client: kube's, on our TLS, our route, our credentials and our deadlines.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::header::{ACCEPT, AUTHORIZATION, DATE, HOST, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT};
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
use scar_trust::{Proxy, Trust};
use secrecy::ExposeSecret;
use tower::BoxError;

use crate::connector::Connector;
use crate::credential::{Credential, Identity};
use crate::error::{asked_wait, tells_absence, words};
use crate::kubeconfig::{self, Chosen, Environment};
use crate::{Access, ClusterOptions, Error};

/// How long an answer may take to begin.
pub(crate) const ANSWER: Duration = Duration::from_secs(30);
/// The most of an object that is read into memory, in bytes; etcd holds 1.5 MiB at most, a list more.
const OBJECT: usize = 16 * 1024 * 1024;
/// The most of a refusal that is read, in bytes.
const REFUSAL: usize = 64 * 1024;

type Http = HttpClient<HttpsConnector<Connector>, Body>;

/// A cluster that was found and whose files were read; nothing was sent yet.
pub struct Opened {
    shared: Shared,
    namespace: String,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Opened({}, {})", self.shared.server, self.namespace)
    }
}

/// What all requests share.
struct Shared {
    server: Uri,
    base: String,
    place: String,
    cluster_name: String,
    trust: TrustSource,
    connector: Connector,
    server_name: Option<ServerName<'static>>,
    credential: Credential,
    impersonate: Vec<(HeaderName, HeaderValue)>,
    /// The client, and the plugin's certificate that it was built with.
    http: Mutex<Option<(Http, Option<String>)>>,
    /// The server's clock less ours, as its last answer told.
    skew: Mutex<Option<SignedDuration>>,
    console: Console,
}

/// What trust is made of, since a plugin may hand out another certificate in the middle of a wait.
struct TrustSource {
    authority: Option<(Vec<u8>, String)>,
    insecure: bool,
    identity: Option<(Vec<u8>, Vec<u8>, String)>,
}

impl TrustSource {
    fn trust(&self, issued: Option<&Identity>) -> Result<Trust, Failure> {
        let trust = match &self.authority {
            Some((pem, what)) => Trust::only_pem(pem, what)?,
            None => Trust::system()?,
        };
        let trust = trust.insecure(self.insecure);
        match (issued, &self.identity) {
            (Some((certificate, key)), _) => trust.with_identity(
                certificate.as_bytes(),
                key.expose_secret().as_bytes(),
                "the exec plugin's client certificate",
            ),
            (None, Some((certificate, key, what))) => trust.with_identity(certificate, key, what),
            (None, None) => Ok(trust),
        }
    }
}

impl Opened {
    /// Finds the cluster that the options mean and reads every file that reaching it needs; sends nothing.
    ///
    /// # Errors
    /// Exit 2 naming the file, the context or the plugin; exit 5 for what must not be connected to.
    pub fn open(options: &ClusterOptions, console: &Console) -> Result<Self, Failure> {
        Self::with(options, &Environment::read(), console)
    }

    pub(crate) fn with(options: &ClusterOptions, environment: &Environment, console: &Console) -> Result<Self, Failure> {
        let chosen = kubeconfig::choose(options, environment, console)?;
        let place = format!("context '{}' of {}", chosen.context, chosen.files);
        let whose = match chosen.user_name.as_str() {
            "" => format!("the user of {place}"),
            user => format!("user '{user}' ({place})"),
        };
        let server = server(&chosen, &place)?;
        let trust = trust_source(&chosen, &place, &whose)?;
        let checked = trust.trust(None)?;
        let now = Timestamp::now().as_second();
        if let Some((from, to)) = checked.identity_dates()
            && !(from..=to).contains(&u64::try_from(now).unwrap_or_default())
        {
            let (word, at) =
                if now < i64::try_from(from).unwrap_or(i64::MAX) { ("is not valid before", from) } else { ("expired at", to) };
            let at = i64::try_from(at).ok().and_then(|at| Timestamp::from_second(at).ok()).unwrap_or_default();
            return Err(Failure::new(scar_tool::Exit::Unsafe, format!("use {whose}: its client certificate {word} {at}")).hint(
                "download the admin kubeconfig anew; if the certificate should be valid, compare 'date' here with the cluster's",
            ));
        }
        if checked.is_insecure() {
            console.warn(format!("{place} has insecure-skip-tls-verify: the cluster's certificate is not checked"));
        }
        let proxy = match &chosen.cluster.proxy_url {
            Some(url) if !url.is_empty() => Some(Proxy::new(&format!("proxy-url of {place}"), url, "")?),
            _ => Proxy::from_environment()?,
        };
        let proxy = proxy.filter(|proxy| proxy.covers(&server.to_string()));
        console.verbose(|| {
            let way = proxy.as_ref().map(|proxy| format!(" through the proxy '{}'", proxy.address())).unwrap_or_default();
            format!("the cluster is '{server}'{way}, {place}, as {whose}")
        });
        let server_name = match chosen.cluster.tls_server_name.as_deref().filter(|name| !name.is_empty()) {
            Some(name) => Some(ServerName::try_from(name.to_owned()).map_err(|_| {
                Failure::misuse(format!("read {place}: tls-server-name '{name}' is neither a name nor an address"))
            })?),
            None => None,
        };
        let base = server.path().trim_end_matches('/').to_owned();
        let shared = Shared {
            connector: Connector::new(&server, proxy.as_ref())?,
            credential: Credential::new(&chosen.user, &chosen.cluster, &whose)?,
            impersonate: impersonation(&chosen, &place)?,
            cluster_name: chosen.cluster_name,
            server,
            base,
            place,
            trust,
            server_name,
            http: Mutex::new(None),
            skew: Mutex::new(None),
            console: console.clone(),
        };
        shared.http(None)?;
        Ok(Self { shared, namespace: options.namespace.clone() })
    }

    /// Makes the client; still nothing is sent. Call it inside a runtime.
    pub fn client(self) -> Cluster {
        let shared = Arc::new(self.shared);
        let sender = shared.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let shared = sender.clone();
            async move { shared.send(request).await.map_err(BoxError::from) }
        });
        Cluster { client: kube::Client::new(service, self.namespace.clone()), namespace: self.namespace, shared }
    }
}

fn server(chosen: &Chosen, place: &str) -> Result<Uri, Failure> {
    let text = chosen.cluster.server.as_deref().unwrap_or_default();
    let refuse = |cause: &str| Failure::misuse(format!("read {place}: server '{text}' {cause}"));
    let full = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let uri: Uri = full.parse().map_err(|_| refuse("is no URL"))?;
    let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| refuse("is no URL"))?;
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(Failure::misuse(format!("read {place}: its server holds a user or password")));
    }
    match uri.scheme_str() {
        Some("https") => Ok(uri),
        Some("http") if is_loopback(host) => Ok(uri),
        Some("http") => Err(Failure::new(
            scar_tool::Exit::Unsafe,
            format!("connect to '{text}': plain HTTP would show credentials and secrets to the network"),
        )
        .hint(format!("give the https:// address in {place}"))),
        _ => Err(refuse("is neither https:// nor http://")),
    }
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn trust_source(chosen: &Chosen, place: &str, whose: &str) -> Result<TrustSource, Failure> {
    let (cluster, user) = (&chosen.cluster, &chosen.user);
    let authority = data_or_file(
        cluster.certificate_authority_data.as_deref(),
        cluster.certificate_authority.as_deref(),
        &format!("certificate-authority of {place}"),
    )?;
    let certificate = data_or_file(
        user.client_certificate_data.as_deref(),
        user.client_certificate.as_deref(),
        &format!("client-certificate of {whose}"),
    )?;
    let key = data_or_file(
        user.client_key_data.as_ref().map(|key| key.expose_secret()),
        user.client_key.as_deref(),
        &format!("client-key of {whose}"),
    )?;
    let identity = match (certificate, key) {
        (Some((certificate, what)), Some((key, _))) => Some((certificate, key, what)),
        (Some(_), None) => {
            return Err(Failure::misuse(format!("use {whose}: it has a client-certificate without its client-key")));
        }
        (None, Some(_)) => {
            return Err(Failure::misuse(format!("use {whose}: it has a client-key without its client-certificate")));
        }
        (None, None) => None,
    };
    Ok(TrustSource { authority, insecure: cluster.insecure_skip_tls_verify.unwrap_or(false), identity })
}

/// What a kubeconfig holds in base64, else in a file; the data wins, as kubectl has it.
fn data_or_file(data: Option<&str>, file: Option<&str>, what: &str) -> Result<Option<(Vec<u8>, String)>, Failure> {
    use base64::Engine;
    if let Some(data) = data.filter(|data| !data.is_empty()) {
        let packed: String = data.split_ascii_whitespace().collect();
        let bytes = base64::engine::general_purpose::STANDARD.decode(packed);
        return bytes
            .map(|bytes| Some((bytes, format!("{what} (data)"))))
            .map_err(|_| Failure::misuse(format!("read {what}: the data is not base64")));
    }
    let Some(file) = file.filter(|file| !file.is_empty()) else { return Ok(None) };
    match std::fs::read(file) {
        Ok(bytes) => Ok(Some((bytes, format!("{what}, '{file}'")))),
        Err(error) => Err(Failure { exit: scar_tool::Exit::Misuse, ..Failure::io(format!("read {what}, '{file}'"), &error) }),
    }
}

fn impersonation(chosen: &Chosen, place: &str) -> Result<Vec<(HeaderName, HeaderValue)>, Failure> {
    let user = &chosen.user;
    let mut headers = Vec::new();
    let mut add = |name: &str, value: &str| {
        let header = HeaderName::from_bytes(name.as_bytes()).ok().zip(HeaderValue::from_str(value).ok());
        headers.push(header.ok_or_else(|| Failure::misuse(format!("read {place}: '{value}' cannot be impersonated")))?);
        Ok::<_, Failure>(())
    };
    if let Some(name) = &user.impersonate {
        add("impersonate-user", name)?;
    }
    for group in user.impersonate_groups.iter().flatten() {
        add("impersonate-group", group)?;
    }
    if let Some(uid) = &user.impersonate_uid {
        add("impersonate-uid", uid)?;
    }
    for (name, values) in user.impersonate_user_extra.iter().flatten() {
        for value in values {
            add(&format!("impersonate-extra-{name}"), value)?;
        }
    }
    Ok(headers)
}

impl Shared {
    /// The HTTP client; made anew where a plugin gave another certificate.
    fn http(&self, issued: Option<&Identity>) -> Result<Http, Failure> {
        let mut kept = self.http.lock().unwrap_or_else(PoisonError::into_inner);
        let certificate = issued.map(|(certificate, _)| certificate.clone());
        if let Some((client, built_with)) = &*kept
            && *built_with == certificate
        {
            return Ok(client.clone());
        }
        let tls = self.trust.trust(issued)?.client_config(true)?;
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

    /// One request, its credential renewed once where the server does not accept it. An answer of a refusal becomes an
    /// error with the server's words.
    async fn send(&self, request: Request<Body>) -> Result<Response<Limited<Incoming>>, Error> {
        let (mut head, body) = request.into_parts();
        let body = body.collect_bytes().await.map_err(Error::of)?;
        let path = head.uri.path().to_owned();
        let is_log = path.ends_with("/log");
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
        head.uri = format!("{}://{}{}{target}", self.scheme(), self.authority(), self.base)
            .parse()
            .map_err(|_| Error::Connect { request: path.clone(), cause: "the path makes no URL".to_owned() })?;
        let shown = format!("{} {}://{}{}{path}", head.method, self.scheme(), self.authority(), self.base);
        head.headers.remove(HOST);
        head.headers.insert(USER_AGENT, HeaderValue::from_static(concat!("scar-tools/", env!("CARGO_PKG_VERSION"))));
        if !head.headers.contains_key(ACCEPT) && !is_log {
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
            let request = Request::from_parts(head.clone(), Body::from(body.clone()));
            let answer = match tokio::time::timeout(ANSWER, http.request(request)).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(error)) => {
                    let error = Error::of_client(shown.clone(), &error, error.is_connect());
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
            // A switch to another protocol is what a port-forward asks for.
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
            // Words that do not come, or are too many, are no words.
            let said = tokio::time::timeout(ANSWER, said).await.ok().and_then(Result::ok).map(|body| body.to_bytes());
            let said = said.unwrap_or_default();
            return Err(Error::Status {
                request: shown,
                status,
                words: words(&said),
                retry_after: asked_wait(asked.as_deref(), &said),
                access: Access::of(head.method.as_str(), &path),
                is_absent: tells_absence(status, &said),
            });
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
        // The header is cut to whole seconds, and was written somewhere between our question and its answer.
        let half = SignedDuration::from_millis(500) + SignedDuration::try_from(took / 2).unwrap_or_default();
        let skew = date.duration_since(Timestamp::now()) + half;
        *self.skew.lock().unwrap_or_else(PoisonError::into_inner) = Some(skew);
    }
}

/// The cluster, ready for requests. Cloning is cheap.
#[derive(Clone)]
pub struct Cluster {
    client: kube::Client,
    namespace: String,
    shared: Arc<Shared>,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cluster({}, {})", self.shared.server, self.namespace)
    }
}

impl Cluster {
    /// kube's client; its errors are for [`Error::of`].
    pub fn client(&self) -> &kube::Client {
        &self.client
    }

    /// The namespace that the options name.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The context and its files, for messages.
    pub fn place(&self) -> &str {
        &self.shared.place
    }

    /// The server's clock less ours, as its last answer told, exact to about half a second.
    pub fn skew(&self) -> Option<SignedDuration> {
        *self.shared.skew.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn console(&self) -> &Console {
        &self.shared.console
    }

    /// The failure to show for an error; `act` is what was being done, in lower case with its operand.
    pub fn failure(&self, act: &str, error: &Error) -> Failure {
        let place = self.place();
        match error {
            Error::Untrusted { untrusted, .. } => {
                let port = self.shared.server.port_u16().unwrap_or(443);
                let host = self.shared.server.host().unwrap_or_default();
                let failure = untrusted.failure(act, &format!("{host}:{port}"));
                match untrusted.reason {
                    scar_trust::Reason::WrongName => failure.hint(format!(
                        "set tls-server-name to one of its names: kubectl config set-cluster {} --tls-server-name NAME",
                        self.shared.cluster_name
                    )),
                    scar_trust::Reason::Expired | scar_trust::Reason::NotYetValid => failure,
                    _ => failure.hint(format!(
                        "compare the SHA-256 with the cluster's administrator; then trust it: openssl s_client -connect {host}:{port} \
                         </dev/null | openssl x509 >server.pem; kubectl config set-cluster {} --embed-certs --certificate-authority=server.pem",
                        self.shared.cluster_name
                    )),
                }
            }
            Error::Credential(failure) => (**failure).clone(),
            Error::Status { status, access, .. } if status.as_u16() == 403 => {
                let what = access.as_ref().map(|access| format!(": no permission to {access}")).unwrap_or_default();
                let failure = Failure::new(error.exit(), format!("{act}{what}: {error}"));
                match access {
                    Some(access) => failure.hint(access.rule()),
                    None => failure,
                }
            }
            Error::Status { status, .. } if status.as_u16() == 401 => {
                Failure::new(error.exit(), format!("{act}: the cluster does not accept the credentials of {place}: {error}"))
                    .hint("the token or certificate may have expired: log in again, or download the admin kubeconfig anew")
            }
            Error::Status { status, is_absent: false, .. } if status.as_u16() == 404 => {
                Failure::new(error.exit(), format!("{act}: {error}")).hint(format!("is the server of {place} a Kubernetes API server?"))
            }
            Error::Proxy { refused: true, .. } => Failure::new(error.exit(), format!("{act}: {error}"))
                .hint("give the proxy's login in HTTPS_PROXY, or name the API server in NO_PROXY"),
            Error::Proxy { .. } => Failure::new(error.exit(), format!("{act}: {error}"))
                .hint("the proxy must allow CONNECT to the API server, or NO_PROXY must name it"),
            Error::Connect { .. } | Error::Broken { .. } => Failure::new(error.exit(), format!("{act}: {error}")).hint(format!(
                "check the server's address in {place}, route and firewall (HTTPS_PROXY, NO_PROXY); it is safe to run this step again"
            )),
            Error::Status { .. } if error.is_transient() => Failure::new(error.exit(), format!("{act}: {error}"))
                .hint("the cluster has a problem; it is safe to run this step again"),
            _ => Failure::new(error.exit(), format!("{act}: {error}")),
        }
    }
}
